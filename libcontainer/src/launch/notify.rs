//! sd_notify(3) between a container and the service manager that started the runtime.
//!
//! ```text
//! program ──> /run/notify/notify.sock ══ STATE/notify/notify.sock ──> runtime ──> $NOTIFY_SOCKET
//! ```
//!
//! The program cannot be given the manager's own socket: that is outside its root, and the manager would not know the
//! sender. So the runtime listens on a socket of its own, which the container sees through a read-only bind of its
//! directory, and passes on what a program may say of itself. It does not pass on what would be said of others
//! (`MAINPID`, `FDSTORE`, `NOTIFYACCESS` …): the manager trusts the runtime, and the runtime does not trust a container.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, chmodat, mkdirat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::sockets::fitting;
use crate::error::{PathError, Result, SyscallError};
use crate::state::Entry;

/// Name of the directory in the container's state directory.
pub(crate) const DIRECTORY: &str = "notify";
/// Where the container sees the directory.
pub(crate) const MOUNT_POINT: &str = "/run/notify";
/// What the container's process gets in its environment.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

const SOCKET: &str = "notify/notify.sock";

/// The longest message that systemd reads (PIPE_BUF).
const LONGEST: usize = 4096;

/// That many messages are passed on before something else has its turn. More than a socket holds
/// (`net.unix.max_dgram_qlen`, 10 unless changed), so that nothing of a process that has ended is left.
const AT_ONCE: usize = 600;

/// How long a manager may take to say that it has read everything (`BARRIER=1`, systemd 246).
const BARRIER: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// What a program may say of itself.
const PASSED_ON: &[&[u8]] = &[
    b"READY",
    b"STATUS",
    b"RELOADING",
    b"MONOTONIC_USEC",
    b"STOPPING",
    b"ERRNO",
    b"BUSERROR",
    b"EXIT_STATUS",
    b"WATCHDOG",
    b"WATCHDOG_USEC",
    b"EXTEND_TIMEOUT_USEC",
];

/// Makes the directory that the container gets.
pub(crate) fn make_directory(entry: &Entry) -> Result<()> {
    let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    let made = mkdirat(entry.dir(), DIRECTORY, mode)
        // Whatever the umask is: an ordinary user inside has to get through.
        .and_then(|()| chmodat(entry.dir(), DIRECTORY, mode, AtFlags::empty()));
    Ok(made.map_err(PathError::doing("make", &entry.path().join(DIRECTORY)))?)
}

/// The two sockets.
pub(crate) struct Notify {
    container: OwnedFd,
    manager: OwnedFd,
    /// The process that the manager is to watch.
    main_pid: i32,
    /// Came from the container; the manager has no room for it yet.
    pending: Option<Vec<u8>>,
    /// The manager has been told that the program is ready.
    ready: bool,
    /// The manager is gone: said once.
    warned: bool,
}

impl Notify {
    /// Listens for the container, and connects to the manager at `address`, the value of `$NOTIFY_SOCKET`: an absolute
    /// path, or an abstract name after `@`. None if the container has no directory for it, or if there is no manager,
    /// which is a warning: the program runs all the same, as with runc.
    pub fn open(entry: &Entry, address: &Path, main_pid: i32) -> Result<Option<Notify>> {
        let container = match listen(entry) {
            Ok(container) => container,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(PathError::doing("make the socket", &entry.path().join(SOCKET))(e).into()),
        };
        match connect_manager(address) {
            Ok(manager) => {
                Ok(Some(Notify { container, manager, main_pid, pending: None, ready: false, warned: false }))
            }
            Err(e) => {
                log::warn!("{}", PathError::doing("NOTIFY_SOCKET: connect to", address)(e));
                Ok(None)
            }
        }
    }

