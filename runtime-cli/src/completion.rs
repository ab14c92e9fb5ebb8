//! Completion scripts for shells, written from the tables of the commands.

mod bash;
mod fish;
mod zsh;

use crate::args::{Command, Flag};
use crate::commands::{COMMANDS, GLOBAL_FLAGS};

/// A shell that completes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// From 4.0 on (macOS still has 3).
    Bash,
    /// With `compinit`.
    Zsh,
    /// From 3.0 on.
    Fish,
}

/// The script for a shell.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
    }
}

/// What may stand as a flag's value or as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Nothing that a shell could know.
    Any,
    File,
    Directory,
    /// A container that exists.
    Container,
    /// A verb.
    Command,
    OneOf(&'static [&'static str]),
}

/// The value of a flag, or `None` for a switch.
fn value(flag: &Flag) -> Option<Words> {
    Some(match flag.value? {
        _ if !flag.choices.is_empty() => Words::OneOf(flag.choices),
        "dir" => Words::Directory,
        "file" | "path" if flag.long != "cgroup" => Words::File,
        _ => Words::Any,
    })
}

/// What the argument with this index stands for.
fn argument(command: &Command, index: usize) -> Words {
    match command.arguments.split_whitespace().nth(index) {
        // These make a container: its name is new.
        Some("<container-id>") if ["run", "create", "restore"].contains(&command.name) => Words::Any,
        Some("<container-id>") => Words::Container,
        Some("[signal]") => Words::OneOf(SIGNALS),
        Some("[command]") => Words::Command,
        Some("<bash|zsh|fish>") => Words::OneOf(&["bash", "zsh", "fish"]),
        Some(SECCOMP) => Words::OneOf(&["compile", "convert", "explain", "diff", "record"]),
        Some("<profile>" | "<other>") => Words::File,
        Some("add|remove") => Words::OneOf(&["add", "remove"]),
        Some("<file>") => Words::File,
        _ => Words::Any,
    }
}

/// The arguments of the group, from its table.
const SECCOMP: &str = crate::commands::SECCOMP_ARGUMENTS;

/// Those that one sends; the others are known to `kill`, too.
const SIGNALS: &[&str] = &["TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH"];

const HELP_FLAG: Flag = Flag::switch("help", "explain the command").short(b'h');
const VERSION_FLAG: Flag = Flag::switch("version", "print the version").short(b'v');

/// The flags of a command, and `--help`.
fn flags_of(command: &Command) -> impl Iterator<Item = &Flag> {
    command.flags.iter().chain([&HELP_FLAG])
}

/// The first words.
fn verbs() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().filter(|c| c.last_word().is_none()).map(|c| c.name)
}

/// Global flags that a command does not redefine.
fn globals_of(command: &Command) -> impl Iterator<Item = &Flag> {
    GLOBAL_FLAGS.iter().filter(|g| !command.flags.iter().any(|f| f.long == g.long))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command as Process, Stdio};

    use super::*;

    const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

    #[test]
    fn every_command_and_flag_is_in_every_script() {
        for (name, shell) in SHELLS {
            let script = script(shell);
            for command in COMMANDS {
                assert!(
                    script.contains(command.last_word().unwrap_or(command.name)),
                    "{name}: {}",
                    command.name
                );
                for flag in command.flags.iter().chain(GLOBAL_FLAGS) {
                    let written = match shell {
                        Shell::Fish => format!("-l {}", flag.long),
                        _ => format!("--{}", flag.long),
                    };
                    assert!(script.contains(&written), "{name}: {} --{}", command.name, flag.long);
                }
            }
        }
    }

    #[test]
    fn the_shells_accept_their_scripts() {
        for (program, shell) in SHELLS {
            let child = Process::new(program)
                .arg("-n")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                println!("{program} is not installed: its script was not checked");
                continue;
            };
            child.stdin.take().unwrap().write_all(script(shell).as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{program}: {said}");
        }
    }

    #[test]
    fn bash_completes_words() {
        let complete = |line: &str| {
            let script = format!(
                "{}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _corten; echo ${{COMPREPLY[*]}}",
                bash::script()
            );
            let output = Process::new("bash").args(["--norc", "-c", &script, "bash"]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(complete("corten sta"), "start state");
        assert_eq!(complete("corten --root /x --debug sta"), "start state");
        assert_eq!(complete("corten run --bun"), "--bundle");
        assert_eq!(complete("corten seccomp co"), "compile convert");
        assert_eq!(complete("corten --debug seccomp diff --ar"), "--arch");
        assert_eq!(complete("corten seccomp compile --format d"), "disasm");
        assert_eq!(complete("corten seccomp record ls --ou"), "", "that flag is for ls");
        assert_eq!(complete("corten seccomp diff /etc/apt/sources.list.d"), "/etc/apt/sources.list.d");
        assert_eq!(complete("corten run --no-s"), "--no-subreaper");
        assert_eq!(complete("corten --log-format j"), "json");
        assert_eq!(complete("corten list --format = t"), "table", "bash makes three words of --format=t");
        assert_eq!(complete("corten list --format = "), "table json");
        assert_eq!(complete("corten run c1 --roo"), "--root --rootless");
        assert_eq!(complete("corten spec --rootless --b"), "--bundle");
        assert_eq!(complete("corten kill c1 TE"), "TERM");
        assert_eq!(complete("corten kill --all c1 TE"), "TERM");
        assert_eq!(complete("corten help feat"), "features");
        assert_eq!(complete("corten exec c1 ls --de"), "", "that flag is for ls");
        assert_eq!(complete("corten run --bundle /etc/apt/sources.list.d"), "/etc/apt/sources.list.d");
    }
}
