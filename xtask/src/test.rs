//! `cargo xtask test [LANE]`: the lanes, from cheap to dear.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile};
use crate::{bundle, engines, faults, sys, transcript, vm};

const INTEGRATION: &str = "corten-integration-tests";

/// A group of tests that need the same of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Needs nothing.
    Unit,
    /// Needs user namespaces: the hello bundle, and the cases of an ordinary user.
    Rootless,
    /// Needs root: every integration test, on the cgroups that the machine has.
    Native,
    /// Needs root: the same where cgroup v2 alone is mounted.
    NativeV2,
}

impl Lane {
    const ALL: [Self; 4] = [Self::Unit, Self::Rootless, Self::Native, Self::NativeV2];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Rootless => "rootless",
            Self::Native => "native",
            Self::NativeV2 => "native-v2",
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Native | Self::NativeV2)
    }
}

#[derive(Default)]
struct Options {
    lane: Option<Lane>,
    runtime: Option<PathBuf>,
    filters: Vec<String>,
}

/// `cargo xtask test [LANE] [--runtime PATH] [-- FILTER...]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    if let [lane, rest @ ..] = args
        && lane == "engines"
    {
        return engines::run(rest);
    }
    if let [lane, rest @ ..] = args
        && lane == "faults"
    {
        return faults::run(rest);
    }
    if let [lane, rest @ ..] = args
        && lane == "vm"
    {
        return vm::lane::run(rest);
    }
    let options = parse(args)?;
    match options.lane {
        Some(lane) => run_lane(lane, &options).map(|()| ExitCode::SUCCESS),
        None => run_all(args),
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runtime" => options.runtime = Some(args.next().ok_or(Error::Usage)?.into()),
            "--" => options.filters = args.by_ref().cloned().collect(),
            name => {
                let lane = Lane::ALL.into_iter().find(|lane| lane.name() == name);
                options.lane = Some(lane.ok_or_else(|| Error::Argument {
                    option: "test",
                    value: name.to_owned(),
                    expected: "unit, rootless, native, native-v2, faults, engines or vm",
                })?);
            }
        }
    }
    Ok(options)
}

/// Every lane that this caller can run, each in a process of its own, so that a mount namespace ends with its lane.
fn run_all(args: &[String]) -> Result<ExitCode> {
    let is_root = sys::effective_ids().0 == 0;
    let program = std::env::current_exe().doing(|| "find this program".to_owned())?;
    let mut verdicts = Vec::new();
    let mut failed = Vec::new();
    for lane in Lane::ALL {
        let verdict = if lane.needs_root() && !is_root {
            "not run: needs root"
        } else if lane == Lane::NativeV2 && CgroupView::current() == CgroupView::V2 {
            "not run: this machine's native lane is on cgroup v2 already"
        } else {
            println!("== {}", lane.name());
            let mut command = Command::new(&program);
            let (status, lines) =
                transcript::run(command.args(["test", lane.name()]).args(args), lane.name())?;
            if status.success() {
                "passed"
            } else {
                failed.push((lane, lines));
                "FAILED"
            }
        };
        verdicts.push((lane, verdict));
    }
    // Once more at the end: of a long log, that is what is kept and read.
    for (lane, lines) in &failed {
        println!("== {} failed", lane.name());
        transcript::failures(lines).iter().for_each(|line| println!("{line}"));
    }
    println!("== lanes");
    for (lane, verdict) in &verdicts {
        println!("{:10} {verdict}", lane.name());
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_lane(lane: Lane, options: &Options) -> Result<()> {
    if lane.needs_root() && sys::effective_ids().0 != 0 {
        return Err(Error::Missing { what: "root".to_owned(), hint: "this lane makes cgroups and mounts" });
    }
    if lane == Lane::Unit {
        let mut command = host::cargo();
        command
            .args(["test", "--no-fail-fast", "--workspace", "--exclude", INTEGRATION, "--"])
            .args(&options.filters);
        return host::run(&mut command);
    }
    let runtime = match &options.runtime {
        Some(path) => path.clone(),
        None => host::build("corten", Profile::Dev)?,
    };
    let mut command = host::cargo();
    command.env("CORTEN", &runtime).args(["test", "--package", INTEGRATION, "--"]);
    if lane == Lane::Rootless {
        bundle::check_hello(&runtime)?;
        if options.filters.is_empty() {
            command.arg("rootless");
        }
    }
    if lane == Lane::NativeV2 {
        CgroupView::V2.enter()?;
    }
    host::run(command.args(&options.filters))
}
