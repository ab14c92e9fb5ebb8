//! What older kernels have, and sandboxes that hide newer calls (docs/adr/0031-oldest-kernel.md).

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

use super::{CLONE_PIDFD, Cloned, Result, errno};

/// clone(2) with copied memory, for where there is no clone3(2). The pidfd comes from Linux 5.2 on.
///
/// # Safety
///
/// As for [`super::clone3`].
pub(super) unsafe fn clone(flags: u64, exit_signal: u64) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let nothing = 0usize;
    // The lowest byte is the signal's; what clone3(2) has there (CLONE_NEWTIME) cannot be said here.
    if flags & 0xff != 0 {
        return Err(Errno::NOSYS);
    }
    let flags = flags | exit_signal;
    // SAFETY: without a stack of its own and without CLONE_VM the child goes on with a copy of this one; `pidfd` outlives
    // the call. The order of the last two arguments is not the same everywhere, but both are nothing.
    let pid = unsafe { syscall!(Sysno::clone, flags, nothing, &raw mut pidfd, nothing, nothing) };
    let pid = pid.map_err(errno)?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    let asked = flags & CLONE_PIDFD != 0 && pidfd >= 0;
    // SAFETY: the kernel has stored a new descriptor that nobody else owns.
    let pidfd = asked.then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// close(2).
pub(crate) fn close(fd: RawFd) -> Result<()> {
    // SAFETY: as for `close_range`: nobody in this process owns it.
    unsafe { syscall!(Sysno::close, fd) }.map(|_| ()).map_err(errno)
}

/// access(2): whether the real user may execute what the path leads to.
pub(crate) fn access(path: &CStr) -> Result<()> {
    const X_OK: u32 = 1;
    let cwd = -100isize;
    // SAFETY: the path is a C string.
    unsafe { syscall!(Sysno::faccessat, cwd, path.as_ptr(), X_OK) }.map(|_| ()).map_err(errno)
}

/// Closes every descriptor above 2 that is not in the list, for where there is no close_range(2), by the list in `/proc`.
///
/// # Errors
///
/// `ENOSYS` if there is no `/proc` either.
pub fn close_listed(keep: &[RawFd]) -> Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Without a /proc there is nothing that could be done.
    let dir = openat(CWD, c"/proc/self/fd", flags, Mode::empty()).map_err(|_| Errno::NOSYS)?;
    let mut list = RawDir::new(&dir, &mut buffer);
    while let Some(entry) = list.next() {
        let Some(fd) = number(entry?.file_name().to_bytes()) else { continue };
        if fd > 2 && fd != dir.as_raw_fd() && !keep.contains(&fd) {
            close(fd)?;
        }
    }
    Ok(())
}

fn number(digits: &[u8]) -> Option<RawFd> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}
