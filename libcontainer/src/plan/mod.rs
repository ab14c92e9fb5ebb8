//! Config → plan: everything that a new container's process will do, as data.
//!
//! Pure: what has to be known of the machine comes in as [`HostFacts`], and what has to be opened on it goes out as
//! [`Demand`]s. The same input yields the same plan, which can be printed and compared without a container.

mod arena;
mod devices;
pub mod mount_options;
mod mounts;
mod origin;
mod process;
mod stages;
mod sys;

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use corten_init::{
    Attrs, ConsoleOp, EnterRoot, Guard, Join, MountOp, Op, Phase, Plan, SeccompOp, Slot, Source, Usher,
};

pub use arena::Arena;
pub use mounts::clean;
pub use origin::Origin;
pub use process::Circumstances;
pub use stages::{Stages, clone_flag, stages};

use crate::config::{NamespaceKind, Process};
use crate::error::ConfigError;
use crate::host::HostFacts;
use crate::seccomp::Filter;
use crate::validate::{CapabilitySets, Namespaces, Valid, ValidProcess};

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
    /// The compiled filter.
    pub filter: Option<&'r Filter>,
    /// Whether the container waits for `start`, or begins at once.
    pub gate: bool,
    /// Whether there is a socket for the terminal.
    pub console: bool,
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
        foreign || spaces.joins(NamespaceKind::Mount).is_some()
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

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub arena: &'a Arena,
    ops: Vec<Op<'a>>,
    origins: Vec<Origin>,
    demands: Vec<Demand>,
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

    fn finish(self, usher: Option<Usher<'a>>, clone_flags: u64, cgroups: &'a [Slot]) -> Compiled<'a> {
        let plan = Plan { usher, clone_flags, cgroups, ops: self.arena.slice(&self.ops) };
        Compiled { plan, demands: self.demands, origins: self.origins }
    }
}

/// Compiles the creation of a container.
///
/// # Errors
///
/// What only shows when mounts are lowered: a mount on `/`, a bind with data, a mount without type.
pub fn compile_create<'a>(arena: &'a Arena, r: &Request<'_>) -> Result<Compiled<'a>, ConfigError> {
    let mut b = Builder::new(arena);
    let cgroups = b.cgroups(r.cgroup_files);
    let stages = stages(&r.valid.namespaces);
    let usher = enter_namespaces(&mut b, r, &stages);
    b.step(Op::NewSession, "new session");
    if !r.no_new_keyring {
        b.step(Op::Keyring { name: arena.cstr(&format!("_ses.{}", r.id)) }, "session keyring");
    }
    host_names(&mut b, r);
    if r.valid.namespaces.creates(NamespaceKind::Network) {
        b.step(Op::Loopback, "loopback interface");
    }
    build_root(&mut b, r)?;
    enter_root(&mut b, r);
    if let Some(process) = &r.valid.config.process {
        let (capabilities, rlimits) = (&r.valid.capabilities, &r.valid.rlimits[..]);
        finish_process(&mut b, r, &Runnable { process, capabilities, rlimits, path: None });
    } else {
        // Legal: `create` needs no process, only `start` does (runtime.md#create).
        let gate = if r.gate { Some(b.demand(Demand::Gate)) } else { None };
        b.step(Op::Ready { gate }, "start");
    }
    Ok(b.finish(usher, stages.clone_flags, cgroups))
}

/// Joins, id mappings, and what has to wait for them.
fn enter_namespaces<'a>(b: &mut Builder<'a>, r: &Request<'_>, stages: &Stages) -> Option<Usher<'a>> {
    let mut joins = Vec::new();
    for kind in &stages.joins {
        let path = r.valid.namespaces.joins(*kind).unwrap_or_default();
        let fd = b.demand(Demand::Namespace { kind: *kind, path: PathBuf::from(path) });
        let join = Join { fd, kinds: clone_flag(*kind) };
        if !stages.usher {
            b.push(Op::Join(join), Origin::Namespace(path.to_owned()));
        }
        joins.push(join);
    }
    if stages.mappings {
        let field = Origin::Field("linux.uidMappings");
        b.push(Op::Barrier(Phase::Mappings), field);
    }
    if stages.become_root {
        b.step(Op::BecomeRoot, "root of the user namespace");
    }
    // A runtime without privileges could not enter the namespaces of a concealed process for its hooks; an usher has
    // concealed it already where that matters, in a pid namespace with others.
    if r.host.euid == 0 || !r.has_hooks_inside() {
        b.step(Op::Conceal, "conceal");
    }
    if stages.unshare_later != 0 {
        b.step(Op::Unshare { kinds: stages.unshare_later }, "cgroup or ipc namespace");
    }
    stages.usher.then(|| Usher { joins: b.arena.slice(&joins) })
}

