//! Opens what the plan demands.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::error::LaunchError;
use super::id_maps::UserNamespaces;
use super::sys::namespace_type;
use crate::config::NamespaceKind;
use crate::error::{PathError, Result};
use crate::plan::{Demand, clone_flag};

/// Descriptors that exist already and that demands may stand for.
#[derive(Default)]
pub(crate) struct Sources {
    /// Files of cgroups to join.
    pub cgroups: Vec<OwnedFd>,
    /// The gate.
    pub gate: Option<OwnedFd>,
    /// The connected console socket.
    pub console: Option<OwnedFd>,
    /// A pidfd of the container that is joined.
    pub container: Option<OwnedFd>,
    /// What the process reads, instead of the runtime's standard input.
    pub stdin: Option<OwnedFd>,
    /// Where it writes, once for each of the two streams.
    pub outputs: Vec<OwnedFd>,
}

/// The descriptors of a plan, in the order of their slots.
pub(crate) struct Prepared {
    owned: Vec<OwnedFd>,
}

impl Prepared {
    /// The numbers, for the child.
    pub fn slots(&self) -> Vec<RawFd> {
        self.owned.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Adds another one, and returns its slot.
    pub fn add(&mut self, fd: OwnedFd) -> u16 {
        self.owned.push(fd);
        u16::try_from(self.owned.len() - 1).unwrap_or(u16::MAX)
    }
}

/// Opens everything, in one go.
pub(crate) fn prepare(demands: &[Demand], mut sources: Sources) -> Result<Prepared> {
    let mut cgroups = sources.cgroups.drain(..);
    let mut namespaces = UserNamespaces::default();
    let mut owned = Vec::with_capacity(demands.len() + 1);
    for demand in demands {
        let fd = match demand {
            Demand::Namespace { kind, path } => Some(open_namespace(*kind, path)?),
            Demand::BindSource { mount, path, recursive, follow, ids } => {
                let tree = copy_source(*mount, path, *recursive, *follow)?;
                if let Some(ids) = ids {
                    namespaces.apply(tree.as_fd(), ids, *mount)?;
                }
                Some(tree)
            }
            Demand::Console => sources.console.take(),
            Demand::Gate => sources.gate.take(),
            Demand::Cgroup(_) => cgroups.next(),
            Demand::Container => sources.container.take(),
            Demand::Stdin => sources.stdin.take(),
            Demand::Output => sources.outputs.pop(),
        };
        owned.push(fd.ok_or_else(|| {
            let missing = io::Error::from_raw_os_error(libc::EBADF);
            PathError { doing: "open", path: format!("{demand:?}").into(), source: missing }
        })?);
    }
    drop(cgroups);
    Ok(Prepared { owned })
}

/// Opens a namespace that is to be joined, and sees to it that it is one of this kind.
pub(crate) fn open_namespace(kind: NamespaceKind, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(CWD, path, flags, Mode::empty());
    let fd = opened.map_err(PathError::doing("linux.namespaces: open", path))?;
    match namespace_type(fd.as_fd()) {
        Ok(found) if found == clone_flag(kind) => Ok(fd),
        _ => {
            let path = path.display().to_string();
            Err(LaunchError::WrongNamespace { path, kind: kind.name() }.into())
        }
    }
}

fn copy_source(mount: usize, path: &Path, recursive: bool, follow: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if !follow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    let copied = open_tree(CWD, path, flags);
    Ok(copied.map_err(|e| PathError {
        doing: "open_tree",
        path: format!("mounts[{mount}].source ({})", path.display()).into(),
        source: e.into(),
    })?)
}
