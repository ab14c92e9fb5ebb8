//! `cargo xtask order`: the order of functions in the release build (docs/adr/0030-function-order.md).
//!
//! The kernel maps a program's file in stretches of 64 KiB around each page that is touched. Functions that are used
//! together, spread over two megabytes, bring in nearly all of it. This chore follows the usual commands instruction by
//! instruction and writes the names of the functions that they execute, in the order of first use; the linker puts these
//! side by side.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::host::{self, TempDir};
use crate::sys::step;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const HEAD: &str = "\
# Functions in the order of first use, for the linker; see docs/adr/0030-function-order.md.
# Written by `cargo xtask order`. Names that no longer exist do no harm.
";

/// `cargo xtask order`.
pub fn write(args: &[String]) -> Result<ExitCode> {
    if !args.is_empty() {
        return Err(Error::Usage);
    }
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Missing {
            what: "the steps of this processor".into(),
            hint: "only x86_64 is known",
        });
    }
    let directory = TempDir::new()?;
    let map = directory.path().join("map");
    let program = link_with_map(&map)?;
    let functions = read_map(&map)?;
    let offsets = follow_commands(&program, directory.path())?;
    let names = names(&functions, &offsets);
    let path = host::workspace().join(format!("runtime-cli/function-order/{TARGET}.txt"));
    let text = format!("{HEAD}{}\n", names.join("\n"));
    fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    println!("{}: {} functions", path.display(), names.len());
    Ok(ExitCode::SUCCESS)
}

/// Builds what is shipped, bit for bit in the same way, and lets the linker say where each function is.
fn link_with_map(map: &Path) -> Result<PathBuf> {
    let mut command = host::cargo();
    command.args(["rustc", "--quiet", "--release", "--package", "corten", "--bin", "corten", "--"]);
    command
        .args(["-C", "link-arg=-Wl,--no-demangle"])
        .arg("-C")
        .arg(format!("link-arg=-Wl,-Map={}", map.display()));
    host::run(&mut command)?;
    host::build("corten", host::Profile::Release)
}

/// Address of each function, from a map as lld writes it: address, load address, size, alignment, name.
fn read_map(path: &Path) -> Result<BTreeMap<u64, Vec<String>>> {
    let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    let mut functions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut in_text = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| u64::from_str_radix(word, 16).ok()) else {
            continue;
        };
        let (Some(_), Some(_), Some(_), Some(name)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        // Columns tell sections, their parts and symbols from each other: a symbol is the furthest in.
        if name.starts_with('.') && !name.contains('(') && words.next().is_none() {
            in_text = name == ".text";
        } else if in_text && !name.contains(":(") {
            functions.entry(address).or_default().push(name.to_owned());
        }
    }
    if functions.is_empty() {
        let what = format!("a function in {}", path.display());
        return Err(Error::Missing { what, hint: "the linker has to be lld, which Rust uses on its own" });
    }
    Ok(functions)
}

/// Offsets into the program, in the order of first use.
fn follow_commands(program: &Path, directory: &Path) -> Result<Vec<u64>> {
    let (plain, engine) = (directory.join("plain"), directory.join("engine"));
    bundle::write("busybox", &plain, &["true".into()])?;
    bundle::write("docker-like", &engine, &["true".into()])?;
    let sleeper = directory.join("sleeper");
    bundle::write("busybox", &sleeper, &["sleep".into(), "1000".into()])?;
    let mut seen = Seen::default();
    let root = directory.join("state");
    let mut corten = |args: &[&str], children: bool| {
        let mut command = Command::new(program);
        command.arg("--root").arg(&root).args(args).stdout(Stdio::null());
        seen.follow(command, children)
    };
    let text = |path: &Path| path.display().to_string();
    corten(&["run", "-b", &text(&plain), "order-1"], true)?;
    corten(&["run", "-b", &text(&engine), "order-2"], true)?;
    corten(&["create", "-b", &text(&sleeper), "order-3"], false)?;
    corten(&["start", "order-3"], false)?;
    corten(&["exec", "order-3", "true"], true)?;
    for verb in ["state", "pause", "resume"] {
        corten(&[verb, "order-3"], false)?;
    }
    corten(&["list"], false)?;
    corten(&["kill", "order-3", "KILL"], false)?;
    corten(&["delete", "--force", "order-3"], false)?;
    Ok(seen.order)
}

#[derive(Default)]
struct Seen {
    known: HashSet<u64>,
    order: Vec<u64>,
}

impl Seen {
    fn follow(&mut self, mut command: Command, children: bool) -> Result<()> {
        let line = format!("{command:?}");
        let status = step::follow(&mut command, children, &mut |offset| {
            if self.known.insert(offset) {
                self.order.push(offset);
            }
        });
        let status = status.doing(|| format!("follow {line}"))?;
        if status == 0 {
            return Ok(());
        }
        Err(Error::Missing { what: format!("success of {line}"), hint: "try the command by itself" })
    }
}

/// The functions that the offsets lie in, each once.
fn names(functions: &BTreeMap<u64, Vec<String>>, offsets: &[u64]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for offset in offsets {
        let Some((start, here)) = functions.range(..=offset).next_back() else { continue };
        if seen.insert(start) {
            names.extend(here.iter().cloned());
        }
    }
    names
}
