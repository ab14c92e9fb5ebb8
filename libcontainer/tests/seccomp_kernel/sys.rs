//! The unsafe part: a child that loads a filter and makes one system call.

use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::ptr;

use libcontainer::seccomp::{Filter, SockFilter};

/// How a child ends that could not load its filter.
const NOT_LOADED: c_int = 126;
/// How a child ends in its handler of SIGSYS.
pub const CAUGHT: c_int = 125;

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const SockFilter,
}

/// What a child does under its filter. The answer, from 0 to 124, is its exit status.
pub type Act = fn() -> c_int;

/// Forks a child that loads the filter and acts, and waits for its end.
pub fn under(filter: &Filter, act: Act) -> ExitStatus {
    // SAFETY: the child calls nothing but system calls until it ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        let code = if load(filter) >= 0 { act() } else { NOT_LOADED };
        // SAFETY: ends the child, without the parent's exit handlers.
        unsafe { libc::_exit(code) }
    }
    wait(pid)
}

fn wait(pid: c_int) -> ExitStatus {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "waitpid: {}", io::Error::last_os_error());
    let status = ExitStatus::from_raw(status);
    assert_ne!(status.code(), Some(NOT_LOADED), "the kernel refuses the filter");
    status
}

/// The listener if the filter has one, 0 if not, -1 on failure.
fn load(filter: &Filter) -> c_long {
    let program = Program { len: filter.program.len() as u16, filter: filter.program.as_ptr() };
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
        return -1;
    }
    // SAFETY: the program and its instructions outlive the call, and the kernel only reads them.
    unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, filter.flags, &raw const program)
    }
}

/// Makes a system call that takes numbers only; its errno, or 0.
pub fn errno_of(nr: u32, args: [u64; 2]) -> c_int {
    // SAFETY: the tests pass calls that touch no memory.
    let answer = unsafe { libc::syscall(nr.into(), args[0], args[1]) };
    // SAFETY: the address of this thread's errno.
    if answer < 0 { unsafe { *libc::__errno_location() } } else { 0 }
}

/// Has SIGSYS end the child with [`CAUGHT`].
pub fn catch_sigsys() {
    extern "C" fn caught(_: c_int) {
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(CAUGHT) }
    }
    // SAFETY: the handler is async-signal-safe.
    unsafe { libc::signal(libc::SIGSYS, caught as extern "C" fn(c_int) as libc::sighandler_t) };
}

/// Makes the call in a second thread of the child, and waits until that thread is gone.
pub fn in_a_thread(call: extern "C" fn(*mut c_void) -> c_int) {
    const FLAGS: c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID;
    let mut stack = [0_u128; 4096];
    let mut alive: c_int = 1;
    let alive = &raw mut alive;
    let none = ptr::null_mut::<c_void>();
    // SAFETY: stack and `alive` are there until the thread has ended, which the loop below waits for.
    let tid =
        unsafe { libc::clone(call, stack.as_mut_ptr_range().end.cast(), FLAGS, none, none, none, alive) };
    // SAFETY: `alive` is valid; the kernel writes to it behind the compiler's back.
    while tid > 0 && unsafe { alive.read_volatile() } != 0 {
        // SAFETY: takes nothing.
        unsafe { libc::sched_yield() };
    }
}

/// The i386 system call `nr` by `int $0x80`; its answer, negative errno on failure.
#[cfg(target_arch = "x86_64")]
pub fn int80(nr: u32, arg: u64) -> i32 {
    let answer: u64;
    // SAFETY: the tests pass calls that touch no memory. rbx is restored: the compiler reserves it.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {arg}", "int 0x80", "xchg rbx, {arg}",
            arg = inout(reg) arg => _, inlateout("rax") u64::from(nr) => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    answer as u32 as i32
}

/// A command that runs under the filter.
pub fn confined(program: &str, filter: Filter) -> Command {
    let mut command = Command::new(program);
    let load = move || if load(&filter) < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: makes two system calls.
    unsafe { command.pre_exec(load) };
    command
}

/// Forks a child under a filter with a listener, answers its first notification with `errno`, and waits for its end.
/// Also tells the number of the system call that was asked about.
pub fn answered(filter: &Filter, act: Act, errno: c_int) -> (ExitStatus, c_int) {
    let (reader, writer) = io::pipe().expect("pipe");
    // SAFETY: the child calls nothing but system calls until it ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        let fd = load(filter) as u8;
        // SAFETY: the byte outlives the call; then the child ends.
        unsafe {
            libc::write(writer.as_raw_fd(), (&raw const fd).cast(), 1);
            libc::_exit(act())
        }
    }
    let mut fd = [0];
    io::Read::read_exact(&mut &reader, &mut fd).expect("the listener's number");
    let listener = fetch(pid, fd[0].into()).expect("the listener");
    let nr = answer(&listener, errno).expect("a notification");
    (wait(pid), nr)
}

/// Takes a file descriptor out of another process.
fn fetch(pid: c_int, fd: c_int) -> io::Result<OwnedFd> {
    let owned = |fd: c_long| {
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for this process.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
    };
    // SAFETY: takes numbers only.
    let pidfd = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })
}

fn answer(listener: &OwnedFd, errno: c_int) -> io::Result<c_int> {
    // SAFETY: plain numbers, for which zero is a value; the kernel wants zero.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a struct of this type.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -errno, flags: 0 };
    // SAFETY: the kernel reads a struct of this type.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(asked.data.nr)
}
