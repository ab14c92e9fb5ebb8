//! Children under a filter.
#![allow(unsafe_code)]

use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use libcontainer::seccomp::SockFilter;

/// How long seccomp(2) takes, in a child.
pub fn time_load(program: &[SockFilter]) -> Duration {
    in_child(|| load(program))
}

/// How long so many calls take under the filter (none if it is empty), in a child.
pub fn time_calls(program: &[SockFilter], nr: i64, args: [u64; 2], count: u32) -> Duration {
    in_child(|| {
        load(program);
        let begin = Instant::now();
        for _ in 0..count {
            // SAFETY: the calls of the bench take numbers, and do nothing of consequence to this child.
            std::hint::black_box(unsafe { libc::syscall(nr, args[0], args[1], 0) });
        }
        begin.elapsed()
    })
}

fn load(program: &[SockFilter]) -> Duration {
    if program.is_empty() {
        return Duration::ZERO;
    }
    // SAFETY: numbers only.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0, "no_new_privs");
    let begin = Instant::now();
    corten_init::sys::load_filter(program, 0).expect("the kernel takes the program");
    begin.elapsed()
}

/// Forks, and gives what the child measured. It may write to the pipe, which filters of containers allow.
fn in_child(measure: impl FnOnce() -> Duration) -> Duration {
    let (ours, theirs) = rustix::pipe::pipe().expect("pipe");
    // SAFETY: this program has one thread, so the child may do anything; it leaves by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let nanos = u64::try_from(measure().as_nanos()).unwrap_or(u64::MAX).to_ne_bytes();
        // SAFETY: the buffer outlives the call.
        unsafe {
            libc::write(theirs.as_raw_fd(), nanos.as_ptr().cast(), nanos.len());
            libc::_exit(0);
        }
    }
    drop(theirs);
    let mut nanos = [0; 8];
    std::fs::File::from(ours).read_exact(&mut nanos).expect("the child measures");
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    Duration::from_nanos(u64::from_ne_bytes(nanos))
}
