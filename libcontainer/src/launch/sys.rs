//! The parent's few system calls that neither nix nor rustix has in a form that is safe to use here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::error::Death;

/// Waits for a child by its pidfd (Linux 5.4) and reaps it.
///
/// # Errors
///
/// What waitid(2) says: `ECHILD` if it is not a child of this process.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Death> {
    loop {
        // SAFETY: all zeroes is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let id = libc::id_t::try_from(pidfd.as_raw_fd()).unwrap_or(libc::id_t::MAX);
        // SAFETY: `info` outlives the call.
        let done = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::__WALL) };
        if done == 0 {
            // SAFETY: waitid has filled the fields of a SIGCHLD.
            let status = unsafe { info.si_status() };
            return Ok(match info.si_code {
                libc::CLD_EXITED => Death::Exited(status),
                libc::CLD_KILLED | libc::CLD_DUMPED => Death::Signaled(status),
                _ => Death::Unknown,
            });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Sends a signal to the process behind a pidfd (pidfd_send_signal(2), Linux 5.1).
///
/// # Errors
///
/// `ESRCH` if it has ended and was reaped.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: no memory is handed over.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, nothing, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a resource limit of another process (prlimit(2)).
///
/// # Errors
///
/// `EPERM` if the hard limit would be raised without `CAP_SYS_RESOURCE`.
pub(crate) fn limit_process(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call; the old limit is not asked for.
    let done = unsafe { libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which kind of namespace a descriptor of nsfs is (ioctl_ns(2), `NS_GET_NSTYPE`): its `CLONE_NEW*`.
///
/// # Errors
///
/// `ENOTTY` if it is no namespace at all.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the ioctl takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    u32::try_from(kind).map_err(|_| io::Error::last_os_error())
}
