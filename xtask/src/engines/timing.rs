//! `cargo xtask bench engines`: how long an engine takes for a container, with the one runtime and with the other.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::check::IMAGE;
use super::daemon::Daemon;
use crate::bench::Summary;
use crate::error::{Doing, Result};
use crate::host;

const WARM_UP_RUNS: usize = 3;
const WEIGHED_RUNS: usize = 10;

/// The name of the floor program's copy in the lane's directory.
pub const WEIGHER: &str = "weigher";

/// Both in the order of the tables.
const ROLES: [&str; 2] = ["reference", "subject"];

/// Runs that many containers with each of the two runtimes, by each of the two engines, by turns.
pub fn measure(daemon: &Daemon, runtimes: [&Path; 2], runs: usize) -> Result<()> {
    println!("| {runs} containers | median ms | p25 to p75 | all, s |\n|---|---:|---:|---:|");
    compare("docker run --rm", ROLES.map(Path::new), runs, |name, _| by_docker(daemon, name))?;
    compare("ctr run --rm", runtimes, runs, |path, number| by_containerd(daemon, path, number))
}

fn by_docker(daemon: &Daemon, runtime: &Path) -> Command {
    let mut command = daemon.docker();
    command.args(["run", "--rm", "--network", "none", "--runtime"]).arg(runtime).args([IMAGE, "true"]);
    command
}

fn by_containerd(daemon: &Daemon, runtime: &Path, number: usize) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(daemon.containerd_address()).args(["--namespace", daemon.namespace()]);
    command.args(["run", "--rm", "--runc-binary"]).arg(runtime);
    command.args([IMAGE, &format!("timed-{number}"), "true"]);
    command
}

/// Commands that stand for the two runtimes, and write down how much memory these needed at most.
pub struct Scales {
    weighed: [PathBuf; 2],
}

impl Scales {
    /// Before the daemon starts, which has to be told of them.
    pub fn set_up(directory: &Path, runtimes: [&Path; 2]) -> Result<Self> {
        let weighed = ROLES.map(|role| directory.join(format!("weighed-{role}")));
        for (weighed, runtime) in weighed.iter().zip(runtimes) {
            let [weigher, list] = [directory.join(WEIGHER), weighed.with_extension("kib")];
            let words = format!("{} weigh {} {}", weigher.display(), list.display(), runtime.display());
            let doing = || format!("write {}", weighed.display());
            fs::write(weighed, format!("#!/bin/sh\nexec {words} \"$@\"\n")).doing(doing)?;
            fs::set_permissions(weighed, Permissions::from_mode(0o755)).doing(doing)?;
        }
        Ok(Self { weighed })
    }

    /// The peak of what the shims started, over some containers. By containerd only: dockerd starts the same shim, but has
    /// the runtime execute dockerd itself as a hook, which needs more memory than any runtime.
    pub fn weigh(&self, daemon: &Daemon) -> Result<()> {
        println!("| ctr run --rm | peak memory of the shim's children, KiB |\n|---|---:|");
        for (role, weighed) in ROLES.iter().zip(&self.weighed) {
            println!("| {role} | {} |", peak(weighed, |number| by_containerd(daemon, weighed, number))?);
        }
        Ok(())
    }
}

fn peak(weighed: &Path, command: impl Fn(usize) -> Command) -> Result<u64> {
    let list = weighed.with_extension("kib");
    fs::write(&list, "").doing(|| format!("write {}", list.display()))?;
    for number in 0..WEIGHED_RUNS {
        let mut command = command(number);
        let output = command.stdin(Stdio::null()).output().doing(|| "start an engine's client".to_owned())?;
        host::succeeded(&command, &output)?;
    }
    let sizes = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    Ok(sizes.lines().filter_map(|line| line.parse().ok()).max().unwrap_or_default())
}

fn compare(
    what: &str,
    runtimes: [&Path; 2],
    runs: usize,
    command: impl Fn(&Path, usize) -> Command,
) -> Result<()> {
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP_RUNS + runs {
        for (index, runtime) in runtimes.iter().enumerate() {
            let mut command = command(runtime, 2 * round + index);
            let begin = Instant::now();
            let output =
                command.stdin(Stdio::null()).output().doing(|| "start an engine's client".to_owned())?;
            let elapsed = begin.elapsed().as_secs_f64() * 1e3;
            host::succeeded(&command, &output)?;
            if round >= WARM_UP_RUNS {
                samples[index].push(elapsed);
            }
        }
    }
    for (name, samples) in ROLES.iter().zip(&samples) {
        let Some(summary) = Summary::of(samples) else { continue };
        let all: f64 = samples.iter().sum::<f64>() / 1e3;
        println!(
            "| {what}, {name} | {:.1} | {:.1} to {:.1} | {all:.1} |",
            summary.median, summary.p25, summary.p75
        );
    }
    Ok(())
}
