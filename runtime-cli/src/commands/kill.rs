use libcontainer::ops::{self, Signal};

use super::store;
use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "kill",
    summary: "send a signal to a container",
    arguments: "<container-id> [signal]",
    count: 1..=2,
    verbatim_after: None,
    flags: &[
        Flag::switch("all", "send it to every process of the container, also when the first has ended")
            .short(b'a'),
        super::regex::FLAG,
    ],
    details: "Sends a signal to the first process of a container. The signal is a name, with or without SIG, or a \
              number; TERM if none is given. KILL ends the whole container.",
    examples: &[
        "corten kill c1",
        "corten kill c1 KILL",
        "corten kill --all c1 9",
        "corten kill --regex '^job-[0-9]+$' INT",
    ],
    see_also: &["delete", "state"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let signal = match invocation.argument(1, "the signal")? {
        "" => Signal::TERM,
        text => text.parse()?,
    };
    let (store, all) = (store(invocation)?, invocation.flags.is_on("all"));
    if invocation.flags.is_on("regex") {
        super::regex::each(&store, invocation, |id| ops::kill(&store, id, signal, all))?;
    } else {
        ops::kill(&store, invocation.id()?, signal, all)?;
    }
    Ok(0)
}
