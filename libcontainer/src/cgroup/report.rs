//! Reading back: what a container used, for error messages.

use super::dir::{Dir, keyed};
use super::layout::Kind;
use super::{Cgroup, Result};
use crate::error::PathError;

/// Memory of a cgroup in bytes, as far as the kernel tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// The limit; none if it is unlimited.
    pub limit: Option<u64>,
    /// The most that was in use at a time (v2: Linux 5.19).
    pub peak: Option<u64>,
}

impl Cgroup {
    /// Whether the kernel killed a process in here because the memory limit was reached (v1: Linux 4.13).
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        let file = if self.kind == Kind::Unified { "memory.events" } else { "memory.oom_control" };
        let count = |dir: &Dir| Some(keyed(&dir.read(file).ok()?, "oom_kill").unwrap_or(0) > 0);
        let around = || self.last_words.as_ref().is_some_and(|words| words.around.has_increased());
        self.member_of("memory").and_then(|m| count(&m.dir)).unwrap_or_else(around)
    }

    /// Limit and peak of memory, for the message about an OOM kill.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        // Version 1 has no word for «unlimited» but this, less some pages.
        const V1_UNLIMITED: u64 = 1 << 62;
        let Some(m) = self.member_of("memory") else { return MemoryReport::default() };
        let (limit, peak) = match self.kind {
            Kind::Unified => ("memory.max", "memory.peak"),
            Kind::Legacy => ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        };
        let number = |file: &str| m.dir.read(file).ok()?.trim().parse::<u64>().ok();
        let asked = || self.last_words.as_ref().and_then(|words| words.limit);
        let limit = number(limit).filter(|l| *l < V1_UNLIMITED).or_else(asked);
        MemoryReport { limit, peak: number(peak) }
    }

    /// Gives the cgroup to host user `uid` (config-linux.md#cgroup-ownership): the directory and the files of
    /// `/sys/kernel/cgroup/delegate`. Version 1 is never delegated. To be called only if the container has a cgroup
    /// namespace of its own and a writable cgroup mount.
    ///
    /// # Errors
    /// What the kernel said to chown(2).
    pub fn delegate_to(&self, uid: u32) -> Result<()> {
        const LIST: &str = "/sys/kernel/cgroup/delegate";
        const DEFAULT: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
        if self.kind == Kind::Legacy {
            return Ok(());
        }
        let Some(m) = self.unified() else { return Ok(()) };
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| DEFAULT.to_owned());
        let owner = rustix::fs::Uid::from_raw(uid);
        let fd = m.dir.fd().map_err(|e| m.dir.error("open", "", e))?;
        for file in std::iter::once(".").chain(list.lines().filter(|l| !l.is_empty())) {
            match rustix::fs::chownat(fd, file, Some(owner), None, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                // The list is of this kernel, the file of a controller that may be off here.
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(e) => return Err(PathError::doing("chown", &m.dir.path().join(file))(e).into()),
            }
        }
        Ok(())
    }
}
