//! The protocol between the runtime and the child: fixed-size frames on one `SOCK_SEQPACKET` socket.
//!
//! ```text
//!   runtime                          child
//!      |                               |
//!      |   (usher only)    <- Spawned  |   value = pid
//!      |  Go ->                        |   with the network namespace, where the runtime makes that
//!      |                   <- Reached  |   phase; once for each barrier of the plan
//!      |  Go ->                        |
//!      |                   <- Ready    |   everything is made, the program is found
//!      |  Go ->                        |   state is on disk (said in advance where nothing is left to decide)
//!      |                               |   (create: the runtime leaves; `start` connects to the gate)
//!      |  Go ->                        |
//!      |                   <- (EOF)    |   execve closed the socket: the program runs
//!      |                   <- Failed   |   at any time: op, step, errno
//! ```
//!
//! An EOF in any other place means that the child died; the runtime asks its pidfd why. The child takes an EOF as the
//! death of the runtime, and exits.

/// Bytes of a frame.
pub const FRAME_SIZE: usize = 24;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it says.
    pub verb: Verb,
    /// Index of the operation in the plan that it is about.
    pub op: u16,
    /// What the child was doing.
    pub step: Step,
    /// errno of a failure.
    pub errno: i32,
    /// Phase, pid or index, as the verb has it.
    pub value: u64,
}

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr($repr)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// From its number on the wire.
            #[must_use]
            pub fn from_number(n: u64) -> Option<$name> {
                usize::try_from(n).ok().and_then(|n| Self::ALL.get(n)).copied()
            }

            /// In words.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }
    };
}

numbered! {
    /// Kinds of message.
    Verb: u8 {
        /// The usher made the container's process.
        Spawned = "spawned",
        /// The child is at a barrier.
        Reached = "reached",
        /// The child is done, and waits to be started.
        Ready = "ready",
        /// The child failed, and exits.
        Failed = "failed",
        /// Go on.
        Go = "go",
    }
}

numbered! {
    /// Where the child waits for its parent.
    Phase: u8 {
        /// In a new user namespace without id mappings.
        Mappings = "id mappings",
        /// Before the first step that wants the process to be in its cgroup.
        Cgroup = "cgroup",
        /// Mounts and devices are made; hooks may run.
        Mounted = "mounts",
    }
}