    /// What to wait for before [`Notify::pass_on`].
    pub fn poll_fd(&self) -> PollFd<'_> {
        match self.pending {
            None => PollFd::new(&self.container, PollFlags::IN),
            Some(_) => PollFd::new(&self.manager, PollFlags::OUT),
        }
    }

    /// Passes on what has come, without waiting. What the manager has no room for stays, and so does what is behind it:
    /// a container that says too much waits itself.
    pub fn pass_on(&mut self) {
        for _ in 0..AT_ONCE {
            let message = match self.pending.take() {
                Some(message) => message,
                None => match self.receive() {
                    Ok(message) => match translate(&message, self.main_pid) {
                        Some(message) => message,
                        None => continue,
                    },
                    Err(Errno::INTR) => continue,
                    Err(_) => return,
                },
            };
            match send(&self.manager, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => self.ready |= says_ready(&message),
                Err(Errno::AGAIN | Errno::INTR) => {
                    self.pending = Some(message);
                    return;
                }
                Err(e) => {
                    self.ready |= says_ready(&message);
                    if !std::mem::replace(&mut self.warned, true) {
                        log::warn!("{}", SyscallError::calling("send to $NOTIFY_SOCKET")(e));
                    }
                }
            }
        }
    }

    /// Passes on until the program is ready or has ended. Returns only when the manager has read it: systemd finds the
    /// unit by the sender's cgroup, which is gone when the sender is.
    pub fn wait_ready(mut self, pidfd: &OwnedFd) -> Result<()> {
        while !self.ready {
            let mut fds = [self.poll_fd(), PollFd::new(pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(SyscallError::calling("poll")(e).into()),
            }
            let ended = !fds[1].revents().is_empty();
            self.pass_on();
            if ended {
                break;
            }
        }
        if let Err(e) = self.barrier() {
            log::debug!("{}", SyscallError::calling("send BARRIER=1 to $NOTIFY_SOCKET")(e));
        }
        Ok(())
    }

    /// The next message; nothing in the place of one that is too long.
    fn receive(&self) -> rustix::io::Result<Vec<u8>> {
        // One more than may come, so that what is too long shows.
        let mut message = vec![0; LONGEST + 1];
        // Without room for descriptors the kernel closes those that come: that answers a `BARRIER=1`.
        let (length, _) = recv(&self.container, &mut message[..], RecvFlags::DONTWAIT)?;
        message.truncate(if length > LONGEST { 0 } else { length });
        Ok(message)
    }

    /// sd_notify_barrier(3): the manager closes the descriptor when it comes to this message.
    fn barrier(&self) -> io::Result<()> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        corten_init::sys::send_descriptor(self.manager.as_fd(), b"BARRIER=1", theirs.as_fd())?;
        drop(theirs);
        match poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&BARRIER)) {
            Ok(0) => log::warn!("$NOTIFY_SOCKET: no answer to BARRIER=1 within 30 seconds"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}

/// Binds the container's socket; a `start` that failed may have left one.
fn listen(entry: &Entry) -> rustix::io::Result<OwnedFd> {
    match unlinkat(entry.dir(), SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    let socket = datagram_socket()?;
    // Through the open directory the path is short, whatever the state root is called.
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", entry.dir().as_raw_fd()));
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let everybody = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    chmodat(entry.dir(), SOCKET, everybody, AtFlags::empty())?;
    Ok(socket)
}

fn datagram_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn connect_manager(address: &Path) -> io::Result<OwnedFd> {
    let socket = datagram_socket()?;
    if let Some(name) = address.as_os_str().as_bytes().strip_prefix(b"@") {
        connect(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    } else {
        let (short, _dir) = fitting(address)?;
        connect(&socket, &SocketAddrUnix::new(short)?)?;
    }
    Ok(socket)
}

fn says_ready(message: &[u8]) -> bool {
    message.split(|b| *b == b'\n').any(|line| line == b"READY=1")
}

/// What of a message is passed on, with the main process where it says that the program is ready.
fn translate(message: &[u8], main_pid: i32) -> Option<Vec<u8>> {
    let mut passed = Vec::new();
    for line in message.split(|b| *b == b'\n') {
        let name = line.split(|b| *b == b'=').next().unwrap_or_default();
        if line.len() > name.len() && PASSED_ON.contains(&name) && !line.contains(&0) {
            passed.extend_from_slice(line);
            passed.push(b'\n');
        }
    }
    if says_ready(&passed) {
        passed.extend_from_slice(format!("MAINPID={main_pid}\n").as_bytes());
    }
    (!passed.is_empty()).then_some(passed)
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;
    use crate::state::tests::Scratch;
    use crate::state::{ContainerId, Store};

    fn translated(message: &[u8]) -> Option<String> {
        translate(message, 7).map(|m| String::from_utf8(m).unwrap())
    }

    #[test]
    fn ready_comes_with_the_main_process() {
        assert_eq!(translated(b"READY=1").as_deref(), Some("READY=1\nMAINPID=7\n"));
        assert_eq!(translated(b"STATUS=a=b\nREADY=1\n").as_deref(), Some("STATUS=a=b\nREADY=1\nMAINPID=7\n"));
        assert_eq!(translated(b"STOPPING=1").as_deref(), Some("STOPPING=1\n"));
    }

    #[test]
    fn nothing_is_said_of_others() {
        assert_eq!(translated(b"MAINPID=1\nFDSTORE=1\nBARRIER=1\nNOTIFYACCESS=all"), None);
        assert_eq!(translated(b"MAINPID=1\nREADY=1").as_deref(), Some("READY=1\nMAINPID=7\n"));
        assert_eq!(translated(b""), None);
        assert_eq!(translated(b"READY\nREADY=1\0\n\n"), None);
    }

    /// A container's directory with a proxy, and its manager.
    fn proxy(scratch: &Scratch) -> (Entry, Notify, UnixDatagram) {
        let store = Store::open(scratch.path()).unwrap();
        let (entry, _lock) = store.reserve(&ContainerId::new("a").unwrap()).unwrap();
        let name = format!("{}/manager", scratch.path().display());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        make_directory(&entry).unwrap();
        let notify = Notify::open(&entry, Path::new(&format!("@{name}")), 7).unwrap().unwrap();
        (entry, notify, manager)
    }

    fn next(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 2 * LONGEST];
        manager.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[test]
    fn a_full_manager_loses_nothing() {
        let scratch = Scratch::new();
        let (entry, mut notify, manager) = proxy(&scratch);
        let program = UnixDatagram::unbound().unwrap();
        program.connect(entry.path().join(SOCKET)).unwrap();
        program.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while program.send(format!("STATUS={sent}").as_bytes()).is_ok() {
            sent += 1;
            notify.pass_on();
        }
        assert!(notify.pending.is_some());
        for i in 0..sent {
            assert_eq!(next(&manager), Some(format!("STATUS={i}\n")));
            notify.pass_on();
        }
        assert_eq!(next(&manager), None);
        assert!(notify.pending.is_none());
    }

    #[test]
    fn what_is_too_long_is_not_passed_on() {
        let scratch = Scratch::new();
        let (entry, mut notify, manager) = proxy(&scratch);
        let program = UnixDatagram::unbound().unwrap();
        program.connect(entry.path().join(SOCKET)).unwrap();
        program.send(format!("STATUS={}", "x".repeat(LONGEST)).as_bytes()).unwrap();
        program.send(b"READY=1").unwrap();
        notify.pass_on();
        assert_eq!(next(&manager).as_deref(), Some("READY=1\nMAINPID=7\n"));
        assert!(notify.ready);
    }

    #[test]
    fn without_a_manager_or_a_directory_there_is_nothing() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (entry, lock) = store.reserve(&ContainerId::new("a").unwrap()).unwrap();
        let nobody = scratch.path().join("nobody");
        assert!(Notify::open(&entry, &nobody, 7).unwrap().is_none());
        make_directory(&entry).unwrap();
        assert!(Notify::open(&entry, &nobody, 7).unwrap().is_none());
        entry.remove(&lock).unwrap();
        assert!(!entry.path().exists());
    }
}
