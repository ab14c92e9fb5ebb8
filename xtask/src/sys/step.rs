//! Follows a program instruction by instruction, by ptrace(2).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use super::check;

/// Starts a program and tells `visit` the offset, from where its file is mapped first, of every instruction that it
/// executes; with `children`, also of those that its children execute, until they execute another program. Answers the
/// wait status of the program.
pub fn follow(command: &mut Command, children: bool, visit: &mut (dyn FnMut(u64) + Send)) -> io::Result<i32> {
    // What is still being traced when a thread ends goes on by itself.
    thread::scope(|scope| match scope.spawn(move || trace(command, children, visit)).join() {
        Ok(status) => status,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn trace(command: &mut Command, children: bool, visit: &mut dyn FnMut(u64)) -> io::Result<i32> {
    let trace_me = || request(libc::PTRACE_TRACEME, 0, 0);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(trace_me) };
    let first = command.spawn()?.id().cast_signed();
    wait(first)?;
    let forks = if children {
        libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEVFORK
    } else {
        0
    };
    request(libc::PTRACE_SETOPTIONS, first, forks | libc::PTRACE_O_TRACEEXEC)?;
    let base = base(first)?;
    request(libc::PTRACE_SINGLESTEP, first, 0)?;
    loop {
        let (pid, status) = wait(-1)?;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if pid == first {
                return Ok(status);
            }
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        if event == libc::PTRACE_EVENT_EXEC {
            request(libc::PTRACE_DETACH, pid, 0)?;
            continue;
        }
        if signal == libc::SIGTRAP && event == 0 {
            visit(instruction(pid)?.wrapping_sub(base));
        }
        let passed_on =
            if signal == libc::SIGTRAP || signal == libc::SIGSTOP || event != 0 { 0 } else { signal };
        request(libc::PTRACE_SINGLESTEP, pid, passed_on)?;
    }
}

fn request(request: libc::c_uint, pid: i32, data: i32) -> io::Result<()> {
    let data = i64::from(data);
    // SAFETY: none of the requests of this module but `PTRACE_GETREGS`, which has a function of its own, makes the kernel
    // write to this process.
    match unsafe { libc::ptrace(request, pid, 0i64, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn wait(pid: i32) -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let pid = check(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) })?;
    Ok((pid, status))
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: i32) -> io::Result<u64> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
    // SAFETY: the kernel writes a whole `user_regs_struct`, if it succeeds.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0i64, registers.as_mut_ptr()) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written just now.
    Ok(unsafe { registers.assume_init() }.rip)
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction(_pid: i32) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where the program's file is mapped first.
fn base(pid: i32) -> io::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let first = maps.split('-').next().unwrap_or_default();
    u64::from_str_radix(first, 16).map_err(io::Error::other)
}
