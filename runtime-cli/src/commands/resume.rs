use libcontainer::ops;

use super::store;
use crate::Failure;
use crate::args::{Command, Invocation};

pub const COMMAND: Command = Command {
    name: "resume",
    summary: "thaw a paused container",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Lets the processes of a container go on that `corten pause` froze.",
    examples: &["corten resume c1"],
    see_also: &["pause", "state"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    ops::resume(&store(invocation)?, invocation.id()?)?;
    Ok(0)
}
