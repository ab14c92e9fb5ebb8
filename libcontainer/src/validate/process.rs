//! `process` (config.md#process), for the container's init and for `exec` alike.

use super::at::At;
use super::{Check, text};
use crate::config::{Process, User};
use crate::error::Problem;

/// Everything about a process that needs no other part of the document.
pub(super) fn process(process: &Process, at: At<'_>) -> Check {
    if process.args.is_empty() {
        return Err(at.field("args").err(Problem::Empty));
    }
    text::c_strings(&process.args, at.field("args"))?;
    text::absolute(&process.cwd, at.field("cwd"))?;
    process.env.iter().enumerate().try_for_each(|(i, entry)| env(entry, at.field("env").index(i)))?;
    console_size(process, at.field("consoleSize"))?;
    user(&process.user, at.field("user"))?;
    text::optional_c_string(process.apparmor_profile.as_ref(), at.field("apparmorProfile"))?;
    text::optional_c_string(process.selinux_label.as_ref(), at.field("selinuxLabel"))?;
    if let Some(adj) = process.oom_score_adj {
        text::in_range(adj, -1000..=1000, "between -1000 and 1000", at.field("oomScoreAdj"))?;
    }
    Ok(())
}

/// `NAME=value` with a name, as runc demands too.
fn env(entry: &str, at: At<'_>) -> Check {
    text::c_string(entry, at)?;
    match entry.find('=') {
        Some(1..) => Ok(()),
        _ => Err(at.err(Problem::Malformed { value: entry.to_owned(), expected: "of the form NAME=value" })),
    }
}

/// A terminal counts rows and columns in 16 bits (`struct winsize`); without a terminal the size is ignored.
fn console_size(process: &Process, at: At<'_>) -> Check {
    let Some(size) = process.console_size.filter(|_| process.terminal) else { return Ok(()) };
    text::in_range(size.height, 0..=0xffff, "at most 65535", at.field("height"))?;
    text::in_range(size.width, 0..=0xffff, "at most 65535", at.field("width"))
}

/// Ids are not -1, which setresuid(2) takes for "leave as it is": the program would keep the runtime's ids.
fn user(user: &User, at: At<'_>) -> Check {
    let id = |id: u32, at: At<'_>| text::in_range(id, 0..=0xffff_fffe, "between 0 and 4294967294", at);
    id(user.uid, at.field("uid"))?;
    id(user.gid, at.field("gid"))?;
    let gids = at.field("additionalGids");
    user.additional_gids.iter().enumerate().try_for_each(|(i, gid)| id(*gid, gids.index(i)))?;
    if let Some(umask) = user.umask {
        text::in_range(umask, 0..=0o777, "between 0 and 511 (octal 777)", at.field("umask"))?;
    }
    Ok(())
}
