//! The executor: carries out a plan, from clone to exec.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, FdFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{chdir, chroot, fchdir, pivot_root, setsid};

use crate::channel::{At, Channel, Failure, Result, receive_go, retry};
use crate::clocks::set_clocks;
use crate::console::make_console;
use crate::frame::{Frame, Phase, Step, Verb};
use crate::identity;
use crate::mounts::{self, Slots, attach, attach_mount, change_attached, copy_tree};
use crate::nodes::make_nodes;
use crate::own_binary::{self, OwnBinary};
use crate::paths::{Create, PathBuffer, resolve_or_create};
use crate::plan::{
    Attrs, ConsoleOp, EnterRoot, HandOver, Identity, Join, Node, Op, Plan, Program, SeccompOp, Slot, Usher,
};
use crate::program;
use crate::stdio;
use crate::sys::{self, CapSets, Cloned};

const CLONE_NEWUSER: u32 = 0x1000_0000;
const CLONE_NEWNET: u32 = 0x4000_0000;
/// Stands for what happens before the operations of the plan: descriptors, cgroups, the usher's namespaces.
const BEFORE_THE_FIRST: usize = usize::MAX;
const MS_REC: u32 = 1 << 14;
const MS_SLAVE: u32 = 1 << 19;

/// A plan and what it needs from the parent.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// What to do.
    pub plan: &'a Plan<'a>,
    /// The child's end of the socket.
    pub channel: RawFd,
    /// Descriptors that the plan's slots stand for.
    pub slots: &'a [RawFd],
    /// Every descriptor above 2 that stays open in the child: channel, slots and preserved ones; sorted.
    pub keep: &'a [RawFd],
    /// The runtime's program, where it has to be kept from the container.
    pub own_binary: Option<OwnBinary<'a>>,
    /// A null device to take in place of the host's, where that is a standard stream.
    pub null: Option<RawFd>,
    /// Directory of the cgroup to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Clones, and carries the plan out in the child. Returns in the parent only.
///
/// With an usher in the plan, the process that is returned is the usher; the container's process is announced by
/// [`Verb::Spawned`].
///
/// # Errors
///
/// What clone3(2) says.
pub fn launch(launch: &Launch<'_>) -> rustix::io::Result<(i32, OwnedFd)> {
    let own = if launch.plan.usher.is_some() { 0 } else { launch.plan.clone_flags };
    // SAFETY-relevant, see `sys::clone3`: the child runs nothing but this crate.
    match sys::spawn(own | sys::CLONE_PIDFD, launch.cgroup)? {
        Cloned::Child => {
            let _no_way_back = sys::NoWayBack;
            child(launch)
        }
        Cloned::Parent { pid, pidfd: Some(pidfd) } => Ok((pid, pidfd)),
        Cloned::Parent { pidfd: None, .. } => Err(Errno::NOSYS),
    }
}

/// Clones a process that does nothing until `wait`, the end of a pipe that is read, has no writer any more: it holds
/// namespaces. Returns in the parent only.
///
/// # Errors
///
/// What clone3(2) says.
pub fn park(flags: u64, wait: RawFd) -> rustix::io::Result<(i32, OwnedFd)> {
    match sys::spawn(flags | sys::CLONE_PIDFD, None)? {
        Cloned::Child => {
            // With the writing end among the descriptors it would wait for itself.
            if close_others(&[wait]).is_ok() {
                let _ = retry(|| rustix::io::read(sys::borrow(wait), &mut [0u8; 1]));
            }
            sys::exit(0)
        }
        Cloned::Parent { pid, pidfd: Some(pidfd) } => Ok((pid, pidfd)),
        Cloned::Parent { pidfd: None, .. } => Err(Errno::NOSYS),
    }
}

