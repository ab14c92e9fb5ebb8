//! Tells the program which commit it was built from.
//!
//! The same commit gives the same bytes: no date, no host name. `CORTEN_COMMIT` wins, for builds from an archive.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    let commit = std::env::var("CORTEN_COMMIT").ok().or_else(from_git);
    println!("cargo::rustc-env=CORTEN_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn from_git() -> Option<String> {
    // The log of HEAD changes with every commit and checkout; HEAD itself only names a branch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
