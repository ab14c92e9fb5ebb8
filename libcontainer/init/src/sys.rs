//! Every unsafe block of this crate: system calls that rustix lacks, and the two that hand memory to the kernel for good.
//!
//! Numbers and layouts are those of the kernel's uapi headers; each wrapper names its man page.

mod calls;
mod legacy;

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::marker::PhantomData;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

pub use calls::effective_ids;
pub(crate) use calls::{NoWayBack, umask};
pub use legacy::close_listed;
pub(crate) use legacy::{access, close};

use crate::bpf::SockFilter;
use crate::own_binary::Segment;

type Result<T> = rustix::io::Result<T>;

fn errno(e: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(e.into_raw())
}

/// Borrows a descriptor that the parent left open for this process.
#[must_use]
pub fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the parent keeps every descriptor of the table open for the life of the plan, and this process closes
    // none of them by number; they end with `execve` or `exit`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// A null-terminated array of C strings, as `execve` wants it.
#[derive(Clone, Copy)]
pub struct StringTable<'a> {
    /// Cells, because the first entry may be replaced in the child, whose memory is its own.
    pointers: &'a [Cell<*const c_char>],
    strings: PhantomData<&'a CStr>,
}

impl<'a> StringTable<'a> {
    /// Wraps pointers that were taken from C strings; `None` unless the last one, and only that one, is null.
    ///
    /// # Safety
    ///
    /// Every pointer but the last has to come from a `CStr` that lives for `'a`.
    #[must_use]
    pub unsafe fn new(pointers: &'a [Cell<*const c_char>]) -> Option<StringTable<'a>> {
        let (last, strings) = pointers.split_last()?;
        if !last.get().is_null() || strings.iter().any(|p| p.get().is_null()) {
            return None;
        }
        Some(StringTable { pointers, strings: PhantomData })
    }

    /// The strings.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + '_ {
        let strings = self.pointers.split_last().map_or(&[][..], |(_, strings)| strings);
        // SAFETY: `new` was promised, and `replace_first` keeps, that living C strings stand here.
        strings.iter().map(|p| unsafe { CStr::from_ptr(p.get()) })
    }

    /// execve(2) with these variables as environment, the first one replaced; returns only if it failed.
    pub(crate) fn exec(self, path: &CStr, envp: StringTable<'_>, first: Option<&CStr>) -> Errno {
        if let (Some(first), [cell, _, ..]) = (first, envp.pointers) {
            cell.set(first.as_ptr());
        }
        let (argv, envp) = (self.pointers.as_ptr(), envp.pointers.as_ptr());
        // SAFETY: both are null-terminated arrays of living C strings; `Cell` has the layout of what it holds.
        match unsafe { syscall!(Sysno::execve, path.as_ptr(), argv, envp) } {
            Ok(_) => Errno::INVAL,
            Err(e) => errno(e),
        }
    }
}

impl core::fmt::Debug for StringTable<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Arguments of clone3(2), first version of the structure and the cgroup (Linux 5.7).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneArgs {
    /// `CLONE_*`
    pub flags: u64,
    /// Where the pidfd goes.
    pub pidfd: u64,
    /// Unused here.
    pub child_tid: u64,
    /// Unused here.
    pub parent_tid: u64,
    /// Signal to the parent at the end.
    pub exit_signal: u64,
    /// Unused here.
    pub stack: u64,
    /// Unused here.
    pub stack_size: u64,
    /// Unused here.
    pub tls: u64,
    /// Unused here.
    pub set_tid: u64,
    /// Unused here.
    pub set_tid_size: u64,
    /// Directory of the cgroup, with `CLONE_INTO_CGROUP`.
    pub cgroup: u64,
}

/// `CLONE_PIDFD`
pub const CLONE_PIDFD: u64 = 0x1000;
/// `CLONE_PARENT`
pub const CLONE_PARENT: u64 = 0x8000;
/// `CLONE_INTO_CGROUP`, Linux 5.7
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// `SIGCHLD`
pub const SIGCHLD: u64 = 17;

/// The two sides of a clone.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the old one.
    Parent {
        /// Process id of the child in this process's pid namespace.
        pid: i32,
        /// Its pidfd, if it was asked for.
        pidfd: Option<OwnedFd>,
    },
}

