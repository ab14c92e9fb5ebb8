//! `cargo xtask test vm`: the conformance harness inside the machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile};

use super::image::Image;
use super::machine::{Ending, Machine};
use super::{shell_words, visible};

/// For the whole lane. A run takes a quarter of an hour where nothing else needs the processors.
const TIME_LIMIT: Duration = Duration::from_secs(3 * 3600);

/// How many times longer than on the host a case may take.
pub const PATIENCE: &str = "6";

/// Prepares the machine for the cases: swap, a disk whose scheduler knows weights, and copies of the programs, which
/// start faster from a disk of the machine's own.
const PREPARE: &str = "\
modprobe -a loop zram bfq overlay >&2
echo bfq >/sys/block/vda/queue/scheduler
echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
echo 8 >/proc/sys/vm/nr_hugepages
mkdir -p /opt/corten/scratch
";

struct Options {
    /// A path of the host, or the name of a program in the machine.
    runtime: Option<String>,
    arguments: Vec<String>,
}

/// `cargo xtask test vm [--runtime PATH|NAME] [--systemd-cgroup] [-- FILTER...]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let begin = Instant::now();
    let options = parse(args)?;
    let image = Image::get()?;
    let built = |name| host::build_of("corten-integration-tests", name, Profile::Release);
    let (harness, probe) = (built("corten-conformance")?, built("corten-probe")?);
    let (runtime, subject) = match options.runtime {
        None => (Some(host::build("corten", Profile::Release)?), "/opt/corten/runtime".to_owned()),
        Some(path) if path.contains('/') => {
            let path = PathBuf::from(&path).canonicalize().doing(|| format!("find {path}"))?;
            (Some(path), "/opt/corten/runtime".to_owned())
        }
        // One of the machine's own.
        Some(name) => (None, name),
    };
    let mut script = PREPARE.to_owned();
    let copies =
        [(Some(harness), "corten-conformance"), (Some(probe), "corten-probe"), (runtime.clone(), "runtime")];
    for (from, name) in copies {
        if let Some(from) = from {
            script +=
                &format!("{}\n", shell_words(&["cp".to_owned(), text(&from), format!("/opt/corten/{name}")]));
        }
    }
    let mut words =
        ["/opt/corten/corten-conformance", "--root-dir", "/opt/corten/scratch", "--runtime", &subject]
            .map(str::to_owned)
            .to_vec();
    words.extend(options.arguments);
    script += &format!("CORTEN_PATIENCE={PATIENCE} exec {}\n", shell_words(&words));
    boot(&image, &script, runtime.as_deref(), begin)
}

/// Runs a script in the machine, which sees the workspace and the directory of that program.
pub fn boot(image: &Image, script: &str, program: Option<&Path>, begin: Instant) -> Result<ExitCode> {
    let mut machine = Machine::new(image, script)?;
    let directory = program.and_then(Path::parent).map(PathBuf::from);
    let shares = visible()?;
    let hidden = directory.filter(|path| !shares.iter().any(|share| path.starts_with(share)));
    shares.into_iter().chain(hidden).for_each(|path| machine.share(path));
    let ending = machine.run(TIME_LIMIT)?;
    println!("vm: {} s from boot to power-off, {} s in all", machine.seconds(), begin.elapsed().as_secs());
    match ending {
        Ending::Exit(code) => Ok(ExitCode::from(code)),
        Ending::Lost(reason) => {
            eprint!("{}", machine.console_tail());
            eprintln!("xtask: {reason}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { runtime: None, arguments: Vec::new() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--runtime" => options.runtime = Some(rest.next().ok_or(Error::Usage)?.clone()),
            "--systemd-cgroup" => options.arguments.push(arg.clone()),
            "--" => {
                let filters = rest.by_ref().flat_map(|word| ["--filter".to_owned(), word.clone()]);
                options.arguments.extend(filters);
            }
            _ => return Err(Error::Usage),
        }
    }
    Ok(options)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
