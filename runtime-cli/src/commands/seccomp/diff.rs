//! `corten seccomp diff`

use std::collections::BTreeSet;
use std::fmt::Write;

use libcontainer::seccomp::analysis::Change;
use libcontainer::seccomp::{Arch, Filter};

use super::profile::{self, ARCH, CAP_ADD, CAP_DROP, KERNEL, Source};
use crate::args::{Command, Flag, Invocation};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "seccomp diff",
    summary: "compare what two profiles do, system call by system call",
    arguments: "<profile> <other>",
    count: 2..=2,
    verbatim_after: None,
    flags: &[
        Flag { help: "architecture of programs, such as x86_64, x86 or arm64; may be repeated", ..ARCH },
        CAP_ADD,
        CAP_DROP,
        KERNEL,
    ],
    details: "Lists each system call that one profile treats differently from the other, with what it does before and \
              after: conditions on arguments included, and how numbers that no table knows are answered. What is merely \
              written differently is no difference. Like diff(1) it gives 0 if there is none, 1 if there is one, and 2 \
              if something went wrong. Without --arch it looks at this machine's architecture and at all that both \
              profiles list beside it.",
    examples: &["corten seccomp diff old.json new.json", "corten seccomp diff @default @strict --arch arm64"],
    see_also: &["seccomp explain", "seccomp convert"],
    run: execute,
};

/// What diff(1) gives for trouble.
fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    compare(invocation).map_err(|failure| Failure::Compare(Box::new(failure)))
}

fn compare(invocation: &Invocation) -> Result<u8, Failure> {
    let sources =
        [0, 1].map(|i| invocation.argument(i, "the profile").map_err(Failure::from).and_then(Source::read));
    let [before, after] = sources;
    let (before, after) = (before?, after?);
    let asked = profile::arches(invocation)?;
    let mut machines: Vec<Arch> = asked.iter().map(|arch| profile::machine(*arch)).collect();
    machines.dedup();
    let mut text = String::new();
    for machine in machines {
        let before = before.resolve(invocation, machine)?.compile(machine)?;
        let after = after.resolve(invocation, machine)?.compile(machine)?;
        for arch in arches(&asked, invocation.flags.last("arch").is_some(), machine, [&before, &after]) {
            section(&mut text, arch, &before.analyse().diff(&after.analyse(), arch), [&before, &after]);
        }
    }
    if text.is_empty() {
        return Ok(0);
    }
    let [before, after] = [0, 1].map(|i| invocation.arguments[i].to_string_lossy());
    output::print(&format!("--- {before}\n+++ {after}\n{text}"))?;
    Ok(1)
}

/// Those that were asked for, or all of this machine that one of the filters lists.
fn arches(asked: &[Arch], explicit: bool, machine: Arch, filters: [&Filter; 2]) -> BTreeSet<Arch> {
    if explicit {
        return asked.iter().copied().filter(|arch| profile::machine(*arch) == machine).collect();
    }
    filters.iter().flat_map(|filter| filter.arches()).copied().collect()
}

fn section(text: &mut String, arch: Arch, changes: &[Change], filters: [&Filter; 2]) {
    if changes.is_empty() {
        return;
    }
    let _ = writeln!(text, "@@ {} @@", arch.short_name());
    let listed = filters.map(|filter| filter.arches().contains(&arch));
    if listed[0] != listed[1] {
        let which = if listed[0] { "first" } else { "second" };
        let _ = writeln!(text, "only the {which} profile lists this architecture");
        return;
    }
    let names: Vec<&str> =
        changes.iter().map(|c| c.call.map_or("any other number", |(_, name)| name)).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).min(28);
    for (name, change) in names.iter().zip(changes) {
        let _ = writeln!(text, "{name:width$}  {} -> {}", change.before, change.after);
    }
}
