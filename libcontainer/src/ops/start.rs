//! `start`.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::options::StartOptions;
use super::report::hook_state;
use super::{delete, load, notify, start_hooks};
use crate::config::Config;
use crate::error::{ConfigError, Error, FieldPath, PathError, Problem, Result, SyscallError};
use crate::hooks::{Place, run_hooks};
use crate::launch::{Notify, Session, knock};
use crate::state::{Entry, Operation, START_SOCKET, State, StateError, Status, Store, lifecycle};

/// Lets the program of a created container begin; with a service manager, waits until it says that it is ready.
///
/// # Errors
///
/// If the container is not `created`, or if a hook or the program itself fails; in the latter case the container is
/// stopped and removed (runtime.md#lifecycle, steps 7 to 9).
pub fn start(store: &Store, id: &str, options: &StartOptions) -> Result<()> {
    let (entry, state) = load(store, id)?;
    // Before there is any waiting: a hook that calls this would wait for the command that waits for the hook.
    lifecycle::check(Operation::Start, id, lifecycle::status(&state, &entry)?)?;
    let lock = entry.lock()?;
    let state = entry.read_state()?;
    let status = lifecycle::status(&state, &entry)?;
    lifecycle::check(Operation::Start, id, status)?;
    let config = Config::from_slice(&entry.read_config()?)?;
    if config.process.is_none() {
        let why = "to start a container";
        return Err(ConfigError::new(FieldPath::new("process"), Problem::Missing { why }).into());
    }
    let begun = begin(&entry, &state, &config, options);
    let (pidfd, notify) = begun.inspect_err(|_| remove(&entry, &state))?;
    // Others may want to stop it while it gets ready.
    drop(lock);
    notify.map_or(Ok(()), |notify| notify.wait_ready(&pidfd))
}

fn begin(
    entry: &Entry,
    state: &State,
    config: &Config,
    options: &StartOptions,
) -> Result<(OwnedFd, Option<Notify>)> {
    let gone = || Error::from(StateError::NotRunning { id: state.id.clone(), status: Status::Stopped });
    let process = state.init().ok_or_else(gone)?;
    let pidfd = process.open().map_err(SyscallError::calling("pidfd_open"))?.ok_or_else(gone)?;
    let notify = notify::open(entry, options.notify_socket.as_deref(), process.pid)?;
    let socket = knock(entry)?;
    start_hooks::run(state, config, &pidfd)?;
    let program = config.process.as_ref().and_then(|p| p.args.first()).cloned().unwrap_or_default();
    let mut session = Session::resume(socket, process.pid, pidfd, program);
    session.start()?;
    let removed = match unlinkat(entry.dir(), START_SOCKET, AtFlags::empty()) {
        // `delete --force` came in between; the program has begun nevertheless.
        Err(Errno::NOENT) => Ok(()),
        other => other,
    };
    removed.map_err(PathError::doing("remove", &entry.path().join(START_SOCKET)))?;
    poststart(state, config, process.pid)?;
    Ok((session.pidfd, notify))
}

/// `poststart` hooks; since version 1.3 of the specification a failure is an error.
pub(super) fn poststart(state: &State, config: &Config, pid: i32) -> Result<()> {
    let Some(hooks) = config.hooks.as_ref().filter(|h| !h.poststart.is_empty()) else { return Ok(()) };
    let json = hook_state(state, config, Status::Running, Some(pid));
    let place = Place::Runtime { cwd: &state.bundle };
    Ok(run_hooks(&hooks.poststart, &FieldPath::new("hooks.poststart"), &json, &place)?)
}

/// Stops and removes a container that could not be started.
fn remove(entry: &Entry, state: &State) {
    if entry.is_gone() {
        // `delete --force` came in between, and has removed all of it.
        return;
    }
    if let Err(e) = delete::destroy(entry, state, Status::Running) {
        log::warn!("cannot remove container {}: {e}", state.id);
    }
}