fn child(launch: &Launch<'_>) -> ! {
    let channel = Channel { socket: sys::borrow(launch.channel) };
    if let Err(failure) = reset_signals() {
        fail(&channel, BEFORE_THE_FIRST, failure);
    }
    if let Err(failure) = close_others(launch.keep) {
        fail(&channel, BEFORE_THE_FIRST, failure);
    }
    if let Some(own) = &launch.own_binary {
        if let Err(failure) = own_binary::exchange(own) {
            fail(&channel, BEFORE_THE_FIRST, failure);
        }
        // Until exec it would be a way to execute the runtime (`/proc/self/fd/N` as the program).
        let _ = sys::close(rustix::fd::AsRawFd::as_raw_fd(&own.file));
    }
    if let Some(null) = launch.null {
        if let Err(failure) = stdio::exchange_null(sys::borrow(null)) {
            fail(&channel, BEFORE_THE_FIRST, failure);
        }
        let _ = sys::close(null);
    }
    // After that exchange, which copies pages: what the runtime needs for itself should not count as the container's.
    for slot in launch.plan.cgroups {
        if let Err(failure) = identity::join_cgroup(launch.slot(*slot)) {
            fail(&channel, BEFORE_THE_FIRST, failure);
        }
        launch.give_up(*slot);
    }
    if let Some(usher) = &launch.plan.usher {
        match show_in(launch, usher) {
            Ok(Cloned::Child) => {}
            Ok(Cloned::Parent { pid, .. }) => {
                let frame = Frame { value: u64::from(pid.unsigned_abs()), ..Frame::new(Verb::Spawned) };
                let told = channel.tell(frame);
                sys::exit(i32::from(told.is_err()));
            }
            Err(failure) => fail(&channel, BEFORE_THE_FIRST, failure),
        }
    }
    sys::set_name(c"corten:[init]");
    let mut init = Init {
        launch,
        channel,
        connection: None,
        root: None,
        procfs: None,
        program: None,
        home: None,
        listener: None,
    };
    for (i, op) in launch.plan.ops.iter().enumerate() {
        if let Err(failure) = init.perform(op) {
            let connection = init.connection.take();
            let socket = connection.as_ref().map_or(init.channel.socket, AsFd::as_fd);
            fail(&Channel { socket }, i, failure);
        }
    }
    sys::exit(1)
}

/// Handlers end with exec by themselves, but what is ignored stays ignored: SIGPIPE by Rust programs, and whatever the
/// caller of the runtime had chosen, such as SIGHUP by an engine that was started by nohup(1). That is not the
/// container's business: its program gets defaults. 32 is the C library's, and 9 (SIGKILL) and 19 (SIGSTOP) cannot be set.
fn reset_signals() -> Result {
    const KEEP: [u32; 3] = [9, 19, 32];
    for signal in (1..=64).filter(|signal| !KEEP.contains(signal)) {
        sys::default_signal(signal).at(Step::Signals)?;
    }
    sys::unblock_signals().at(Step::Signals)
}

fn fail(channel: &Channel<'_>, op: usize, failure: Failure) -> ! {
    let op = u16::try_from(op).unwrap_or(u16::MAX);
    let Failure { step, errno, value } = failure;
    // If the runtime is gone, there is nobody left to tell.
    let _ = channel.tell(Frame { verb: Verb::Failed, op, step, errno: errno.raw_os_error(), value });
    sys::exit(1)
}

/// Closes what the runtime, or the one who called it, had open besides.
fn close_others(keep: &[RawFd]) -> Result {
    match close_ranges(keep) {
        Err(Errno::NOSYS) => sys::close_listed(keep),
        done => done,
    }
    .at(Step::CloseRange)
}

fn close_ranges(keep: &[RawFd]) -> rustix::io::Result<()> {
    let mut next = 3u32;
    for fd in keep.iter().map(|fd| fd.unsigned_abs()) {
        if fd > next {
            sys::close_range(next, fd - 1, 0)?;
        }
        next = next.max(fd + 1);
    }
    sys::close_range(next, u32::MAX, 0)
}

