//! The plan: what the child has to do, in order, as data.
//!
//! Plan types are nouns; the functions that carry them out are verbs. Everything is borrowed from memory that the
//! parent filled before the clone and that the child inherits copy-on-write.

use core::ffi::CStr;

use crate::bpf::SockFilter;

/// Index into the table of descriptors that the parent opened for the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u16);

/// Everything between clone and exec.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// An intermediate process, where the kernel demands one.
    pub usher: Option<Usher<'a>>,
    /// `CLONE_NEW*` of the container's first process.
    pub clone_flags: u64,
    /// Files of cgroups to move into, by writing `0`: from within, that takes microseconds, whereas writing another
    /// process's pid makes the kernel wait for an RCU grace period.
    pub cgroups: &'a [Slot],
    /// In order.
    pub ops: &'a [Op<'a>],
}

/// A process that joins namespaces and then makes the container's first process as its *sibling* (`CLONE_PARENT`):
/// joining a pid namespace only affects children, and a user namespace has to be entered before the others are made.
#[derive(Debug, Clone, Copy)]
pub struct Usher<'a> {
    /// What it joins.
    pub joins: &'a [Join],
    /// Give up the runtime's supplementary groups first: in a user namespace that may be denied.
    pub drops_groups: bool,
}

/// One setns(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// A namespace, or a pidfd for several at once (Linux 5.8).
    pub fd: Slot,
    /// `CLONE_NEW*`.
    pub kinds: u32,
}

