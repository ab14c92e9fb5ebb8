//! The harness's system calls.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

fn check(ret: i64) -> io::Result<i64> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// The effective user id.
pub fn geteuid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// Makes this process the parent of every orphaned descendant (`PR_SET_CHILD_SUBREAPER`).
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: prctl with integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } as i64).map(drop)
}

/// Takes back what the caller of the harness ignores (nohup(1), a shell's job in the background): runtimes would inherit
/// it. Not SIGPIPE, which Rust's standard library ignores on purpose and gives back to the commands it starts.
pub fn default_signals() {
    let fixed = [libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE];
    for signal in (1..32).filter(|signal| !fixed.contains(signal)) {
        // SAFETY: there is no handler to run; the disposition only matters to commands that are started later.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Sends a signal to one process.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // A pid below 1 would address groups, which the harness never does.
    assert!(pid > 0);
    // SAFETY: integers only.
    check(unsafe { libc::kill(pid, signal) } as i64).map(drop)
}

/// A pidfd for a process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: integers only; the result is a new descriptor that nobody else owns.
    unsafe { check(libc::syscall(libc::SYS_pidfd_open, pid, 0)).map(|fd| OwnedFd::from_raw_fd(fd as RawFd)) }
}

/// Waits until the descriptor is readable. `false` when the time is over.
pub fn wait_readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = timeout.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: one valid pollfd.
    match check(unsafe { libc::poll(&mut poll, 1, millis) } as i64) {
        Ok(n) => Ok(n > 0),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(e),
    }
}

/// Reaps a child (or any child with `-1`) if it has ended. Gives its pid and raw wait status.
pub fn reap(pid: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let got = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) };
    (got > 0).then_some((got, status))
}

/// Gives this process namespaces of its own.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::unshare(flags) } as i64).map(drop)
}

/// `mount(2)`.
pub fn mount(source: &str, target: &Path, fstype: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, fstype, data) = (CString::new(source)?, CString::new(fstype)?, CString::new(data)?);
    let target = c_path(target)?;
    // SAFETY: four NUL-terminated strings that outlive the call.
    let ret = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast())
    };
    check(ret as i64).map(drop)
}

/// `umount2(2)` with `MNT_DETACH`.
pub fn detach(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } as i64).map(drop)
}

/// `mkfifo(3)`.
pub fn mkfifo(path: &Path, mode: u32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::mkfifo(path.as_ptr(), mode) } as i64).map(drop)
}

/// `mknod(2)` of a character device.
pub fn make_device(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor)) } as i64)
        .map(drop)
}

/// Exchanges two paths, whatever they are, at one moment (`renameat2` with `RENAME_EXCHANGE`).
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (c_path(one)?, c_path(other)?);
    let (cwd, how) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: two NUL-terminated strings.
    let ret = unsafe { libc::syscall(libc::SYS_renameat2, cwd, one.as_ptr(), cwd, other.as_ptr(), how) };
    check(ret).map(drop)
}

/// Clears close-on-exec, so that a child inherits the descriptor.
pub fn make_inheritable(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) } as i64).map(drop)
}

/// Duplicates a descriptor onto a number, inheritable. The caller owns the result.
pub fn dup_to(fd: &impl AsRawFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: dup2 onto a number which the caller says is free; the result is owned by the caller alone.
    unsafe { check(libc::dup2(fd.as_raw_fd(), number) as i64).map(|fd| OwnedFd::from_raw_fd(fd as RawFd)) }
}

/// A new pseudo-terminal: master and slave, neither of them anybody's controlling terminal.
pub fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: two integers to write to; no name, modes or size are asked for or given.
    check(unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) } as i64)?;
    // SAFETY: two new descriptors that nobody else owns.
    let pair = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for fd in [&pair.0, &pair.1] {
        // SAFETY: integers only.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } as i64)?;
    }
    Ok(pair)
}

/// Makes the command the leader of a session whose controlling terminal is its standard input.
pub fn give_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let prepare = || {
        // SAFETY: two system calls with integers, allowed between fork and exec.
        let done = unsafe { libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(prepare) };
}

/// The modes of a terminal: input, output, control, local.
pub fn terminal_modes(fd: &impl AsRawFd) -> io::Result<[u32; 4]> {
    // SAFETY: termios is plain data, all zeroes is valid, and tcgetattr fills one.
    unsafe {
        let mut t: libc::termios = std::mem::zeroed();
        check(libc::tcgetattr(fd.as_raw_fd(), &mut t) as i64)?;
        Ok([t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag])
    }
}

