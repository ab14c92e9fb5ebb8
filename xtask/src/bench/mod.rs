//! `cargo xtask bench`: corten beside its peers and beside the floor program, interleaved in one run.

mod lane;
mod places;
mod plot;
mod profile;
mod report;
mod scenario;
mod single;
mod stats;
mod subject;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::TempDir;
use crate::{engines, host, sys};

use lane::Lane;
use places::Places;
use report::Report;
use scenario::Scenario;
pub use stats::Summary;
use subject::Subject;
use target::Target;

const DEFAULT_RUNS: usize = 50;
const DEFAULT_ALIVE: usize = 1000;
const WARM_UP_RUNS: usize = 3;
/// Where bundles and the state of containers are.
const RUN: &str = "/run";
/// Scenarios of many containers or many mounts are measured fewer times, by this factor.
const HEAVY: usize = 4;

struct Options {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    runs: usize,
    alive: usize,
    peers: bool,
    profile: bool,
    view: CgroupView,
    scenarios: Vec<Scenario>,
    runtimes: Vec<(String, PathBuf)>,
}

/// `cargo xtask bench`, see the usage in `main.rs`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    if args == ["--list"] {
        for scenario in Scenario::ALL {
            println!("{:28} {}", scenario.name(), scenario.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let [lane, rest @ ..] = args
        && lane == "engines"
    {
        return engines::time(rest);
    }
    if let [lane, rest @ ..] = args
        && lane == "seccomp"
    {
        return seccomp(rest);
    }
    let options = parse(args)?;
    if sys::effective_ids().0 != 0 {
        return Err(Error::Missing { what: "root".to_owned(), hint: "the bench mounts and makes cgroups" });
    }
    keep_state_in_memory()?;
    let directory = TempDir::below(Path::new(RUN))?;
    // Built before the view changes: cargo wants nothing of it.
    let subjects = subject::find(&options.runtimes, options.peers, directory.path())?;
    options.view.enter()?;
    sys::become_subreaper().doing(|| "adopt orphans".to_owned())?;
    let floor = subjects.iter().find(|subject| subject.is_floor()).map(|floor| floor.path.clone());
    let places = Places::new(directory.path(), options.view, floor.unwrap_or_default())?;
    if options.profile {
        let corten = subjects.iter().find(|subject| subject.name == subject::CORTEN);
        return corten.map_or(Err(Error::Usage), |corten| profile::print(corten, &places, options.runs));
    }
    let load = fs::read_to_string("/proc/loadavg").doing(|| "read the load".to_owned())?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let lanes = measure(&subjects, &options, &places)?;
    let report = Report::new(&subjects, &lanes, options.view, options.runs, load)?;
    println!("{}", report.table());
    let write =
        |path: &Path, text: String| fs::write(path, text).doing(|| format!("write {}", path.display()));
    if let Some(path) = &options.json {
        write(path, report.json()?)?;
    }
    if let Some(path) = &options.svg {
        write(path, plot::draw(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a tmpfs on `/run` where it is none: on every machine with systemd it is one, and runtimes count on that. On a
/// disk they would wait for it, once for each file that they remove if it is mounted with `discard`.
fn keep_state_in_memory() -> Result<()> {
    let is_on_disk = fs::read_to_string("/proc/self/mounts")
        .doing(|| "read /proc/self/mounts".to_owned())?
        .lines()
        .all(|line| !line.split(' ').skip(1).take(2).eq([RUN, "tmpfs"]));
    if !is_on_disk {
        return Ok(());
    }
    let mount = || {
        sys::private_mount_namespace()?;
        sys::mount_tmpfs(Path::new(RUN))
    };
    mount().doing(|| format!("mount a tmpfs on {RUN}"))
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
    let mut options = Options {
        json: None,
        svg: None,
        runs: DEFAULT_RUNS,
        alive: DEFAULT_ALIVE,
        peers: true,
        profile: false,
        view: CgroupView::current(),
        scenarios: Vec::new(),
        runtimes: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(Error::Usage);
        match option.as_str() {
            "--json" => options.json = Some(value()?.into()),
            "--svg" => options.svg = Some(value()?.into()),
            "--runs" => options.runs = parse_number("--runs", value()?)?,
            "--alive" => options.alive = parse_number("--alive", value()?)?,
            "--profile" => options.profile = true,
            "--no-peers" => options.peers = false,
            "--cgroup" => options.view = CgroupView::parse(value()?)?,
            "--scenario" => options.scenarios.push(parse_scenario(value()?)?),
            "--runtime" => options.runtimes.push(parse_runtime(value()?)?),
            _ => return Err(Error::Usage),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = Scenario::ALL.to_vec();
    }
    Ok(options)
}

fn parse_number(option: &'static str, value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::Argument { option, value: value.to_owned(), expected: "a number above 0" })
}

fn parse_scenario(value: &str) -> Result<Scenario> {
    let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == value);
    scenario.ok_or_else(|| Error::Argument {
        option: "--scenario",
        value: value.to_owned(),
        expected: "a name that --list prints",
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

fn measure(subjects: &[Subject], options: &Options, places: &Places) -> Result<Vec<Lane>> {
    // One container a subject for exec and state to look at; the floor joins the first of them.
    let mut targets = Vec::new();
    let wanted = |scenario| options.scenarios.contains(&scenario);
    let outcome = if wanted(Scenario::Exec) || wanted(Scenario::State) {
        subjects.iter().filter(|subject| subject.is_runtime()).try_for_each(|subject| {
            targets.push(Target::start(subject, places)?);
            Ok(())
        })
    } else {
        Ok(())
    };
    let lanes = outcome.and_then(|()| {
        let mut lanes = Vec::new();
        for scenario in &options.scenarios {
            eprintln!("{}: {}", scenario.name(), scenario.about());
            lanes.extend(measure_scenario(*scenario, subjects, &targets, places, options)?);
        }
        Ok(lanes)
    });
    for target in targets {
        target.stop(places);
    }
    sys::reap_ended();
    lanes
}

fn measure_scenario(
    scenario: Scenario,
    subjects: &[Subject],
    targets: &[Target],
    places: &Places,
    options: &Options,
) -> Result<Vec<Lane>> {
    let runtimes = || subjects.iter().filter(|subject| subject.is_runtime());
    let few = options.runs.div_ceil(HEAVY);
    match scenario {
        Scenario::Memory => runtimes().map(|subject| single::memory(subject, places)).collect(),
        Scenario::Limit => runtimes().map(|subject| single::smallest_limit(subject, places)).collect(),
        Scenario::Size => runtimes().map(single::size).collect(),
        Scenario::Alive => {
            runtimes().map(|subject| single::beside_others(subject, places, options.alive, few)).collect()
        }
        Scenario::Mounts(_) | Scenario::Parallel(_) => interleave(scenario, subjects, targets, places, few),
        _ => interleave(scenario, subjects, targets, places, options.runs),
    }
}

fn interleave(
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
            let lane = &mut lanes[(round + turn) % count];
            let sample = lane.sample(places)?;
            if round >= WARM_UP_RUNS {
                lane.samples.extend(sample);
            }
        }
    }
    Ok(lanes)
}
