//! Unix sockets by path, also where the path is longer than `sun_path` holds (107 bytes): the directory is opened, and
//! the kernel is given a path through `/proc/self/fd`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

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

/// Sends a pidfd over a stream socket (`--pidfd-socket`): one connection, one message, one descriptor.
pub(crate) fn send_pidfd(path: &Path, pidfd: impl AsFd) -> Result<()> {
    let socket = connect_path(path, "--pidfd-socket: connect to")?;
    let sent = corten_init::sys::send_descriptor(socket.as_fd(), b"pidfd", pidfd.as_fd());
    Ok(sent.map_err(PathError::doing("send the pidfd to", path))?)
}
