//! `corten seccomp explain`

use std::fmt::Write;
use std::io;

use corten_seccomp_profiles::EngineRule;
use libcontainer::error::Strerror;
use libcontainer::seccomp::analysis::{Considered, Explanation, Named, Reason};
use libcontainer::seccomp::{Action, Arch, Condition, Test, names, number_of};

use super::meaning;
use super::profile::{self, ARCH, CAP_ADD, CAP_DROP, KERNEL, Loaded, Source};
use crate::args::{Command, Flag, Invocation, UsageError};
use crate::suggest::nearest;
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "seccomp explain",
    summary: "say what a profile does with a system call, and by which rule",
    arguments: "<profile> <syscall> [argument...]",
    count: 2..=8,
    verbatim_after: None,
    flags: &[
        Flag { help: "architecture of the program, such as x86_64, x86 or arm64; may be repeated", ..ARCH },
        CAP_ADD,
        CAP_DROP,
        KERNEL,
    ],
    details: "Says whether a system call goes through, and if not, what the program gets to see; which element of \
              `syscalls` or which default decides; which conditions on arguments hold and which do not; and which rules \
              would apply to a container with other capabilities. A system call is a name or a number. Arguments are \
              numbers (also 0x…), names such as CLONE_NEWUSER or AF_ALG, these with | between, or _ for one that is not \
              known; those not given are not known either.",
    examples: &[
        "corten seccomp explain config.json clone CLONE_NEWUSER",
        "corten seccomp explain @default socket AF_VSOCK",
        "corten seccomp explain docker.json mount --cap-add SYS_ADMIN --arch arm64",
    ],
    see_also: &["seccomp compile", "seccomp diff"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let source = Source::read(invocation.argument(0, "the profile")?)?;
    let call = invocation.argument(1, "the system call")?;
    let mut args = [None; 6];
    for (index, slot) in args.iter_mut().enumerate().take(invocation.arguments.len() - 2) {
        let text = invocation.argument(index + 2, "an argument")?;
        let wrong = || UsageError::InvalidArgument {
            what: "an argument",
            value: text.to_owned(),
            expected: "a number, a name such as CLONE_NEWUSER or AF_ALG, or _ for any",
        };
        *slot = meaning::value(text).ok_or_else(wrong)?;
    }
    let mut text = String::new();
    for arch in profile::arches(invocation)? {
        let machine = profile::machine(arch);
        let loaded = source.resolve(invocation, machine)?;
        let filter = loaded.compile(machine)?;
        let told = filter.analyse().explain(arch, number(arch, call)?, &args);
        let separator = if text.is_empty() { "" } else { "\n" };
        text.push_str(separator);
        Report { told: &told, loaded: &loaded, args: &args, text: &mut text }.write();
    }
    output::print(&text).map(|()| 0)
}

/// The number of a call, given by name or number.
fn number(arch: Arch, call: &str) -> Result<u32, Failure> {
    let number = call.parse().ok().or_else(|| u32::from_str_radix(call.strip_prefix("0x")?, 16).ok());
    if let Some(number) = number.or_else(|| number_of(arch, call)) {
        return Ok(number);
    }
    let arch = arch.short_name();
    if names().any(|name| name == call) {
        return Err(Failure::NoSuchCall { call: call.to_owned(), arch });
    }
    let nearest = nearest(call, names());
    Err(Failure::UnknownCall { call: call.to_owned(), nearest })
}

struct Report<'r> {
    told: &'r Explanation,
    loaded: &'r Loaded,
    args: &'r [Option<u64>; 6],
    text: &'r mut String,
}

