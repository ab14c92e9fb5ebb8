//! What later commands need to find the cgroup again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::dir::Dir;
use super::layout::Kind;
use super::{Cgroup, Member, Paths, Unit};

/// A [`Cgroup`] for `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Whether the control files are those of version 2.
    #[serde(default)]
    pub unified: bool,
    /// The directories.
    #[serde(default)]
    pub dirs: Vec<SavedDir>,
    /// The unit, where systemd has made the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

/// One directory of a [`Saved`] cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDir {
    /// Version 1 controllers; empty for the unified hierarchy.
    #[serde(default)]
    pub controllers: Vec<String>,
    /// Absolute path in the runtime's mount namespace.
    pub path: PathBuf,
    /// How many directories of the path, counted from its end, the runtime made and has to remove.
    #[serde(default)]
    pub made: usize,
}

impl Paths {
    /// What is to be kept before the directories are made, so that a `create` that is killed in between can still be
    /// cleaned up: of each path the last directory, unless it is there already.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let dirs = self.places.iter().map(|place| {
            let path = place.path();
            let made = usize::from(!path.exists());
            SavedDir { controllers: place.controllers.clone(), path, made }
        });
        Saved { unified: self.kind == Kind::Unified, dirs: dirs.collect(), unit: None }
    }

    /// As if the last directory of each path had been made for the container: for one whose state is lost.
    #[must_use]
    pub fn presumed(&self) -> Saved {
        let mut saved = self.saved();
        for dir in &mut saved.dirs {
            dir.made = 1;
        }
        saved
    }
}

impl Cgroup {
    /// What to keep in `state.json`.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let dirs = self.members.iter().map(|m| SavedDir {
            controllers: m.controllers.clone(),
            path: m.dir.path().to_path_buf(),
            made: m.made,
        });
        Saved { unified: self.kind == Kind::Unified, dirs: dirs.collect(), unit: self.unit.clone() }
    }

    /// The handle again, without a look at the machine: directories are opened when they are used.
    #[must_use]
    pub fn from_saved(saved: &Saved) -> Cgroup {
        let members = saved.dirs.iter().map(|d| Member {
            controllers: d.controllers.clone(),
            dir: Dir::new(d.path.clone()),
            made: d.made,
        });
        let kind = if saved.unified { Kind::Unified } else { Kind::Legacy };
        Cgroup {
            kind,
            members: members.collect(),
            disabled: saved.dirs.is_empty(),
            unit: saved.unit.clone(),
            last_words: None,
        }
    }
}
