//! The child between `fork` and `execve`.
//!
//! The process may have other threads, so that the child may find any lock taken, that of the allocator included:
//! everything is prepared before, and the child makes system calls only.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_char, c_int};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::SyscallError;

/// Strings in the form of argv and envp.
pub(super) struct CStringArray {
    /// Owns what `pointers` points to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    pub(super) fn new(strings: Vec<CString>) -> CStringArray {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        CStringArray { _strings: strings, pointers }
    }
}

/// All that a child needs to become a hook.
pub(super) struct Child<'a> {
    pub(super) program: &'a CStr,
    pub(super) argv: &'a CStringArray,
    pub(super) envp: &'a CStringArray,
    pub(super) cwd: Option<&'a CStr>,
    /// These three are above 2 ([`above_stdio`]).
    pub(super) stdin: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) report: OwnedFd,
    /// A process and which of its namespaces to join.
    pub(super) join: Option<(BorrowedFd<'a>, u32)>,
}

/// `fd`, or a copy of it that dup2 on stdin, stdout and stderr does not overwrite.
pub(super) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, 3) }
}

/// The steps of the child, as it reports the one that failed.
const STEPS: [&str; 9] =
    ["setpgid", "dup2", "setns", "setgroups", "setresgid", "setresuid", "fork", "chdir", "execve"];
const SETPGID: u32 = 0;
const DUP2: u32 = 1;
const SETNS: u32 = 2;
const SETGROUPS: u32 = 3;
const SETRESGID: u32 = 4;
const SETRESUID: u32 = 5;
const FORK: u32 = 6;
const CHDIR: u32 = 7;
const EXECVE: u32 = 8;

/// What the child wrote before it gave up, if it did.
pub(super) fn read_report(fd: &OwnedFd) -> Option<SyscallError> {
    let mut bytes = [0; 8];
    let Ok(8) = rustix::io::read(fd, &mut bytes) else { return None };
    let [s0, s1, s2, s3, e0, e1, e2, e3] = bytes;
    let step = u32::from_ne_bytes([s0, s1, s2, s3]) as usize;
    let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
    let call = STEPS.get(step).copied().unwrap_or("hook");
    Some(SyscallError { call, source: io::Error::from_raw_os_error(errno) })
}

