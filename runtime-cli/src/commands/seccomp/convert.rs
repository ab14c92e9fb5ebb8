//! `corten seccomp convert`

use super::deliver;
use super::profile::{self, ARCH, CAP_ADD, CAP_DROP, KERNEL, Source};
use crate::Failure;
use crate::args::{Command, Flag, Invocation, UsageError};

pub const COMMAND: Command = Command {
    name: "seccomp convert",
    summary: "turn a conditional profile into linux.seccomp of config.json",
    arguments: "<profile>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag { help: "architecture of the machine, such as x86_64 or arm64", ..ARCH },
        CAP_ADD,
        CAP_DROP,
        KERNEL,
        Flag::value("output", "file", "write there").short(b'o').default("standard output"),
    ],
    details: "Keeps the rules of an engine's profile that apply to a container with certain capabilities, on a kernel of \
              some version and architecture, as the engine itself does when it makes a container: archMap, includes \
              and excludes are gone from the result. Without --cap-add and --cap-drop these are the 14 capabilities \
              that Docker gives to each container.",
    examples: &[
        "corten seccomp convert @default",
        "corten seccomp convert docker.json --cap-add SYS_ADMIN --kernel 5.15",
    ],
    see_also: &["seccomp compile", "spec"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let name = invocation.argument(0, "the profile")?;
    let &[arch] = profile::arches(invocation)?.as_slice() else {
        let problem = "--arch can be given once";
        return Err(UsageError::Combination { command: "seccomp convert", problem }.into());
    };
    let loaded = Source::read(name)?.resolve(invocation, arch)?;
    // What is written should also be accepted.
    loaded.compile(profile::machine(arch))?;
    let mut text = serde_json::to_string_pretty(&loaded.profile)?;
    text.push('\n');
    deliver(invocation, text.as_bytes()).map(|()| 0)
}
