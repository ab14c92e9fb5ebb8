//! What is measured: corten, its peers on PATH, and the floor program.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Result};
use crate::host::{self, Profile};

const PEERS: [&str; 3] = ["crun", "runc", "youki"];

/// The name of the subject that the others are compared with.
pub const CORTEN: &str = "corten";
/// The name of the program that does nothing but the system calls.
pub const FLOOR: &str = "floor";

/// A program that makes containers.
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
}

/// Builds corten (unless one is named) and the floor program, and finds the peers.
pub fn find(named: &[(String, PathBuf)]) -> Result<Vec<Subject>> {
    let mut subjects = vec![Subject {
        name: FLOOR.to_owned(),
        path: host::build("corten-bench-floor", Profile::Release)?,
        version: "straight-line system calls".to_owned(),
    }];
    let is_named = |name: &str| named.iter().any(|(other, _)| other == name);
    if !is_named(CORTEN) {
        subjects.push(runtime(CORTEN, &host::build(CORTEN, Profile::Release)?)?);
    }
    for (name, path) in named {
        subjects.push(runtime(name, path)?);
    }
    for peer in PEERS.into_iter().filter(|peer| !is_named(peer)) {
        if let Some(path) = host::on_path(peer) {
            subjects.push(runtime(peer, &path)?);
        }
    }
    Ok(subjects)
}

fn runtime(name: &str, path: &Path) -> Result<Subject> {
    let output =
        Command::new(path).arg("--version").output().doing(|| format!("start {}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default().to_owned();
    Ok(Subject { name: name.to_owned(), path: path.to_owned(), version })
}
