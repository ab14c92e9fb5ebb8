//! Which cgroup hierarchy a lane or the bench sees, arranged in a mount namespace of its own: the host's mounts stay.

use std::fs;
use std::path::Path;

use crate::error::{Doing, Error, Result};
use crate::sys;

const ROOT: &str = "/sys/fs/cgroup";

/// What is mounted on /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupView {
    /// Hierarchies of version 1 alone.
    V1,
    /// The unified hierarchy alone.
    V2,
    /// Hierarchies of version 1, and the unified one on `unified` without controllers that v1 holds.
    Hybrid,
}

impl CgroupView {
    /// Reads `v1`, `v2` or `hybrid`.
    pub fn parse(value: &str) -> Result<Self> {
        match value {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            "hybrid" => Ok(Self::Hybrid),
            _ => Err(Error::Argument {
                option: "--cgroup",
                value: value.to_owned(),
                expected: "v1, v2 or hybrid",
            }),
        }
    }

    /// The view that this process has.
    pub fn current() -> Self {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            Self::V2
        } else if root.join("unified/cgroup.controllers").exists() {
            Self::Hybrid
        } else {
            Self::V1
        }
    }

    /// Its name, as `--cgroup` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        }
    }

    /// Gives this process the view. The process must be root and have one thread.
    pub fn enter(self) -> Result<()> {
        let current = Self::current();
        if self == current {
            return Ok(());
        }
        let enter = || match (current, self) {
            (Self::Hybrid, Self::V1) => {
                sys::private_mount_namespace()?;
                sys::detach(&Path::new(ROOT).join("unified"))
            }
            (_, Self::V2) => {
                sys::private_mount_namespace()?;
                sys::detach(Path::new(ROOT))?;
                sys::mount_cgroup2(Path::new(ROOT))
            }
            _ => Err(std::io::Error::other("the kernel's controllers are not where that view needs them")),
        };
        enter().doing(|| format!("turn cgroup {} into {}", current.name(), self.name()))
    }

    /// The arguments that tell the floor program where a container's cgroups go.
    pub fn floor_arguments(self) -> Result<Vec<String>> {
        if self == Self::V2 {
            return Ok(vec!["v2".to_owned()]);
        }
        let entries = fs::read_dir(ROOT).doing(|| format!("list {ROOT}"))?;
        let mut hierarchies: Vec<String> = entries
            .flatten()
            // Links such as `cpu -> cpu,cpuacct` are second names of a hierarchy.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| entry.path().join("cgroup.procs").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        hierarchies.sort();
        Ok([vec!["v1".to_owned()], hierarchies].concat())
    }
}