fn host_names(b: &mut Builder<'_>, r: &Request<'_>) {
    if let Some(name) = &r.valid.config.hostname {
        b.push(Op::Hostname(b.arena.bytes(name.as_bytes())), Origin::Field("hostname"));
    }
    if let Some(name) = &r.valid.config.domainname {
        b.push(Op::Domainname(b.arena.bytes(name.as_bytes())), Origin::Field("domainname"));
    }
}

/// The root filesystem, its mounts and its devices, while the host's tree is still there.
fn build_root(b: &mut Builder<'_>, r: &Request<'_>) -> Result<(), ConfigError> {
    let path = b.path(r.rootfs);
    if r.valid.namespaces.has(NamespaceKind::Mount) {
        let flags = r.root_flags();
        b.push(Op::Propagation { flags: flags | MS_REC }, Origin::Field("linux.rootfsPropagation"));
        b.push(Op::Root { path, private_parent: flags == MS_SHARED }, Origin::Field("root.path"));
        mounts::lower_mounts(b, r)?;
        devices::lower_devices(b, r);
        for (target, origin) in std::mem::take(&mut b.read_only_later) {
            b.push(Op::Mount(b.arena.value(read_only(target))), origin);
        }
    } else {
        b.push(Op::PlainRoot { path }, Origin::Field("root.path"));
    }
    Ok(())
}

fn read_only(target: &CStr) -> MountOp<'_> {
    MountOp {
        source: Source::Remount { params: &[], reconfigure: false },
        target,
        attrs: Attrs { set: 1, clear: 0 },
        recursive: Attrs::default(),
        propagation: 0,
        guard: Guard::OutsideProc,
    }
}

/// Hooks, kernel parameters, labels; then the new root, and what hides or protects parts of it.
fn enter_root(b: &mut Builder<'_>, r: &Request<'_>) {
    if r.has_hooks() {
        b.push(Op::Barrier(Phase::Mounted), Origin::Field("hooks"));
    }
    write_proc(b, r);
    if let Some(process) = &r.valid.config.process {
        let path = b.arena.cstr(&clean(&process.cwd));
        b.push(Op::MakeCwd { path }, Origin::Field("process.cwd"));
    }
    let has_mount_namespace = r.valid.namespaces.has(NamespaceKind::Mount);
    if has_mount_namespace {
        hide_paths(b, r);
    }
    let how = match (has_mount_namespace, r.no_pivot) {
        (true, false) => EnterRoot::Pivot { shared: r.root_flags() == MS_SHARED },
        (true, true) => EnterRoot::Move,
        (false, _) => EnterRoot::Chroot,
    };
    b.push(Op::EnterRoot(how), Origin::Field("root.path"));
    if has_mount_namespace {
        final_root(b, r);
    }
}

fn final_root(b: &mut Builder<'_>, r: &Request<'_>) {
    if let Some(flags) = r.rootfs_propagation().and_then(mount_options::propagation) {
        let origin = || Origin::Field("linux.rootfsPropagation");
        if flags & MS_SHARED != 0 {
            // Out of the host's group first: the new group is to be the container's own.
            b.push(Op::RootPropagation { flags: MS_PRIVATE | (flags & MS_REC) }, origin());
        }
        b.push(Op::RootPropagation { flags }, origin());
    }
    if r.console {
        let process = r.valid.config.process.as_ref();
        push_console(b, process, true);
    }
    if r.valid.config.root.as_ref().is_some_and(|root| root.readonly) {
        b.push(Op::ReadOnlyRoot, Origin::Field("root.readonly"));
    }
}

