//! Id-mapped mounts (mount_setattr(2), `MOUNT_ATTR_IDMAP`, Linux 5.12): the kernel takes a mapping in the form of a user
//! namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use corten_init::sys::{MountAttr, mount_setattr};
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::LaunchError;
use super::idmap::map_text;
use super::sys::reap;
use crate::config::IdMapping;
use crate::error::Result;
use crate::plan::{Ids, MountIds};

/// User namespaces that stand for mappings; equal ones share one.
#[derive(Default)]
pub(super) struct UserNamespaces(Vec<(Ids, OwnedFd)>);

impl UserNamespaces {
    /// Maps the ids of a mount tree that is attached nowhere. `mount` is its index in `mounts`.
    pub fn apply(&mut self, tree: BorrowedFd<'_>, wanted: &MountIds, mount: usize) -> Result<()> {
        const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
        let namespace = self.namespace(&wanted.ids, mount)?;
        let userns_fd = u64::from(namespace.as_raw_fd().unsigned_abs());
        let attr = MountAttr { set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
        let mapped = mount_setattr(tree, wanted.recursive, &attr);
        Ok(mapped.map_err(|e| failed(mount, "mount_setattr")(e.into()))?)
    }

    fn namespace(&mut self, ids: &Ids, mount: usize) -> Result<BorrowedFd<'_>> {
        let known = self.0.iter().position(|(known, _)| known == ids);
        let index = if let Some(index) = known {
            index
        } else {
            let made = match ids {
                Ids::Namespace(path) => {
                    OwnedFd::from(File::open(path).map_err(failed(mount, "open the user namespace"))?)
                }
                Ids::Mappings { uids, gids } => make_namespace(uids, gids, mount)?,
            };
            self.0.push((ids.clone(), made));
            self.0.len() - 1
        };
        Ok(self.0[index].1.as_fd())
    }
}

fn failed(mount: usize, step: &'static str) -> impl FnOnce(io::Error) -> LaunchError {
    move |source| {
        let hint = match (step, source.raw_os_error()) {
            ("mount_setattr", Some(libc::EINVAL)) => {
                "the filesystem of the source, or of a mount below it, cannot be id-mapped"
            }
            (_, Some(libc::EPERM)) => {
                "this needs CAP_SYS_ADMIN on the host, and a source that is not id-mapped yet"
            }
            (_, Some(libc::EINVAL)) => "ranges may not overlap",
            _ => "",
        };
        LaunchError::IdMappedMount { mount, step, source, hint }
    }
}

/// A user namespace lives as long as somebody is in it or holds it: a process is born into a new one, and ends as soon as
/// the namespace is mapped and held.
fn make_namespace(uids: &[IdMapping], gids: &[IdMapping], mount: usize) -> Result<OwnedFd> {
    const CLONE_NEWUSER: u64 = 0x1000_0000;
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(mount, "pipe")(e.into()))?;
    let parked = corten_init::park(CLONE_NEWUSER, theirs.as_raw_fd());
    let (pid, pidfd) = parked.map_err(|e| failed(mount, "clone3")(e.into()))?;
    let made = map_and_hold(pid, uids, gids);
    // It ends at the end of the pipe.
    drop(ours);
    reap(pidfd.as_fd()).map_err(failed(mount, "waitid"))?;
    Ok(made.map_err(failed(mount, "write the mapping"))?)
}

fn map_and_hold(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> io::Result<OwnedFd> {
    std::fs::write(format!("/proc/{pid}/uid_map"), map_text(uids))?;
    std::fs::write(format!("/proc/{pid}/gid_map"), map_text(gids))?;
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}
