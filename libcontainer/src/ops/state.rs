//! `state`: what a container is and does (runtime-spec `runtime.md#query-state`).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::load;
use crate::error::Result;
use crate::state::{Entry, State, Status, Store, lifecycle};

/// What `state` and `list` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    /// `ociVersion` of the configuration.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The first process in the pid namespace of the runtime; 0 once it has ended and before there is one.
    pub pid: i32,
    /// `creating`, `created`, `running`, `paused` or `stopped`.
    pub status: &'static str,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root filesystem.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who made it, by name, or `#UID` where the uid has none.
    pub owner: String,
}

/// The state of one container.
///
/// # Errors
///
/// If there is no such container or its state cannot be read.
pub fn state(store: &Store, id: &str) -> Result<StateReport> {
    let (entry, state) = load(store, id)?;
    report(&entry, state, &Owners::default())
}

pub(super) fn report(entry: &Entry, state: State, owners: &Owners) -> Result<StateReport> {
    let status = lifecycle::status(&state, entry)?;
    let pid = if status == Status::Stopped { 0 } else { state.pid.unwrap_or(0) };
    Ok(StateReport {
        oci_version: state.oci_version,
        id: state.id,
        pid,
        status: status.as_str(),
        bundle: state.bundle,
        rootfs: state.rootfs,
        created: state.created,
        annotations: state.annotations,
        owner: owners.name(state.owner),
    })
}

/// The names of users as the machine's passwd(5) knows them, read once for any number of containers. A static binary
/// has no NSS to ask further.
#[derive(Debug, Default)]
pub(super) struct Owners {
    passwd: OnceCell<String>,
}

impl Owners {
    fn name(&self, uid: u32) -> String {
        let passwd = self.passwd.get_or_init(|| fs::read_to_string("/etc/passwd").unwrap_or_default());
        name_in(passwd, uid).map_or_else(|| format!("#{uid}"), str::to_owned)
    }
}

fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let found: u32 = fields.nth(1)?.parse().ok()?;
        (found == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nann:x:1000:1000::/:\nbob:x:1000:::\n";
        assert_eq!(name_in(passwd, 0), Some("root"));
        assert_eq!(name_in(passwd, 1000), Some("ann"));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(Owners::default().name(u32::MAX - 7), format!("#{}", u32::MAX - 7));
    }

    #[test]
    fn the_members_that_engines_read() {
        let report = StateReport {
            oci_version: "1.2.0".into(),
            id: "c1".into(),
            pid: 7,
            status: "running",
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-21T06:30:52Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"ociVersion":"1.2.0","id":"c1","pid":7,"status":"running","bundle":"/b","rootfs":"/b/rootfs","created":"2026-11-21T06:30:52Z","owner":"root"}"#
        );
    }
}
