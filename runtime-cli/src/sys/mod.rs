//! The entry point, and what the standard library would have done before it.
//!
//! Rust's own start-up reads `/proc/self/maps` and sets up an alternative stack, to tell a stack overflow from other
//! crashes: some 20 system calls and a tenth of the time that `corten state` takes (docs/adr/0018-own-entry-point.md). The
//! two things of it that matter here are done below.
#![allow(unsafe_code)]

mod heap;
#[cfg(all(own_start, not(test)))]
mod start;

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;

/// Called by the C library. Arguments and environment reach `std::env` on another way (`.init_array`).
// SAFETY: the only symbol of this name, because `no_main` makes the compiler write none; it has C's signature.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    ignore_sigpipe();
    if let Err(error) = open_closed_stdio() {
        // Without /dev/null there is no safe way to go on: the state file might become standard output.
        eprintln!("corten: standard streams: open /dev/null: {error}");
        return 1;
    }
    libc::c_int::from(crate::run())
}

/// A hook that does not read its standard input, or an engine that closes its end of a socket, must show as an error of
/// that write, not as the death of the runtime. Programs in containers get the default action back.
#[cfg_attr(test, allow(dead_code))]
fn ignore_sigpipe() {
    // SAFETY: no handler is installed, and no other thread exists yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Makes sure that descriptors 0, 1 and 2 are open, so that nothing else gets these numbers.
#[cfg_attr(test, allow(dead_code))]
fn open_closed_stdio() -> rustix::io::Result<()> {
    let closed = {
        // SAFETY: poll(2) says of a descriptor that is closed just that; none of the three is used otherwise.
        let [a, b, c] = [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
        let mut fds = [&a, &b, &c].map(|fd| PollFd::new(fd, PollFlags::empty()));
        retry_on_intr(|| poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
        fds.iter().filter(|fd| fd.revents().contains(PollFlags::NVAL)).count()
    };
    for _ in 0..closed {
        // The lowest free number is one of the three; the descriptor is for the life of the process.
        let null = retry_on_intr(|| open("/dev/null", OFlags::RDWR, Mode::empty()))?;
        std::mem::forget(null);
    }
    Ok(())
}
