//! The state as hooks and seccomp agents get it (runtime.md#state).

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::state::{State, Status};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> HookState<'a> {
    fn new(state: &'a State, config: &'a Config, status: Status, pid: Option<i32>) -> HookState<'a> {
        HookState {
            oci_version: &state.oci_version,
            id: &state.id,
            status: status.as_str(),
            pid,
            bundle: &state.bundle,
            annotations: &config.annotations,
        }
    }
}

/// What a seccomp agent gets together with the listener (config-linux.md#containerprocessstate).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    /// Names of the descriptors, in their order.
    fds: [&'a str; 1],
    /// Of the process whose calls are notified, in the runtime's pid namespace.
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: HookState<'a>,
}

/// The JSON for a seccomp agent. `process` is the one under the filter, `init` the container's first.
pub(super) fn process_state(
    state: &State,
    config: &Config,
    status: Status,
    process: i32,
    init: Option<i32>,
) -> Vec<u8> {
    let seccomp = config.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let message = ContainerProcessState {
        oci_version: &state.oci_version,
        fds: ["seccompFd"],
        pid: process,
        metadata: seccomp.and_then(|seccomp| seccomp.listener_metadata.as_deref()).unwrap_or_default(),
        state: HookState::new(state, config, status, init),
    };
    serde_json::to_vec(&message).unwrap_or_default()
}

/// The JSON for a hook's stdin. `pid` is the process as the hook sees it.
pub(super) fn hook_state(state: &State, config: &Config, status: Status, pid: Option<i32>) -> Vec<u8> {
    // A structure of strings and numbers has no way to fail.
    serde_json::to_vec(&HookState::new(state, config, status, pid)).unwrap_or_default()
}

/// The pid of a process in its own, innermost, pid namespace (the last field of `NSpid`, Linux 4.1).
pub(super) fn pid_inside(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|pids| pids.split_whitespace().last()?.parse().ok()).unwrap_or(pid)
}