/// Hides and protects paths. The host's null device can only be copied while the host's tree is there.
fn hide_paths(b: &mut Builder<'_>, r: &Request<'_>) {
    let linux = r.valid.config.linux.as_ref();
    let read_only = linux.map_or(&[][..], |l| &l.readonly_paths);
    if !read_only.is_empty() {
        b.push(Op::ReadOnly { paths: cleaned(b, read_only) }, Origin::ReadonlyPaths(read_only.to_vec()));
    }
    let masked = linux.map_or(&[][..], |l| &l.masked_paths);
    if !masked.is_empty() {
        b.push(Op::Mask { paths: cleaned(b, masked) }, Origin::MaskedPaths(masked.to_vec()));
    }
}

fn cleaned<'a>(b: &Builder<'a>, paths: &[String]) -> &'a [&'a CStr] {
    let paths: Vec<&CStr> = paths.iter().map(|p| b.arena.cstr(&clean(p))).collect();
    b.arena.slice(&paths)
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

/// Kernel parameters and labels, through a procfs that nobody else can have touched.
fn write_proc(b: &mut Builder<'_>, r: &Request<'_>) {
    let process = r.valid.config.process.as_ref();
    let profile = process.and_then(|p| p.apparmor_profile.as_deref()).filter(|p| !p.is_empty());
    let sysctl = r.valid.config.linux.as_ref().map(|l| &l.sysctl).filter(|s| !s.is_empty());
    if profile.is_none() && sysctl.is_none() {
        return;
    }
    b.step(Op::Procfs, "private procfs");
    for (key, value) in sysctl.into_iter().flatten() {
        let path = b.arena.cstr(&format!("sys/{}", sysctl_path(key)));
        let op = Op::Sysctl { path, value: b.arena.bytes(value.as_bytes()) };
        b.push(op, Origin::Sysctl(key.clone()));
    }
    if let Some(profile) = profile {
        apparmor(b, profile);
    }
}

/// Dots are slashes; a key with slashes is taken as it is, so that `net/ipv4/conf/eth0.1/…` can be said.
fn sysctl_path(key: &str) -> String {
    if key.contains('/') { key.to_owned() } else { key.replace('.', "/") }
}

fn apparmor(b: &mut Builder<'_>, profile: &str) {
    let paths = [c"thread-self/attr/apparmor/exec", c"thread-self/attr/exec"];
    let paths = b.arena.slice(&paths);
    let value = b.arena.bytes(format!("exec {profile}").as_bytes());
    b.push(Op::Attribute { paths, value }, Origin::Field("process.apparmorProfile"));
}

fn push_console(b: &mut Builder<'_>, process: Option<&Process>, bind_console: bool) {
    let socket = b.demand(Demand::Console);
    let clamp = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let size = process.and_then(|p| p.console_size).map(|s| (clamp(s.height), clamp(s.width)));
    let uid = process.map_or(0, |p| p.user.uid);
    let op = b.arena.value(ConsoleOp { socket, size, bind_console, uid });
    b.push(Op::Console(op), Origin::Field("process.terminal"));
}

/// A process that was checked, and what it runs.
struct Runnable<'r> {
    process: &'r Process,
    capabilities: &'r CapabilitySets,
    rlimits: &'r [(u32, u64, u64)],
    /// The program's path, where it is not looked up by `args[0]`.
    path: Option<&'r str>,
}

/// From the limits to the program.
fn finish_process(b: &mut Builder<'_>, r: &Request<'_>, runnable: &Runnable<'_>) {
    let new_user = r.valid.namespaces.creates(NamespaceKind::User);
    // A privileged parent sets them itself: the child has lost the right to raise a limit.
    if !(new_user && r.host.euid == 0) {
        push_rlimits(b, runnable.rlimits);
    }
    let gate = if r.gate { Some(b.demand(Demand::Gate)) } else { None };
    let how = Circumstances {
        keep_groups: r.host.euid != 0,
        keep_admin: r.filter.is_some() && !runnable.process.no_new_privileges,
        preserve_fds: r.preserve_fds,
        own_binary: r.host.own_binary,
    };
    push_program(b, runnable, r.filter, gate, r.extra_env, &how);
}

fn push_rlimits(b: &mut Builder<'_>, rlimits: &[(u32, u64, u64)]) {
    for (resource, soft, hard) in rlimits {
        let op = Op::Rlimit { resource: *resource, soft: *soft, hard: *hard };
        b.push(op, Origin::Field("process.rlimits"));
    }
}