/// The usher's life: it enters the namespaces, and clones the container's process as its own sibling.
fn show_in(launch: &Launch<'_>, usher: &Usher<'_>) -> Result<Cloned> {
    const MAX_JOINS: usize = 16;
    sys::set_name(c"corten:[usher]");
    // Where the pid namespace is shared, the usher can be seen from within, and in any case the new process, from birth:
    // nobody may look into either (CVE-2016-9962), not even for a moment after a user namespace was entered.
    sys::prctl(sys::PR_SET_DUMPABLE, 0, 0).at(Step::Prctl)?;
    if usher.drops_groups {
        // Who may not do it has nothing to lose: whose groups these are can be told from nothing but files of theirs.
        let _ = sys::setgroups(&[]);
    }
    let mut later = [false; MAX_JOINS];
    for (join, later) in usher.joins.iter().zip(&mut later) {
        match launch.join(*join) {
            // Owned by a user namespace that is yet to be entered.
            Err(Errno::PERM) if join.kinds & CLONE_NEWUSER == 0 => *later = true,
            other => other.at_item(Step::Setns, u64::from(join.kinds))?,
        }
    }
    for (join, _) in usher.joins.iter().zip(later).filter(|(_, later)| *later) {
        launch.join(*join).at_item(Step::Setns, u64::from(join.kinds))?;
    }
    for join in usher.joins {
        launch.give_up(join.fd);
    }
    // Whose credentials changed may be dumpable again (`fs.suid_dumpable`).
    sys::prctl(sys::PR_SET_DUMPABLE, 0, 0).at(Step::Prctl)?;
    sys::spawn(launch.plan.clone_flags | sys::CLONE_PARENT, None).at(Step::Clone)
}

impl Launch<'_> {
    /// Closes a descriptor that has done its work: what is open can be found by whoever may look into this process.
    fn give_up(&self, slot: Slot) {
        // If it is not open there is nothing to close.
        let _ = sys::close(rustix::fd::AsRawFd::as_raw_fd(&self.slot(slot)));
    }

    fn join(&self, join: Join) -> rustix::io::Result<()> {
        sys::setns(self.slot(join.fd), join.kinds)
    }
}

impl Slots for Launch<'_> {
    fn slot(&self, slot: Slot) -> BorrowedFd<'static> {
        sys::borrow(self.slots.get(usize::from(slot.0)).copied().unwrap_or(RawFd::MAX))
    }
}

/// What the child has in hand.
struct Init<'a> {
    launch: &'a Launch<'a>,
    channel: Channel<'static>,
    /// The connection of `start`, once it has called.
    connection: Option<OwnedFd>,
    root: Option<OwnedFd>,
    procfs: Option<OwnedFd>,
    program: Option<&'a CStr>,
    /// `HOME=…`
    home: Option<PathBuffer>,
    /// Of a filter that is in force before the parent has been told.
    listener: Option<Listener>,
}

/// What follows from a filter that notifies an agent.
struct Listener {
    fd: OwnedFd,
    how: HandOver,
    /// What is left of capabilities that were kept for loading the filter.
    last: Option<CapSets>,
}

