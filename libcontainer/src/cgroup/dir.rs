//! One directory of a cgroup hierarchy, opened when it is first needed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};

use super::error::Error;
use crate::error::PathError;

#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    fd: OnceLock<OwnedFd>,
}

impl Dir {
    pub fn new(path: PathBuf) -> Dir {
        Dir { path, fd: OnceLock::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        // Not O_PATH: readdir and fchmod need more, and it costs the same.
        let fd = rustix::fs::open(
            &self.path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(self.fd.get_or_init(|| fd).as_fd())
    }

    pub fn open_write(&self, file: &str) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(self.fd()?, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub fn open_read(&self, file: &str) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(self.fd()?, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// One open, one write: the kernel takes a value whole or not at all.
    pub fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write_whole(self.open_write(file)?.as_fd(), value)
    }

    pub fn read(&self, file: &str) -> io::Result<String> {
        read_whole(self.open_read(file)?.as_fd())
    }

    pub fn error(&self, doing: &'static str, file: &str, source: io::Error) -> Error {
        Error::Path(PathError { doing, path: self.path.join(file), source })
    }
}

/// The contents of a control file, by its path: for directories of which only one file matters.
pub(super) fn read_at(dir: &Path, file: &str) -> io::Result<String> {
    read_whole(rustix::fs::open(dir.join(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.as_fd())
}

/// Like `read_to_string` of std, without its questions about size and position, to which the answers are zero.
fn read_whole(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut text = Vec::with_capacity(4096);
    loop {
        text.reserve(4096);
        let n =
            rustix::io::retry_on_intr(|| rustix::io::read(fd, rustix::buffer::spare_capacity(&mut text)))?;
        if n == 0 {
            return String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

/// Writes `value` in one system call.
pub(super) fn write_whole(fd: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    let n = rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes()))?;
    if n == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The number after `key` in a file of `key number` lines.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| {
        let (k, v) = l.split_once(' ')?;
        if k == key { v.trim().parse().ok() } else { None }
    })
}

/// Whether the error says that the cgroup or its file is gone.
pub(super) fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