/// Identity, program, gate, filter, exec: the same for a container's first process and for one that joins it.
///
/// The filter comes after the gate, so that of all the calls of this runtime it only ever has to let `execve` through
/// (and, where privileges were kept for loading it, one `capset`).
fn push_program(
    b: &mut Builder<'_>,
    runnable: &Runnable<'_>,
    filter: Option<&Filter>,
    gate: Option<Slot>,
    extra_env: &[String],
    how: &Circumstances,
) {
    let process = runnable.process;
    let identity = process::identity(b.arena, process, runnable.capabilities, how);
    b.push(Op::Identity(identity), Origin::Field("process.user"));
    b.push(Op::FindProgram, Origin::Field("process.args[0]"));
    b.step(Op::Ready { gate }, "start");
    if let Some(filter) = filter {
        let program = b.arena.slice(&filter.program);
        let relinquish = how.keep_admin.then_some(identity);
        let op = b.arena.value(SeccompOp { program, flags: filter.flags, relinquish });
        b.push(Op::Seccomp(op), Origin::Field("linux.seccomp"));
    }
    let program = process::program(b.arena, process, runnable.path, extra_env, how);
    b.push(Op::Exec(program), Origin::Field("process.args[0]"));
}

/// What is compiled for a process that joins a container.
#[derive(Debug)]
pub struct JoinRequest<'r> {
    /// The container's namespaces.
    pub namespaces: &'r Namespaces<'r>,
    /// The process that joins.
    pub process: &'r ValidProcess<'r>,
    /// The program's path, where it is not looked up by `args[0]` (hooks).
    pub path: Option<&'r str>,
    /// The container's name.
    pub id: &'r str,
    /// What the machine is like.
    pub host: &'r HostFacts,
    /// Files of cgroups that the child joins by itself.
    pub cgroup_files: usize,
    /// The compiled filter.
    pub filter: Option<&'r Filter>,
    /// Whether there is a socket for the terminal.
    pub console: bool,
    /// Whether stdin, stdout and stderr are others than the runtime's (hooks).
    pub stdio: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Variables that the runtime adds.
    pub extra_env: &'r [String],
}

/// Compiles a process that joins a running container.
#[must_use]
pub fn compile_exec<'a>(arena: &'a Arena, r: &JoinRequest<'_>) -> Compiled<'a> {
    let mut b = Builder::new(arena);
    let cgroups = b.cgroups(r.cgroup_files);
    let kinds = r.namespaces.iter().map(|(kind, _)| clone_flag(kind)).fold(0, |all, flag| all | flag);
    let fd = b.demand(Demand::Container);
    let usher = (kinds != 0).then(|| Usher { joins: b.arena.slice(&[Join { fd, kinds }]) });
    if r.namespaces.has(NamespaceKind::User) {
        b.step(Op::BecomeRoot, "root of the user namespace");
    }
    b.step(Op::Conceal, "conceal");
    b.step(Op::NewSession, "new session");
    if !r.no_new_keyring {
        b.step(Op::Keyring { name: arena.cstr(&format!("_ses.{}", r.id)) }, "session keyring");
    }
    if r.stdio {
        let slots = [b.demand(Demand::Stdin), b.demand(Demand::Output), b.demand(Demand::Output)];
        b.step(Op::Stdio { slots }, "standard streams");
    }
    join_process(&mut b, r);
    b.finish(usher, 0, cgroups)
}

fn join_process(b: &mut Builder<'_>, r: &JoinRequest<'_>) {
    let process = r.process.process;
    if r.console {
        b.step(Op::PresentRoot, "root directory");
        push_console(b, Some(process), false);
    }
    if let Some(profile) = process.apparmor_profile.as_deref().filter(|p| !p.is_empty()) {
        b.step(Op::Procfs, "private procfs");
        apparmor(b, profile);
    }
    push_rlimits(b, &r.process.rlimits);
    let how = Circumstances {
        keep_groups: r.host.euid != 0,
        keep_admin: r.filter.is_some() && !process.no_new_privileges,
        preserve_fds: r.preserve_fds,
        own_binary: r.host.own_binary,
    };
    let runnable = Runnable {
        process,
        capabilities: &r.process.capabilities,
        rlimits: &r.process.rlimits,
        path: r.path,
    };
    push_program(b, &runnable, r.filter, None, r.extra_env, &how);
}