impl<'a> Init<'a> {
    fn perform(&mut self, op: &Op<'a>) -> Result {
        match op {
            Op::Join(join) => self.launch.join(*join).at_item(Step::Setns, u64::from(join.kinds)),
            Op::Clocks { offsets } => set_clocks(offsets),
            Op::Barrier(phase) => self.channel.barrier(*phase),
            Op::BecomeRoot => become_root(),
            Op::Conceal => sys::prctl(sys::PR_SET_DUMPABLE, 0, 0).at(Step::Prctl),
            Op::NewSession => setsid().at(Step::Setsid).map(|_| ()),
            Op::Keyring { name } => identity::new_keyring(name),
            Op::Stdio { slots } => self.take_stdio(*slots),
            Op::Loopback => identity::loopback(),
            Op::Network => self.enter_network(),
            Op::Unshare { kinds } => sys::unshare(*kinds).at(Step::Unshare),
            Op::Propagation { flags } => propagate(*flags),
            Op::Root { path, private_parent } => self.bind_root(path, *private_parent),
            Op::PlainRoot { path } => self.hold_root(path),
            Op::PresentRoot => self.hold_root(c"/"),
            Op::Mount(mount) => attach_mount(self.root(), self.launch, mount),
            Op::Nodes { dir, nodes } => self.make_nodes(dir, nodes),
            Op::Console(console) => self.open_console(console),
            Op::EnterRoot(how) => self.enter_root(*how),
            Op::RootPropagation { flags } => propagate(*flags),
            Op::Mask { paths, empty } => mounts::mask(self.root(), paths, empty),
            Op::ReadOnly { paths } => mounts::make_read_only(self.root(), paths),
            Op::ReadOnlyRoot => change_attached(self.root(), Attrs::READ_ONLY),
            Op::Procfs => self.open_procfs(),
            Op::Sysctl { path, value } => self.write_proc(path, value),
            Op::Attribute { paths, value } => self.write_first(paths, value),
            Op::Hostname(name) => rustix::system::sethostname(name).at(Step::Sethostname),
            Op::Domainname(name) => rustix::system::setdomainname(name).at(Step::Setdomainname),
            Op::Rlimit { resource, soft, hard, or_parent } => {
                match identity::limit(*resource, *soft, *hard) {
                    Err(refused) if *or_parent && refused.errno == Errno::PERM => Ok(()),
                    other => other,
                }
            }
            Op::Scheduler(attr) => sys::sched_setattr(0, attr).at(Step::Scheduler),
            Op::IoPriority(value) => sys::ioprio_set(0, *value).at(Step::IoPriority),
            Op::Personality(domain) => sys::personality(*domain).at(Step::Personality),
            Op::MemoryPolicy { mode, nodes } => sys::set_mempolicy(*mode, nodes).at(Step::MemoryPolicy),
            Op::CpuAffinity(mask) => sys::sched_setaffinity(mask).at(Step::CpuAffinity),
            Op::MakeCwd { path } => resolve_or_create(self.root(), path, Create::Directory).map(|_| ()),
            Op::Identity(identity) => self.assume(identity),
            Op::FindProgram => self.find_program(),
            Op::Ready { gate } => self.wait_for_start(*gate),
            Op::Seccomp(op) => self.load_filter(op),
            Op::Unmount { target } => mounts::detach_mount(self.root(), target),
            Op::End => sys::exit(0),
            Op::Exec(program) => self.become_program(program),
        }
    }

