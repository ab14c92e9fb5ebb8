//! `mount_setattr`, by hand: for kernels before 5.12 and sandboxes that do not know it.
//!
//! A mount has to be attached for it. That is seen by nobody who could make use of the moment in between: the mount
//! namespace is the container's own, and its program does not run yet.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, fstatvfs, openat};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};
use rustix::process::fchdir;

use crate::paths::FdLink;
use crate::plan::Attrs;

/// `MOUNT_ATTR_*`, and the flags of statfs(2) and of mount(2) that mean the same.
const SAME: [(u64, u64, MountFlags); 5] = [
    (0x1, 0x1, MountFlags::RDONLY),
    (0x2, 0x2, MountFlags::NOSUID),
    (0x4, 0x4, MountFlags::NODEV),
    (0x8, 0x8, MountFlags::NOEXEC),
    // Linux 5.10
    (0x20_0000, 8192, MountFlags::from_bits_retain(256)),
];
const ATIME_MASK: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;

/// Changes attributes of one attached mount.
#[inline(never)]
pub(crate) fn change_attached(mount: BorrowedFd<'_>, attrs: Attrs) -> Result<()> {
    let flags = flags(mount, attrs)?;
    at_mount(mount, |path| mount_remount(path, MountFlags::BIND | flags, c""))
}

/// Changes the propagation of an attached mount; `flags` are `MS_*`.
#[inline(never)]
pub(crate) fn change_propagation(mount: BorrowedFd<'_>, flags: u32) -> Result<()> {
    at_mount(mount, |path| mount_change(path, MountPropagationFlags::from_bits_retain(flags)))
}

/// All that the mount is to have: what a remount does not name is taken away.
fn flags(mount: BorrowedFd<'_>, attrs: Attrs) -> Result<MountFlags> {
    const ST_NODIRATIME: u64 = 2048;
    const ST_NOATIME: u64 = 1024;
    const ST_RELATIME: u64 = 4096;
    let known = SAME.iter().fold(ATIME_MASK | NODIRATIME, |bits, (bit, ..)| bits | bit);
    if (attrs.set | attrs.clear) & !known != 0 {
        return Err(Errno::NOSYS);
    }
    let now = fstatvfs(mount)?.f_flag.bits();
    let mut flags = MountFlags::empty();
    for (bit, status, flag) in SAME {
        let is_on = (now & status != 0 && attrs.clear & bit == 0) || attrs.set & bit != 0;
        flags.set(flag, is_on);
    }
    if (attrs.set | attrs.clear) & (ATIME_MASK | NODIRATIME) == 0 {
        // Without any of these the kernel leaves all of them as they are.
        return Ok(flags);
    }
    let nodir = (now & ST_NODIRATIME != 0 && attrs.clear & NODIRATIME == 0) || attrs.set & NODIRATIME != 0;
    flags.set(MountFlags::NODIRATIME, nodir);
    let atime = if attrs.clear & ATIME_MASK != 0 {
        attrs.set & ATIME_MASK
    } else if now & ST_NOATIME != 0 {
        NOATIME
    } else if now & ST_RELATIME != 0 {
        0
    } else {
        STRICTATIME
    };
    flags |= match atime {
        NOATIME => MountFlags::NOATIME,
        STRICTATIME => MountFlags::STRICTATIME,
        _ => MountFlags::RELATIME,
    };
    Ok(flags)
}

/// Calls something that takes a path. A directory is made the working directory for it; for a file there is
/// `/proc/self/fd`, which is the host's as long as mounts are made.
fn at_mount(mount: BorrowedFd<'_>, call: impl FnOnce(&core::ffi::CStr) -> Result<()>) -> Result<()> {
    if FileType::from_raw_mode(fstat(mount)?.st_mode).is_dir() {
        let before = openat(CWD, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        fchdir(mount)?;
        let done = call(c".");
        return fchdir(&before).and(done);
    }
    call(FdLink::new(mount.as_raw_fd()).as_c_str())
}
