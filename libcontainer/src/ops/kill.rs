//! `kill`: a signal for a container.

use std::os::fd::{AsFd, OwnedFd};

use super::delete::lock_forcibly;
use super::members::Members;
use super::signal::Signal;
use super::{load, sys};
use crate::error::{Error, Result, SyscallError};
use crate::state::{Entry, Operation, State, StateError, Status, Store, lifecycle};

/// Sends `signal` to the container's first process, or to all of its processes.
///
/// `all` also reaches what a container without a pid namespace of its own left behind when its first process ended; then
/// it is no error that the container is stopped (containerd sends `kill --all ID 9` after each such end).
///
/// # Errors
///
/// If there is no such container, if it is not running, or if the kernel refuses.
pub fn kill(store: &Store, id: &str, signal: Signal, all: bool) -> Result<()> {
    let (entry, state) = load(store, id)?;
    check(&entry, &state, all)?;
    // SIGKILL to the first process ends everything in its pid namespace. Where it has none of its own, everything in
    // the cgroup is meant as well.
    if all || (signal == Signal::KILL && state.shares_pid_namespace) {
        return signal_all(&entry, signal, all);
    }
    // No lock: the process is this container's and nobody else's, and a signal must arrive whatever goes on.
    if !signal_init(&state, signal)? {
        return Err(StateError::NotRunning { id: id.to_owned(), status: Status::Stopped }.into());
    }
    if signal == Signal::KILL { let_die(&entry, &state) } else { Ok(()) }
}

/// The container may have been frozen meanwhile, or have frozen processes itself, for which the first one waits.
fn let_die(entry: &Entry, state: &State) -> Result<()> {
    let members = Members::of(state);
    if !state.is_kept_from_dying() && !members.may_be_frozen_below() {
        return Ok(());
    }
    match lock_forcibly(entry) {
        Err(Error::State(StateError::NotFound { .. })) => Ok(()),
        lock => {
            let _own = lock?;
            members.thaw_below()
        }
    }
}

fn check(entry: &Entry, state: &State, all: bool) -> Result<()> {
    let status = lifecycle::status(state, entry)?;
    if all && status == Status::Stopped {
        return Ok(());
    }
    Ok(lifecycle::check(Operation::Kill, &state.id, status)?)
}

/// A cgroup is known by its path, which may be another container's as soon as this one is deleted: hence the lock.
fn signal_all(entry: &Entry, signal: Signal, all: bool) -> Result<()> {
    let _own = if signal == Signal::KILL { lock_forcibly(entry)? } else { entry.lock()? };
    let state = entry.read_state()?;
    // A lock that was had by force has cost the container its first process.
    check(entry, &state, all || signal == Signal::KILL)?;
    Members::of(&state).signal_all(signal)
}

/// Returns `false` if the process has ended.
pub(super) fn signal_init(state: &State, signal: Signal) -> Result<bool> {
    let Some(process) = state.init() else { return Ok(false) };
    match process.open().map_err(SyscallError::calling("pidfd_open"))? {
        Some(pidfd) => send(&pidfd, signal),
        None => Ok(false),
    }
}

/// Returns `false` if the process has ended, and its parent knows.
pub(super) fn send(pidfd: &OwnedFd, signal: Signal) -> Result<bool> {
    match sys::pidfd_send_signal(pidfd.as_fd(), signal.number()) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(e) => Err(SyscallError::calling("pidfd_send_signal")(e).into()),
    }
}
