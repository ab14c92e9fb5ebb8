use crate::args::{Command, Invocation};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "features",
    summary: "print what this runtime can do as JSON",
    arguments: "",
    count: 0..=0,
    verbatim_after: None,
    flags: &[],
    details: "Prints the features document of the OCI runtime specification: versions, hooks, mount options, \
              capabilities, namespaces, seccomp and cgroup support. Engines read it before they rely on something.",
    examples: &["corten features"],
    see_also: &["spec"],
    run: execute,
};

fn execute(_invocation: &Invocation) -> Result<u8, Failure> {
    output::print_pretty_json(&libcontainer::features::features())?;
    Ok(0)
}
