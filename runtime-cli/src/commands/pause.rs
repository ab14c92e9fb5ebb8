use libcontainer::ops;

use super::store;
use crate::Failure;
use crate::args::{Command, Invocation};

pub const COMMAND: Command = Command {
    name: "pause",
    summary: "freeze all processes of a container",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Freezes every process of a container by its cgroup. They keep their memory and use no CPU until `corten resume`.",
    examples: &["corten pause c1 && corten state c1 && corten resume c1"],
    see_also: &["resume", "state"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    ops::pause(&store(invocation)?, invocation.id()?)?;
    Ok(0)
}