/// clone3(2) with copied memory: the child goes on here with a copy of this stack.
///
/// # Safety
///
/// The child may only call what is safe after a fork of a multi-threaded program, which is: this crate. `flags` must
/// not have `CLONE_VM`, `CLONE_THREAD` or `CLONE_SETTLS`.
pub unsafe fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>, exit_signal: u64) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs { flags, exit_signal, ..CloneArgs::default() };
    if flags & CLONE_PIDFD != 0 {
        args.pidfd = (&raw mut pidfd) as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    let size = size_of::<CloneArgs>();
    // SAFETY: `args` and `pidfd` outlive the call; without CLONE_VM the child has its own copy of both and of the stack.
    let pid = unsafe { syscall!(Sysno::clone3, &raw const args, size) }.map_err(errno)?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has stored a new descriptor that nobody else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// [`clone3`] for a child that carries out a plan.
///
/// Sound for the callers in this crate: their child runs nothing but this crate, which neither allocates nor locks.
pub(crate) fn spawn(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    const CLONE_VM: u64 = 0x100;
    const CLONE_THREAD: u64 = 0x1_0000;
    const CLONE_SETTLS: u64 = 0x8_0000;
    let flags = flags & !(CLONE_VM | CLONE_THREAD | CLONE_SETTLS);
    // With CLONE_PARENT the kernel takes the signal from the usher, and refuses one here.
    let signal = if flags & CLONE_PARENT != 0 { 0 } else { SIGCHLD };
    // SAFETY: the child runs this crate only, and the flags that would share memory are masked out.
    match unsafe { clone3(flags, cgroup, signal) } {
        // SAFETY: the same.
        Err(Errno::NOSYS) if cgroup.is_none() => unsafe { legacy::clone(flags, signal) },
        done => done,
    }
}

/// close_range(2), Linux 5.9.
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: the caller has no owned descriptor in this range (the child begins with nothing but its table).
    unsafe { syscall!(Sysno::close_range, first, last, flags) }.map(|_| ()).map_err(errno)
}

/// setns(2) with several kinds of namespace at once, for a pidfd (Linux 5.8), or one kind for a namespace's file.
pub fn setns(fd: BorrowedFd<'_>, kinds: u32) -> Result<()> {
    // SAFETY: no memory is handed over.
    unsafe { syscall!(Sysno::setns, fd.as_raw_fd(), kinds) }.map(|_| ()).map_err(errno)
}

/// unshare(2).
pub fn unshare(kinds: u32) -> Result<()> {
    // SAFETY: only `CLONE_NEW*` is passed by this crate; descriptors and memory stay as they are.
    unsafe { syscall!(Sysno::unshare, kinds) }.map(|_| ()).map_err(errno)
}

/// prctl(2) with plain numbers.
pub fn prctl(option: u32, a: usize, b: usize) -> Result<()> {
    // SAFETY: used only with options whose arguments are numbers.
    unsafe { syscall!(Sysno::prctl, option, a, b, 0usize, 0usize) }.map(|_| ()).map_err(errno)
}

/// `PR_SET_DUMPABLE`
pub const PR_SET_DUMPABLE: u32 = 4;
/// `PR_CAPBSET_READ`
pub const PR_CAPBSET_READ: u32 = 23;

/// Whether a capability of this number exists and is in the bounding set.
#[must_use]
pub fn capability_is_bounding(capability: u32) -> Option<bool> {
    // SAFETY: numbers only.
    let answer = unsafe { syscall!(Sysno::prctl, PR_CAPBSET_READ, capability, 0usize, 0usize, 0usize) };
    answer.ok().map(|bit| bit == 1)
}

/// Names the process, as `ps` shows it; 15 bytes at most.
pub fn set_name(name: &CStr) {
    const PR_SET_NAME: u32 = 15;
    // SAFETY: `name` is a C string. A failure is of no consequence.
    let _ = unsafe { syscall!(Sysno::prctl, PR_SET_NAME, name.as_ptr()) };
}

