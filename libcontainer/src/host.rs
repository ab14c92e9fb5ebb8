//! What this machine is like: the only reader of such things.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{stat, statfs};

use crate::cgroup::Layout;
use crate::error::{PathError, Result, SyscallError};

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
    /// Whether the runtime is in a user namespace other than the initial one.
    pub in_user_namespace: bool,
    /// Whether the host's device nodes belong to root of the runtime's user namespace. In that of an ordinary user they
    /// belong to nobody.
    pub owns_devices: bool,
    /// Whether setgroups(2) is forbidden to the runtime, and so to each user namespace that is made in its own
    /// (user_namespaces(7)).
    pub denies_groups: bool,
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
        let ids = corten_init::sys::effective_ids();
        let (euid, egid) = ids.map_err(SyscallError::calling("geteuid"))?;
        let in_user_namespace = in_user_namespace();
        Ok(HostFacts {
            euid,
            egid,
            layout: Layout::probe()?,
            own_binary: (own.st_dev, own.st_ino),
            in_user_namespace,
            owns_devices: !in_user_namespace || stat("/dev/null").map_or(true, |node| node.st_uid == 0),
            denies_groups: in_user_namespace
                && std::fs::read("/proc/self/setgroups").is_ok_and(|word| word.starts_with(b"deny")),
        })
    }
}

/// Whether SELinux is at work: its filesystem is where libselinux looks for it. Only asked when there is a label.
pub(crate) fn selinux_is_enabled() -> bool {
    const SELINUX_MAGIC: i128 = 0xf97c_ff8c;
    // The width of the field, and whether it has a sign, depend on the architecture.
    statfs("/sys/fs/selinux").is_ok_and(|fs| i128::from(fs.f_type) & 0xffff_ffff == SELINUX_MAGIC)
}

/// Whether the kernel has AppArmor switched on. Only asked when there is a profile.
pub(crate) fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// What nothing stands in for, and what a container could not even be deleted without.
///
/// # Errors
///
/// `ENOSYS`, which says of which Linux version the call is.
pub(crate) fn check_kernel() -> Result<()> {
    // A sandbox may refuse even this call; the C library hands its error on as if it were a number.
    let own = std::process::id().cast_signed().max(1);
    let own = rustix::process::Pid::from_raw(own).unwrap_or(rustix::process::Pid::INIT);
    let opened = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty());
    let pidfd = opened.map_err(SyscallError::calling("pidfd_open"))?;
    Ok(crate::launch::sys::signal(pidfd.as_fd(), 0).map_err(SyscallError::calling("pidfd_send_signal"))?)
}

/// Whether the runtime is in a user namespace other than the initial one.
pub(crate) fn in_user_namespace() -> bool {
    /// `USER_NS_INIT_INO` (linux/nsfs.h), the same since Linux 3.8. The map of ids does not tell: it may be the initial one's.
    const INITIAL: u64 = 0xefff_fffd;
    // A kernel without user namespaces has no such file.
    stat("/proc/self/ns/user").is_ok_and(|namespace| namespace.st_ino != INITIAL)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::in_user_namespace;

    #[test]
    fn all_ids_are_in_the_initial_user_namespace() {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap();
        if !map.split_whitespace().eq(["0", "0", "4294967295"]) {
            assert!(in_user_namespace());
        }
        let link = fs::read_link("/proc/self/ns/user").unwrap();
        assert_eq!(in_user_namespace(), link.to_str() != Some("user:[4026531837]"));
    }
}
