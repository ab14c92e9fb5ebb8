use libcontainer::Error;

use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "spec",
    summary: "write a config.json to start from",
    arguments: "",
    count: 0..=0,
    verbatim_after: None,
    flags: &[
        Flag::value("bundle", "dir", "directory to write it to").short(b'b').default("the current directory"),
        Flag::switch("rootless", "write one for an ordinary user"),
    ],
    details: "Writes a config.json that runs `sh` in the directory `rootfs` beside it, with a safe set of namespaces, \
              mounts and capabilities. An existing config.json is not overwritten.",
    examples: &["mkdir -p demo/rootfs && corten spec --bundle demo"],
    see_also: &["run", "create"],
    run: execute,
};

fn execute(_invocation: &Invocation) -> Result<u8, Failure> {
    Err(Error::Unsupported { what: "spec" }.into())
}