/// Makes a session keyring and joins it (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`); returns its serial number.
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
    // SAFETY: `name` is a C string.
    let serial = unsafe { syscall!(Sysno::keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    serial.map(|n| n as i32).map_err(errno)
}

/// Sets the permissions of a key.
pub fn set_key_permissions(serial: i32, permissions: u32) -> Result<()> {
    const KEYCTL_SETPERM: u32 = 5;
    // SAFETY: numbers only.
    unsafe { syscall!(Sysno::keyctl, KEYCTL_SETPERM, serial, permissions) }.map(|_| ()).map_err(errno)
}

/// Sets the disposition of a signal to its default.
pub fn default_signal(signal: u32) -> Result<()> {
    /// `struct sigaction` as the kernel has it on the architectures that this crate is built for.
    #[repr(C)]
    #[derive(Default)]
    struct KernelSigaction {
        handler: usize,
        flags: usize,
        restorer: usize,
        mask: u64,
    }
    let action = KernelSigaction::default();
    let nothing = 0usize;
    // SAFETY: the structure outlives the call, SIG_DFL is 0, and the kernel reads no more than it.
    let set = unsafe { syscall!(Sysno::rt_sigaction, signal, &raw const action, nothing, 8usize) };
    set.map(|_| ()).map_err(errno)
}

/// Empties the signal mask.
pub fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: u32 = 2;
    let mask = 0u64;
    let nothing = 0usize;
    // SAFETY: the mask outlives the call.
    let set = unsafe { syscall!(Sysno::rt_sigprocmask, SIG_SETMASK, &raw const mask, nothing, 8usize) };
    set.map(|_| ()).map_err(errno)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_*` propagation.
    pub propagation: u64,
    /// User namespace of an id mapping.
    pub userns_fd: u64,
}

/// `AT_RECURSIVE`
pub const AT_RECURSIVE: u32 = 0x8000;

/// mount_setattr(2) on a mount that is held by a descriptor, Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let (fd, size) = (mount.as_raw_fd(), size_of::<MountAttr>());
    // SAFETY: path and structure outlive the call.
    let done = unsafe { syscall!(Sysno::mount_setattr, fd, c"".as_ptr(), flags, &raw const *attr, size) };
    done.map(|_| ()).map_err(errno)
}

/// seccomp(2) `SECCOMP_SET_MODE_FILTER`; returns the listener with `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux 5.0). It is
/// closed on exec.
pub fn load_filter(program: &[SockFilter], flags: u32) -> Result<Option<OwnedFd>> {
    #[repr(C)]
    struct SockFprog {
        len: u16,
        filter: *const SockFilter,
    }
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    const NEW_LISTENER: u32 = 1 << 3;
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let fprog = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: the kernel copies the program during the call.
    let returned = unsafe { syscall!(Sysno::seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    let listener = RawFd::try_from(returned.map_err(errno)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor, for this call.
    Ok((flags & NEW_LISTENER != 0).then(|| unsafe { OwnedFd::from_raw_fd(listener) }))
}

/// exit_group(2).
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { syscall!(Sysno::exit_group, code) };
    }
}

/// setgroups(2).
pub fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the slice outlives the call.
    unsafe { syscall!(Sysno::setgroups, groups.len(), groups.as_ptr()) }.map(|_| ()).map_err(errno)
}

/// setresgid(2), all three.
pub fn setgid(gid: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { syscall!(Sysno::setresgid, gid, gid, gid) }.map(|_| ()).map_err(errno)
}

/// setresuid(2), all three.
pub fn setuid(uid: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { syscall!(Sysno::setresuid, uid, uid, uid) }.map(|_| ()).map_err(errno)
}

/// The three sets of capset(2) as masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSets {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

/// capget(2) of this thread.
pub fn capget() -> Result<CapSets> {
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let mut data = [[0u32; 3]; 2];
    // SAFETY: version 3 fills exactly two triples.
    unsafe { syscall!(Sysno::capget, &raw mut header, &raw mut data) }.map_err(errno)?;
    let join = |i: usize| u64::from(data[0][i]) | u64::from(data[1][i]) << 32;
    Ok(CapSets { effective: join(0), permitted: join(1), inheritable: join(2) })
}

/// capset(2) of this thread.
pub fn capset(sets: CapSets) -> Result<()> {
    #[allow(clippy::cast_possible_truncation)]
    fn half(mask: u64, high: bool) -> u32 {
        if high { (mask >> 32) as u32 } else { mask as u32 }
    }
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let row = |high| [half(sets.effective, high), half(sets.permitted, high), half(sets.inheritable, high)];
    let data = [row(false), row(true)];
    // SAFETY: version 3 reads exactly two triples.
    unsafe { syscall!(Sysno::capset, &raw mut header, &raw const data) }.map(|_| ()).map_err(errno)
}

/// faccessat2(2) on a descriptor with the effective ids, Linux 5.8.
pub fn may_execute(fd: BorrowedFd<'_>) -> Result<()> {
    const X_OK: u32 = 1;
    const AT_EACCESS: u32 = 0x200;
    const AT_EMPTY_PATH: u32 = 0x1000;
    let flags = AT_EACCESS | AT_EMPTY_PATH;
    // SAFETY: the path is a C string.
    let done = unsafe { syscall!(Sysno::faccessat2, fd.as_raw_fd(), c"".as_ptr(), X_OK, flags) };
    done.map(|_| ()).map_err(errno)
}

/// getcwd(2) into `buffer`; the bytes without the terminating null.
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most `len` bytes.
    let n = unsafe { syscall!(Sysno::getcwd, buffer.as_mut_ptr(), buffer.len()) }.map_err(errno)?;
    Ok(&buffer[..n.saturating_sub(1)])
}

