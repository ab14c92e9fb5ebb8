use libcontainer::ops::{self, StateReport};

use super::store;
use crate::args::{Command, Flag, Given, Invocation, UsageError};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "list",
    summary: "list the containers",
    arguments: "",
    count: 0..=0,
    verbatim_after: None,
    flags: &[
        Flag::value("format", "format", "table or json")
            .short(b'f')
            .default("table")
            .one_of(&["table", "json"]),
        Flag::switch("quiet", "print the ids only").short(b'q'),
    ],
    details: "Lists the containers whose state is under --root, with pid, status, bundle, time of creation and owner.",
    examples: &["corten list", "corten list -q", "corten --root /run/user/1000/corten list -f json"],
    see_also: &["state", "ps"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let as_json = wants_json(&invocation.flags)?;
    let reports = ops::list(&store(invocation)?)?;
    if invocation.flags.is_on("quiet") {
        let ids: String = reports.iter().map(|r| format!("{}\n", r.id)).collect();
        output::print(&ids)?;
    } else if as_json {
        output::print_json(&reports)?;
    } else {
        let rows: Vec<_> = reports.into_iter().map(row).collect();
        let title = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
        output::print(&output::table(title, &rows))?;
    }
    Ok(0)
}

fn row(report: StateReport) -> [String; 6] {
    let bundle = report.bundle.display().to_string();
    [report.id, report.pid.to_string(), report.status.to_owned(), bundle, report.created, report.owner]
}

/// `--format` of `list` and `ps`.
pub fn wants_json(flags: &Given) -> Result<bool, UsageError> {
    match flags.text("format")? {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(UsageError::InvalidValue {
            flag: "format",
            value: other.to_owned(),
            expected: "table or json",
        }),
    }
}
