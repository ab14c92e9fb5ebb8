//! Proves, before anything is made, that a filter lets the child's own last calls pass.

use corten_init::HandOver;

use crate::error::Result;
use crate::plan::hand_over;
use crate::seccomp::{Arch, Filter, InitCall, check_init, number_of};

/// What the child still does after the filter is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remaining {
    /// It gives up what it kept for loading the filter.
    pub keeps_privileges: bool,
    /// It waits for `start`.
    pub gate: bool,
}

/// The filter is loaded last: after it the child only becomes the program. A filter that notifies is loaded before the
/// child reports to be ready. What it does from then on, the agent may be asked about; not what it reports with, as the
/// agent gets the listener only then.
pub(super) fn check(filter: &Filter, native: Arch, remaining: Remaining) -> Result<()> {
    let mut calls: Vec<InitCall> = Vec::new();
    let mut add = |names: &[&str], before_agent| {
        let numbers = names.iter().filter_map(|name| number_of(native, name));
        calls.extend(numbers.map(|nr| InitCall { nr, args: [None; 6], before_agent }));
    };
    if filter.notifies {
        add(&[if hand_over(filter) == HandOver::Sent { "sendmsg" } else { "write" }], true);
        add(&["recvfrom", "close"], false);
        if native == Arch::X86 {
            // What the child's library makes of the other calls on sockets there.
            add(&["socketcall"], false);
        }
        if remaining.gate {
            add(&["accept4"], false);
        }
    }
    if remaining.keeps_privileges {
        add(&["capset"], false);
    }
    add(&["execve"], false);
    Ok(check_init(filter, &calls)?)
}
