//! Who makes the containers' cgroups: the runtime, or systemd on its behalf.

use std::ffi::OsString;

/// A cgroup manager, as engines call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The runtime writes into the file system.
    Cgroupfs,
    /// Every container is a scope of systemd's.
    Systemd,
}

/// Without a dash: every one of them is a level of slices.
const SLICE: &str = "cortenchecks.slice";

impl Manager {
    /// The name that Docker and Podman know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    /// The manager of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Cgroupfs, Self::Systemd].into_iter().find(|manager| manager.name() == name)
    }

    /// What is above all containers of the lane.
    pub fn parent(self, name: &str) -> String {
        match self {
            Self::Cgroupfs => format!("/{name}"),
            Self::Systemd => SLICE.to_owned(),
        }
    }

    /// What the scripts are told of it: `$G` the parent, `$SYSTEMD` something or nothing.
    pub fn environment(self, name: &str) -> [(&'static str, OsString); 2] {
        let is_systemd = if self == Self::Systemd { "yes" } else { "" };
        [("G", self.parent(name).into()), ("SYSTEMD", is_systemd.into())]
    }
}
