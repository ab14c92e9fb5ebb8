//! `cargo xtask deny`: licences, sources, unwanted crates and known vulnerabilities of what is linked in (`deny.toml`).

use std::process::{Command, ExitCode, Stdio};

use crate::error::{Error, Result};
use crate::host;

/// The release that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks; builds cargo-deny first where it is absent, which takes some minutes.
pub fn run(args: &[String]) -> Result<ExitCode> {
    if !args.is_empty() {
        return Err(Error::Usage);
    }
    if !deny().arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("deny: building cargo-deny {VERSION}");
        host::run(host::cargo().args([
            "install",
            "--quiet",
            "--locked",
            "cargo-deny",
            "--version",
            VERSION,
        ]))?;
    }
    host::run(deny().args(["check", "bans", "licenses", "sources"]))?;
    // The database of advisories is a git repository; a machine may reach the registry of crates and not that.
    match host::run(deny().args(["fetch", "db"])) {
        Ok(()) => host::run(deny().args(["--offline", "check", "advisories"]))?,
        Err(error) => println!("deny: advisories NOT CHECKED, as their database cannot be had: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn deny() -> Command {
    let mut command = host::cargo();
    command.arg("deny");
    command
}
