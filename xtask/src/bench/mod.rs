//! `cargo xtask bench`: corten beside its peers and beside the floor program, interleaved in one run.

mod lane;
mod report;
mod stats;
mod subject;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::TempDir;
use crate::{bundle, host, sys};

use lane::{Lane, Places, Scenario, Target};
use report::Report;
use subject::Subject;

const DEFAULT_RUNS: usize = 50;
const WARM_UP_RUNS: usize = 3;
const MEMORY_RUNS: usize = 3;

struct Options {
    json: bool,
    runs: usize,
    view: CgroupView,
    runtimes: Vec<(String, PathBuf)>,
}

/// `cargo xtask bench [--json] [--runs N] [--cgroup v1|v2|hybrid] [--runtime NAME=PATH]...`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(("seccomp", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return seccomp(rest);
    }
    let options = parse(args)?;
    if sys::effective_ids().0 != 0 {
        return Err(Error::Missing { what: "root".to_owned(), hint: "the bench mounts and makes cgroups" });
    }
    // Built before the view changes: cargo wants nothing of it.
    let subjects = subject::find(&options.runtimes)?;
    options.view.enter()?;
    let load = fs::read_to_string("/proc/loadavg").doing(|| "read the load".to_owned())?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    sys::become_subreaper().doing(|| "adopt orphans".to_owned())?;
    let directory = TempDir::below(Path::new("/run"))?;
    let lanes = measure(&subjects, &options, directory.path())?;
    let report = Report::new(&subjects, &lanes, options.view, options.runs, load)?;
    if options.json {
        eprintln!("{}", report.table());
        println!("{}", report.json()?);
    } else {
        println!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask bench seccomp [PROFILE]`: filters beside libseccomp's (docs/seccomp.md).
fn seccomp(args: &[String]) -> Result<ExitCode> {
    let profile = match args {
        [] => "seccomp-profiles/profiles/default.json",
        [profile] => profile,
        _ => return Err(Error::Usage),
    };
    let mut compiler = Command::new("cc");
    compiler.arg("-print-file-name=libseccomp.a");
    let output = compiler.output().doing(|| "ask cc for libseccomp.a".to_owned())?;
    host::succeeded(&compiler, &output)?;
    let library = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let Some(directory) = Path::new(&library).parent().filter(|_| library.contains('/')) else {
        return Err(Error::Missing {
            what: "libseccomp.a".to_owned(),
            hint: "`cargo xtask setup` installs it",
        });
    };
    let mut command = host::cargo();
    command.env("LIBSECCOMP_LINK_TYPE", "static").env("LIBSECCOMP_LIB_PATH", directory);
    command.args([
        "run",
        "--release",
        "--quiet",
        "-p",
        "corten-libcontainer",
        "--features",
        "libseccomp-oracle",
    ]);
    host::run(command.args(["--example", "seccomp-bench", "--", profile]))?;
    Ok(ExitCode::SUCCESS)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options =
        Options { json: false, runs: DEFAULT_RUNS, view: CgroupView::current(), runtimes: Vec::new() };
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(Error::Usage);
        match option.as_str() {
            "--json" => options.json = true,
            "--runs" => options.runs = parse_runs(value()?)?,
            "--cgroup" => options.view = CgroupView::parse(value()?)?,
            "--runtime" => options.runtimes.push(parse_runtime(value()?)?),
            _ => return Err(Error::Usage),
        }
    }
    Ok(options)
}

fn parse_runs(value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|runs| *runs > 0);
    number.ok_or_else(|| Error::Argument {
        option: "--runs",
        value: value.to_owned(),
        expected: "a number above 0",
    })
}

fn parse_runtime(value: &str) -> Result<(String, PathBuf)> {
    let pair = value.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    pair.map(|(name, path)| (name.to_owned(), path.into())).ok_or_else(|| Error::Argument {
        option: "--runtime",
        value: value.to_owned(),
        expected: "NAME=PATH",
    })
}

fn measure(subjects: &[Subject], options: &Options, directory: &Path) -> Result<Vec<Lane>> {
    let meter = subjects.iter().find(|subject| subject.is_floor()).map(|floor| floor.path.clone());
    let places = Places::new(directory, options.view, meter.unwrap_or_default())?;
    bundle::write("busybox", &places.bundle_true, &["true".to_owned()])?;
    bundle::write("busybox", &places.bundle_sleep, &["sleep".to_owned(), "100000".to_owned()])?;
    // One container a subject for exec and state to look at; the floor joins the first of them.
    let mut targets = Vec::new();
    let outcome = subjects.iter().filter(|subject| !subject.is_floor()).try_for_each(|subject| {
        targets.push(Target::start(subject, &places)?);
        Ok(())
    });
    let lanes = outcome.and_then(|()| {
        let mut lanes = Vec::new();
        for scenario in Scenario::ALL {
            lanes.extend(measure_scenario(scenario, subjects, &targets, &places, options.runs)?);
        }
        Ok(lanes)
    });
    for target in targets {
        target.stop();
    }
    sys::reap_ended();
    lanes
}

fn measure_scenario(
    scenario: Scenario,
    subjects: &[Subject],
    targets: &[Target],
    places: &Places,
    runs: usize,
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for subject in subjects {
        lanes.extend(Lane::new(scenario, subject, targets, places)?);
    }
    for round in 0..WARM_UP_RUNS + runs {
        // Each round begins with another subject, so that none always follows the same neighbour.
        let count = lanes.len();
        for turn in 0..count {
            lanes[(round + turn) % count].sample(places, round >= WARM_UP_RUNS)?;
        }
    }
    for _ in 0..MEMORY_RUNS {
        for lane in &mut lanes {
            lane.measure_memory(places)?;
        }
    }
    Ok(lanes)
}
