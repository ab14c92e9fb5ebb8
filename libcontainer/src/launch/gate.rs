//! The gate: where a created container waits for `start`.
//!
//! It is a listening socket in the state directory, of which the container's process holds the only copy. `start`
//! connects and says `Go`; on the same connection it learns of a failure, or, by its end, that the program runs. A
//! `start` that dies on the way changes nothing, because the process goes on listening.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::error::{PathError, Result};
use crate::state::{Entry, START_SOCKET};

/// The listening end, until the child has it.
pub(crate) struct Gate(pub OwnedFd);

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The socket's path through the open directory: short, whatever the state root is called.
fn address(dir: BorrowedFd<'_>) -> io::Result<SocketAddrUnix> {
    let path: PathBuf =
        [Path::new("/proc/self/fd"), Path::new(&dir.as_raw_fd().to_string())].iter().collect();
    Ok(SocketAddrUnix::new(path.join(START_SOCKET))?)
}

impl Gate {
    /// Makes the socket in the container's state directory.
    pub fn new(entry: &Entry) -> Result<Gate> {
        let make = || -> io::Result<Gate> {
            let socket = socket()?;
            bind(&socket, &address(entry.dir())?)?;
            listen(&socket, 1)?;
            Ok(Gate(socket))
        };
        Ok(make().map_err(PathError::doing("make the socket", &entry.path().join(START_SOCKET)))?)
    }
}

/// Connects to the gate of a created container.
pub(crate) fn knock(entry: &Entry) -> Result<OwnedFd> {
    let call = || -> io::Result<OwnedFd> {
        let socket = socket()?;
        connect(&socket, &address(entry.dir())?)?;
        Ok(socket)
    };
    Ok(call().map_err(PathError::doing("connect to", &entry.path().join(START_SOCKET)))?)
}
