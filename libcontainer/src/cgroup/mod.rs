//! Control groups, seen from the parent: where they are, what to write there, who is inside.
//!
//! Two halves. [`lower`] and [`DevicePolicy`] are pure: they turn `linux.resources` into [`Write`]s and device rules.
//! [`Layout`], [`Paths`] and [`Cgroup`] touch the machine: probe the hierarchies, make the directories, write.
//!
//! Every container start passes through here, so nothing is read back, every file is written once, and a system call
//! has to earn its place. The dearest of all is avoided altogether: the kernel waits for an RCU grace period (6 to
//! 10 ms) when a process is moved by its pid, but not when a thread moves itself. So a container's first process is
//! cloned into the unified hierarchy ([`Cgroup::unified_dir`]) and moves itself into those of version 1
//! ([`Cgroup::join_fds`]).

mod apply;
mod create;
mod destroy;
mod devices;
mod dir;
mod error;
mod freeze;
mod kill;
mod layout;
mod lower;
mod oom;
mod paths;
mod report;
mod saved;
mod stats;
mod sub;
mod sys;
mod systemd;
mod update;

pub use devices::DevicePolicy;
pub use error::Error;
pub(crate) use layout::unescape;
pub use layout::{Hierarchy, Kind, Layout};
pub use lower::{Policy, Write, lower, shares_to_weight};
pub use oom::OomWatch;
pub use paths::Paths;
pub use report::MemoryReport;
pub use saved::{Saved, SavedDir};
pub use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, CpusetStats, HugetlbStats, MemoryEntry, MemoryStats,
    PidsStats, Psi, PsiLine, Stats, Throttling,
};

#[cfg(feature = "fuzzing")]
pub(crate) use systemd::fuzzing;
pub use systemd::{Bus, BusError, Error as SystemdError, Scope, ScopeRequest, Unit};

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::PathError;

use dir::Dir;

type Result<T> = std::result::Result<T, Error>;

/// The cgroup of one container: a directory in every hierarchy in use, or none at all.
#[derive(Debug)]
pub struct Cgroup {
    kind: Kind,
    members: Vec<Member>,
    /// There is none by the user's choice.
    disabled: bool,
    /// The unit, where systemd has made it.
    unit: Option<Unit>,
    /// What is known of the memory of a new unit, which systemd removes with its last process.
    last_words: Option<oom::LastWords>,
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
struct Member {
    /// Version 1 controllers; empty for the unified hierarchy.
    controllers: Vec<String>,
    dir: Dir,
    /// How many directories of the path, counted from its end, are ours to remove.
    made: usize,
}

impl Member {
    fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether to use `CLONE_INTO_CGROUP`. Since Linux 6.14 the kernel kills whom it clones into a cgroup in which
    /// `cgroup.kill` was ever written, because it compares the number of such writes with that of the caller's cgroup.
    /// A cgroup that somebody else has made may well have such a past; who joins it after the clone is safe.
    fn can_be_born_in(&self) -> bool {
        self.made > 0
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

impl Cgroup {
    /// No cgroup: the container stays where the runtime is (`--cgroup-manager disabled`). Device rules are
    /// left out then, and limits are errors.
    #[must_use]
    pub fn none() -> Cgroup {
        Cgroup { kind: Kind::Unified, members: Vec::new(), disabled: true, unit: None, last_words: None }
    }

    /// Whether there is no directory at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.members.is_empty()
    }

    /// Which files the directories have.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The directories, with the controllers of each joined by commas; the unified one has an empty name.
    pub fn paths(&self) -> impl Iterator<Item = (String, &Path)> {
        self.members.iter().map(|m| (m.controllers.join(","), m.dir.path()))
    }

    /// The directory in the unified hierarchy, for `clone3(CLONE_INTO_CGROUP)` (Linux 5.7). There is one on pure v2
    /// and on hybrid machines, if this cgroup was made here.
    ///
    /// # Errors
    /// When there is one and it cannot be opened: whoever went on without it would run outside of all limits.
    pub fn unified_dir(&self) -> Result<Option<BorrowedFd<'_>>> {
        let Some(member) = self.unified().filter(|m| m.can_be_born_in()) else { return Ok(None) };
        match member.dir.fd() {
            Ok(fd) => Ok(Some(fd)),
            Err(e) => Err(PathError::doing("open", member.dir.path())(e).into()),
        }
    }

    /// Files through which a process joins by itself: it writes the byte `0` to each.
    ///
    /// The process must have one thread: in version 1 the file is `tasks`, because the kernel moves a thread that
    /// moves itself without waiting for anyone. Permission is checked with the credentials of this process, so the
    /// writer may be in another user namespace by then. A cgroup namespace has to be unshared after the writes.
    ///
    /// `cloned_into_unified`: the process was cloned into [`Cgroup::unified_dir`] already.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn join_fds(&self, cloned_into_unified: bool) -> Result<Vec<OwnedFd>> {
        self.to_join(cloned_into_unified)
            .map(|m| {
                let file = if m.is_unified() { "cgroup.procs" } else { "tasks" };
                m.dir.open_write(file).map_err(|e| m.dir.error("open", file, e))
            })
            .collect()
    }

    /// Moves process `pid` in, from outside. Slow: the kernel waits for an RCU grace period; see
    /// [`Cgroup::join_fds`].
    ///
    /// # Errors
    /// What the kernel said to the write, such as `ESRCH` or `EBUSY`.
    pub fn attach(&self, pid: i32, cloned_into_unified: bool) -> Result<()> {
        let pid = pid.to_string();
        for m in self.to_join(cloned_into_unified) {
            m.dir.write("cgroup.procs", &pid).map_err(|e| m.dir.error("write", "cgroup.procs", e))?;
        }
        Ok(())
    }

    fn to_join(&self, cloned_into_unified: bool) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |m| !(cloned_into_unified && m.is_unified() && m.can_be_born_in()))
    }

    fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.is_unified())
    }

    /// The directory that has the files of `controller`.
    fn member_of(&self, controller: &str) -> Option<&Member> {
        match self.kind {
            Kind::Unified => self.unified(),
            Kind::Legacy => self.members.iter().find(|m| m.has(controller)),
        }
    }
}