/// One step of the plan; coarse, one for each intent of the user.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// Join a namespace from within.
    Join(Join),
    /// Make and enter a time namespace whose clocks are set off.
    Clocks {
        /// What is written to `timens_offsets`.
        offsets: &'a [u8],
    },
    /// Tell the parent how far the child is, and wait for its word.
    Barrier(crate::Phase),
    /// Become id 0 of a user namespace that was just entered.
    BecomeRoot,
    /// Nobody may look into this process any more (CVE-2016-9962).
    Conceal,
    /// `setsid`.
    NewSession,
    /// A session keyring of the container's own.
    Keyring {
        /// Its name.
        name: &'a CStr,
    },
    /// Take these as standard input, output and error.
    Stdio {
        /// One for each.
        slots: [Slot; 3],
    },
    /// Bring `lo` up in a new network namespace.
    Loopback,
    /// Enter the network namespace that the parent makes meanwhile, and sends as the first of its words.
    Network,
    /// Make namespaces that have to be made late: the cgroup namespace, now that the process is in its cgroup, and what
    /// is to belong to id 0 of a user namespace, now that the process has that id.
    Unshare {
        /// `CLONE_NEW*`
        kinds: u32,
    },
    /// Propagation of the whole tree, `MS_SLAVE | MS_REC` and the like.
    Propagation {
        /// `MS_*`.
        flags: u32,
    },
    /// Bind the root filesystem on itself, and hold it.
    Root {
        /// Absolute, outside.
        path: &'a CStr,
        /// The tree around is shared with the host: take the mount that holds the root filesystem out of that first.
        private_parent: bool,
    },
    /// Without a mount namespace: hold the root filesystem as it is.
    PlainRoot {
        /// Absolute, outside.
        path: &'a CStr,
    },
    /// Hold the present root directory (of a container that is joined).
    PresentRoot,
    /// One element of `mounts`.
    Mount(&'a MountOp<'a>),
    /// Device nodes and links in one directory.
    Nodes {
        /// Directory in the root, without leading slash.
        dir: &'a CStr,
        /// What it gets.
        nodes: &'a [Node<'a>],
    },
    /// A pseudo-terminal as stdio; its master goes to the parent's socket.
    Console(&'a ConsoleOp),
    /// Make the root filesystem the root directory.
    EnterRoot(EnterRoot),
    /// Final propagation of `/`.
    RootPropagation {
        /// `MS_*`.
        flags: u32,
    },
    /// Make paths unreadable.
    Mask {
        /// In the root, without leading slash.
        paths: &'a [&'a CStr],
        /// Parameters of the tmpfs that directories show.
        empty: &'a [Param<'a>],
    },
    /// Make paths read-only.
    ReadOnly {
        /// In the root, without leading slash.
        paths: &'a [&'a CStr],
    },
    /// Make `/` read-only.
    ReadOnlyRoot,
    /// A private procfs, for the writes below.
    Procfs,
    /// Write a kernel parameter through the private procfs.
    Sysctl {
        /// Below `/proc`, such as `sys/net/ipv4/ip_forward`.
        path: &'a CStr,
        /// What to write.
        value: &'a [u8],
    },
    /// Write an attribute of this process through the private procfs (labels of security modules).
    Attribute {
        /// Below `/proc/thread-self`, most wanted first; one of them has to exist.
        paths: &'a [&'a CStr],
        /// What to write.
        value: &'a [u8],
    },
    /// `sethostname`.
    Hostname(&'a [u8]),
    /// `setdomainname`.
    Domainname(&'a [u8]),
    /// `RLIMIT_*`.
    Rlimit {
        /// Number of the resource.
        resource: u32,
        /// In force; `u64::MAX` is infinity.
        soft: u64,
        /// Ceiling.
        hard: u64,
        /// Where the kernel refuses, a privileged parent sets it.
        or_parent: bool,
    },
    /// How the kernel divides processor time (sched_setattr(2)).
    Scheduler(&'a sys::SchedAttr),
    /// `IOPRIO_PRIO_VALUE`, for ioprio_set(2).
    IoPriority(u32),
    /// Execution domain (personality(2)).
    Personality(u32),
    /// From which NUMA nodes memory comes (set_mempolicy(2)).
    MemoryPolicy {
        /// `MPOL_*` with its `MPOL_F_*`.
        mode: u32,
        /// One bit for each node.
        nodes: &'a [u64],
    },
    /// On which processors the program may run, one bit for each (sched_setaffinity(2)).
    CpuAffinity(&'a [u64]),
    /// Make the working directory when it is missing.
    MakeCwd {
        /// In the root, without leading slash.
        path: &'a CStr,
    },
    /// Who the program runs as.
    Identity(&'a Identity<'a>),
    /// Look the program up, as the user that will run it.
    FindProgram,
    /// The container is made. Report it, and wait until it is to start.
    Ready {
        /// A listening socket on which `start` will call; without one, the parent's next word is enough.
        gate: Option<Slot>,
    },
    /// Load a system call filter.
    Seccomp(&'a SeccompOp<'a>),
    /// Take off what is mounted on a path.
    Unmount {
        /// In the root, without leading slash.
        target: &'a CStr,
    },
    /// There is no program: the work is done.
    End,
    /// Become the program.
    Exec(&'a Program<'a>),
}

/// How the new root becomes `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnterRoot {
    /// `pivot_root`, the old root is gone afterwards.
    Pivot {
        /// The old tree is shared with the host: cut it off first, or taking it down would take the host's mounts down.
        shared: bool,
    },
    /// `MS_MOVE` and `chroot`, for initramfs (`--no-pivot`).
    Move,
    /// `chroot`, without a mount namespace.
    Chroot,
}

/// One element of `mounts`, lowered.
#[derive(Debug, Clone, Copy)]
pub struct MountOp<'a> {
    /// What to mount.
    pub source: Source<'a>,
    /// Where in the root, without leading slash; empty is the root itself.
    pub target: &'a CStr,
    /// Attributes of this mount.
    pub attrs: Attrs,
    /// Attributes of this mount and all below it.
    pub recursive: Attrs,
    /// `MS_*` propagation, 0 for none.
    pub propagation: u32,
    /// What the target has to be.
    pub guard: Guard,
    /// What becomes of symbolic links at either end.
    pub links: Links,
}

/// Symbolic links at the ends of a mount; without any of this they are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// A source that is a link is bound itself, or copied (`src-nofollow`, `copy-symlink`).
    pub source: SourceLink,
    /// A link in the place of the target is mounted over (`dest-nofollow`).
    pub cover_target: bool,
}

/// What becomes of a bind's source that is a symbolic link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceLink {
    /// What it points at is bound.
    #[default]
    Follow,
    /// It is bound itself.
    Bind,
    /// An equal one is made, and nothing is mounted.
    Copy,
}

/// What is checked before a mount is attached (CVE-2019-16884, CVE-2019-19921).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Anything that is not inside a procfs.
    OutsideProc,
    /// One of the files of procfs that lxcfs and the like replace.
    AllowedInProc,
    /// A real directory, reached without links: for procfs and sysfs.
    RealDirectory,
    /// A real directory, and the mount has to be a procfs: for a bind on `/proc`.
    ProcOnly,
}

/// Attributes to set and clear, `MOUNT_ATTR_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    /// To set.
    pub set: u64,
    /// To clear.
    pub clear: u64,
}