/// Brings `lo` up (netdevice(7), SIOCSIFFLAGS) in the present network namespace.
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<()> {
    #[repr(C)]
    struct Ifreq {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    const SIOCSIFFLAGS: u32 = 0x8914;
    const IFF_UP_RUNNING: i16 = 0x1 | 0x40;
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = Ifreq { name, flags: IFF_UP_RUNNING, rest: [0; 22] };
    // SAFETY: the structure has the size of `struct ifreq` and outlives the call.
    let done = unsafe { syscall!(Sysno::ioctl, socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request) };
    done.map(|_| ()).map_err(errno)
}

/// Makes the terminal on `fd` the controlling one of this session (TIOCSCTTY).
pub fn make_controlling(fd: BorrowedFd<'_>) -> Result<()> {
    const TIOCSCTTY: u32 = 0x540E;
    // SAFETY: a number is passed.
    unsafe { syscall!(Sysno::ioctl, fd.as_raw_fd(), TIOCSCTTY, 0usize) }.map(|_| ()).map_err(errno)
}

/// Sets the size of a terminal, in characters (TIOCSWINSZ).
pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    const TIOCSWINSZ: u32 = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: `struct winsize` is four numbers of 16 bits.
    let done = unsafe { syscall!(Sysno::ioctl, fd.as_raw_fd(), TIOCSWINSZ, &raw const size) };
    done.map(|_| ()).map_err(errno)
}

/// dup3(2) onto one of the standard descriptors.
pub fn dup_onto(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    // SAFETY: 0, 1 and 2 are owned by nobody in this process.
    unsafe { syscall!(Sysno::dup3, fd.as_raw_fd(), number, 0usize) }.map(|_| ()).map_err(errno)
}

/// Sends `message` and one descriptor (`SCM_RIGHTS`) over a connected socket, in one sendmsg(2).
///
/// Returns how much of the message went out: on a stream socket that may be less than all of it.
pub fn send_descriptor(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<usize> {
    #[repr(C)]
    struct Control {
        len: usize,
        level: i32,
        kind: i32,
        fd: RawFd,
        padding: u32,
    }
    #[repr(C)]
    struct Iovec {
        base: *const u8,
        len: usize,
    }
    #[repr(C)]
    struct Msghdr {
        name: usize,
        namelen: u32,
        iov: *const Iovec,
        iovlen: usize,
        control: *const Control,
        controllen: usize,
        flags: i32,
    }
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    const MSG_NOSIGNAL: u32 = 0x4000;
    let control =
        Control { len: 16 + 4, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: fd.as_raw_fd(), padding: 0 };
    let iov = Iovec { base: message.as_ptr(), len: message.len() };
    let (control, controllen) = (&raw const control, size_of::<Control>());
    let header =
        Msghdr { name: 0, namelen: 0, iov: &raw const iov, iovlen: 1, control, controllen, flags: 0 };
    // SAFETY: header, vector, control block and message outlive the call and have the kernel's layout (64 bit).
    unsafe { syscall!(Sysno::sendmsg, socket.as_raw_fd(), &raw const header, MSG_NOSIGNAL) }.map_err(errno)
}

/// `struct sched_attr` of sched_setattr(2), with utilization clamps (Linux 5.3).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Bytes of this structure.
    pub size: u32,
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// Of `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Of `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, of `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, of `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, of `SCHED_DEADLINE`.
    pub period: u64,
    /// Lower clamp, 0 to 1024.
    pub util_min: u32,
    /// Upper clamp, 0 to 1024.
    pub util_max: u32,
}

/// sched_setattr(2) of a process; 0 is this one.
pub fn sched_setattr(pid: i32, attr: &SchedAttr) -> Result<()> {
    #[allow(clippy::cast_possible_truncation)]
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: the structure outlives the call, and has the size that it says.
    unsafe { syscall!(Sysno::sched_setattr, pid, &raw const attr, 0usize) }.map(|_| ()).map_err(errno)
}

/// ioprio_set(2) of one process; 0 is this one.
pub fn ioprio_set(pid: i32, value: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    // SAFETY: numbers only.
    unsafe { syscall!(Sysno::ioprio_set, IOPRIO_WHO_PROCESS, pid, value) }.map(|_| ()).map_err(errno)
}

/// personality(2).
pub fn personality(domain: u32) -> Result<()> {
    // SAFETY: a number only; no flag that would change the layout of this process's memory is defined by the plan.
    unsafe { syscall!(Sysno::personality, domain) }.map(|_| ()).map_err(errno)
}