    fn enter_network(&self) -> Result {
        let namespace = self.channel.await_descriptor()?;
        sys::setns(namespace.as_fd(), CLONE_NEWNET).at_item(Step::Setns, u64::from(CLONE_NEWNET))
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, AsFd::as_fd)
    }

    fn bind_root(&mut self, path: &CStr, private_parent: bool) -> Result {
        // The mode of whatever is made from here on is what the plan says, not what the caller's umask leaves of it.
        sys::umask(0).at(Step::Umask)?;
        if private_parent {
            mounts::make_parent_private(path)?;
        }
        let place = open_directory(path)?;
        let root = copy_tree(place.as_fd(), c"", true)?;
        attach(root.as_fd(), place.as_fd())?;
        self.root = Some(root);
        Ok(())
    }

    fn hold_root(&mut self, path: &CStr) -> Result {
        self.root = Some(open_directory(path)?);
        Ok(())
    }

    fn open_console(&self, console: &ConsoleOp) -> Result {
        let make = || make_console(self.root(), self.launch.slot(console.socket), console);
        match make() {
            // Version 1's rules for devices cannot be set at once, as for nodes; those of a container that is joined are set.
            Err(Failure { step: Step::OpenPty, errno: Errno::PERM, .. }) if console.bind_console => {
                self.channel.barrier(Phase::Cgroup)?;
                make()
            }
            done => done,
        }
    }

    fn make_nodes(&self, dir: &CStr, nodes: &[Node<'_>]) -> Result {
        let mut settled = false;
        let mut settle = || {
            // The parent answers at a barrier, and comes to that once the limits are set.
            if core::mem::replace(&mut settled, true) { Ok(()) } else { self.channel.barrier(Phase::Cgroup) }
        };
        make_nodes(self.root(), dir, nodes, &mut settle)
    }

    fn take_stdio(&self, slots: [Slot; 3]) -> Result {
        for (number, slot) in (0..).zip(slots) {
            sys::dup_onto(self.launch.slot(slot), number).at(Step::Dup)?;
        }
        Ok(())
    }

    fn enter_root(&mut self, how: EnterRoot) -> Result {
        let root = self.root();
        match how {
            EnterRoot::Pivot { shared } => {
                // pivot_root(".", ".") stacks the old root on the new one, where the next call takes it off.
                let old = if shared { Some(open_directory(c"/")?) } else { None };
                fchdir(root).at(Step::Chdir)?;
                pivot_root(c".", c".").at(Step::PivotRoot)?;
                if let Some(old) = old {
                    // By descriptor: "." would be the new root here, where umount goes on to what is stacked on it.
                    mounts::change_propagation(old.as_fd(), MS_SLAVE | MS_REC)?;
                }
                unmount(c".", UnmountFlags::DETACH).at(Step::Umount)?;
            }
            EnterRoot::Move => {
                fchdir(root).at(Step::Chdir)?;
                mount_move(c".", c"/").at(Step::MoveRoot)?;
                chroot(c".").at(Step::Chroot)?;
            }
            EnterRoot::Chroot => {
                fchdir(root).at(Step::Chdir)?;
                chroot(c".").at(Step::Chroot)?;
            }
        }
        chdir(c"/").at(Step::Chdir)
    }

    fn open_procfs(&mut self) -> Result {
        self.procfs = Some(mounts::make_filesystem(c"proc", &[], None, 0)?);
        Ok(())
    }

    /// Writes a file of the private procfs, on which nobody can have mounted anything (CVE-2025-52881).
    fn write_proc(&self, path: &CStr, value: &[u8]) -> Result {
        let procfs = self.procfs.as_ref().map_or(CWD, AsFd::as_fd);
        // `thread-self` is a symbolic link, the only kind that a path of the plan goes through; it is the kernel's own.
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match retry(|| openat2(procfs, path, flags, Mode::empty(), how)) {
            Err(Errno::NOSYS) => open_within(procfs, path, flags),
            opened => opened,
        }
        .at(Step::Open)?;
        let written = retry(|| rustix::io::write(&file, value)).at(Step::Write)?;
        if written == value.len() { Ok(()) } else { Err(Errno::IO).at(Step::Write) }
    }

    /// Writes the first of these files that exists.
    fn write_first(&self, paths: &[&CStr], value: &[u8]) -> Result {
        for path in paths {
            match self.write_proc(path, value) {
                Err(Failure { step: Step::Open, errno: Errno::NOENT, .. }) => {}
                other => return other,
            }
        }
        Err(Errno::NOENT).at(Step::Open)
    }

    fn assume(&mut self, identity: &Identity<'_>) -> Result {
        self.procfs = None;
        identity::assume_identity(identity)
    }

    // Apart, for a path lies on the stack in between, of which each page counts as the container's memory.
    #[inline(never)]
    fn find_program(&mut self) -> Result {
        if let Some(program) = self.user_program() {
            self.home = program.home_of.map(program::home_variable).transpose()?;
            self.program = Some(program::find(program)?);
        }
        Ok(())
    }

    /// Reports that all is made. The first `Go` says that the state is on disk; with a gate, `start` says the second.
    fn wait_for_start(&mut self, gate: Option<Slot>) -> Result {
        match self.listener.take() {
            Some(listener) => self.wait_for_agent(listener)?,
            None => {
                self.prepare_descriptors()?;
                self.channel.tell(Frame::new(Verb::Ready))?;
                self.channel.await_go()?;
            }
        }
        let Some(gate) = gate else { return Ok(()) };
        let gate = self.launch.slot(gate);
        loop {
            let connection = retry(|| accept_with(gate, SocketFlags::CLOEXEC)).at(Step::Accept)?;
            // One that hangs up without a word was a `start` that died; the container still waits.
            if receive_go(&connection).unwrap_or(false) {
                self.channel = Channel { socket: sys::borrow(rustix::fd::AsRawFd::as_raw_fd(&connection)) };
                self.connection = Some(connection);
                return Ok(());
            }
        }
    }

    /// The same under a filter that notifies an agent. The first `Go` says that the agent is there, too: only what comes
    /// before it must not need an answer.
    fn wait_for_agent(&self, listener: Listener) -> Result {
        self.channel.hand_over(listener.fd.as_fd(), listener.how)?;
        self.channel.await_go()?;
        // With a copy in here, a call would wait for ever for an agent that has died.
        drop(listener.fd);
        listener.last.map_or(Ok(()), |last| sys::capset(last).at(Step::Capset))
    }

    /// Loads the filter. If nobody is notified, all that this process still does after it is one `capset`, where
    /// privileges were kept for the purpose, and `execve`.
    fn load_filter(&mut self, op: &SeccompOp<'_>) -> Result {
        let last = op.relinquish.map(identity::last_sets).transpose()?;
        if last.is_some() {
            identity::raise_admin()?;
        }
        if op.listener.is_some() {
            self.prepare_descriptors()?;
        }
        let listener = sys::load_filter(op.program, op.flags).at(Step::Seccomp)?;
        if let Some((fd, how)) = listener.zip(op.listener) {
            self.listener = Some(Listener { fd, how, last });
            return Ok(());
        }
        last.map_or(Ok(()), |last| sys::capset(last).at(Step::Capset))
    }

    /// All descriptors of this runtime are closed on exec; this is for those that it does not know of.
    fn prepare_descriptors(&mut self) -> Result {
        self.root = None;
        self.procfs = None;
        const CLOSE_RANGE_CLOEXEC: u32 = 4;
        let preserved = self.user_program().map_or(0, |program| program.preserve_fds);
        let first = preserved.saturating_add(3);
        match sys::close_range(first, u32::MAX, CLOSE_RANGE_CLOEXEC) {
            // Before Linux 5.11: what this process was born with; all else was opened with the flag.
            Err(Errno::NOSYS | Errno::INVAL) => {
                let own = self.launch.keep.iter().filter(|fd| fd.unsigned_abs() >= first);
                own.map(|fd| rustix::io::fcntl_setfd(sys::borrow(*fd), FdFlags::CLOEXEC))
                    // Some have done their work and are closed.
                    .filter(|done| *done != Err(Errno::BADF))
                    .collect()
            }
            done => done,
        }
        .at(Step::CloseRange)
    }

    fn user_program(&self) -> Option<&'a Program<'a>> {
        self.launch.plan.ops.iter().find_map(|op| match op {
            Op::Exec(program) => Some(*program),
            _ => None,
        })
    }

    fn become_program(&self, program: &Program<'_>) -> Result {
        let Some(path) = self.program else { return Err(Errno::NOENT).at(Step::FindProgram) };
        let home = self.home.as_ref().map(PathBuffer::as_c_str);
        Err(program.argv.exec(path, program.envp, home)).at(Step::Exec)
    }
}

fn become_root() -> Result {
    // Where 0 is not mapped, the process stays what it is: its capabilities do not depend on it.
    match sys::setgid(0) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(e) => return Err(e).at(Step::Setgid),
    }
    match sys::setuid(0) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(e).at(Step::Setuid),
    }
}

fn open_directory(path: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).at(Step::Open)
}

/// Opens a file of this very filesystem, for where `openat2` cannot see to that. Nobody has mounted anything on a
/// filesystem that is attached nowhere; the check says so.
fn open_within(directory: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let file = retry(|| openat(directory, path, flags | OFlags::NOFOLLOW, Mode::empty()))?;
    let same = rustix::fs::fstat(&file)?.st_dev == rustix::fs::fstat(directory)?.st_dev;
    if same { Ok(file) } else { Err(Errno::XDEV) }
}

fn propagate(flags: u32) -> Result {
    mount_change(c"/", MountPropagationFlags::from_bits_retain(flags)).at(Step::Propagation)
}
