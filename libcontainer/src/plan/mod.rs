//! Config → plan: everything that a new container's process will do, as data.
//!
//! Pure: what has to be known of the machine comes in as [`HostFacts`], and what has to be opened on it goes out as
//! [`Demand`]s. The same input yields the same plan, which can be printed and compared without a container.

mod arena;
mod create;
mod devices;
mod hot;
mod id_maps;
mod join;
pub mod mount_options;
mod mounts;
mod origin;
mod process;
mod runnable;
mod scheduling;
mod stages;
mod sys;

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use corten_init::{Op, Plan, Slot, Usher};

pub use arena::Arena;
pub use create::compile_create;
pub use hot::{HotMounts, compile_mounts};
pub use id_maps::{Ids, MountIds};
pub use join::{JoinRequest, compile_exec};
pub use mounts::clean;
pub use origin::Origin;
pub use process::Circumstances;
pub(crate) use runnable::hand_over;
pub use scheduling::{bits, io_priority, sched_attr};
pub use stages::{Stages, clone_flag, clone_flags, stages};

use crate::config::{Linux, NamespaceKind};
use crate::host::HostFacts;
use crate::seccomp::Filter;
use crate::validate::{Namespaces, Valid};

const MS_REC: u32 = 1 << 14;
const MS_PRIVATE: u32 = 1 << 18;
const MS_SLAVE: u32 = 1 << 19;
const MS_SHARED: u32 = 1 << 20;

/// Something that the parent has to open before the plan can run. Its index is its [`Slot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// A namespace to join.
    Namespace {
        /// Which kind it has to be.
        kind: NamespaceKind,
        /// Where it is.
        path: PathBuf,
    },
    /// A copy of a mount tree that the child could not open itself.
    BindSource {
        /// Index in `mounts`.
        mount: usize,
        /// Absolute, outside.
        path: PathBuf,
        /// With everything below.
        recursive: bool,
        /// A link at the end of the path is followed.
        follow: bool,
        /// How it shows the owners of its files.
        ids: Option<MountIds>,
    },
    /// The connected console socket.
    Console,
    /// The listening socket on which `start` will call.
    Gate,
    /// The file of a cgroup, to be joined by writing to it.
    Cgroup(usize),
    /// A pidfd of the container that is joined.
    Container,
    /// What the process reads.
    Stdin,
    /// Where it writes, standard output and standard error.
    Output,
}

/// A compiled plan, what it needs, and where each of its operations comes from.
#[derive(Debug)]
pub struct Compiled<'a> {
    /// For the child.
    pub plan: Plan<'a>,
    /// In the order of their slots.
    pub demands: Vec<Demand>,
    /// One for each operation.
    pub origins: Vec<Origin>,
    /// Whether the runtime's own program, and the host's null device, have to be kept from the container (CVE-2019-5736):
    /// whoever is root in there is root outside as well, and could write to it.
    pub protects_binary: bool,
    /// Whether the process gets a label of SELinux's, which has a say about who uses a device of which filesystem.
    pub has_label: bool,
}

/// What is compiled.
#[derive(Debug)]
pub struct Request<'r> {
    /// The checked configuration.
    pub valid: &'r Valid<'r>,
    /// The container's name.
    pub id: &'r str,
    /// Absolute directory of the bundle.
    pub bundle: &'r Path,
    /// Absolute directory of the root filesystem, without links.
    pub rootfs: &'r Path,
    /// What the machine is like.
    pub host: &'r HostFacts,
    /// The container's cgroup in each hierarchy, by its controllers, comma-separated; empty for version 2.
    pub cgroup_dirs: &'r [(String, PathBuf)],
    /// Files of cgroups that the child joins by itself.
    pub cgroup_files: usize,
    /// It waits for somebody else to move it into its cgroup.
    pub waits_for_cgroup: bool,
    /// The compiled filter.
    pub filter: Option<&'r Filter>,
    /// Whether the container waits for `start`, or begins at once.
    pub gate: bool,
    /// Whether there is a socket for the terminal.
    pub console: bool,
    /// The plan is for a process that joins a container, not for its first one.
    pub joins_container: bool,
    /// The parent may leave its network namespace, and come back.
    pub can_leave_network: bool,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// Variables that the runtime adds.
    pub extra_env: &'r [String],
}

impl Request<'_> {
    /// Whether bind sources have to be opened by the parent: a child in another user namespace may lack the right to
    /// reach them, and one that joins a mount namespace does not see them.
    fn opens_sources_for_child(&self) -> bool {
        let spaces = &self.valid.namespaces;
        let foreign = spaces.has(NamespaceKind::User) && self.host.euid == 0;
        foreign || self.joins_container || spaces.joins(NamespaceKind::Mount).is_some()
    }

    fn has_hooks_inside(&self) -> bool {
        let hooks = self.valid.config.hooks.as_ref();
        hooks.is_some_and(|h| !(h.create_container.is_empty() && h.start_container.is_empty()))
    }

    fn has_hooks(&self) -> bool {
        let hooks = self.valid.config.hooks.as_ref();
        hooks.is_some_and(|h| {
            !(h.prestart.is_empty() && h.create_runtime.is_empty() && h.create_container.is_empty())
        })
    }
}

