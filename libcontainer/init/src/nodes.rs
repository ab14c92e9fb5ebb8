//! Device nodes and links.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, major, makedev, minor, mknodat,
    openat, statat, symlinkat,
};
use rustix::io::Errno;

use crate::channel::{At, Failure, Result};
use crate::frame::Step;
use crate::mounts::{attach_with, copy_tree};
use crate::paths::{Create, exists, resolve, resolve_or_create};
use crate::plan::{Attrs, DeviceNode, Node};

/// Makes the nodes of one directory. `settle` waits until the parent has set the limits.
pub(crate) fn make_nodes(
    root: BorrowedFd<'_>,
    dir: &CStr,
    nodes: &[Node<'_>],
    settle: &mut dyn FnMut() -> Result,
) -> Result {
    let dir = resolve_or_create(root, dir, Create::Directory)?;
    for (i, node) in nodes.iter().enumerate() {
        make_node(dir.as_fd(), node, settle).map_err(|f| Failure { value: i as u64, ..f })?;
    }
    Ok(())
}

fn make_node(dir: BorrowedFd<'_>, node: &Node<'_>, settle: &mut dyn FnMut() -> Result) -> Result {
    const REFUSED: Errno = Errno::PERM;
    match node {
        Node::Device(device) if device.bind => bind_device(dir, device),
        Node::Device(device) => match make_device(dir, device) {
            Err(Failure { step: Step::Mknod, errno: REFUSED, .. }) => {
                // Version 1's rules cannot be set at once: the parent may just have forbidden all, and be about to
                // allow the rest.
                settle()?;
                match make_device(dir, device) {
                    Err(Failure { step: Step::Mknod, errno: REFUSED, .. }) => bind_device(dir, device),
                    other => other,
                }
            }
            other => other,
        },
        Node::Link { name, target, only_if } => {
            if only_if.is_some_and(|path| !exists(path)) {
                return Ok(());
            }
            match symlinkat(*target, dir, *name) {
                Err(Errno::EXIST) => Ok(()),
                other => other.at(Step::Symlink),
            }
        }
    }
}

fn make_device(dir: BorrowedFd<'_>, device: &DeviceNode<'_>) -> Result {
    let kind = FileType::from_raw_mode(device.mode);
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match mknodat(dir, device.name, kind, mode, makedev(device.major, device.minor)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return expect_device(dir, device),
        Err(e) => return Err(e).at(Step::Mknod),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        chownat(dir, device.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).at(Step::Chown)?;
        // No chmod after it: only setuid and setgid are lost, which mean nothing here, and it would follow a link.
    }
    Ok(())
}

/// What stands there already has to be that very device (config-linux.md#devices).
fn expect_device(dir: BorrowedFd<'_>, device: &DeviceNode<'_>) -> Result {
    let stat = statat(dir, device.name, AtFlags::SYMLINK_NOFOLLOW).at(Step::Stat)?;
    if is_device(&stat, device) { Ok(()) } else { Err(Errno::EXIST).at(Step::OtherDevice) }
}

fn is_device(stat: &Stat, device: &DeviceNode<'_>) -> bool {
    let same_kind = FileType::from_raw_mode(stat.st_mode) == FileType::from_raw_mode(device.mode);
    let is_fifo = FileType::from_raw_mode(device.mode).is_fifo();
    let same_number = major(stat.st_rdev) == device.major && minor(stat.st_rdev) == device.minor;
    same_kind && (is_fifo || same_number)
}

/// Binds the host's node onto an empty file. The host may have another device under this name.
fn bind_device(dir: BorrowedFd<'_>, device: &DeviceNode<'_>) -> Result {
    let source = copy_tree(CWD, device.host, false)?;
    if !is_device(&fstat(&source).at(Step::Stat)?, device) {
        return Err(Errno::NODEV).at(Step::OtherDevice);
    }
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY | OFlags::NONBLOCK;
    let made = openat(dir, device.name, flags | OFlags::EXCL, Mode::from_raw_mode(0o644));
    match made {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e).at(Step::CreateFile),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(dir, device.name, flags, Mode::empty()).at(Step::Open)?;
    let attrs = if device.read_only { Attrs::READ_ONLY } else { Attrs::default() };
    attach_with(source.as_fd(), target.as_fd(), attrs)
}

/// Opens the container's null device; or, if that is missing or something else, the host's. The attributes are what a
/// mount of it has to have: root of the container shall not change the mode of the host's node, or its owner.
pub(crate) fn find_null(root: BorrowedFd<'_>) -> Result<(OwnedFd, Attrs)> {
    match resolve(root, c"dev/null") {
        Ok(fd) if is_null(&fstat(&fd).at(Step::Stat)?) => return Ok((fd, Attrs::default())),
        _ => {}
    }
    let fd = openat(CWD, c"/dev/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .at(Step::Open)?;
    if is_null(&fstat(&fd).at(Step::Stat)?) {
        Ok((fd, Attrs::READ_ONLY))
    } else {
        Err(Errno::NODEV).at(Step::NotDevNull)
    }
}

/// Whether this is the null device, whatever its name.
#[must_use]
pub fn is_null(stat: &Stat) -> bool {
    let is_char = FileType::from_raw_mode(stat.st_mode).is_char_device();
    is_char && major(stat.st_rdev) == 1 && minor(stat.st_rdev) == 3
}
