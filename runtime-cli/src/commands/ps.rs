use std::ffi::OsString;
use std::process;

use libcontainer::ops;

use super::{list, store};
use crate::args::{Command, Flag, Invocation};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "ps",
    summary: "list the processes of a container",
    arguments: "<container-id> [ps options]",
    count: 1..=usize::MAX,
    verbatim_after: Some(1),
    flags: &[Flag::value("format", "format", "table or json")
        .short(b'f')
        .default("table")
        .one_of(&["table", "json"])],
    details: "Lists the processes of a container: as a table, which is the output of ps(1) for them, or as a JSON array \
              of pids. Options after the id are those of ps; without any, they are -ef. The output must have a \
              column PID.",
    examples: &["corten ps c1", "corten ps c1 -o pid,rss,args", "corten ps --format json c1"],
    see_also: &["state", "exec"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let as_json = list::wants_json(&invocation.flags)?;
    let pids = ops::ps(&store(invocation)?, invocation.id()?)?;
    if as_json {
        output::print_json(&pids)?;
    } else {
        let table = ops::filter_table(&host_processes(&invocation.arguments[1..])?, &pids);
        output::print(&table.ok_or(Failure::PsColumns)?)?;
    }
    Ok(0)
}

/// What ps(1) says about the whole machine.
fn host_processes(options: &[OsString]) -> Result<String, Failure> {
    let mut ps = process::Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef");
    }
    let output = ps.args(options).output().map_err(Failure::PsProgram)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        Err(Failure::PsFailed { said })
    }
}
