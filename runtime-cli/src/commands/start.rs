use libcontainer::ops;

use super::store;
use crate::Failure;
use crate::args::{Command, Invocation};

pub const COMMAND: Command = Command {
    name: "start",
    summary: "start the program of a created container",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Lets the program of a container that `corten create` made begin, and returns at once.",
    examples: &["corten create -b ./demo c1 && corten start c1"],
    see_also: &["create", "state", "kill"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    ops::start(&store(invocation)?, invocation.id()?)?;
    Ok(0)
}
