//! The parent's few system calls that neither nix nor rustix has in a form that is safe to use here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use corten_init::Segment;

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

/// The ceiling of a resource for this process, and for what it clones; nothing where the kernel does not say.
pub(crate) fn hard_limit(resource: u32) -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is written to within its bounds; nothing is set.
    let done = unsafe { libc::prlimit64(0, resource, std::ptr::null(), &raw mut limit) };
    if done == 0 { limit.rlim_max } else { 0 }
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

/// The parts of this program's file that are mapped, in whole pages, from its program headers (dl_iterate_phdr(3)).
pub(super) fn own_segments() -> Vec<Segment> {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        segments: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the C library passes a valid structure, and what `own_segments` passed.
        let (info, segments) = unsafe { (&*info, &mut *segments.cast::<Vec<Segment>>()) };
        // SAFETY: the headers belong to the loaded program and stay where they are.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        segments.extend(headers.iter().filter_map(|header| segment(info.dlpi_addr, header)));
        // The program itself comes first; no more.
        1
    }
    let mut segments: Vec<Segment> = Vec::new();
    // SAFETY: `first` gets the pointer to a vector that lives here, and is not called after this returns.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut segments).cast()) };
    segments
}

fn segment(bias: libc::Elf64_Addr, header: &libc::Elf64_Phdr) -> Option<Segment> {
    const PAGE: u64 = 4096;
    if header.p_type != libc::PT_LOAD || header.p_filesz == 0 {
        return None;
    }
    let first = bias + header.p_vaddr;
    let start = first & !(PAGE - 1);
    let end = (first + header.p_filesz).next_multiple_of(PAGE);
    Some(Segment {
        start: usize::try_from(start).ok()?,
        len: usize::try_from(end - start).ok()?,
        offset: header.p_offset & !(PAGE - 1),
        writable: header.p_flags & libc::PF_W != 0,
        executable: header.p_flags & libc::PF_X != 0,
    })
}
