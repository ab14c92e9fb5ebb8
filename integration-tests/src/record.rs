//! The outcome of a run as a file, so that tables can be made of several runtimes and machines.

use crate::cgroup;
use crate::driver::{Outcome, Report};
use crate::failure::Failure;
use crate::runtime::Settings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What one run of the harness has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the runtime, as its `--version` has it.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// Day of the run, `2026-01-31`.
    pub date: String,
    /// Kernel and cgroups.
    pub machine: String,
    /// The outcome of each case, by name.
    pub cases: BTreeMap<String, Outcome>,
}

impl Record {
    /// Of a run that has ended.
    pub fn of(settings: &Settings, reports: &[Report]) -> Record {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = release.trim().split('-').next().unwrap_or_default();
        let cgroups = if settings.unified || cgroup::is_unified() { "cgroup v2" } else { "cgroup v1" };
        Record {
            runtime: settings.name.clone(),
            version: settings.version.clone(),
            date: today(),
            machine: format!("Linux {kernel}, {cgroups}"),
            cases: reports.iter().map(|r| (r.name.clone(), r.outcome.clone())).collect(),
        }
    }

    /// Writes it, one line for each case.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    /// If the file cannot be read or is no record.
    pub fn read(path: &Path) -> Result<Record, Failure> {
        let bytes = fs::read(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
    }
}

fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days after 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_722), (2023, 12, 31));
        assert_eq!(civil(20_513), (2026, 3, 1));
    }

    #[test]
    fn a_record_survives_the_file() {
        let cases = [("a/b", Outcome::Pass), ("c/d", Outcome::Skip("no root".into()))];
        let record = Record {
            runtime: "x".into(),
            version: "1".into(),
            date: "2026-01-31".into(),
            machine: "Linux 6.1, cgroup v2".into(),
            cases: cases.into_iter().map(|(name, outcome)| (name.to_owned(), outcome)).collect(),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
