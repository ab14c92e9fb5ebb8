//! Proves, before anything is made, that a filter lets the child's own last calls pass.

use crate::error::Result;
use crate::seccomp::{Arch, Filter, InitCall, check_init, number_of};

/// The filter is loaded last. After it the child gives up what it kept for loading it, if it kept something, and
/// becomes the program.
pub(super) fn check(filter: &Filter, native: Arch, keeps_privileges: bool) -> Result<()> {
    let names: &[&str] = if keeps_privileges { &["capset", "execve"] } else { &["execve"] };
    let numbers = names.iter().filter_map(|name| number_of(native, name));
    let calls: Vec<InitCall> =
        numbers.map(|nr| InitCall { nr, args: [None; 6], before_agent: false }).collect();
    Ok(check_init(filter, &calls)?)
}