impl Report<'_> {
    fn write(&mut self) {
        let told = self.told;
        let name = told.name.unwrap_or("no known system call");
        let (nr, arch) = (told.nr & !(1 << 30), told.arch.short_name());
        let _ = write!(self.text, "{name} ({nr} on {arch})");
        match &told.outcomes[..] {
            [(action, reason)] => {
                let _ = writeln!(self.text, ": {}\n  {}", Named(*action), effect(*action));
                let _ = writeln!(self.text, "  {reason}");
            }
            outcomes => {
                let _ = writeln!(self.text, ": depends on the arguments");
                for (i, (action, reason)) in outcomes.iter().enumerate() {
                    let when = match reason {
                        Reason::Rule(path) => format!("if the conditions of {path} hold"),
                        Reason::Behind(path) => format!("if {path} names the call behind this one"),
                        _ if i == 0 => reason.to_string(),
                        _ => format!("otherwise: {reason}"),
                    };
                    let _ = writeln!(self.text, "  {} {when}", Named(*action));
                }
            }
        }
        self.rules();
        self.left_out();
        self.cost();
    }

    fn rules(&mut self) {
        let told = self.told;
        if told.rules.is_empty() {
            let _ = writeln!(self.text, "\nno rule names it");
            return;
        }
        let _ = writeln!(self.text, "\nrules that name it, in the order of the profile:");
        for rule in &told.rules {
            let behind = rule.behind.map(|name| format!(" for {name} behind it")).unwrap_or_default();
            let _ = writeln!(self.text, "  {} {}{behind}: {}", rule.path, Named(rule.action), verdict(rule));
            for (condition, holds) in &rule.conditions {
                let line = self.condition(condition, *holds);
                let _ = writeln!(self.text, "      {line}");
            }
        }
    }

    fn condition(&self, condition: &Condition, holds: Option<bool>) -> String {
        let index = usize::from(condition.arg);
        let Some(given) = self.args[index] else {
            return format!("{condition}: depends, args[{index}] is not known");
        };
        let words = self.told.name.and_then(|name| meaning::words(name, index, given));
        let words = words.map(|words| format!(" ({words})")).unwrap_or_default();
        let masked = match condition.test {
            Test::Masked { mask, .. } => format!(", masked {:#x}", given & mask),
            _ => String::new(),
        };
        let answer = if holds == Some(true) { "yes" } else { "no" };
        format!("{condition}: {answer}, args[{index}] is {given:#x}{words}{masked}")
    }

    /// Rules of a conditional profile that would count for another container.
    fn left_out(&mut self) {
        let Some(engine) = &self.loaded.conditional else { return };
        let names_it = |rule: &EngineRule| {
            let mut names = rule.names.iter().chain(&rule.name);
            self.told.name.is_some_and(|call| names.any(|name| name == call))
        };
        let left_out = self.loaded.left_out.iter().filter(|l| names_it(&engine.syscalls[l.index]));
        let mut lines = String::new();
        for left in left_out {
            let rule = &engine.syscalls[left.index];
            let if_args = if rule.args.is_empty() { "" } else { " for some arguments" };
            let action = rule.action.trim_start_matches("SCMP_ACT_");
            let _ = writeln!(lines, "  syscalls[{}] {action}{if_args}: {}", left.index, left.why);
        }
        if !lines.is_empty() {
            let _ = write!(self.text, "\nrules that name it and do not apply to this container:\n{lines}");
        }
    }

    fn cost(&mut self) {
        let cost = match &self.told.outcomes[..] {
            _ if self.told.cached => "none: the kernel's bitmap lets it through without running the filter",
            [(action, _)] if action.permits() => "the filter runs for each call",
            [_] => return,
            _ => "the filter runs for each call, as its arguments decide",
        };
        let _ = writeln!(self.text, "\ncost: {cost}");
    }
}

fn verdict(rule: &Considered) -> &'static str {
    match (rule.redundant, rule.conditions.is_empty(), rule.holds()) {
        (true, _, _) => "no effect, that is the default action",
        (_, true, _) => "always",
        (_, _, Some(true)) => "applies",
        (_, _, Some(false)) => "does not apply",
        (_, _, None) => "may apply",
    }
}

/// What a program gets to see of an action.
fn effect(action: Action) -> String {
    match action {
        Action::Allow => "the call goes through".to_owned(),
        Action::Log => "the call goes through, and is written to the audit log".to_owned(),
        Action::Errno(0) => "the call is not made, and answers 0 as if it had succeeded".to_owned(),
        Action::Errno(errno) => {
            let error = io::Error::from_raw_os_error(errno.into());
            format!("the call is not made, and fails with \"{}\"", Strerror(&error))
        }
        Action::KillProcess => "the process dies of SIGSYS (exit status 159 in a shell)".to_owned(),
        Action::KillThread => {
            "the thread dies of SIGSYS; in a program of one thread that ends it (exit status 159 in \
                               a shell), in others the rest goes on"
                .to_owned()
        }
        Action::Trap => "the call is not made, and the thread gets SIGSYS, which it can handle".to_owned(),
        Action::Trace(_) => "a ptrace(2) tracer decides; without one the call fails with ENOSYS".to_owned(),
        Action::Notify => {
            "the agent at listenerPath decides; without one the call fails with ENOSYS".to_owned()
        }
    }
}
