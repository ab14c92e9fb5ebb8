use crate::args::{Command, Invocation, UsageError};
use crate::completion::{self, Shell};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "completion",
    summary: "print a script that lets a shell complete corten's words",
    arguments: "<bash|zsh|fish>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Prints a script for bash, zsh or fish that completes commands, flags, their values and the ids of \
              containers. Where such scripts are kept: /usr/share/bash-completion/completions/corten, \
              /usr/share/zsh/site-functions/_corten, /usr/share/fish/vendor_completions.d/corten.fish.",
    examples: &[
        "source <(corten completion bash)",
        "corten completion fish > ~/.config/fish/completions/corten.fish",
    ],
    see_also: &["help"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let shell = match invocation.argument(0, "the shell")? {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => {
            let value = other.to_owned();
            return Err(UsageError::InvalidArgument {
                what: "the shell",
                value,
                expected: "bash, zsh or fish",
            }
            .into());
        }
    };
    output::print(&completion::script(shell)).map(|()| 0)
}
