//! `pause` and `resume`: the freezer.

use super::explain_end;
use super::members::Members;
use crate::error::Result;
use crate::state::{ContainerId, Operation, State, Store, lifecycle};

/// Freezes all processes of a container.
///
/// # Errors
///
/// If there is no such container, if it does not run, if it has no cgroup, or if the kernel refuses.
pub fn pause(store: &Store, id: &str) -> Result<()> {
    locked(store, id, Operation::Pause, |members| members.freeze())
}

/// Thaws all processes of a container.
///
/// # Errors
///
/// If there is no such container, if it is not paused, or if the kernel refuses.
pub fn resume(store: &Store, id: &str) -> Result<()> {
    locked(store, id, Operation::Resume, |members| members.thaw())
}

fn locked(store: &Store, id: &str, operation: Operation, act: fn(&Members) -> Result<()>) -> Result<()> {
    let entry = store.open_entry(&ContainerId::new(id)?)?;
    let _lock = entry.lock()?;
    let state: State = entry.read_state()?;
    lifecycle::check(operation, id, lifecycle::status(&state, &entry)?)?;
    act(&Members::of(&state)).map_err(|e| explain_end(e, &state))
}
