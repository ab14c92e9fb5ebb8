//! The figures as a table (Markdown, which reads well on a terminal too) and as JSON.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::lane::{Lane, Scenario};
use super::stats::Summary;
use super::subject::{CORTEN, FLOOR, Subject};
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};

/// Everything that one run of the bench found out.
#[derive(Serialize)]
pub struct Report {
    date: String,
    kernel: String,
    cpus: usize,
    load_before: String,
    cgroup: &'static str,
    runs: usize,
    subjects: Vec<SubjectEntry>,
    results: Vec<Entry>,
}

#[derive(Serialize)]
struct SubjectEntry {
    name: String,
    path: String,
    version: String,
}

#[derive(Serialize)]
struct Entry {
    scenario: &'static str,
    subject: String,
    microseconds: Option<Summary>,
    times_corten: Option<f64>,
    times_floor: Option<f64>,
    peak_memory_kib: Option<f64>,
    not_measured: Option<String>,
}

impl Report {
    /// Sums up the lanes.
    pub fn new(
        subjects: &[Subject],
        lanes: &[Lane],
        view: CgroupView,
        runs: usize,
        load_before: String,
    ) -> Result<Self> {
        let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
        let date =
            String::from_utf8_lossy(&date.doing(|| "ask for the date".to_owned())?.stdout).trim().to_owned();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
            .doing(|| "read the kernel's release".to_owned())?;
        let describe = |subject: &Subject| SubjectEntry {
            name: subject.name.clone(),
            path: subject.path.display().to_string(),
            version: subject.version.clone(),
        };
        Ok(Self {
            date,
            kernel: kernel.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            load_before,
            cgroup: view.name(),
            runs,
            subjects: subjects.iter().map(describe).collect(),
            results: lanes.iter().map(|lane| entry(lane, lanes)).collect(),
        })
    }

    /// The table, below a header that says when, where and of what.
    pub fn table(&self) -> String {
        let Self { date, kernel, cpus, cgroup, runs, load_before, .. } = self;
        let mut text = format!(
            "{date}, Linux {kernel}, {cpus} CPUs, cgroup {cgroup}, {runs} runs each, interleaved, load before {load_before}\n\n"
        );
        for subject in &self.subjects {
            text += &format!("- {}: {}\n", subject.name, subject.version);
        }
        let mut rows = vec![
            ["", "", "median", "p25 to p75", "min", "x corten", "x floor", "peak memory"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for scenario in Scenario::ALL.map(Scenario::name) {
            let of_scenario = self.results.iter().filter(|entry| entry.scenario == scenario);
            rows.extend(of_scenario.enumerate().map(|(index, entry)| row(entry, index == 0)));
        }
        text + "\n" + &align(&rows)
    }

    /// The same as one JSON document.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|source| Error::Json { path: Path::new("the report").to_owned(), source })
    }
}

fn entry(lane: &Lane, lanes: &[Lane]) -> Entry {
    let microseconds = if lane.failure.is_none() { Summary::of(&lane.samples) } else { None };
    let times = |name: &str| {
        let other = lanes.iter().find(|other| other.scenario == lane.scenario && other.subject == name)?;
        let base = Summary::of(&other.samples).filter(|_| other.failure.is_none())?;
        Some(microseconds?.median / base.median)
    };
    Entry {
        scenario: lane.scenario.name(),
        subject: lane.subject.clone(),
        microseconds,
        times_corten: times(CORTEN),
        times_floor: times(FLOOR),
        peak_memory_kib: Summary::of(&lane.memory).map(|summary| summary.median),
        not_measured: lane.failure.clone(),
    }
}

fn row(entry: &Entry, first: bool) -> Vec<String> {
    let scenario = if first { entry.scenario } else { "" };
    let mut cells = vec![scenario.to_owned(), entry.subject.clone()];
    let Some(time) = entry.microseconds else {
        let reason = entry.not_measured.as_deref().unwrap_or("no samples");
        cells.push(format!("not measured: {reason}"));
        return cells;
    };
    let milliseconds = |value: f64| format!("{:.2}", value / 1e3);
    let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    cells.push(format!("{} ms", milliseconds(time.median)));
    cells.push(format!("{} to {}", milliseconds(time.p25), milliseconds(time.p75)));
    cells.push(milliseconds(time.min));
    cells.push(ratio(entry.times_corten));
    cells.push(ratio(entry.times_floor));
    cells.push(entry.peak_memory_kib.map_or("-".to_owned(), |value| format!("{:.1} MiB", value / 1024.0)));
    cells
}

/// Markdown with columns of even width: words to the left, figures to the right.
fn align(rows: &[Vec<String>]) -> String {
    const WORDS: usize = 2;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        // A row that only says why there are no figures does not widen the columns of figures.
        let rows = rows.iter().filter(|row| column < WORDS || row.len() == columns);
        rows.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            text += &if column < WORDS { format!("| {cell:width$} ") } else { format!("| {cell:>width$} ") };
        }
        text += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(*width);
                text += &if column < WORDS { format!("|-{dashes}-") } else { format!("|-{dashes}:") };
            }
            text += "|\n";
        }
    }
    text
}
