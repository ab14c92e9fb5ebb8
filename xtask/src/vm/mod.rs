//! `cargo xtask vm` and the lane on top of it: a machine of our own, with systemd, every cgroup v2 controller, AppArmor
//! and another kernel than the host's.
//!
//! It is Debian's cloud kernel and a small Debian root file system under QEMU without KVM, which CI machines lack. The
//! image is built once and never written to; the workspace and the build directory are visible in the machine under the
//! paths that they have on the host, read-only.

pub mod image;
pub mod lane;
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::Value;

use crate::error::{Doing, Error, Result};
use crate::{host, sys};

use image::Image;
use machine::{Ending, Machine};

/// How long a command may take when nothing is said: software emulation is ten to twenty times slower than the host.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

struct Options {
    shares: Vec<PathBuf>,
    limit: Duration,
    words: Vec<String>,
}

/// `cargo xtask vm [--share DIR]... [--timeout SECONDS] [--] COMMAND [ARG...]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let options = parse(args)?;
    let image = Image::get()?;
    let script = format!("{}\n", shell_words(&options.words));
    let mut machine = Machine::new(&image, &script)?;
    for share in visible()?.into_iter().chain(options.shares) {
        machine.share(share);
    }
    match machine.run(options.limit)? {
        Ending::Exit(code) => Ok(ExitCode::from(code)),
        Ending::Lost(reason) => {
            eprint!("{}", machine.console_tail());
            eprintln!("xtask: {reason}");
            Ok(ExitCode::from(125))
        }
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { shares: Vec::new(), limit: TIME_LIMIT, words: Vec::new() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--share" => {
                let path = rest.next().ok_or(Error::Usage)?;
                options.shares.push(Path::new(path).canonicalize().doing(|| format!("find {path}"))?);
            }
            "--timeout" => {
                let value = rest.next().ok_or(Error::Usage)?;
                let seconds = value.parse().map_err(|_| Error::Argument {
                    option: "--timeout",
                    value: value.clone(),
                    expected: "a number of seconds",
                })?;
                options.limit = Duration::from_secs(seconds);
            }
            "--" => options.words = rest.by_ref().cloned().collect(),
            option if option.starts_with('-') => return Err(Error::Usage),
            word => options.words = std::iter::once(word.to_owned()).chain(rest.by_ref().cloned()).collect(),
        }
    }
    if options.words.is_empty() { Err(Error::Usage) } else { Ok(options) }
}

/// The directories of the host that every machine sees: the workspace, and where cargo builds if that is elsewhere.
fn visible() -> Result<Vec<PathBuf>> {
    let workspace = host::workspace().to_path_buf();
    let mut command = host::cargo();
    let output = command.args(["metadata", "--no-deps", "--format-version=1"]).output();
    let output = output.doing(|| "start cargo".to_owned())?;
    host::succeeded(&command, &output)?;
    let path = PathBuf::from("cargo metadata");
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|source| Error::Json { path, source })?;
    let target = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
    let elsewhere = (!target.starts_with(&workspace)).then_some(target);
    Ok(std::iter::once(workspace).chain(elsewhere).collect())
}

/// Words as a POSIX shell reads them back.
pub fn shell_words(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Building the image takes chroot, running it takes mounts.
fn require_root() -> Result<()> {
    if sys::effective_ids().0 == 0 {
        return Ok(());
    }
    Err(Error::Missing { what: "root".to_owned(), hint: "the machine's image is built and shared as root" })
}

/// A program of the machine's own tool tree.
fn in_tree(tree: &Path, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    // Whatever ends this program, also ends what it started.
    command.args(["--pdeathsig", "KILL", "chroot"]).arg(tree).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        let words = ["a b", "it's", "$HOME", ""].map(str::to_owned);
        let script = format!("printf '%s|' {}", shell_words(&words));
        let output = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$HOME||");
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let args = ["--timeout", "5", "ls", "--share"].map(str::to_owned);
        let options = parse(&args).expect("they are options and a command");
        assert_eq!((options.limit, options.words), (Duration::from_secs(5), args[2..].to_vec()));
        assert!(parse(&args[..2]).is_err());
    }
}
