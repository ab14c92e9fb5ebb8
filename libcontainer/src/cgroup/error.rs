//! What can go wrong with a cgroup.

use std::io;
use std::path::PathBuf;

use crate::error::{ConfigError, FieldPath, PathError, Strerror, SyscallError};

/// Why a cgroup could not be made, filled, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `linux.cgroupsPath` or `linux.resources`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or directory of the hierarchy.
    #[error(transparent)]
    Path(#[from] PathError),
    /// systemd, which makes cgroups.
    #[error(transparent)]
    Systemd(#[from] super::systemd::Error),
    /// A system call without a path.
    #[error(transparent)]
    Syscall(#[from] SyscallError),
    /// No cgroup file system is mounted, and the configuration needs one.
    #[error("{field}: no cgroup file system is mounted, mount cgroup2 on /sys/fs/cgroup")]
    NotMounted {
        /// What needs it.
        field: FieldPath,
    },
    /// An existing cgroup whose processes cannot run (runc #3132: a process cloned there would hang).
    #[error("container's cgroup unexpectedly frozen: {}", path.display())]
    Frozen {
        /// The cgroup.
        path: PathBuf,
    },
    /// An existing cgroup that is in use.
    #[error("container's cgroup is not empty: {processes} process(es) found in {}", path.display())]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// How many processes it has, those of its children included.
        processes: usize,
    },
    /// A cgroup below a threaded one, which cannot have the domain controllers that it should have.
    #[error("cannot use cgroup {}: it is {kind}, and {controllers} need a domain cgroup", path.display())]
    Threaded {
        /// The cgroup.
        path: PathBuf,
        /// What `cgroup.type` says.
        kind: String,
        /// Controllers that are switched on above it.
        controllers: String,
    },
    /// A limit that the kernel refused.
    #[error("{field}: write {value:?} to {}: {}", path.display(), Strerror(source))]
    Write {
        /// Where the limit comes from.
        field: FieldPath,
        /// The cgroup file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A limit for which the kernel has no controller, or has it on another hierarchy.
    #[error("{field}: the cgroup controller {controller:?} is not available{}", because(.why))]
    ControllerMissing {
        /// What needs it.
        field: FieldPath,
        /// Its name.
        controller: String,
        /// More, if known.
        why: &'static str,
    },
    /// A refused update, of which the parts before it could not be undone.
    #[error("{first}; putting back the old values: {second}")]
    NotRestored {
        /// What was refused.
        first: Box<Error>,
        /// Which old value was refused.
        second: Box<Error>,
    },
    /// A limit below what is in use already (`checkBeforeUpdate`).
    #[error("{field}: limit {limit} is below the present usage {usage}")]
    BelowUsage {
        /// The limit's place.
        field: FieldPath,
        /// Bytes.
        limit: u64,
        /// Bytes.
        usage: u64,
    },
    /// The device program could not be loaded or attached.
    #[error("linux.resources.devices: {call} on {}: {}", path.display(), Strerror(source))]
    DeviceProgram {
        /// The step of bpf(2).
        call: &'static str,
        /// The cgroup.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The freezer did not reach the state in time.
    #[error("cgroup {} did not become {wanted} within {seconds} s", path.display())]
    FreezeTimeout {
        /// The cgroup.
        path: PathBuf,
        /// `frozen` or `thawed`.
        wanted: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// No hierarchy here can freeze or list processes.
    #[error("the container has no cgroup with {needs}")]
    Unavailable {
        /// What the operation needs.
        needs: &'static str,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}
