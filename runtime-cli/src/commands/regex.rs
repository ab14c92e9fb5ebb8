//! `--regex` of `kill` and `delete`: the argument is a pattern, and every container whose id it matches is meant.

use libcontainer::state::{StateError, Store};
use libcontainer::{Error, ops};
use regex_lite::Regex;

use crate::Failure;
use crate::args::{Flag, Invocation};

pub const FLAG: Flag =
    Flag::switch("regex", "the id is a regular expression: every container that it matches is meant")
        .short(b'r');

/// Does something to each container whose id matches the first argument, somewhere in it unless there are anchors.
///
/// As in crun, all of them have their turn, and it is no error if there is none. Unlike in crun, a failure shows in the
/// exit code. One that was deleted meanwhile is not a failure.
pub fn each(
    store: &Store,
    invocation: &Invocation,
    mut act: impl FnMut(&str) -> libcontainer::Result<()>,
) -> Result<(), Failure> {
    let pattern = invocation.id()?;
    let regex =
        Regex::new(pattern).map_err(|source| Failure::Regex { pattern: pattern.to_owned(), source })?;
    let ids = ops::ids(store)?.into_iter().filter(|id| regex.is_match(id));
    let (mut matched, mut failed, mut first) = (0, 0, None);
    for id in ids {
        matched += 1;
        match act(&id) {
            Ok(()) | Err(Error::State(StateError::NotFound { .. })) => {}
            Err(e) => {
                log::warn!("{id}: {e}");
                failed += 1;
                first.get_or_insert(Box::new(e));
            }
        }
    }
    let verb = invocation.command.name;
    match first {
        None => Ok(()),
        Some(first) => Err(Failure::Several { verb, pattern: pattern.to_owned(), failed, matched, first }),
    }
}
