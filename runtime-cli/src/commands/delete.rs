use libcontainer::ops;

use super::store;
use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "delete",
    summary: "delete a container that has stopped",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag::switch("force", "kill it first if it runs; no error if there is none").short(b'f'),
        super::regex::FLAG,
    ],
    details: "Removes what create made: the cgroup and the state. The bundle stays. A container that was created and \
              never started is killed and deleted; one that runs is refused without --force.",
    examples: &["corten delete c1", "corten delete --force c1", "corten delete --regex '^job-'"],
    see_also: &["kill", "list"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let (store, force) = (store(invocation)?, invocation.flags.is_on("force"));
    if invocation.flags.is_on("regex") {
        super::regex::each(&store, invocation, |id| ops::delete(&store, id, force))?;
    } else {
        ops::delete(&store, invocation.id()?, force)?;
    }
    Ok(0)
}
