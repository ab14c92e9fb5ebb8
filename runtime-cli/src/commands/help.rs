use crate::Failure;
use crate::args::{Command, Flag, HELP, Invocation};

/// Only for the list of commands: the parser turns this verb into a request of its own.
pub const COMMAND: Command = Command {
    name: HELP,
    summary: "explain a command",
    arguments: "[command]",
    count: 0..=1,
    verbatim_after: None,
    flags: &[Flag::switch("man", "print a manual page, as troff for man(1)")],
    details: "Prints what a command does and which flags it has, or the list of all commands.",
    examples: &["corten help run", "corten help --man run | man -l -"],
    see_also: &[],
    run: execute,
};

fn execute(_invocation: &Invocation) -> Result<u8, Failure> {
    crate::help::print(None).map(|()| 0)
}
