//! Calls that the kernel never fails, but that something between here and the kernel may (a sandbox, a tracer): rustix
//! panics then, and a child that is being set up must not.

use rustix::io::Errno;
use syscalls::{Sysno, syscall};

use super::{Result, errno};

/// The effective user and group (geteuid(2), getegid(2)).
pub fn effective_ids() -> Result<(u32, u32)> {
    // SAFETY: no arguments.
    let (uid, gid) = unsafe { (syscall!(Sysno::geteuid), syscall!(Sysno::getegid)) };
    let id = |answer: usize| u32::try_from(answer).map_err(|_| Errno::OVERFLOW);
    Ok((id(uid.map_err(errno)?)?, id(gid.map_err(errno)?)?))
}

/// umask(2).
pub(crate) fn umask(mode: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { syscall!(Sysno::umask, mode) }.map(|_| ()).map_err(errno)
}

/// Ends the process when it is dropped, that is, when a panic unwinds: what lies further up the stack of a cloned child
/// is the parent's, and none of its business.
pub(crate) struct NoWayBack;

impl Drop for NoWayBack {
    fn drop(&mut self) {
        super::exit(1);
    }
}
