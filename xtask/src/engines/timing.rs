//! `cargo xtask bench engines`: how long an engine takes for a container, with the one runtime and with the other.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::check::IMAGE;
use super::daemon::Daemon;
use crate::bench::Summary;
use crate::error::{Doing, Result};
use crate::host;

const WARM_UP_RUNS: usize = 3;

/// Runs that many containers with each of the two runtimes, by each of the two engines, by turns.
pub fn measure(daemon: &Daemon, reference: &Path, subject: &Path, runs: usize) -> Result<()> {
    println!("| {runs} containers | median ms | p25 to p75 | all, s |\n|---|---:|---:|---:|");
    let by_docker = |name: &Path, _: usize| {
        let mut command = daemon.docker();
        command.args(["run", "--rm", "--network", "none", "--runtime"]).arg(name).args([IMAGE, "true"]);
        command
    };
    compare("docker run --rm", ["reference", "subject"].map(Path::new), runs, by_docker)?;
    let by_containerd = |path: &Path, number: usize| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(daemon.containerd_address()).args(["--namespace", daemon.namespace()]);
        command.args(["run", "--rm", "--runc-binary"]).arg(path).args([
            IMAGE,
            &format!("timed-{number}"),
            "true",
        ]);
        command
    };
    compare("ctr run --rm", [reference, subject], runs, by_containerd)
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
    for (name, samples) in ["reference", "subject"].iter().zip(&samples) {
        let Some(summary) = Summary::of(samples) else { continue };
        let all: f64 = samples.iter().sum::<f64>() / 1e3;
        println!(
            "| {what}, {name} | {:.1} | {:.1} to {:.1} | {all:.1} |",
            summary.median, summary.p25, summary.p75
        );
    }
    Ok(())
}
