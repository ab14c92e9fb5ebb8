//! Reading `rows.table`, which explains its own form.

/// A kind of cgroup hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    pub fn word(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }

    fn parse(word: &str) -> Option<&'static [Version]> {
        match word {
            "v1" => Some(&[Version::V1]),
            "v2" => Some(&[Version::V2]),
            "both" => Some(&[Version::V1, Version::V2]),
            _ => None,
        }
    }
}

/// What has to be read from one file, of the first of these that there is.
#[derive(Clone, Debug)]
pub struct Reading {
    pub one_of: Vec<(String, String)>,
}

/// What has to follow.
#[derive(Clone, Debug)]
pub enum Expected {
    /// An error with this word.
    Refused(String),
    /// A container whose cgroup has this.
    Readings(Vec<Reading>),
}

/// A runtime that does otherwise.
#[derive(Debug)]
pub struct Known {
    pub runtime: &'static str,
    /// How its version begins.
    pub release: &'static str,
    pub versions: &'static [Version],
    pub reason: &'static str,
    /// It does the same, and says it otherwise.
    pub words_only: bool,
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub clauses: &'static [&'static str],
    /// `linux.resources`.
    pub resources: String,
    v1: Option<Expected>,
    v2: Option<Expected>,
    pub deviations: Vec<Known>,
}

impl Row {
    pub fn expected(&self, version: Version) -> Option<&Expected> {
        match version {
            Version::V1 => self.v1.as_ref(),
            Version::V2 => self.v2.as_ref(),
        }
    }

    fn expect(&mut self, version: Version, text: &str) {
        let expected = match version {
            Version::V1 => &mut self.v1,
            Version::V2 => &mut self.v2,
        };
        if let Some(word) = text.strip_prefix("refused ") {
            *expected = Some(Expected::Refused(word.to_owned()));
            return;
        }
        let Expected::Readings(readings) = expected.get_or_insert(Expected::Readings(Vec::new())) else {
            panic!("{}: refused, and {text}", self.name)
        };
        if text != "nothing" {
            let pair = |t: &str| {
                let (file, want) = t.split_once(" = ").unwrap_or_else(|| panic!("FILE = TEXT: {t}"));
                (file.trim().to_owned(), want.trim().to_owned())
            };
            readings.push(Reading { one_of: text.split(" || ").map(pair).collect() });
        }
    }

    fn line(&mut self, line: &'static str) {
        let mut words = line.splitn(2, ' ');
        let (first, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if first == "differs" || first == "words" {
            let parts: Vec<&'static str> = rest.splitn(4, ' ').collect();
            let [runtime, release, versions, reason] = parts[..] else { panic!("{first}: {line}") };
            let versions = Version::parse(versions).unwrap_or_else(|| panic!("versions: {line}"));
            let words_only = first == "words";
            self.deviations.push(Known { runtime, release, versions, reason, words_only });
            return;
        }
        let versions = Version::parse(first).unwrap_or_else(|| panic!("{}: {line}", self.name));
        versions.iter().for_each(|v| self.expect(*v, rest));
    }
}

/// All rows.
///
/// # Panics
/// When the table is not in its form: it is a part of the program.
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in include_str!("rows.table").lines() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            rows.last_mut().expect("a row begins at the margin").line(line.trim());
            continue;
        }
        let parts: Vec<&'static str> = line.splitn(3, ' ').collect();
        let [name, clauses, resources] = parts[..] else { panic!("NAME CLAUSES RESOURCES: {line}") };
        let clauses = Vec::leak(clauses.split(',').collect());
        let resources = resources.to_owned();
        rows.push(Row { name, clauses, resources, v1: None, v2: None, deviations: Vec::new() });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_something_about_both_versions() {
        let rows = rows();
        for (i, row) in rows.iter().enumerate() {
            assert!(row.v1.is_some() && row.v2.is_some(), "{}", row.name);
            assert!(rows[..i].iter().all(|r| r.name != row.name), "{} twice", row.name);
            let json = row.resources.replace("$BFQ_", "$");
            let json = json.replace("$MAJOR", "8").replace("$MINOR", "0");
            serde_json::from_str::<serde_json::Value>(&json).unwrap_or_else(|e| panic!("{}: {e}", row.name));
        }
    }

    /// The members of `linux.resources` in the specification.
    #[test]
    fn every_member_is_in_a_row() {
        let members = [
            "limit",
            "reservation",
            "swap",
            "kernel",
            "kernelTCP",
            "swappiness",
            "disableOOMKiller",
            "useHierarchy",
            "checkBeforeUpdate",
            "shares",
            "quota",
            "burst",
            "period",
            "realtimeRuntime",
            "realtimePeriod",
            "cpus",
            "mems",
            "idle",
            "pids",
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
            "hugepageLimits",
            "pageSize",
            "classID",
            "priorities",
            "hcaHandles",
            "hcaObjects",
            "unified",
        ];
        let rows = rows();
        for member in members {
            let quoted = format!("\"{member}\"");
            assert!(rows.iter().any(|r| r.resources.contains(&quoted)), "{member} is in no row");
        }
    }
}
