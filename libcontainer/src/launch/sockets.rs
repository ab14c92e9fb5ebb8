//! Unix sockets by path, also where the path is longer than `sun_path` holds (107 bytes): the directory is opened, and
//! the kernel is given a path through `/proc/self/fd`.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

use crate::error::{PathError, Result};

const SUN_PATH: usize = 107;

/// A path that fits, and the directory that has to stay open while it is used.
pub(super) fn fitting(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= SUN_PATH {
        return Ok((path.to_owned(), None));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((short, Some(dir)))
}

/// Connects to a stream socket. `doing` names the flag, for the error.
pub(crate) fn connect_path(path: &Path, doing: &'static str) -> Result<OwnedFd> {
    let connect = || -> io::Result<OwnedFd> {
        let (short, _dir) = fitting(path)?;
        Ok(UnixStream::connect(short)?.into())
    };
    Ok(connect().map_err(PathError::doing(doing, path))?)
}

/// Sends a message and a descriptor over a stream socket, and ends the connection. `connecting` and `sending` name what
/// has the path, for the error.
pub(crate) fn send_once(
    path: &Path,
    message: &[u8],
    fd: BorrowedFd<'_>,
    (connecting, sending): (&'static str, &'static str),
) -> Result<()> {
    let socket = connect_path(path, connecting)?;
    let deliver = || -> io::Result<()> {
        let sent = loop {
            match corten_init::sys::send_descriptor(socket.as_fd(), message, fd) {
                Err(Errno::INTR) => {}
                sent => break sent?,
            }
        };
        // The descriptor went with the first part.
        let mut rest = &message[sent..];
        while !rest.is_empty() {
            match send(&socket, rest, SendFlags::NOSIGNAL) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    };
    Ok(deliver().map_err(PathError::doing(sending, path))?)
}

/// Receives a message, and the descriptor that came with it. The descriptor is closed on exec.
pub(super) fn receive_descriptor(
    socket: BorrowedFd<'_>,
    message: &mut [u8],
    flags: RecvFlags,
) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(message)], &mut control, flags)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, descriptor))
}

/// Sends a pidfd over a stream socket (`--pidfd-socket`): one connection, one message, one descriptor.
pub(crate) fn send_pidfd(path: &Path, pidfd: impl AsFd) -> Result<()> {
    send_once(path, b"pidfd", pidfd.as_fd(), ("--pidfd-socket: connect to", "send the pidfd to"))
}
