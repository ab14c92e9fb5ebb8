//! What seccomp's gentler and harsher actions do to a process: SIGSYS with its information, the death of one thread,
//! and a tracer that decides.

use super::error_name;
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

static TRAPPED: [AtomicI32; 4] = [const { AtomicI32::new(0) }; 4];

/// `si_signo`, `si_code`, `si_errno`, `si_syscall` of SIGSYS.
extern "C" fn on_sigsys(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t. Of SIGSYS, the fields after the first three are an address, the number
    // of the call and the architecture.
    let (code, errno, nr) = unsafe {
        let after_header = info.cast::<u8>().add(16);
        let nr = after_header.add(size_of::<usize>()).cast::<i32>().read_unaligned();
        ((*info).si_code, (*info).si_errno, nr)
    };
    for (slot, value) in TRAPPED.iter().zip([signal, code, errno, nr]) {
        slot.store(value, Ordering::Relaxed);
    }
}

/// Makes a call that is trapped, in this process, with a handler for SIGSYS.
pub fn trap(nr: u64) -> io::Result<Value> {
    // SAFETY: sigaction is plain data; the handler touches atomics only. The call is the caller's choice.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigsys as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        if libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(nr as i64, 0, 0, 0);
    }
    let [signal, code, errno, nr] = [0, 1, 2, 3].map(|i: usize| TRAPPED[i].load(Ordering::Relaxed));
    Ok(json!({"signal": signal, "code": code, "errno": errno, "nr": nr}))
}

/// Makes a call in a second thread of a child. `alone` if only that thread died, `signal N` if all did.
pub fn in_thread(nr: u64) -> io::Result<Value> {
    const STACK: usize = 64 * 1024;
    extern "C" fn body(nr: *mut libc::c_void) -> libc::c_int {
        // SAFETY: a call with no arguments, which is the caller's choice.
        unsafe { libc::syscall(nr as i64, 0, 0, 0) as i32 }
    }
    // SAFETY: the child has a stack of its own for its second task, which shares memory with it (CLONE_VM) and lives only
    // until CLONE_CHILD_CLEARTID tells; both leave through the kernel.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let stack = libc::mmap(
                std::ptr::null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            let alive = AtomicI32::new(1);
            let flags = libc::CLONE_VM
                | libc::CLONE_SIGHAND
                | libc::CLONE_THREAD
                | libc::CLONE_FS
                | libc::CLONE_FILES
                | libc::CLONE_CHILD_CLEARTID;
            let null = std::ptr::null_mut::<libc::c_void>();
            let made = libc::clone(body, stack.add(STACK), flags, nr as *mut _, null, null, alive.as_ptr());
            let mut waited = 0;
            while made > 0 && alive.load(Ordering::Relaxed) != 0 && waited < 10_000 {
                libc::usleep(1000);
                waited += 1;
            }
            libc::_exit(if made > 0 && waited < 10_000 { 0 } else { 1 });
        }
        let mut status = 0;
        if pid < 0 || libc::waitpid(pid, &mut status, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(match (libc::WIFSIGNALED(status), libc::WEXITSTATUS(status)) {
            (true, _) => json!({"result": format!("signal {}", libc::WTERMSIG(status))}),
            (false, 0) => json!({"result": "alone"}),
            (false, code) => json!({"result": format!("exit {code}")}),
        })
    }
}

/// Makes a call in a child that this process traces, and lets it pass: what the tracer was told, and the result.
pub fn traced(nr: u64) -> io::Result<Value> {
    const EVENT: i32 = libc::SIGTRAP | (libc::PTRACE_EVENT_SECCOMP << 8);
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the child stops itself, makes the call and exits; the tracer passes integers and one word to be filled.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, none, none);
            libc::raise(libc::SIGSTOP);
            let done = libc::syscall(nr as i64, 0, 0, 0);
            libc::_exit(if done < 0 { *libc::__errno_location() } else { 0 });
        }
        let (mut status, mut told) = (0, None);
        while pid > 0 && libc::waitpid(pid, &mut status, 0) == pid && libc::WIFSTOPPED(status) {
            if status >> 8 == EVENT {
                let mut data: libc::c_ulong = 0;
                libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, none, &raw mut data);
                told = Some(data);
            } else {
                libc::ptrace(libc::PTRACE_SETOPTIONS, pid, none, libc::PTRACE_O_TRACESECCOMP as usize);
            }
            libc::ptrace(libc::PTRACE_CONT, pid, none, none);
        }
        let result = match libc::WEXITSTATUS(status) {
            _ if pid < 0 || !libc::WIFEXITED(status) => format!("status {status:#x}"),
            0 => "ok".to_owned(),
            errno => error_name(&io::Error::from_raw_os_error(errno)),
        };
        Ok(json!({"told": told, "result": result}))
    }
}

/// Makes a call in this process. The errno as a number, also one that has no name.
pub fn errno(nr: u64, arg: u64) -> Value {
    // SAFETY: a call with at most one argument, a number; it is the caller's choice.
    let done = unsafe { libc::syscall(nr as i64, arg) };
    let errno = if done < 0 { io::Error::last_os_error().raw_os_error() } else { None };
    json!({"errno": errno.unwrap_or(0)})
}
