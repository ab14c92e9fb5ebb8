//! The parent's part in keeping the runtime's program from the container (CVE-2019-5736); see
//! `corten_init::OwnBinary`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use corten_init::sys::{MountAttr, mount_setattr};
use corten_init::{Attrs, OwnBinary, Segment};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, open};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::sys;
use crate::error::{PathError, Result};

const EXE: &str = "/proc/self/exe";

/// To seal a copy, each of up to 0.15 s.
const MOST_ATTEMPTS: u32 = 20;

/// This program's file, where nobody can write to it.
pub(super) struct ProtectedBinary {
    file: OwnedFd,
    segments: Vec<Segment>,
    mount: Option<OwnedFd>,
}

impl ProtectedBinary {
    /// On a mount of its own that is read-only and attached nowhere; or, where that cannot be made (before Linux 5.12,
    /// or with the program on a mount of another namespace), in a sealed copy.
    pub fn open() -> Result<ProtectedBinary> {
        let on_mount = on_read_only_mount().map(|(file, mount)| (file, Some(mount)));
        let opened = on_mount.or_else(|_| sealed_copy().map(|copy| (copy, None)));
        let (file, mount) = opened.map_err(PathError::doing("protect", Path::new(EXE)))?;
        Ok(ProtectedBinary { file, segments: sys::own_segments(), mount })
    }

    /// For the child.
    pub fn for_child(&self) -> OwnBinary<'_> {
        OwnBinary { segments: &self.segments, file: self.file.as_fd() }
    }

    /// The mount, which is gone when this is closed, and the child has closed its copy.
    pub fn into_mount(self) -> Option<OwnedFd> {
        self.mount
    }
}

/// The file, and the mount that it is on.
fn on_read_only_mount() -> io::Result<(OwnedFd, OwnedFd)> {
    let mount = read_only_copy(EXE)?;
    Ok((reopen(&mount, OFlags::RDONLY)?, mount))
}

/// A mount of one file that is read-only and attached nowhere.
pub(super) fn read_only_copy(path: &str) -> rustix::io::Result<OwnedFd> {
    let mount = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let read_only = MountAttr { set: Attrs::READ_ONLY.set, ..Default::default() };
    mount_setattr(mount.as_fd(), false, &read_only)?;
    Ok(mount)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory =
        memfd_create("corten", flags | MemfdFlags::EXEC).or_else(|_| memfd_create("corten", flags))?;
    let mut copy = File::from(memory);
    io::copy(&mut File::open(EXE)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // As long as the kernel itself has a hand on one of the pages, they cannot be sealed; it waits a while by itself.
    let mut attempts = 0;
    while let Err(error) = fcntl_add_seals(&copy, seals) {
        attempts += 1;
        if error != Errno::BUSY || attempts == MOST_ATTEMPTS {
            return Err(error.into());
        }
    }
    Ok(reopen(&copy, OFlags::RDONLY)?)
}

pub(super) fn reopen(fd: &impl AsRawFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let copy = sealed_copy().unwrap();
        let again = open(format!("/proc/self/fd/{}", copy.as_raw_fd()), OFlags::WRONLY, Mode::empty());
        let written = again.and_then(|fd| rustix::io::write(&fd, b"x"));
        assert_eq!(written, Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn the_segments_are_what_is_mapped() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let exe = std::fs::read_link(EXE).unwrap();
        let mapped = maps.lines().filter(|line| line.ends_with(exe.to_str().unwrap()));
        for line in mapped {
            let range = line.split(' ').next().unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |s: &str| usize::from_str_radix(s, 16).unwrap();
            let covers = |s: &Segment| s.start <= number(start) && number(end) <= s.start + s.len;
            assert!(sys::own_segments().iter().any(covers), "{line}");
        }
    }
}
