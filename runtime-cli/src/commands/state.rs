use libcontainer::ops;

use super::store;
use crate::args::{Command, Invocation};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "state",
    summary: "print the state of a container as JSON",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Prints id, status (creating, created, running, paused or stopped), pid, bundle and root filesystem of a \
              container as a JSON object. The pid is 0 when the container has stopped.",
    examples: &["corten state c1"],
    see_also: &["list", "ps"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let report = ops::state(&store(invocation)?, invocation.id()?)?;
    output::print_pretty_json(&report)?;
    Ok(0)
}
