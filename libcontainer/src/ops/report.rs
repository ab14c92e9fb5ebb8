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

/// The JSON for a hook's stdin. `pid` is the process as the hook sees it.
pub(super) fn hook_state(state: &State, config: &Config, status: Status, pid: Option<i32>) -> Vec<u8> {
    let state = HookState {
        oci_version: &state.oci_version,
        id: &state.id,
        status: status.as_str(),
        pid,
        bundle: &state.bundle,
        annotations: &config.annotations,
    };
    // A structure of strings and numbers has no way to fail.
    serde_json::to_vec(&state).unwrap_or_default()
}

/// The pid of a process in its own, innermost, pid namespace (the last field of `NSpid`, Linux 4.1).
pub(super) fn pid_inside(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|pids| pids.split_whitespace().last()?.parse().ok()).unwrap_or(pid)
}
