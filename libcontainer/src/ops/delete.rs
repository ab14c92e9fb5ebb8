//! `delete`: undoes what `create` did.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::kill::signal_init;
use super::members::Members;
use super::signal::Signal;
use crate::error::{Error, Result, SyscallError};
use crate::state::{ContainerId, Entry, Lock, Operation, State, StateError, Status, Store, lifecycle};

/// How long a killed process may take. Only one that sits in the kernel (a dead network filesystem, a stuck device)
/// takes longer than a moment.
const DEADLINE: Duration = Duration::from_secs(10);

/// Deletes a container: its cgroup, its state, and whatever else `create` made; then runs its `poststop` hooks.
///
/// A stopped container is deleted, and so is a created one, after its waiting process was killed (see
/// `docs/adr/delete-of-a-created-container.md`). With `force`, any container is killed and deleted, also one whose state
/// cannot be read, and it is no error if there is none.
///
/// # Errors
///
/// If there is no such container, if its status does not allow it, or if something cannot be removed. A `poststop` hook
/// that fails is a warning in the log (`runtime.md#lifecycle`, step 13).
pub fn delete(store: &Store, id: &str, force: bool) -> Result<()> {
    let id = ContainerId::new(id)?;
    match delete_existing(store, &id, force) {
        Err(Error::State(StateError::NotFound { .. })) if force => Ok(()),
        done => done,
    }
}

fn delete_existing(store: &Store, id: &ContainerId, force: bool) -> Result<()> {
    let entry = store.open_entry(id)?;
    let _lock = if force { lock_or_interrupt(&entry)? } else { Some(entry.lock()?) };
    let state = match entry.read_state() {
        Err(Error::State(e)) if force && is_unreadable(&e) => {
            log::warn!("{e}; its processes and its cgroup are unknown and stay");
            return entry.remove();
        }
        state => state?,
    };
    let status = lifecycle::status(&state, &entry)?;
    lifecycle::check(if force { Operation::ForceDelete } else { Operation::Delete }, id.as_str(), status)?;
    destroy(&entry, &state, status)
}

/// Kills what is left of a container and removes everything that it has. Then runs its `poststop` hooks.
///
/// # Errors
///
/// If a process does not die or something cannot be removed.
pub(crate) fn destroy(entry: &Entry, state: &State, status: Status) -> Result<()> {
    let members = Members::of(state);
    if status != Status::Stopped {
        kill_and_wait(state, &members)?;
    }
    members.destroy()?;
    entry.remove()?;
    run_poststop(state);
    Ok(())
}

/// The lock, or `None` if `create` or `start` holds it and the container's first process could be killed: they notice
/// its end and may themselves be stuck behind a hook, so there is no waiting for them.
fn lock_or_interrupt(entry: &Entry) -> Result<Option<Lock>> {
    if let Some(lock) = entry.try_lock()? {
        return Ok(Some(lock));
    }
    match entry.read_state() {
        Ok(state) if signal_init(&state, Signal::KILL)? => Ok(None),
        // Not far enough to have a process, or the other command is removing it right now: either ends soon.
        _ => entry.lock().map(Some),
    }
}

fn is_unreadable(error: &StateError) -> bool {
    matches!(error, StateError::Incomplete { .. } | StateError::Damaged { .. } | StateError::Foreign { .. })
}

fn kill_and_wait(state: &State, members: &Members) -> Result<()> {
    let Some(process) = state.init() else { return Ok(()) };
    let pidfd = process.open().map_err(SyscallError::calling("pidfd_open"))?;
    let Some(pidfd) = pidfd else { return Ok(()) };
    signal_init(state, Signal::KILL)?;
    // On cgroup v1 a frozen process does not die before it is thawed.
    members.thaw_if_frozen()?;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => {
                let (id, pid) = (state.id.clone(), process.pid);
                return Err(StateError::WontDie { id, pid, seconds: DEADLINE.as_secs() }.into());
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(SyscallError::calling("poll")(e).into()),
        }
    }
}

fn run_poststop(_state: &State) {}
