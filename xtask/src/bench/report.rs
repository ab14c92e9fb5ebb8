//! The figures as a table (Markdown, which reads well on a terminal too) and as JSON.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::lane::Lane;
use super::scenario::{Scenario, Unit};
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
    pub(super) results: Vec<Entry>,
}

#[derive(Serialize)]
struct SubjectEntry {
    name: String,
    path: String,
    version: String,
}

/// One subject in one scenario, summed up.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) scenario: String,
    pub(super) subject: String,
    pub(super) unit: Unit,
    pub(super) figures: Option<Summary>,
    /// How often corten's figure fits into this one.
    times_corten: Option<f64>,
    /// How often the floor's figure fits into this one.
    times_floor: Option<f64>,
    /// For the container beside many others: how often the figure without them fits into this one.
    times_alone: Option<f64>,
    /// For containers with many mounts: microseconds for each of them, over a plain `run`.
    microseconds_per_mount: Option<f64>,
    /// For many at a time: how many in a second.
    per_second: Option<f64>,
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

    /// When, where and how.
    pub fn header(&self) -> String {
        let Self { date, kernel, cpus, cgroup, runs, load_before, .. } = self;
        format!(
            "{date}, Linux {kernel}, {cpus} CPUs, cgroup {cgroup}, {runs} runs each (a quarter of that with many \
             mounts or containers), interleaved, load before {load_before}"
        )
    }

    /// The table, below a header that says when, where and of what.
    pub fn table(&self) -> String {
        let mut text = self.header() + "\n\n";
        for subject in &self.subjects {
            text += &format!("- {}: {}\n", subject.name, subject.version);
        }
        let head = ["", "", "median", "p25 to p75", "min", "x corten", "x floor", "besides"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let mut last = "";
        for entry in &self.results {
            rows.push(row(entry, entry.scenario != last));
            last = &entry.scenario;
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
    let summary = |lane: &Lane| Summary::of(&lane.samples).filter(|_| lane.failure.is_none());
    let figures = summary(lane);
    let median = figures.map(|figures| figures.median);
    let of = |scenario: Scenario, subject: &str| {
        let other = lanes.iter().find(|other| other.scenario == scenario && other.subject == subject)?;
        Some(summary(other)?.median)
    };
    let times = |base: Option<f64>| Some(median? / base?);
    let per_mount = match lane.scenario {
        Scenario::Mounts(count) => {
            median.zip(of(Scenario::Run, &lane.subject)).map(|(with, plain)| (with - plain) / count as f64)
        }
        _ => None,
    };
    let per_second = match lane.scenario {
        Scenario::Parallel(_) => median.map(|each| 1e6 / each),
        _ => None,
    };
    Entry {
        scenario: lane.scenario.name(),
        subject: lane.subject.clone(),
        unit: lane.scenario.unit(),
        figures,
        times_corten: times(of(lane.scenario, CORTEN)),
        times_floor: times(of(lane.scenario, FLOOR)),
        times_alone: times(Summary::of(&lane.alone).map(|alone| alone.median)),
        microseconds_per_mount: per_mount,
        per_second,
        not_measured: lane.failure.clone(),
    }
}

fn row(entry: &Entry, first: bool) -> Vec<String> {
    let scenario = if first { entry.scenario.as_str() } else { "" };
    let mut cells = vec![scenario.to_owned(), entry.subject.clone()];
    let Some(figures) = entry.figures else {
        let reason = entry.not_measured.as_deref().unwrap_or("no samples");
        cells.push(format!("not measured: {reason}"));
        return cells;
    };
    let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let besides = [
        entry.times_alone.map(|times| format!("{times:.2} times alone")),
        entry.microseconds_per_mount.map(|each| format!("{each:.1} us a mount")),
        entry.per_second.map(|number| format!("{number:.0} per second")),
    ];
    cells.push(entry.unit.text(figures.median));
    cells.push(format!("{} to {}", entry.unit.text(figures.p25), entry.unit.text(figures.p75)));
    cells.push(entry.unit.text(figures.min));
    cells.push(ratio(entry.times_corten));
    cells.push(ratio(entry.times_floor));
    cells.push(besides.into_iter().flatten().collect::<Vec<_>>().join(", "));
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
