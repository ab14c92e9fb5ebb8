use libcontainer::ops::{self, RunOptions};

use super::{create, creation_flags, exit_code, store};
use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "run",
    summary: "create and start a container, and wait for its end",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: creation_flags![
        Flag::switch("detach", "do not wait for the end").short(b'd'),
        Flag::switch("keep", "do not delete the container when it ends"),
        Flag::switch("no-subreaper", "do not adopt processes that the container leaves behind"),
    ],
    details: "Creates a container from a bundle, starts its program, passes signals and the terminal on to it, waits, \
              and deletes the container. The exit code is that of the program, or 128 plus the number of the signal \
              that killed it.",
    examples: &["corten run --bundle ./demo c1", "corten run -d --pid-file c1.pid -b ./demo c1"],
    see_also: &["spec", "exec", "kill", "delete"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let flags = &invocation.flags;
    let options = RunOptions {
        create: create::options(invocation)?,
        detach: flags.is_on("detach"),
        keep: flags.is_on("keep"),
        no_subreaper: flags.is_on("no-subreaper"),
    };
    Ok(exit_code(ops::run(&store(invocation)?, &options)?))
}
