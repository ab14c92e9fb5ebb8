//! What can be wrong with an id or with a container's state.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Operation, Status};
use crate::error::{PathError, Strerror};

/// An id, a state directory or a status that does not allow what was asked.
///
/// Engines look for some of these texts (`does not exist`, `container not running`): see the tests before changing one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The id cannot name a container.
    #[error("invalid container ID {id:?}: {why}")]
    BadId {
        /// As given.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The id is taken.
    #[error("container with given ID already exists: {id}")]
    Exists {
        /// The id.
        id: String,
    },
    /// No container has this id.
    #[error("container does not exist: {id}")]
    NotFound {
        /// The id.
        id: String,
    },
    /// The directory is there, and no `state.json` in it.
    #[error(
        "container {id} has no state yet: it is being created, or its creation was interrupted \
             (`corten delete --force {id}` removes it)"
    )]
    Incomplete {
        /// The id.
        id: String,
    },
    /// `state.json` is not JSON or not ours.
    #[error("{} is damaged: {source} (`corten delete --force` removes the container)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        source: serde_json::Error,
    },
    /// `state.json` was written by another runtime or by a version of another time.
    #[error("{} was not written by this version of corten: {found} (`corten delete --force` removes the container)",
            path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says about its format.
        found: FoundFormat,
    },
    /// The operation needs a first process that is alive.
    #[error("container not running: {id} is {status}")]
    NotRunning {
        /// The id.
        id: String,
        /// Its status.
        status: Status,
    },
    /// `resume` of a container that is not paused.
    #[error("container not paused: {id} is {status}")]
    NotPaused {
        /// The id.
        id: String,
        /// Its status.
        status: Status,
    },
    /// `delete` of a container that lives.
    #[error("cannot delete container {id} that is not stopped: {status} (kill it first, or use --force)")]
    NotStopped {
        /// The id.
        id: String,
        /// Its status.
        status: Status,
    },
    /// `start` of a container that was started, or that has ended.
    #[error("cannot start {}", not_created(*status))]
    NotCreated {
        /// The id.
        id: String,
        /// Its status.
        status: Status,
    },
    /// `exec` in a container that is frozen.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    Paused {
        /// The id.
        id: String,
    },
    /// Any other operation in a status that does not allow it.
    #[error("cannot {operation} container {id}: it is {status}")]
    Illegal {
        /// The id.
        id: String,
        /// What was asked.
        operation: Operation,
        /// The status it is in.
        status: Status,
    },
    /// A killed process that does not end.
    #[error("container {id} was sent SIGKILL and its process {pid} is still there after {seconds} s")]
    WontDie {
        /// The id.
        id: String,
        /// Its first process.
        pid: i32,
        /// How long was waited.
        seconds: u64,
    },
    /// Another command that is stopped, or stuck in the kernel.
    #[error(
        "container {id} is in use by {holder}, which has not let go of it for {seconds} s: end that, and try again"
    )]
    Busy {
        /// The id.
        id: String,
        /// How long was waited.
        seconds: u64,
        /// Who it is.
        holder: Holder,
    },
    /// Something that only a cgroup can do.
    #[error("container {id} has no cgroup of its own, and without one it can be neither paused nor resumed")]
    NoCgroup {
        /// The id.
        id: String,
    },
    /// What a container uses is counted by its cgroup.
    #[error("container {id} has no cgroup of its own, and without one nothing is counted")]
    NotCounted {
        /// The id.
        id: String,
    },
    /// The filesystem of the state root has no room for what has to be remembered.
    #[error("{doing} {}: {} (free space there, or choose another --root)", path.display(), Strerror(source))]
    NoRoom {
        /// The system call.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The fallback state root belongs to somebody else.
    #[error("{} is not a directory that only this user can write (set XDG_RUNTIME_DIR or give --root)",
            path.display())]
    UntrustedRoot {
        /// The directory.
        path: PathBuf,
    },
}

impl StateError {
    /// As [`PathError::doing`], for what is made below the state root.
    pub(super) fn making<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> crate::Error + use<E> {
        let path = path.to_path_buf();
        move |source| {
            let source = source.into();
            match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    StateError::NoRoom { doing, path, source }.into()
                }
                _ => PathError { doing, path, source }.into(),
            }
        }
    }
}

/// Who has the lock of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub Option<i32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another command"),
        }
    }
}

/// How a foreign `state.json` names its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundFormat {
    /// Not at all.
    None,
    /// With this number.
    Number(u64),
}

impl std::fmt::Display for FoundFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FoundFormat::None => f.write_str("it has no member \"cortenState\""),
            FoundFormat::Number(n) => write!(f, "format {n}, expected {}", super::FORMAT),
        }
    }
}

fn not_created(status: Status) -> &'static str {
    match status {
        Status::Creating => "a container that is still being created",
        Status::Created => "a created container",
        Status::Running => "an already running container",
        Status::Paused => "a paused container",
        Status::Stopped => "a container that has stopped",
    }
}
