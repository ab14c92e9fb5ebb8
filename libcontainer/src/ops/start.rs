//! `start`.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, unlinkat};

use super::exec::open_container;
use super::options::StartOptions;
use super::report::hook_state;
use super::{delete, explain_end, load, notify, start_hooks};
use crate::config::Config;
use crate::error::{ConfigError, Error, FieldPath, PathError, Problem, Result};
use crate::hooks::{Place, run_hooks};
use crate::launch::{Notify, Session, knock};
use crate::state::{Entry, Lock, Operation, START_SOCKET, State, StateError, Status, Store, Turn, lifecycle};

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
    let config = Config::from_slice(&entry.read_config()?)?;
    if config.process.is_none() {
        let why = "to start a container";
        return Err(ConfigError::new(FieldPath::new("process"), Problem::Missing { why }).into());
    }
    let _turn = run_start_hooks(&entry, &config)?;
    let own = entry.lock()?;
    let state = read_created(&entry)?;
    let begun = begin(&entry, own, &state, &config, options);
    let (pidfd, notify) = begun.map_err(|e| failed(explain_end(e, &state), &entry))?;
    notify.map_or(Ok(()), |notify| notify.wait_ready(&pidfd))
}

/// The state of a container that can be started.
fn read_created(entry: &Entry) -> Result<State> {
    let state = entry.read_state()?;
    lifecycle::check(Operation::Start, &state.id, lifecycle::status(&state, entry)?)?;
    Ok(state)
}

/// `startContainer` hooks may take any time and call this runtime, so nobody has the container meanwhile; only another
/// `start` waits.
fn run_start_hooks(entry: &Entry, config: &Config) -> Result<Option<Turn>> {
    if config.hooks.as_ref().is_none_or(|h| h.start_container.is_empty()) {
        return Ok(None);
    }
    let turn = entry.turn()?;
    let own = entry.lock()?;
    let state = read_created(entry)?;
    drop(own);
    start_hooks::run(&state, config).map(|()| Some(turn)).map_err(|e| failed(e, entry))
}

/// Lets the program begin.
fn begin(
    entry: &Entry,
    own: Lock,
    state: &State,
    config: &Config,
    options: &StartOptions,
) -> Result<(OwnedFd, Option<Notify>)> {
    let pidfd = open_container(state)?;
    let pid = state.pid.unwrap_or_default();
    let notify = notify::open(entry, options.notify_socket.as_deref(), pid)?;
    let program = config.process.as_ref().and_then(|p| p.args.first()).cloned().unwrap_or_default();
    let mut session = Session::resume(knock(entry)?, pid, pidfd, program);
    session.start()?;
    let removed = unlinkat(entry.dir(), START_SOCKET, AtFlags::empty());
    removed.map_err(PathError::doing("remove", &entry.path().join(START_SOCKET)))?;
    // Others may want to stop it while hooks run and while it gets ready.
    drop(own);
    poststart(state, config, pid)?;
    Ok((session.pidfd, notify))
}

/// `poststart` hooks; since version 1.3 of the specification a failure is an error.
pub(super) fn poststart(state: &State, config: &Config, pid: i32) -> Result<()> {
    let Some(hooks) = config.hooks.as_ref().filter(|h| !h.poststart.is_empty()) else { return Ok(()) };
    let json = hook_state(state, config, Status::Running, Some(pid));
    let place = Place::Runtime { cwd: &state.bundle };
    Ok(run_hooks(&hooks.poststart, &FieldPath::new("hooks.poststart"), &json, &place)?)
}

/// Stops and removes a container that could not be started, unless somebody else has done so meanwhile.
fn failed(error: Error, entry: &Entry) -> Error {
    let deleted = |e: &Error| matches!(e, Error::State(StateError::NotFound { .. }));
    let own = match entry.lock() {
        Err(gone) if deleted(&gone) => return gone,
        own => own,
    };
    let removed = own.and_then(|own| delete::destroy(entry, &own, &entry.read_state()?));
    if let Err(e) = removed {
        log::warn!("cannot remove container {}: {e}", entry.id());
    }
    error
}
