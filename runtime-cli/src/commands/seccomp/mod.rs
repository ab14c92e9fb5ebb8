//! `corten seccomp …`: tools for people who write profiles or suffer from them. Engines never call them.

mod compile;
mod convert;
mod diff;
mod explain;
mod meaning;
mod profile;
mod record;

pub use compile::COMMAND as COMPILE;
pub use convert::COMMAND as CONVERT;
pub use diff::COMMAND as DIFF;
pub use explain::COMMAND as EXPLAIN;
pub use profile::ProfileFailure;
pub use record::COMMAND as RECORD;

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::args::{Command, Invocation};
use crate::{Failure, output};

/// The words after `seccomp`.
pub const ARGUMENTS: &str = "<compile|convert|explain|diff|record>";

/// The group. The parser only ever asks for its help.
pub const COMMAND: Command = Command {
    name: "seccomp",
    summary: "compile, explain, compare and record seccomp profiles",
    arguments: ARGUMENTS,
    count: 1..=1,
    verbatim_after: None,
    flags: &[],
    details: "Tools around seccomp profiles. Wherever a profile is asked for, it may be a linux.seccomp object, a whole \
              config.json, a profile in the format of Docker, containerd, CRI-O and Podman (which depends on \
              capabilities, kernel and architecture), - for standard input, or one of corten's own: @default, @strict, \
              @nested, @unconfined-logged.",
    examples: &[
        "corten seccomp explain config.json clone CLONE_NEWUSER",
        "corten seccomp diff /etc/docker/seccomp.json @default",
        "corten seccomp record -o redis.json -- redis-server --port 7777",
    ],
    see_also: &["spec", "features"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    crate::help::print(Some(invocation.command)).map(|()| 0)
}

/// Writes to the file of `--output`, or to standard output.
fn deliver(invocation: &Invocation, bytes: &[u8]) -> Result<(), Failure> {
    match invocation.flags.last("output") {
        None => output::print_bytes(bytes),
        Some(path) => write_file(Path::new(path), bytes),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = fs::File::create(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| Failure::File { flag: "--output", path: path.to_path_buf(), source })
}
