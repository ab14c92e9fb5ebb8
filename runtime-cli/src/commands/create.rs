use libcontainer::ops::{self, CreateOptions};

use super::{cgroup_manager, creation_flags, listen_fds, notify_socket, path, preserve_fds, rootless, store};
use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "create",
    summary: "create a container that waits for start",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: creation_flags![Flag::switch("no-subreaper", "accepted as crun has it: create never adopts")],
    details: "Makes a container from a bundle: namespaces, mounts, cgroup, everything that config.json asks for. \
              Its program does not run yet; the container waits for `corten start`. config.json is read once: what \
              is changed in it later has no effect on this container.",
    examples: &["corten create --bundle ./demo c1 && corten start c1"],
    see_also: &["start", "run", "delete"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let options = options(invocation)?;
    ops::create(&store(invocation)?, &options)?;
    Ok(0)
}

/// What `create` and `run` have in common.
pub fn options(invocation: &Invocation) -> Result<CreateOptions, Failure> {
    let flags = &invocation.flags;
    Ok(CreateOptions {
        id: invocation.id()?.to_owned(),
        bundle: path(flags, "bundle").unwrap_or_else(|| ".".into()),
        config: path(flags, "config"),
        console_socket: path(flags, "console-socket"),
        pidfd_socket: path(flags, "pidfd-socket"),
        pid_file: path(flags, "pid-file"),
        no_pivot: flags.is_on("no-pivot"),
        no_new_keyring: flags.is_on("no-new-keyring"),
        preserve_fds: preserve_fds(flags)?,
        listen_fds: listen_fds(),
        notify_socket: notify_socket(),
        seccomp: None,
        cgroup_manager: cgroup_manager(&invocation.globals)?,
        rootless: rootless(&invocation.globals)?,
    })
}