/// set_mempolicy(2), one bit for each node.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads `bits - 1` bits, which are those of the slice.
    unsafe { syscall!(Sysno::set_mempolicy, mode, mask, bits) }.map(|_| ()).map_err(errno)
}

/// sched_setaffinity(2) of this thread, one bit for each processor.
pub fn sched_setaffinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads the bytes of the slice.
    let done = unsafe { syscall!(Sysno::sched_setaffinity, 0usize, size_of_val(mask), mask.as_ptr()) };
    done.map(|_| ()).map_err(errno)
}

/// sched_getaffinity(2) of this thread into `mask`, which has to have a bit for each processor that the kernel could have.
pub fn sched_getaffinity(mask: &mut [u64]) -> Result<()> {
    // SAFETY: the kernel writes at most the bytes of the slice.
    let done = unsafe { syscall!(Sysno::sched_getaffinity, 0usize, size_of_val(mask), mask.as_mut_ptr()) };
    done.map(|_| ()).map_err(errno)
}

/// Maps a part of the program anew: read-only parts from `file`, which holds the same bytes; written ones as anonymous
/// memory with their present content.
///
/// Meant for the child alone. No instruction of it runs while a mapping is replaced, because the replacement is one
/// system call; and what stands at each address is the same before and after.
pub(crate) fn map_anew(segment: Segment, file: BorrowedFd<'_>) -> Result<()> {
    const PROT_READ: usize = 1;
    const PROT_WRITE: usize = 2;
    const PROT_EXEC: usize = 4;
    const MAP_PRIVATE: usize = 2;
    const MAP_FIXED: usize = 0x10;
    const MAP_ANONYMOUS: usize = 0x20;
    const MREMAP_MAYMOVE_FIXED: usize = 1 | 2;
    let Segment { start, len, .. } = segment;
    #[allow(clippy::cast_possible_truncation)]
    let offset = segment.offset as usize;
    if !segment.writable {
        let prot = PROT_READ | if segment.executable { PROT_EXEC } else { 0 };
        let flags = MAP_PRIVATE | MAP_FIXED;
        let fd = file.as_raw_fd();
        // SAFETY: the same bytes of the same file with the same protection at the same address.
        return unsafe { syscall!(Sysno::mmap, start, len, prot, flags, fd, offset) }
            .map(|_| ())
            .map_err(errno);
    }
    let (prot, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    // SAFETY: new memory, at an address of the kernel's choice.
    let copy = unsafe { syscall!(Sysno::mmap, 0usize, len, prot, flags, -1isize, 0usize) }.map_err(errno)?;
    // SAFETY: both ranges are mapped and `len` bytes long; the new one overlaps nothing.
    unsafe { core::ptr::copy_nonoverlapping(start as *const u8, copy as *mut u8, len) };
    // SAFETY: what is put in place holds the same bytes. Nothing was written in between: there is one thread.
    let moved = unsafe { syscall!(Sysno::mremap, copy, len, len, MREMAP_MAYMOVE_FIXED, start) };
    moved.map(|_| ()).map_err(errno)
}

/// Makes `file` the program of this process, as `/proc/self/exe` shows it (`PR_SET_MM_MAP`). Needs
/// `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN` in the process's user namespace. The other fields only serve `/proc` and
/// the heap of a C library, which this process has no use for before it executes another program.
pub(crate) fn set_program(file: BorrowedFd<'_>, code: usize) -> Result<()> {
    #[repr(C)]
    struct PrctlMmMap {
        code: [u64; 2],
        data: [u64; 2],
        brk: [u64; 2],
        stack: u64,
        arguments: [u64; 2],
        environment: [u64; 2],
        auxv: u64,
        auxv_size: u32,
        exe_fd: u32,
    }
    const PR_SET_MM: u32 = 35;
    const PR_SET_MM_MAP: usize = 14;
    const PAGE: u64 = 4096;
    let at = |page: u64| code as u64 + page * PAGE;
    let map = PrctlMmMap {
        code: [at(0), at(1)],
        data: [at(1), at(2)],
        brk: [at(3), at(3)],
        stack: at(4),
        arguments: [at(5), at(5)],
        environment: [at(6), at(6)],
        auxv: 0,
        auxv_size: 0,
        exe_fd: file.as_raw_fd().unsigned_abs(),
    };
    let size = size_of::<PrctlMmMap>();
    // SAFETY: the structure outlives the call.
    let done = unsafe { syscall!(Sysno::prctl, PR_SET_MM, PR_SET_MM_MAP, &raw const map, size, 0usize) };
    done.map(|_| ()).map_err(errno)
}
