//! ptrace(2), and a fork that waits to be traced. The module's only unsafe code.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Offsets into `struct user` of x86-64 (sys/user.h): the number of the system call, and its answer.
#[cfg(target_arch = "x86_64")]
const REGISTERS: Option<(usize, usize)> = Some((15 * 8, 10 * 8));
#[cfg(not(target_arch = "x86_64"))]
const REGISTERS: Option<(usize, usize)> = None;

/// What `struct ptrace_syscall_info` begins with, and the number of an entry.
#[repr(C)]
#[derive(Default)]
struct SyscallInfo {
    op: u8,
    rest: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// Entry: the number. Exit: the answer.
    value: u64,
    more: [u64; 8],
}

/// What a traced process stopped for, or that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Before a system call.
    Entry(u64),
    /// After one.
    Exit,
    /// It has made this process, which is traced as well.
    Forked(i32),
    /// It is another program now.
    Execed,
    /// It was born, or was interrupted.
    Trapped,
    /// It was stopped by a signal, and stays so.
    Stopped,
    /// A signal is about to be delivered.
    Signal(i32),
    /// It ended, with this wait status.
    Ended(i32),
}

fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn ptrace(request: libc::c_uint, pid: i32, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: called only with requests that take numbers, or with a pointer to a structure of the caller's that
    // outlives the call.
    check(unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) })
}

/// Makes a process that executes the program once [`Waiting::go`] is called.
pub(super) fn fork(argv: &[CString], envp: &[CString], stdio: [RawFd; 3]) -> io::Result<Waiting> {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(argv), pointers(envp));
    let mut ends = [0; 2];
    // SAFETY: two integers to write to.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: two new descriptors that nobody else owns.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the child makes system calls only, with memory that was made before.
    let pid = check(unsafe { libc::fork() }.into())? as i32;
    if pid == 0 {
        // SAFETY: integers, and null-terminated arrays of C strings that this process has a copy of.
        unsafe {
            libc::close(write.as_raw_fd());
            let mut byte = 0u8;
            libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1);
            for (number, fd) in stdio.into_iter().enumerate() {
                libc::dup2(fd, number as c_int);
            }
            libc::execve(argv[0], argv.as_ptr(), envp.as_ptr());
            libc::_exit(126)
        }
    }
    Ok(Waiting { pid, go: write })
}

/// See [`fork`].
pub(super) struct Waiting {
    pub pid: i32,
    go: OwnedFd,
}

impl Waiting {
    /// Lets it execute the program.
    pub fn go(self) -> i32 {
        drop(self.go);
        self.pid
    }
}

/// Traces a process, and all that it makes. They go on by themselves when this thread ends.
pub(super) fn seize(pid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    ptrace(libc::PTRACE_SEIZE, pid, 0, options as usize).map(drop)
}

/// Stops a process that was seized while it ran.
pub(super) fn interrupt(pid: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0).map(drop)
}

/// Goes on to the next system call, or the end of this one.
pub(super) fn go_on(pid: i32, signal: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_SYSCALL, pid, 0, signal as usize).map(drop)
}

/// Goes on to the next event that is no system call.
pub(super) fn let_run(pid: i32, signal: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_CONT, pid, 0, signal as usize).map(drop)
}

/// Leaves it stopped, until a signal wakes it.
pub(super) fn listen(pid: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_LISTEN, pid, 0, 0).map(drop)
}

/// Lets go of it.
pub(super) fn detach(pid: i32) -> io::Result<()> {
    ptrace(libc::PTRACE_DETACH, pid, 0, 0).map(drop)
}

/// At the entry of a system call: none is made.
pub(super) fn skip_call(pid: i32) -> io::Result<()> {
    let (number, _) = REGISTERS.ok_or(io::ErrorKind::Unsupported)?;
    ptrace(libc::PTRACE_POKEUSER, pid, number, usize::MAX).map(drop)
}

/// At the end of a system call: what it answers.
pub(super) fn set_answer(pid: i32, errno: i32) -> io::Result<()> {
    let (_, answer) = REGISTERS.ok_or(io::ErrorKind::Unsupported)?;
    ptrace(libc::PTRACE_POKEUSER, pid, answer, -i64::from(errno) as usize).map(drop)
}

/// Whether [`skip_call`] and [`set_answer`] work on this processor.
pub(super) fn can_inject() -> bool {
    REGISTERS.is_some()
}

/// Waits for the next stop of any process that this thread traces.
pub(super) fn wait() -> io::Result<(i32, Stop)> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: `status` outlives the call.
        let got = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        match check(got.into()) {
            Ok(pid) => break pid as i32,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    };
    if !libc::WIFSTOPPED(status) {
        return Ok((pid, Stop::Ended(status)));
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    Ok((pid, classify(pid, signal, event)?))
}

fn classify(pid: i32, signal: i32, event: i32) -> io::Result<Stop> {
    Ok(match event {
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
            let mut child: libc::c_ulong = 0;
            ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, (&raw mut child) as usize)?;
            Stop::Forked(child as i32)
        }
        libc::PTRACE_EVENT_EXEC => Stop::Execed,
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Trapped,
        libc::PTRACE_EVENT_STOP => Stop::Stopped,
        _ if signal == libc::SIGTRAP | 0x80 => call(pid)?,
        _ => Stop::Signal(signal),
    })
}

fn call(pid: i32) -> io::Result<Stop> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const ENTRY: u8 = 1;
    let mut info = SyscallInfo::default();
    ptrace(PTRACE_GET_SYSCALL_INFO, pid, size_of::<SyscallInfo>(), (&raw mut info) as usize)?;
    Ok(if info.op == ENTRY { Stop::Entry(info.value) } else { Stop::Exit })
}

/// SIGKILL.
pub(super) fn kill(pid: i32) {
    // SAFETY: integers only. It may have ended already.
    let _ = unsafe { libc::kill(pid.max(1), libc::SIGKILL) };
}
