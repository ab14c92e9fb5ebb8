//! The caller's standard input and output, without ever blocking on them.
//!
//! `O_NONBLOCK` is a property of the open file, which the caller and all its other children share: set there, it would
//! break them. So terminals and pipes are opened once more, sockets are asked call by call, and the rest (a terminal of
//! another user, a file) gets no more than poll(2) promises.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use rustix::io::{Errno, Result, fcntl_dupfd_cloexec, read, write};
use rustix::net::{SendFlags, send};
use rustix::termios::isatty;

/// Bytes that a pipe takes at once whenever it is ready to be written (`PIPE_BUF`).
const PIPE_BUF: usize = 4096;

/// How a write is kept from blocking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By the open file itself; or it is one that never blocks.
    Free,
    /// By a flag of each call.
    Socket,
    /// By asking poll(2) first, and writing little.
    Polled,
}

/// One of the two.
pub(super) struct Port {
    fd: OwnedFd,
    kind: Kind,
}

impl Port {
    pub fn input(fd: BorrowedFd<'_>) -> Result<Port> {
        Port::new(fd, OFlags::RDONLY)
    }

    pub fn output(fd: BorrowedFd<'_>) -> Result<Port> {
        Port::new(fd, OFlags::WRONLY)
    }

    fn new(fd: BorrowedFd<'_>, access: OFlags) -> Result<Port> {
        let stat = fstat(fd)?;
        let reopen = || {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty())
        };
        // The master of a pseudo-terminal, opened again, would be a new one.
        let is_ptmx = (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2);
        let (reopened, kind) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => (reopen().ok(), Kind::Polled),
            FileType::CharacterDevice if is_ptmx => (None, Kind::Polled),
            FileType::CharacterDevice if isatty(fd) => (reopen().ok(), Kind::Polled),
            FileType::Socket => (None, Kind::Socket),
            _ => (None, Kind::Free),
        };
        match reopened {
            Some(fd) => Ok(Port { fd, kind: Kind::Free }),
            None => Ok(Port { fd: fcntl_dupfd_cloexec(fd, 3)?, kind }),
        }
    }

    /// Whether a write has to wait for poll(2).
    pub fn has_to_be_polled(&self) -> bool {
        self.kind == Kind::Polled
    }

    pub fn read(&self, into: &mut [u8]) -> Result<usize> {
        read(&self.fd, into)
    }

    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        match self.kind {
            Kind::Free => write(&self.fd, bytes),
            Kind::Socket => send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Kind::Polled => write(&self.fd, &bytes[..bytes.len().min(PIPE_BUF)]),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether to try again later is all that is wrong.
pub(super) fn is_transient(e: Errno) -> bool {
    matches!(e, Errno::AGAIN | Errno::INTR)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::pipe::pipe;

    use super::{Kind, PIPE_BUF, Port};

    fn fill(port: &Port) -> Errno {
        loop {
            if let Err(e) = port.write(&[0; 10_000]) {
                return e;
            }
        }
    }

    #[test]
    fn writing_to_a_full_pipe_does_not_block_and_leaves_the_callers_descriptor_alone() {
        let (_reader, writer) = pipe().unwrap();
        let port = Port::output(writer.as_fd()).unwrap();
        assert!(!port.has_to_be_polled());
        assert_eq!(fill(&port), Errno::AGAIN);
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn writing_to_a_full_socket_does_not_block() {
        let flags = SocketFlags::CLOEXEC;
        let (_reader, writer) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let port = Port::output(writer.as_fd()).unwrap();
        assert_eq!(fill(&port), Errno::AGAIN);
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn what_cannot_be_opened_again_gets_no_more_than_a_ready_pipe_takes() {
        let (_reader, writer) = pipe().unwrap();
        let port = Port { fd: writer, kind: Kind::Polled };
        assert!(port.has_to_be_polled());
        assert_eq!(port.write(&[0; 10_000]), Ok(PIPE_BUF));
    }
}
