//! `cargo xtask test faults`: every command with a fault at each of its system calls, and the table of what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile, TempDir};
use crate::sys;

/// As the harness writes it (`integration-tests/src/faults/report.rs`).
#[derive(Deserialize)]
struct Tally {
    scenario: String,
    calls: Vec<usize>,
    kinds: BTreeSet<u64>,
    faults: BTreeMap<String, Counts>,
    wrong: Vec<String>,
}

#[derive(Deserialize, Default, Clone, Copy)]
struct Counts {
    hit: usize,
    missed: usize,
    succeeded: usize,
}

struct Options {
    runtime: Option<PathBuf>,
    every: usize,
    filters: Vec<String>,
}

/// `cargo xtask test faults [--runtime PATH] [--every N] [-- COMMAND...]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    if sys::effective_ids().0 != 0 {
        return Err(Error::Missing { what: "root".to_owned(), hint: "this lane makes cgroups and mounts" });
    }
    let options = parse(args)?;
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => host::build("corten", Profile::Dev)?,
    };
    host::run(host::cargo().args(["build", "--quiet", "--package", "corten-integration-tests", "--bins"]))?;
    let reports = TempDir::new()?;
    let mut command = host::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "corten-integration-tests",
        "--bin",
        "corten-conformance",
        "--",
    ]);
    command.arg("--runtime").arg(&runtime);
    if options.filters.is_empty() {
        command.args(["--filter", "fault/"]);
    }
    for filter in &options.filters {
        command.arg("--filter").arg(format!("fault/{filter}"));
    }
    command.env("CORTEN_FAULTS", options.every.to_string()).env("CORTEN_FAULTS_REPORT", reports.path());
    let judged = host::run(&mut command);
    let tallies = read(reports.path())?;
    print_table(&tallies);
    judged.map(|()| ExitCode::SUCCESS)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { runtime: None, every: 1, filters: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runtime" => options.runtime = Some(args.next().ok_or(Error::Usage)?.into()),
            "--every" => {
                let value = args.next().ok_or(Error::Usage)?;
                let number = value.parse().ok().filter(|n| *n > 0);
                options.every = number.ok_or_else(|| Error::Argument {
                    option: "--every",
                    value: value.clone(),
                    expected: "a number above 0",
                })?;
            }
            "--" => options.filters = args.by_ref().cloned().collect(),
            _ => return Err(Error::Usage),
        }
    }
    Ok(options)
}

fn read(directory: &Path) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    let files = fs::read_dir(directory).doing(|| format!("list {}", directory.display()))?;
    for file in files.flatten() {
        let path = file.path();
        let text = fs::read(&path).doing(|| format!("read {}", path.display()))?;
        tallies.push(serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?);
    }
    tallies.sort_by_key(|tally: &Tally| std::cmp::Reverse(tally.calls.iter().sum::<usize>()));
    Ok(tallies)
}

fn print_table(tallies: &[Tally]) {
    const FAULTS: [&str; 7] = ["SIGKILL", "EINTR", "EAGAIN", "ENOMEM", "ENOSPC", "EMFILE", "EIO"];
    println!("\nEach fault: hit (of these, the command succeeded nevertheless).\n");
    println!("| command | system calls | {} | hit | missed | wrong |", FAULTS.join(" | "));
    println!("|---|---|{}---|---|---|", "---|".repeat(FAULTS.len()));
    for tally in tallies {
        let calls: Vec<String> = tally.calls.iter().map(usize::to_string).collect();
        let cell = |name: &str| {
            let counts = tally.faults.get(name).copied().unwrap_or_default();
            format!("{} ({})", counts.hit, counts.succeeded)
        };
        let cells: Vec<String> = FAULTS.iter().map(|name| cell(name)).collect();
        let (hit, missed) = sums([tally]);
        let (name, calls, cells) = (&tally.scenario, calls.join(" + "), cells.join(" | "));
        println!("| {name} | {calls} | {cells} | {hit} | {missed} | {} |", tally.wrong.len());
    }
    let kinds: BTreeSet<u64> = tallies.iter().flat_map(|tally| tally.kinds.iter().copied()).collect();
    let ((hit, missed), wrong) =
        (sums(tallies), tallies.iter().map(|tally| tally.wrong.len()).sum::<usize>());
    println!(
        "\n{hit} faults in {} different system calls of {} commands, {missed} not reached, {wrong} wrong.",
        kinds.len(),
        tallies.len()
    );
    for line in tallies.iter().flat_map(|tally| &tally.wrong) {
        println!("wrong: {line}");
    }
}

/// Hit and missed.
fn sums<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> (usize, usize) {
    let counts = tallies.into_iter().flat_map(|tally| tally.faults.values());
    counts.fold((0, 0), |(hit, missed), c| (hit + c.hit, missed + c.missed))
}
