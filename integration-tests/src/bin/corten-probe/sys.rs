//! The probe's system calls.
#![allow(unsafe_code)]

pub mod seccomp;

use serde_json::{Value, json};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The C entry point. `std::env::args` works without Rust's own one: glibc hands the vector to an
/// initialiser of the standard library.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const u8) -> i32 {
    crate::run(&std::env::args().collect::<Vec<_>>())
}

fn check(ret: i64) -> io::Result<i64> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// The symbolic name of an error.
pub fn error_name(error: &io::Error) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::E2BIG, "E2BIG"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ELOOP, "ELOOP"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    ];
    match error.raw_os_error() {
        Some(n) => {
            names.iter().find(|(e, _)| *e == n).map_or(format!("errno {n}"), |(_, name)| (*name).into())
        }
        None => format!("{:?}", error.kind()),
    }
}

/// Ends the process without any clean-up.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return; nothing is buffered, stdout is written line by line.
    unsafe { libc::_exit(code) }
}

/// Closes standard input, output and error.
pub fn close_stdio() {
    for fd in 0..3 {
        // SAFETY: nothing else of the probe has a use for these numbers.
        unsafe { libc::close(fd) };
    }
}

/// Ends the process by a signal.
pub fn die(signal: i32) -> ! {
    // SAFETY: raises a signal in this process; for PID 1 of a namespace the default action may not apply.
    unsafe {
        libc::raise(signal);
        libc::_exit(100)
    }
}

/// Ignores a signal.
pub fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition.
    let old = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if old == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

static LOG_FD: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: i32) {
    let text = [b'0' + (signal / 10) as u8, b'0' + (signal % 10) as u8, b'\n'];
    // SAFETY: write(2) is async-signal-safe and the buffer is on this stack.
    unsafe { libc::write(LOG_FD.load(Ordering::Relaxed), text.as_ptr().cast(), text.len()) };
}

/// Installs a handler for every signal that can be caught; each arrival adds its number to the log.
pub fn log_signals(log: File) -> io::Result<()> {
    LOG_FD.store(std::os::fd::IntoRawFd::into_raw_fd(log), Ordering::Relaxed);
    for signal in 1..=64 {
        if [libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(&signal) {
            continue;
        }
        // SAFETY: sigaction is plain data; the handler only calls write(2).
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            check(libc::sigaction(signal, &action, std::ptr::null_mut()) as i64)?;
        }
    }
    Ok(())
}

/// `mknod(2)`: kind is c, b or p.
pub fn mknod(path: &str, kind: &str, major: u32, minor: u32) -> io::Result<()> {
    let path = CString::new(path)?;
    let kind = match kind {
        "c" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        "p" => libc::S_IFIFO,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    // SAFETY: a NUL-terminated string and integers.
    check(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, libc::makedev(major, minor)) } as i64).map(drop)
}

/// A bind mount.
pub fn bind(from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (CString::new(from)?, CString::new(to)?);
    let null = std::ptr::null();
    // SAFETY: NUL-terminated strings; null type and data are allowed for binds.
    check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), null, libc::MS_BIND, null.cast()) } as i64)
        .map(drop)
}

/// Major and minor of a device number.
pub fn split_dev(dev: u64) -> (u32, u32) {
    (libc::major(dev), libc::minor(dev))
}

/// A raw system call made by a forked child, so that being killed for it is an answer too.
pub fn syscall(nr: u64, args: [u64; 6]) -> io::Result<Value> {
    in_child(|| {
        // SAFETY: the caller of the probe chose a call that does no harm to this child; the child only
        // reports the result and exits.
        let ret = unsafe { libc::syscall(nr as i64, args[0], args[1], args[2], args[3], args[4], args[5]) };
        if ret < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
    })
}