impl Child<'_> {
    /// Starts the child; that it becomes the hook is not certain until the report pipe is closed.
    pub(super) fn spawn(&self) -> Result<(Pid, OwnedFd), SyscallError> {
        let failed = |call| SyscallError { call, source: io::Error::last_os_error() };
        // No handler of the host program's may run in the child.
        let old_mask = block_signals();
        // SAFETY: the child only makes system calls and ends in execve or _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            self.become_hook();
        }
        let error = failed("fork");
        // SAFETY: old_mask was filled in by block_signals.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old_mask, ptr::null_mut()) };
        // `from_raw` is for positive numbers only.
        let pid = Pid::from_raw(pid.max(0)).ok_or(error)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok((pid, pidfd)),
            Err(e) => {
                // A hook that cannot be watched must not run on.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(SyscallError { call: "pidfd_open", source: e.into() })
            }
        }
    }

    /// In the child, to its end.
    fn become_hook(&self) -> ! {
        // SAFETY: system calls on values that were prepared before the fork and that live until execve.
        unsafe {
            if libc::setpgid(0, 0) != 0 {
                self.give_up(SETPGID);
            }
            for (from, to) in [(&self.stdin, 0), (&self.output, 1), (&self.output, 2)] {
                if libc::dup2(from.as_raw_fd(), to) < 0 {
                    self.give_up(DUP2);
                }
            }
            default_signals();
            if let Some((pidfd, namespaces)) = self.join {
                self.join(pidfd.as_raw_fd(), namespaces);
            }
            if let Some(cwd) = self.cwd
                && libc::chdir(cwd.as_ptr()) != 0
            {
                self.give_up(CHDIR);
            }
            // Whatever the host program has open without O_CLOEXEC.
            if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
                // Before Linux 5.11. Without a /proc, what remains open is what the host program leaves open for any
                // child.
                let _ = corten_init::sys::close_listed(&[self.report.as_raw_fd()]);
            }
            libc::execve(self.program.as_ptr(), self.argv.pointers.as_ptr(), self.envp.pointers.as_ptr());
        }
        self.give_up(EXECVE)
    }

    /// Joins the namespaces; returns in the process that is to be the hook.
    ///
    /// # Safety
    ///
    /// Only between fork and execve.
    unsafe fn join(&self, pidfd: RawFd, namespaces: u32) {
        // SAFETY: system calls without memory.
        unsafe {
            if libc::setns(pidfd, namespaces.cast_signed()) != 0 {
                self.give_up(SETNS);
            }
            if namespaces & (libc::CLONE_NEWUSER.cast_unsigned()) != 0 {
                self.become_root_inside();
            }
            // A process stays in its pid namespace; only its children are born in the other one.
            if namespaces & (libc::CLONE_NEWPID.cast_unsigned()) != 0 {
                match libc::fork() {
                    0 => {}
                    -1 => self.give_up(FORK),
                    hook => pass_on_end_of(hook),
                }
            }
        }
    }

    /// Ids from outside have no meaning inside. Where root is not mapped there is nobody to become, and the ids stay.
    ///
    /// # Safety
    ///
    /// Only between fork and execve.
    unsafe fn become_root_inside(&self) {
        // Straight to the kernel: the C library would have all threads do it, and this child has none.
        // SAFETY: system calls; the list of groups is empty.
        unsafe {
            let refused = |step, tolerated: c_int| {
                if *libc::__errno_location() != tolerated {
                    self.give_up(step);
                }
            };
            if libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) != 0 {
                // setgroups is denied in a namespace of an ordinary user (user_namespaces(7)).
                refused(SETGROUPS, libc::EPERM);
            }
            if libc::syscall(libc::SYS_setresgid, 0, 0, 0) != 0 {
                refused(SETRESGID, libc::EINVAL);
            }
            if libc::syscall(libc::SYS_setresuid, 0, 0, 0) != 0 {
                refused(SETRESUID, libc::EINVAL);
            }
        }
    }

    /// Tells the parent which step failed, and errno.
    fn give_up(&self, step: u32) -> ! {
        // SAFETY: errno of this thread; a write of eight bytes from the stack, which a pipe takes whole.
        unsafe {
            let errno = *libc::__errno_location();
            let mut report = [0; 8];
            report[..4].copy_from_slice(&step.to_ne_bytes());
            report[4..].copy_from_slice(&errno.to_ne_bytes());
            libc::write(self.report.as_raw_fd(), report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }
}

/// Blocks all signals of this thread; returns the mask that was there.
fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are plain data, filled in by sigfillset and pthread_sigmask.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    }
}

/// Bytes of the kernel's `sigset_t` for 64 signals.
const SIGSET_SIZE: usize = 8;

/// Every signal as a new program expects it: Rust's runtime ignores SIGPIPE, and a hook would inherit that.
///
/// # Safety
///
/// Only in a child: it forgets the handlers of the process.
unsafe fn default_signals() {
    // SAFETY: zeros are the kernel's sigaction for SIG_DFL, no flag and an empty mask on every architecture, and fewer than
    // eight words. SIGKILL and SIGSTOP are refused without harm.
    unsafe {
        let default = [0_usize; 8];
        for signal in 1..=64 {
            // Straight to the kernel: the C library would leave out the two that it keeps for itself.
            let nobody = ptr::null_mut::<libc::c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nobody, SIGSET_SIZE);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Ends as the process `hook` ends, for the parent that waits for this one.
///
/// # Safety
///
/// Only in a child.
unsafe fn pass_on_end_of(hook: libc::pid_t) -> ! {
    // SAFETY: system calls; status and limit are on the stack.
    unsafe {
        let mut status = 0;
        while libc::waitpid(hook, &raw mut status, 0) < 0 && *libc::__errno_location() == libc::EINTR {}
        if libc::WIFSIGNALED(status) {
            // Without a second core file.
            let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
            libc::kill(libc::getpid(), libc::WTERMSIG(status));
            libc::_exit(128 + libc::WTERMSIG(status));
        }
        libc::_exit(libc::WEXITSTATUS(status))
    }
}
