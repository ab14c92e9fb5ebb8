//! What is legal and not implemented, refused by name: a container that silently lacks what its author asked for is worse
//! than none.
//!
//! **This list is meant to shrink.** Implementing a member ends with the removal of its entry here.

use super::at::At;
use super::{Check, Context};
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");

/// All of them, in the order of the document.
pub(super) fn unsupported(cx: &Context<'_>) -> Check {
    seccomp_notify(cx)
}

/// The agent's socket matters only if a call is sent there; a path that nobody uses is ignored (config-linux.md).
fn seccomp_notify(cx: &Context<'_>) -> Check {
    const NOTIFY: &str = "SCMP_ACT_NOTIFY";
    const AT: At<'_> = LINUX.field("seccomp");
    const WHY: &str = "handing system calls to an agent";
    let Some(seccomp) = &cx.linux.seccomp else { return Ok(()) };
    refuse(seccomp.default_action == NOTIFY, AT.field("defaultAction"), WHY)?;
    let rules = AT.field("syscalls");
    let mut listed = seccomp.syscalls.iter().enumerate();
    listed.try_for_each(|(i, rule)| refuse(rule.action == NOTIFY, rules.index(i).field("action"), WHY))
}

fn refuse(present: bool, at: At<'_>, why: &'static str) -> Check {
    if present { Err(at.err(Problem::Unsupported { why })) } else { Ok(()) }
}
