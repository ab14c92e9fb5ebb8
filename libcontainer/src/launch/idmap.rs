//! Id mappings of a new user namespace (user_namespaces(7)).

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

use super::error::LaunchError;
use crate::config::IdMapping;
use crate::error::Result;

/// Writes both maps for a process in a new user namespace. A runtime without privileges may map its own two ids only;
/// for more it asks newuidmap(1) and newgidmap(1), which know what `/etc/subuid` and `/etc/subgid` allow.
pub(crate) fn write_mappings(pid: i32, euid: u32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    let privileged = euid == 0;
    write_map(pid, &Side::UID, privileged, uids)?;
    let single = gids.len() == 1 && gids[0].size == 1;
    if !privileged && single {
        // Without this the kernel refuses the map: a process could drop a group that denies it something.
        let path = format!("/proc/{pid}/setgroups");
        std::fs::write(&path, "deny").map_err(|e| failed(&Side::GID, e))?;
    }
    write_map(pid, &Side::GID, privileged, gids)
}

struct Side {
    field: &'static str,
    file: &'static str,
    helper: &'static str,
}

impl Side {
    const UID: Side = Side { field: "linux.uidMappings", file: "uid_map", helper: "newuidmap" };
    const GID: Side = Side { field: "linux.gidMappings", file: "gid_map", helper: "newgidmap" };
}

fn failed(side: &Side, source: io::Error) -> LaunchError {
    let hint = match source.raw_os_error() {
        Some(libc::EPERM) => {
            "without privileges only your own id may be mapped, or a range of /etc/subuid and /etc/subgid"
        }
        Some(libc::EINVAL) => {
            "ranges may not overlap, and the host's ids have to exist in the runtime's user namespace"
        }
        _ => "",
    };
    LaunchError::Mapping { field: side.field, source, hint }
}

/// What is written to `uid_map` and `gid_map`.
pub(crate) fn map_text(mappings: &[IdMapping]) -> String {
    let mut text = String::with_capacity(mappings.len() * 33);
    for m in mappings {
        let _ = writeln!(text, "{} {} {}", m.container_id, m.host_id, m.size);
    }
    text
}

fn write_map(pid: i32, side: &Side, privileged: bool, mappings: &[IdMapping]) -> Result<()> {
    if mappings.is_empty() {
        return Ok(());
    }
    let text = map_text(mappings);
    let path = format!("/proc/{pid}/{}", side.file);
    let own_only = mappings.len() == 1 && mappings[0].size == 1;
    match std::fs::write(&path, text) {
        Ok(()) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) && !privileged && !own_only => {
            ask_helper(pid, side, mappings, e)
        }
        Err(e) => Err(failed(side, e).into()),
    }
}

fn ask_helper(pid: i32, side: &Side, mappings: &[IdMapping], refused: io::Error) -> Result<()> {
    let Some(helper) = find_helper(side.helper) else { return Err(failed(side, refused).into()) };
    let ids = mappings.iter().flat_map(|m| [m.container_id, m.host_id, m.size]);
    let mut command = Command::new(helper);
    let output = command.arg(pid.to_string()).args(ids.map(|id| id.to_string())).output();
    let output = output.map_err(|e| failed(side, e))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(LaunchError::MappingHelper { field: side.field, helper: side.helper, output }.into())
}

/// In `PATH`, or, for engines that call without one, where distributions have it.
fn find_helper(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| Path::is_file(p))
}