/// Sets the window size of a terminal.
pub fn set_window_size(fd: &impl AsRawFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &size) } as i64).map(drop)
}

/// The window size of a terminal: rows, columns.
pub fn window_size(fd: &impl AsRawFd) -> io::Result<(u16, u16)> {
    // SAFETY: winsize is plain data, all zeroes is valid, and TIOCGWINSZ fills one.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        check(libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) as i64)?;
        Ok((size.ws_row, size.ws_col))
    }
}

/// One `recvmsg`: the bytes and the descriptors that came with them (at most 8).
pub fn receive_fds(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut data = vec![0u8; 8192];
    let mut control = [0u64; 16];
    let mut iov = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut fds = Vec::new();
    // SAFETY: msghdr is plain data; the buffers live until the call returns; the control message is read
    // with the libc macros, which stay inside `msg_controllen`; the descriptors are new and ours.
    unsafe {
        let mut msg: libc::msghdr = std::mem::zeroed();
        msg.msg_iov = &mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = std::mem::size_of_val(&control) as _;
        let n = check(libc::recvmsg(stream.as_raw_fd(), &mut msg, libc::MSG_CMSG_CLOEXEC) as i64)?;
        data.truncate(n as usize);
        let mut cmsg = libc::CMSG_FIRSTHDR(&msg);
        while !cmsg.is_null() {
            if (*cmsg).cmsg_level == libc::SOL_SOCKET && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
                let count = ((*cmsg).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let first = libc::CMSG_DATA(cmsg).cast::<RawFd>();
                fds.extend((0..count).map(|i| OwnedFd::from_raw_fd(first.add(i).read_unaligned())));
            }
            cmsg = libc::CMSG_NXTHDR(&msg, cmsg);
        }
    }
    Ok((data, fds))
}

/// A socket for rtnetlink(7) in the present network namespace.
pub fn netlink() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: integers only; the result is a new descriptor that nobody else owns.
    unsafe {
        check(libc::socket(libc::AF_NETLINK, kind, 0) as i64).map(|fd| OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Index of a network device of the present network namespace, 0 if there is none.
pub fn interface_index(name: &std::ffi::CStr) -> u32 {
    // SAFETY: a NUL-terminated string.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// Gives this process supplementary groups.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers as there are.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) } as i64).map(drop)
}

/// A system call that waits for an agent's answer (`struct seccomp_notif`, seccomp_unotify(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    /// What an answer refers to.
    pub id: u64,
    /// The caller, in this process's pid namespace.
    pub pid: u32,
    flags: u32,
    /// Number of the system call.
    pub nr: i32,
    /// `AUDIT_ARCH_…`
    pub arch: u32,
    instruction_pointer: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// What an agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call fails with this errno.
    Errno(i32),
    /// The kernel carries the call out.
    Continue,
}

/// The next notification of a listener. `None` if the caller has gone meanwhile.
pub fn receive_notification(listener: &OwnedFd) -> io::Result<Option<Notification>> {
    const SECCOMP_IOCTL_NOTIF_RECV: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
    let mut notification = Notification::default();
    // SAFETY: the kernel fills the structure, which has to be zero before and has the size that the ioctl's number says.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, &mut notification) };
    match check(done.into()) {
        Ok(_) => Ok(Some(notification)),
        Err(e) if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&e.raw_os_error()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Answers a notification; a caller that has gone is no error.
pub fn answer_notification(listener: &OwnedFd, id: u64, answer: Answer) -> io::Result<()> {
    #[repr(C)]
    struct Response {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    const SECCOMP_IOCTL_NOTIF_SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
    let (error, flags) = match answer {
        Answer::Errno(errno) => (-errno, 0),
        Answer::Continue => (0, 1),
    };
    let response = Response { id, value: 0, error, flags };
    // SAFETY: the kernel reads the structure, which has the size that the ioctl's number says.
    match check(unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, &response) }.into()) {
        Err(e) if e.raw_os_error() != Some(libc::ENOENT) => Err(e),
        _ => Ok(()),
    }
}

/// What poll(2) says of a descriptor within this time: `POLLIN`, `POLLHUP` …
pub fn poll_events(fd: &impl AsRawFd, timeout: Duration) -> io::Result<i16> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = timeout.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: one valid pollfd.
    match check(unsafe { libc::poll(&mut poll, 1, millis) } as i64) {
        Ok(_) => Ok(poll.revents),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(e) => Err(e),
    }
}
