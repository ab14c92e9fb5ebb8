//! The system calls of the verbs that no crate wraps as they are needed here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// pidfd_send_signal(2) with any signal number: rustix only takes those that it knows by name, and engines also send
/// real-time signals and 0.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    let flags: libc::c_uint = 0;
    // SAFETY: the descriptor is open while it is borrowed; a null `info` means "as kill(2)", so no memory is read.
    let answer =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