/// A runtime without privileges that maps its own group only has to give up setgroups(2) for that
/// (user_namespaces(7)); with a range of /etc/subgid it has not. Nor can one whose own namespace was made like that.
fn groups_are_denied(host: &HostFacts, linux: Option<&Linux>) -> bool {
    let single = linux.is_none_or(|l| l.gid_mappings.len() == 1 && l.gid_mappings[0].size == 1);
    host.denies_groups || (host.euid != 0 && single)
}

/// Whether root of the container is root outside as well, owns what is the host's, and could write to the runtime's program:
/// without a user namespace, or with one that maps that id. Of one that somebody else has made, nobody knows.
fn is_root_outside(host: &HostFacts, namespaces: &Namespaces<'_>, linux: Option<&Linux>) -> bool {
    let mappings = linux.map_or(&[][..], |linux| &linux.uid_mappings);
    let known = !mappings.is_empty();
    let maps_root = !known || mappings.iter().any(|mapping| mapping.host_id == 0);
    host.euid == 0 && (!namespaces.has(NamespaceKind::User) || maps_root)
}

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub arena: &'a Arena,
    ops: Vec<Op<'a>>,
    origins: Vec<Origin>,
    demands: Vec<Demand>,
    /// Whether there was a label of SELinux's.
    pub has_label: bool,
    /// Whether the private procfs is open.
    has_procfs: bool,
    /// Whether the network namespace, which the parent makes, is yet to be entered.
    network_is_due: bool,
    /// Mounts that become read-only once everything is made.
    pub read_only_later: Vec<(&'a CStr, Origin)>,
}

impl<'a> Builder<'a> {
    fn new(arena: &'a Arena) -> Builder<'a> {
        Builder {
            arena,
            ops: Vec::with_capacity(64),
            origins: Vec::with_capacity(64),
            demands: Vec::new(),
            has_label: false,
            has_procfs: false,
            network_is_due: false,
            read_only_later: Vec::new(),
        }
    }

    pub fn push(&mut self, op: Op<'a>, origin: Origin) {
        self.ops.push(op);
        self.origins.push(origin);
    }

    fn step(&mut self, op: Op<'a>, what: &'static str) {
        self.push(op, Origin::Runtime(what));
    }

    /// The private procfs, if it is not open yet.
    fn procfs(&mut self) {
        if !self.has_procfs {
            self.step(Op::Procfs, "private procfs");
            self.has_procfs = true;
        }
    }

    /// The network namespace that the parent makes, if it is due.
    pub fn network(&mut self) {
        if std::mem::take(&mut self.network_is_due) {
            self.step(Op::Network, "network namespace");
        }
    }

    pub fn demand(&mut self, demand: Demand) -> Slot {
        self.demands.push(demand);
        Slot(u16::try_from(self.demands.len() - 1).unwrap_or(u16::MAX))
    }

    pub fn path(&self, path: &Path) -> &'a CStr {
        self.arena.cstr(path.as_os_str().as_bytes())
    }

    fn cgroups(&mut self, files: usize) -> &'a [Slot] {
        let slots: Vec<Slot> = (0..files).map(|i| self.demand(Demand::Cgroup(i))).collect();
        self.arena.slice(&slots)
    }

    fn finish(
        self,
        usher: Option<Usher<'a>>,
        clone_flags: u64,
        cgroups: &'a [Slot],
        protects_binary: bool,
    ) -> Compiled<'a> {
        let plan = Plan { usher, clone_flags, cgroups, ops: self.arena.slice(&self.ops) };
        Compiled {
            plan,
            demands: self.demands,
            origins: self.origins,
            protects_binary,
            has_label: self.has_label,
        }
    }
}

impl Request<'_> {
    /// Propagation of the tree in which the container is built. By default what is mounted outside shows in there, and
    /// never the reverse. Bind mounts that are to share with the host need a tree that is still shared; the root
    /// filesystem itself is taken out of it all the same.
    fn root_flags(&self) -> u32 {
        match self.rootfs_propagation().unwrap_or_default() {
            "shared" | "rshared" => MS_SHARED,
            "private" | "rprivate" | "unbindable" | "runbindable" => MS_PRIVATE,
            _ => MS_SLAVE,
        }
    }

    fn rootfs_propagation(&self) -> Option<&str> {
        let word = self.valid.config.linux.as_ref()?.rootfs_propagation.as_deref()?;
        (!word.is_empty()).then_some(word)
    }
}