numbered! {
    /// What the child was doing when it failed: a system call, or a check of its own.
    Step: u16 {
        /// No step.
        None = "",
        /// close_range(2)
        CloseRange = "close_range",
        /// rt_sigaction(2), rt_sigprocmask(2)
        Signals = "reset signals",
        /// umask(2)
        Umask = "umask",
        /// setns(2)
        Setns = "setns",
        /// unshare(2)
        Unshare = "unshare",
        /// clone3(2)
        Clone = "clone3",
        /// recv(2) from the runtime
        Receive = "receive from the runtime",
        /// send(2) to the runtime
        Send = "send to the runtime",
        /// accept(2)
        Accept = "accept",
        /// setsid(2)
        Setsid = "setsid",
        /// Writing `0` to a file of a cgroup.
        JoinCgroup = "move into the cgroup",
        /// Making the runtime's program unreachable.
        OwnBinary = "protect the runtime's own program",
        /// keyctl(2)
        Keyctl = "keyctl",
        /// prctl(2)
        Prctl = "prctl",
        /// Bringing `lo` up.
        Loopback = "bring lo up",
        /// Changing propagation.
        Propagation = "change mount propagation",
        /// Opening a path.
        Open = "open",
        /// Resolving a path in the root filesystem.
        Resolve = "resolve in rootfs",
        /// mkdir(2)
        Mkdir = "mkdir",
        /// Creating a file as a mount point.
        CreateFile = "create mount point",
        /// readlink(2)
        Readlink = "readlink",
        /// A path that is too long, or that has too many symbolic links.
        PathTooLong = "resolve in rootfs",
        /// open_tree(2)
        OpenTree = "open_tree",
        /// move_mount(2)
        MoveMount = "move_mount",
        /// fsopen(2)
        Fsopen = "fsopen",
        /// fsconfig(2); the value is the index of the parameter.
        Fsconfig = "fsconfig",
        /// fsconfig(2), creating the superblock
        FsconfigCreate = "create filesystem",
        /// fsmount(2)
        Fsmount = "fsmount",
        /// fsetxattr(2) of a security label.
        Label = "label the root directory of the mount",
        /// Copying what a new tmpfs covers into it.
        CopyUp = "tmpcopyup",
        /// mount_setattr(2)
        MountSetattr = "mount_setattr",
        /// fstat(2)
        Stat = "stat",
        /// The target is not a real directory.
        NotADirectory = "must be mounted on an ordinary directory",
        /// The target is inside a procfs.
        InsideProc = "cannot be mounted because it is inside /proc",
        /// Something else than a procfs is to cover /proc.
        NotProc = "only a procfs may be mounted on /proc",
        /// The host's /dev/null is not the null device.
        NotDevNull = "/dev/null is not the null device",
        /// mknod(2)
        Mknod = "mknod",
        /// What stands at a device's path is something else.
        OtherDevice = "another file is in the way of the device",
        /// chown(2)
        Chown = "chown",
        /// chmod(2)
        Chmod = "chmod",
        /// symlink(2)
        Symlink = "symlink",
        /// pivot_root(2)
        PivotRoot = "pivot_root",
        /// umount2(2)
        Umount = "umount",
        /// chroot(2)
        Chroot = "chroot",
        /// mount(2) with MS_MOVE
        MoveRoot = "move rootfs to /",
        /// chdir(2)
        Chdir = "chdir",
        /// The working directory is outside of the root (CVE-2024-21626).
        CwdOutside = "current working directory is outside of container mount namespace root",
        /// write(2)
        Write = "write",
        /// sethostname(2)
        Sethostname = "sethostname",
        /// setdomainname(2)
        Setdomainname = "setdomainname",
        /// prlimit(2)
        Prlimit = "setrlimit",
        /// sched_setattr(2)
        Scheduler = "sched_setattr",
        /// ioprio_set(2)
        IoPriority = "ioprio_set",
        /// personality(2)
        Personality = "personality",
        /// set_mempolicy(2)
        MemoryPolicy = "set_mempolicy",
        /// sched_setaffinity(2)
        CpuAffinity = "sched_setaffinity",
        /// setgroups(2)
        Setgroups = "setgroups",
        /// setresgid(2)
        Setgid = "setgid",
        /// setresuid(2)
        Setuid = "setuid",
        /// PR_CAPBSET_DROP
        CapBounding = "drop bounding capability",
        /// capset(2)
        Capset = "capset",
        /// PR_CAP_AMBIENT
        CapAmbient = "raise ambient capability",
        /// Opening the pseudo-terminal.
        OpenPty = "open pseudo-terminal",
        /// Sending its master.
        SendConsole = "send terminal to the console socket",
        /// TIOCSCTTY
        ControllingTty = "make the terminal controlling",
        /// dup3(2)
        Dup = "dup",
        /// Looking up the program.
        FindProgram = "find program",
        /// The program is the runtime itself.
        ProgramIsRuntime = "the program is the container runtime itself",
        /// seccomp(2)
        Seccomp = "load seccomp filter",
        /// execve(2)
        Exec = "exec",
    }
}

impl Frame {
    /// A frame that says only its verb.
    #[must_use]
    pub fn new(verb: Verb) -> Frame {
        Frame { verb, op: 0, step: Step::None, errno: 0, value: 0 }
    }

    /// To bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FRAME_SIZE] {
        let mut bytes = [0; FRAME_SIZE];
        bytes[0] = self.verb as u8;
        bytes[2..4].copy_from_slice(&self.op.to_ne_bytes());
        bytes[4..6].copy_from_slice(&(self.step as u16).to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.value.to_ne_bytes());
        bytes
    }

    /// From bytes; none if they are not a frame.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Frame> {
        let bytes: &[u8; FRAME_SIZE] = bytes.try_into().ok()?;
        Some(Frame {
            verb: Verb::from_number(u64::from(bytes[0]))?,
            op: u16::from_ne_bytes([bytes[2], bytes[3]]),
            step: Step::from_number(u64::from(u16::from_ne_bytes([bytes[4], bytes[5]])))?,
            errno: i32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            value: u64::from_ne_bytes(bytes[16..24].try_into().ok()?),
        })
    }
}
