//! The seccomp agent: who answers the calls that a filter notifies (`linux.seccomp.listenerPath`).

use std::os::fd::AsFd;
use std::path::Path;

use super::report::process_state;
use crate::config::Config;
use crate::error::Result;
use crate::launch::{Session, send_once};
use crate::state::{State, Status};

/// Sends the agent the listener of a process that is ready, and waits for nothing but that: one connection, one message
/// (config-linux.md#seccomp). Without a filter that notifies there is nothing to send.
pub(super) fn inform(session: &mut Session, config: &Config, state: &State, status: Status) -> Result<()> {
    let Some(listener) = session.take_listener() else { return Ok(()) };
    let seccomp = config.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    // The compiler of filters does not let a rule notify without one.
    let path = seccomp.and_then(|seccomp| seccomp.listener_path.as_deref()).unwrap_or_default();
    let message = process_state(state, config, status, session.pid, state.pid);
    let doing = ("linux.seccomp.listenerPath: connect to", "linux.seccomp.listenerPath: send to");
    send_once(Path::new(path), &message, listener.as_fd(), doing)
}
