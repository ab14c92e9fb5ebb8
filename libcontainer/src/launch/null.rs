//! The null device for a program's standard streams.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corten_init::sys::MountAttr;
use rustix::fs::{CWD, FileType, Mode, Stat, fstat, major, makedev, minor, mknodat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen, open_tree,
};

use super::own_binary::reopen;

/// A null device that a container's root can neither give away nor forbid to others, and the mount that it is on.
///
/// Where the runtime was started with `/dev/null`, the program would hold the host's node, of which root of the container
/// is no less the owner than the host's: `chmod(1)` on `/proc/self/fd/0` is then for all the world, in whatever mount
/// namespace it is done.
pub(super) struct ProtectedNull {
    pub file: OwnedFd,
    pub mount: OwnedFd,
}

impl ProtectedNull {
    /// The same node on a mount of its own that is read-only, which is nothing to who writes into the device; or, before
    /// Linux 5.12, another node on a filesystem of its own. None if there is neither, or no need: standard streams are
    /// something else.
    pub fn open() -> Option<ProtectedNull> {
        let any = standard_streams().iter().any(|fd| fstat(fd).is_ok_and(|stat| is_null(&stat)));
        if any { on_read_only_mount().or_else(|_| of_its_own()).ok() } else { None }
    }
}

fn standard_streams() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

fn is_null(stat: &Stat) -> bool {
    let is_char = FileType::from_raw_mode(stat.st_mode).is_char_device();
    is_char && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

fn on_read_only_mount() -> io::Result<ProtectedNull> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/dev/null", flags)?;
    let read_only = MountAttr { set: MOUNT_ATTR_RDONLY, ..Default::default() };
    corten_init::sys::mount_setattr(mount.as_fd(), false, &read_only)?;
    opened(mount.as_fd()).map(|file| ProtectedNull { file, mount })
}

fn of_its_own() -> io::Result<ProtectedNull> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    mknodat(&mount, "null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    let node = rustix::fs::openat(
        &mount,
        "null",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    opened(node.as_fd()).map(|file| ProtectedNull { file, mount })
}

/// Nothing but the null device is opened.
fn opened(node: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if is_null(&fstat(node)?) {
        reopen(&node, rustix::fs::OFlags::RDWR)
    } else {
        Err(io::ErrorKind::Other.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_mode_of_neither_reaches_the_host() {
        let before = std::fs::metadata("/dev/null").unwrap().permissions();
        // Without privileges there are none, and no need.
        for null in [on_read_only_mount(), of_its_own()].into_iter().flatten() {
            let file = std::fs::File::from(null.file);
            rustix::io::write(&file, b"gone").unwrap();
            let _ = file.set_permissions(std::fs::Permissions::from_mode(0o640));
            assert_eq!(std::fs::metadata("/dev/null").unwrap().permissions(), before);
        }
    }
}
