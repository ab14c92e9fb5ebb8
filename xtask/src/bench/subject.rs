//! What is measured: corten, its peers, the floor program, and a program that says hello.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Result};
use crate::host::{self, Profile};

const PEERS: [&str; 4] = ["crun-static", "crun", "runc", "youki"];

/// The name of the subject that the others are compared with.
pub const CORTEN: &str = "corten";
/// The name of the program that does nothing but the system calls.
pub const FLOOR: &str = "floor";
/// The name of the program that does nothing at all.
pub const HELLO: &str = "hello";

/// A program that makes containers, or that others are compared with.
pub struct Subject {
    /// How the report calls it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Subject {
    /// Whether this is the floor program, which has a command line of its own.
    pub fn is_floor(&self) -> bool {
        self.name == FLOOR
    }

    /// Whether this is the program that says hello.
    pub fn is_hello(&self) -> bool {
        self.name == HELLO
    }

    /// Whether it takes a runtime's command line.
    pub fn is_runtime(&self) -> bool {
        !self.is_floor() && !self.is_hello()
    }
}

/// Builds corten (unless one is named), the floor program and the greeter, and finds the peers.
pub fn find(named: &[(String, PathBuf)], peers: bool, directory: &Path) -> Result<Vec<Subject>> {
    let floor = host::build("corten-bench-floor", Profile::Release)?;
    let subject =
        |name: &str, path, version: &str| Subject { name: name.into(), path, version: version.into() };
    let mut subjects = vec![subject(FLOOR, floor, "straight-line system calls")];
    let is_named = |name: &str| named.iter().any(|(other, _)| other == name);
    if !is_named(CORTEN) {
        subjects.push(runtime(CORTEN, &host::build(CORTEN, Profile::Release)?)?);
    }
    for (name, path) in named {
        subjects.push(runtime(name, path)?);
    }
    for peer in PEERS.into_iter().filter(|peer| peers && !is_named(peer)) {
        if let Some(path) = host::on_path(peer) {
            subjects.push(runtime(peer, &path)?);
        }
    }
    subjects.push(subject(HELLO, hello(directory)?, "fn main() { println!(\"hello\") }, static"));
    Ok(subjects)
}

fn runtime(name: &str, path: &Path) -> Result<Subject> {
    let output =
        Command::new(path).arg("--version").output().doing(|| format!("start {}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default().to_owned();
    Ok(Subject { name: name.to_owned(), path: path.to_owned(), version })
}

/// Compiles what every Rust programmer compiles first, linked as corten is.
fn hello(directory: &Path) -> Result<PathBuf> {
    let (source, program) = (directory.join("hello.rs"), directory.join("hello"));
    fs::write(&source, "fn main() { println!(\"hello\") }\n").doing(|| "write hello.rs".to_owned())?;
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["-O", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-C", "strip=symbols", "-o"]);
    host::run(rustc.arg(&program).arg(&source))?;
    Ok(program)
}