impl Attrs {
    /// `MOUNT_ATTR_RDONLY`. A device is read and written all the same; its mode and owner cannot be changed.
    pub const READ_ONLY: Attrs = Attrs { set: 1, clear: 0 };

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// What a mount shows.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A new filesystem instance.
    Filesystem {
        /// `tmpfs`, `proc` …
        fstype: &'a CStr,
        /// Parameters for fsconfig(2).
        params: &'a [Param<'a>],
        /// A tmpfs takes the mode of the directory that it covers, unless `mode=` is given.
        inherit_mode: bool,
        /// It gets a copy of what it covers (`tmpcopyup`).
        copy_up: bool,
        /// An SELinux label for the root directory, where the filesystem cannot be given one when it is made.
        label: Option<&'a CStr>,
        /// A path to bind instead where the kernel refuses (cgroup2 in a user namespace).
        otherwise: Option<&'a CStr>,
    },
    /// A part of the tree that is there.
    Bind {
        /// From where.
        from: BindFrom<'a>,
        /// With everything below.
        recursive: bool,
    },
    /// What is mounted there already, with other attributes.
    Remount {
        /// Parameters of the filesystem itself; empty for `remount,bind`.
        params: &'a [Param<'a>],
        /// Whether the filesystem is reconfigured too.
        reconfigure: bool,
    },
}

/// Where a bind comes from.
#[derive(Debug, Clone, Copy)]
pub enum BindFrom<'a> {
    /// A path of the runtime's tree, which is still the child's tree too.
    Path(&'a CStr),
    /// A detached mount that the parent opened, because the child could not.
    Slot(Slot),
}

/// One parameter of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Name.
    pub key: &'a CStr,
    /// Value; none is a flag.
    pub value: Option<&'a CStr>,
}

/// An entry of a directory such as `/dev`.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    /// A device node.
    Device(DeviceNode<'a>),
    /// A symbolic link.
    Link {
        /// Its name.
        name: &'a CStr,
        /// Where it points.
        target: &'a CStr,
        /// Only when this path exists outside.
        only_if: Option<&'a CStr>,
    },
}

/// A device node.
#[derive(Debug, Clone, Copy)]
pub struct DeviceNode<'a> {
    /// Its name in the directory.
    pub name: &'a CStr,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`, and the permission bits.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The host's node, to be bound where nodes cannot be made (user namespaces).
    pub host: &'a CStr,
    /// Bind at once, without trying to make the node.
    pub bind: bool,
    /// Bind it read-only, which is nothing to who writes into the device: root of the container owns the host's node.
    pub read_only: bool,
}

/// A pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleOp {
    /// Connected socket that the master is sent to.
    pub socket: Slot,
    /// Rows and columns.
    pub size: Option<(u16, u16)>,
    /// Whether `/dev/console` is bound to it.
    pub bind_console: bool,
    /// Owner of the terminal.
    pub uid: u32,
}

/// Ids, groups and capabilities.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; none leaves them alone (`setgroups` is denied).
    pub groups: Option<&'a [u32]>,
    /// In a user namespace that somebody else made, setgroups(2) may turn out to be denied; then, too, they are left alone.
    pub groups_if_allowed: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Working directory.
    pub cwd: &'a CStr,
    /// Capability masks.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Keep `CAP_SYS_ADMIN` permitted until the filter is loaded.
    pub keep_admin: bool,
    /// Give stdio to the user.
    pub chown_stdio: bool,
}

/// Masks of `1 << CAP_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: u64,
    /// Effective set.
    pub effective: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// A system call filter.
#[derive(Debug, Clone, Copy)]
pub struct SeccompOp<'a> {
    /// Instructions.
    pub program: &'a [SockFilter],
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Whose capabilities remain, when `CAP_SYS_ADMIN` was kept for loading the filter.
    pub relinquish: Option<&'a Identity<'a>>,
    /// Somebody is notified (`SECCOMP_FILTER_FLAG_NEW_LISTENER`). Such a filter comes before [`Op::Ready`].
    pub listener: Option<HandOver>,
}

/// How the parent gets the listener of a filter. The filter is in force by then, and nobody answers it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// It comes with [`crate::Verb::Ready`], by sendmsg(2).
    Sent,
    /// [`crate::Verb::Ready`], by write(2), has its number, and the parent takes it (pidfd_getfd(2), Linux 5.6).
    Taken,
}

/// The user's program.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Paths to try, in order; one for a name with a slash.
    pub candidates: &'a [&'a CStr],
    /// Null-terminated argv.
    pub argv: sys::StringTable<'a>,
    /// Null-terminated environment.
    pub envp: sys::StringTable<'a>,
    /// The uid whose home directory in `/etc/passwd` becomes the first variable, which the plan left as a placeholder.
    pub home_of: Option<u32>,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Device and inode of the runtime itself, which may not be run in a container (CVE-2019-5736).
    pub never: (u64, u64),
}

use crate::sys;
