//! `state.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::FoundFormat;
use super::{ProcessRef, StateError};
use crate::cgroup::{Cgroup, Saved};
use crate::config::{Hook, json};
use crate::resctrl::Groups;
use crate::seccomp::Program;

/// Version of the layout of [`State`]. A change that an older or newer corten would misread raises it.
pub const FORMAT: u32 = 1;

/// What `create` writes down of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// [`FORMAT`]. The name of this member also tells our `state.json` from those of other runtimes.
    pub corten_state: u32,
    /// `ociVersion` of the configuration.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The root filesystem, absolute.
    pub rootfs: PathBuf,
    /// The first process, in the pid namespace of the runtime; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When that process began: field 22 of `/proc/PID/stat`.
    #[serde(default)]
    pub start_time: u64,
    /// Whether `create` is still at work on it, in its hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub creating: bool,
    /// When the container was made: RFC 3339 in UTC, see [`super::time::now`].
    pub created: String,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who made it, as an effective user id.
    pub owner: u32,
    /// The cgroup it is in.
    #[serde(default)]
    pub cgroup: Saved,
    /// Its groups in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Groups>,
    /// How that cgroup was made. Later commands obey this, whatever `--systemd-cgroup` says then.
    #[serde(default)]
    pub cgroup_manager: CgroupManager,
    /// Whether it was made without privileges.
    #[serde(default)]
    pub rootless: bool,
    /// Whether the container lives in the pid namespace of somebody else, so that its first process may end before the
    /// others.
    #[serde(default)]
    pub shares_pid_namespace: bool,
    /// What `delete` has to run at its end. Kept here so that `delete` need not read the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// The filter that was handed over in the place of a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Program>,
}

/// Who makes and removes the container's cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupManager {
    /// corten, by mkdir(2) in the cgroup filesystem.
    #[default]
    Cgroupfs,
    /// systemd, by a transient scope.
    Systemd,
    /// Nobody: the container stays in the cgroup of its caller.
    Disabled,
}

impl CgroupManager {
    /// The word used on the command line and in `state.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CgroupManager::Cgroupfs => "cgroupfs",
            CgroupManager::Systemd => "systemd",
            CgroupManager::Disabled => "disabled",
        }
    }
}

impl fmt::Display for CgroupManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CgroupManager {
    type Err = ();

    fn from_str(text: &str) -> Result<CgroupManager, ()> {
        let all = [CgroupManager::Cgroupfs, CgroupManager::Systemd, CgroupManager::Disabled];
        all.into_iter().find(|m| m.as_str() == text).ok_or(())
    }
}

impl State {
    /// The first process, if there is one by now.
    #[must_use]
    pub fn init(&self) -> Option<ProcessRef> {
        Some(ProcessRef { pid: self.pid?, start_time: self.start_time })
    }

    /// Whether the container's cgroup is frozen; `false` also if that cannot be known.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        if self.cgroup.dirs.is_empty() {
            return false;
        }
        Cgroup::from_saved(&self.cgroup).is_frozen().unwrap_or_else(|e| {
            log::debug!("container {}: {e}", self.id);
            false
        })
    }

    /// Whether killed processes stay until the container is thawed: version 2 lets frozen processes die.
    #[must_use]
    pub fn is_kept_from_dying(&self) -> bool {
        !self.cgroup.unified && self.is_frozen()
    }

    /// The bytes of `state.json`.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] if a path is not UTF-8.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads the bytes of the `state.json` at `path`.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] or [`StateError::Foreign`], naming `path`.
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<State, StateError> {
        let parsed: Result<State, _> = json::parse(bytes);
        match parsed {
            Ok(state) if state.corten_state == FORMAT => Ok(state),
            Ok(state) => Err(foreign(path, FoundFormat::Number(state.corten_state.into()))),
            Err(source) => Err(explain(bytes, path, source)),
        }
    }
}

/// JSON of another format is foreign, everything else is damaged.
fn explain(bytes: &[u8], path: &Path, source: serde_json::Error) -> StateError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Format {
        corten_state: Option<u64>,
    }
    match json::parse::<Format>(bytes) {
        Ok(Format { corten_state: None }) => foreign(path, FoundFormat::None),
        Ok(Format { corten_state: Some(n) }) if n != u64::from(FORMAT) => {
            foreign(path, FoundFormat::Number(n))
        }
        _ => StateError::Damaged { path: path.to_path_buf(), source },
    }
}

fn foreign(path: &Path, found: FoundFormat) -> StateError {
    StateError::Foreign { path: path.to_path_buf(), found }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(id: &str) -> State {
        State {
            corten_state: FORMAT,
            oci_version: "1.2.0".into(),
            id: id.into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            pid: Some(42),
            start_time: 4711,
            created: "2026-11-21T06:30:52.5Z".into(),
            annotations: BTreeMap::from([("k".into(), "v \"<>\n".into())]),
            owner: 0,
            cgroup: Saved::default(),
            intel_rdt: None,
            cgroup_manager: CgroupManager::Cgroupfs,
            rootless: false,
            shares_pid_namespace: false,
            creating: false,
            poststop: Vec::new(),
            seccomp: None,
        }
    }

    #[test]
    fn round_trip() {
        let mut state = example("c1");
        for pid in [None, Some(7)] {
            state.pid = pid;
            let bytes = state.to_json().unwrap();
            assert_eq!(State::from_json(&bytes, Path::new("/x")).unwrap(), state);
        }
    }

    #[test]
    fn every_truncation_is_an_error_that_names_the_file() {
        let bytes = example("c1").to_json().unwrap();
        for length in 0..bytes.len() {
            let error =
                State::from_json(&bytes[..length], Path::new("/run/corten/c1/state.json")).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("/run/corten/c1/state.json is damaged"), "{text}");
            assert!(text.contains("delete --force"), "{text}");
        }
    }

    #[test]
    fn an_array_is_damaged_however_it_is_filled() {
        let Ok(serde_json::Value::Object(members)) = serde_json::to_value(example("c1")) else {
            panic!("an object")
        };
        let in_order: Vec<_> = members.into_iter().map(|(_, value)| value).collect();
        for text in ["[]".to_owned(), "[1]".to_owned(), serde_json::to_string(&in_order).unwrap()] {
            let error = State::from_json(text.as_bytes(), Path::new("/s")).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains("expected an object"), "{error}");
        }
    }

    #[test]
    fn foreign_files_are_told_from_damaged_ones() {
        let text = |json: &str| State::from_json(json.as_bytes(), Path::new("/s")).unwrap_err().to_string();
        let runc = text(r#"{"id":"c1","init_process_pid":1,"init_process_start":2}"#);
        assert!(runc.contains("not written by this version of corten: it has no member"), "{runc}");
        assert!(text(r#"{"cortenState":9}"#).contains("format 9, expected 1"));
        assert!(text(r#"{"cortenState":1}"#).contains("damaged"));
        assert!(text("\0\0\0").contains("damaged"));
        let mut newer = example("c1");
        newer.corten_state = 2;
        let newer = String::from_utf8(newer.to_json().unwrap()).unwrap();
        assert!(text(&newer).contains("format 2, expected 1"));
    }
}
