//! What this machine is like: the only reader of such things.

use std::path::Path;

use rustix::fs::stat;

use crate::cgroup::Layout;
use crate::error::{PathError, Result};

/// Facts about the machine and about the runtime's own process.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Effective user id of the runtime.
    pub euid: u32,
    /// Effective group id of the runtime.
    pub egid: u32,
    /// The cgroup hierarchies.
    pub layout: Layout,
    /// Device and inode of the runtime's own program.
    pub own_binary: (u64, u64),
}

impl HostFacts {
    /// Looks.
    ///
    /// # Errors
    ///
    /// When `/proc` is not there.
    pub fn probe() -> Result<HostFacts> {
        let exe = Path::new("/proc/self/exe");
        let own = stat(exe).map_err(PathError::doing("stat", exe))?;
        Ok(HostFacts {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            layout: Layout::probe()?,
            own_binary: (own.st_dev, own.st_ino),
        })
    }
}
