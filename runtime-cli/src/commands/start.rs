use libcontainer::ops::{self, StartOptions};

use super::{notify_socket, store};
use crate::Failure;
use crate::args::{Command, Invocation};

pub const COMMAND: Command = Command {
    name: "start",
    summary: "start the program of a created container",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Lets the program of a container that `corten create` made begin, and returns at once; if \
              $NOTIFY_SOCKET is set, when the program says that it is ready (sd_notify(3)).",
    examples: &["corten create -b ./demo c1 && corten start c1"],
    see_also: &["create", "state", "kill"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let options = StartOptions { notify_socket: notify_socket() };
    ops::start(&store(invocation)?, invocation.id()?, &options)?;
    Ok(0)
}