/// A system call through the 32-bit entry of x86-64.
pub fn syscall32(nr: u32) -> io::Result<Value> {
    #[cfg(target_arch = "x86_64")]
    return in_child(|| {
        let ret: i64;
        // SAFETY: `int 0x80` with a number and zero arguments; the call only clobbers rax and r8..r11.
        unsafe {
            std::arch::asm!(
                "push rbx", "xor ebx, ebx", "int 0x80", "pop rbx",
                inlateout("rax") u64::from(nr) => ret,
                in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        let ret = ret as i32;
        if (-4095..0).contains(&ret) { -ret } else { 0 }
    });
    #[cfg(not(target_arch = "x86_64"))]
    Err(io::Error::from_raw_os_error(libc::ENOSYS + nr as i32 * 0))
}

/// Runs a closure in a forked child: its errno as text, or the signal that ended it.
fn in_child(body: impl FnOnce() -> i32) -> io::Result<Value> {
    // SAFETY: the probe has one thread, so the child may do anything; it leaves through _exit.
    unsafe {
        let pid = check(libc::fork() as i64)? as i32;
        if pid == 0 {
            libc::_exit(body());
        }
        let mut status = 0;
        check(libc::waitpid(pid, &mut status, 0) as i64)?;
        if libc::WIFSIGNALED(status) {
            return Ok(json!({"result": format!("signal {}", libc::WTERMSIG(status))}));
        }
        match libc::WEXITSTATUS(status) {
            0 => Ok(json!({"result": "ok"})),
            errno => Ok(json!({"result": error_name(&io::Error::from_raw_os_error(errno))})),
        }
    }
}

/// Forks for ever, and so does every child.
pub fn bomb() -> ! {
    loop {
        // SAFETY: one thread; parent and child do the same.
        unsafe {
            if libc::fork() < 0 {
                libc::sched_yield();
            }
        }
    }
}

/// A child that sleeps until it is killed.
pub fn fork_sleeper() -> io::Result<i32> {
    // SAFETY: one thread; the child only sleeps.
    unsafe {
        let pid = check(libc::fork() as i64)? as i32;
        if pid == 0 {
            loop {
                libc::pause();
            }
        }
        Ok(pid)
    }
}

/// Forks all the time, and so does every child.
pub fn fork_bomb() -> ! {
    loop {
        // SAFETY: one thread; parent and child do the same.
        unsafe { libc::fork() };
    }
}

/// Maps huge pages of 2 MiB in a child and touches each.
pub fn touch_huge_pages(count: usize) -> io::Result<Value> {
    const SIZE: usize = 2 << 20;
    in_child(|| {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
        // SAFETY: a new mapping, of which one byte in each page is written.
        unsafe {
            let pages = libc::mmap(std::ptr::null_mut(), count * SIZE, protection, flags, -1, 0);
            if pages == libc::MAP_FAILED {
                return io::Error::last_os_error().raw_os_error().unwrap_or(0);
            }
            for page in 0..count {
                pages.cast::<u8>().add(page * SIZE).write_volatile(1);
            }
        }
        0
    })
}

/// SIGKILL and wait, for a child of ours.
pub fn kill_and_reap(pid: i32) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: integers, and a status that outlives the call.
    unsafe {
        check(libc::kill(pid, libc::SIGKILL) as i64)?;
        check(libc::waitpid(pid, &mut status, 0) as i64).map(drop)
    }
}

/// Processor time of this process in seconds.
pub fn cpu_time() -> f64 {
    // SAFETY: timespec is plain data that the call fills.
    unsafe {
        let mut t: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t);
        t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
    }
}

/// Scheduling, I/O priority, personality, keyring, process group: what `/proc` does not tell.
pub fn process_facts() -> Value {
    const KEYCTL_GET_KEYRING_ID: i64 = 0;
    const KEY_SPEC_SESSION_KEYRING: i64 = -3;
    const IOPRIO_WHO_PROCESS: i64 = 1;
    // SAFETY: queries with integer arguments about the calling process.
    unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        libc::sched_getparam(0, &mut param);
        let mut uts: libc::utsname = std::mem::zeroed();
        libc::uname(&mut uts);
        let machine: String = uts.machine.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
        json!({
            "keyring": libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0),
            "ioprio": libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0),
            "policy": libc::sched_getscheduler(0),
            "priority": param.sched_priority,
            "nice": libc::getpriority(libc::PRIO_PROCESS, 0),
            "personality": libc::personality(0xffff_ffff),
            "machine": machine,
            "pgid": libc::getpgid(0),
            "sid": libc::getsid(0),
            "pdeathsig": parent_death_signal(),
            "securebits": libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0),
            "dumpable": libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0),
            "subreaper": subreaper(),
        })
    }
}

fn parent_death_signal() -> i32 {
    let mut signal = 0i32;
    // SAFETY: the kernel writes one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal, 0, 0, 0) };
    signal
}

fn subreaper() -> i32 {
    let mut set = 0i32;
    // SAFETY: the kernel writes one int.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &mut set, 0, 0, 0) };
    set
}

/// Which standard descriptors are terminals, and the window size of the first.
pub fn tty_facts() -> Value {
    // SAFETY: queries on descriptors that may or may not be open; winsize is plain data.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        let sized = libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCGWINSZ, &mut size) == 0;
        let is: Vec<bool> = (0..3).map(|fd| libc::isatty(fd) == 1).collect();
        let foreground = libc::tcgetpgrp(0);
        json!({"isatty": is, "rows": sized.then_some(size.ws_row), "columns": sized.then_some(size.ws_col),
               "foreground": foreground})
    }
}

/// Makes these system calls answer ENOSYS, in this process and all that it becomes and makes.
pub fn forbid(calls: &[u32]) -> io::Result<()> {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![step(LOAD_NUMBER, 0, 0, 0)];
    for call in calls {
        program.push(step(JUMP_IF_EQUAL, 0, 1, *call));
        program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        // SAFETY: integers only.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } as i64)?;
    }
    // SAFETY: the kernel copies the program during the call.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) } as i64).map(drop)
}
