//! `corten seccomp record`

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process;

use libcontainer::config::Seccomp;
use libcontainer::seccomp::Arch;
use libcontainer::seccomp::record::{RecordError, Recording, record};

use super::deliver;
use super::profile::Source;
use crate::Failure;
use crate::args::{Command, Flag, Invocation, UsageError};
use crate::commands::exit_code;

pub const COMMAND: Command = Command {
    name: "seccomp record",
    summary: "run a program and write the smallest profile that lets it run",
    arguments: "<program> [argument...]",
    count: 1..=1,
    verbatim_after: Some(1),
    flags: &[
        Flag::value("output", "file", "write the profile there").short(b'o').default("standard output"),
        Flag::switch("append", "add to the profile that --output names, if there is one"),
    ],
    details: "Runs a program, waits until it and everything that it started have ended, and writes a profile that permits \
              the system calls that they made, and those that a container runtime makes to start the program; all \
              others fail with EPERM. Each call waits for corten to note it, so the program is slower. Nothing that the \
              program did not do is in the profile: run what shall work, an error or two included, several times with \
              --append. Servers should stay in the foreground. The exit code is that of the program.\n\
              Without CAP_SYS_ADMIN the program runs with no_new_privs, so that sudo and the like do not work in it. To \
              record inside a container, mount corten there and put these words before process.args.",
    examples: &[
        "corten seccomp record -o redis.json -- redis-server --port 7777",
        "corten seccomp record -o sh.json --append sh -c 'ls /; date'",
    ],
    see_also: &["seccomp explain", "seccomp diff"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let append = invocation.flags.is_on("append");
    let output = invocation.flags.last("output");
    if append && output.is_none() {
        let problem = "--append needs --output";
        return Err(UsageError::Combination { command: "seccomp record", problem }.into());
    }
    // Before the program runs: an error would come too late behind it.
    let before = match output {
        Some(path) if append && Path::new(path).exists() => Some(earlier(invocation)?),
        _ => None,
    };
    let native = Arch::native().ok_or(RecordError::Architecture)?;
    let mut command = process::Command::new(&invocation.arguments[0]);
    command.args(&invocation.arguments[1..]);
    let recording = record(command)?;
    warn(&recording);
    let mut profile = recording.profile(native);
    if let Some(before) = before {
        merge(&mut profile, &before);
    }
    let mut text = serde_json::to_string_pretty(&profile)?;
    text.push('\n');
    deliver(invocation, text.as_bytes())?;
    let status = recording.status.ok_or(Failure::LeftBehind)?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(exit_code(code.unwrap_or(1)))
}

/// The profile of an earlier run.
fn earlier(invocation: &Invocation) -> Result<Seccomp, Failure> {
    let name = invocation.flags.text("output")?.unwrap_or_default();
    let native = Arch::native().ok_or(RecordError::Architecture)?;
    Ok(Source::read(name)?.resolve(invocation, native)?.profile)
}

/// Adds what an earlier profile always allows.
fn merge(profile: &mut Seccomp, before: &Seccomp) {
    let always =
        before.syscalls.iter().filter(|rule| rule.action == "SCMP_ACT_ALLOW" && rule.args.is_empty());
    let known = profile.syscalls.iter().flat_map(|rule| rule.names.clone());
    let names: BTreeSet<String> = known.chain(always.flat_map(|rule| rule.names.clone())).collect();
    if let [rule] = &mut profile.syscalls[..] {
        rule.names = names.into_iter().collect();
    }
    for arch in &before.architectures {
        if !profile.architectures.contains(arch) {
            profile.architectures.push(arch.clone());
        }
    }
    // The native one first.
    profile.architectures[1..].sort_unstable();
}

fn warn(recording: &Recording) {
    for (arch, nr) in recording.unnamed() {
        log::warn!("call {nr} of {} has no name, and is not in the profile", arch.short_name());
    }
    for (token, nr) in &recording.foreign {
        log::warn!("call {nr} of the unknown architecture {token:#x} is not in the profile");
    }
}
