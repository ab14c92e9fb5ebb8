//! The null device for a program's standard streams.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use corten_init::is_null;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmodat, fstat, makedev, mkdirat, mknodat, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::own_binary::{read_only_copy, reopen};
use crate::error::{PathError, Result};

/// A null device of which it matters to nobody else what a container's root does to it, and the mount that it is on.
///
/// Where the runtime was started with `/dev/null`, the program would hold the host's node, of which root of the container
/// is no less the owner than the host's: `chmod(1)` on `/proc/self/fd/0` is then for all the world, in whatever mount
/// namespace it is done.
pub(super) struct ProtectedNull {
    pub file: OwnedFd,
    pub mount: OwnedFd,
}

impl ProtectedNull {
    /// One on a filesystem of its own, where it is called `/dev/null` as well; or, where that cannot be made, the host's on a
    /// read-only mount, which is nothing to who writes into the device. A labelled process gets that one at once: policies
    /// have rules for the label of the host's. None where standard streams are something else.
    ///
    /// # Errors
    ///
    /// When a null device is needed, and there is neither.
    pub fn open(has_label: bool) -> Result<Option<ProtectedNull>> {
        if !standard_streams().iter().any(|fd| fstat(fd).is_ok_and(|stat| is_null(&stat))) {
            return Ok(None);
        }
        let opened = match (!has_label).then(of_its_own) {
            // Without CAP_MKNOD, or in a sandbox.
            None | Some(Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS)) => on_read_only_mount(),
            Some(done) => done,
        };
        Ok(Some(opened.map_err(PathError::doing("protect", Path::new("/dev/null")))?))
    }
}

fn standard_streams() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

fn of_its_own() -> rustix::io::Result<ProtectedNull> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    mkdirat(&mount, "dev", Mode::from_raw_mode(0o755))?;
    mknodat(&mount, "dev/null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    // Whatever the umask has taken.
    chmodat(&mount, "dev/null", Mode::from_raw_mode(0o666), AtFlags::empty())?;
    let file = openat(&mount, "dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(ProtectedNull { file, mount })
}

fn on_read_only_mount() -> rustix::io::Result<ProtectedNull> {
    let mount = read_only_copy("/dev/null")?;
    if !is_null(&fstat(&mount)?) {
        return Err(Errno::NODEV);
    }
    let file = reopen(&mount, OFlags::RDWR)?;
    Ok(ProtectedNull { file, mount })
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
