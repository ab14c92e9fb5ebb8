//! Waiting for a container in the foreground: signals go to it, its end comes back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, poll};

use super::error::Death;
use super::notify::Notify;
use super::sys::{reap, signal};
use crate::error::{Result, SyscallError};

/// All signals that can be forwarded, blocked for as long as this lives.
pub(crate) struct ForegroundSignals {
    fd: SignalFd,
    before: SigSet,
}

impl ForegroundSignals {
    /// Blocks the signals, before the container exists: none is lost. The child unblocks them for itself.
    pub fn block() -> Result<ForegroundSignals> {
        let mut set = SigSet::all();
        // What these mean is for this process to see.
        for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP] {
            set.remove(own);
        }
        let before = set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
        let before = before.map_err(SyscallError::calling("sigprocmask"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).map_err(SyscallError::calling("signalfd"))?;
        Ok(ForegroundSignals { fd, before })
    }
}

impl ForegroundSignals {
    /// The number of the next signal that has arrived, and whether it was the kernel that sent it, as for a key of the
    /// terminal.
    pub fn next(&self) -> Result<Option<(i32, bool)>> {
        let info = self.fd.read_signal();
        let info = info.map_err(|e| SyscallError::calling("read signalfd")(io::Error::from(e)))?;
        Ok(info.map(|info| (info.ssi_signo.cast_signed(), info.ssi_code == libc::SI_KERNEL)))
    }
}

impl AsFd for ForegroundSignals {
    /// The signalfd.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ForegroundSignals {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and there is none for a mask that was in force before.
        let _ = self.before.thread_set_mask();
    }
}

/// Waits until the process behind `pidfd`, a child, has ended. Every signal that arrives is sent to it; orphans that
/// this process adopts as a subreaper are reaped. What the container tells the service manager is passed on.
pub(crate) fn wait_foreground(
    signals: &ForegroundSignals,
    pid: i32,
    pidfd: &OwnedFd,
    notify: &mut Option<Notify>,
) -> Result<Death> {
    loop {
        let mut fds = vec![PollFd::new(&signals.fd, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        fds.extend(notify.as_ref().map(Notify::poll_fd));
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(SyscallError::calling("poll")(e).into()),
        }
        let ended = !fds[1].revents().is_empty();
        if let Some(notify) = notify {
            notify.pass_on();
        }
        forward(signals, pid, pidfd.as_fd(), &mut |_| false)?;
        if ended {
            return Ok(reap(pidfd.as_fd()).map_err(SyscallError::calling("waitid"))?);
        }
    }
}

/// Sends what has arrived on to the process, but for what `takes` says it has dealt with.
pub(super) fn forward(
    signals: &ForegroundSignals,
    pid: i32,
    pidfd: BorrowedFd<'_>,
    takes: &mut dyn FnMut(i32) -> bool,
) -> Result<()> {
    loop {
        let info = match signals.fd.read_signal() {
            Ok(Some(info)) => info,
            Ok(None) => return Ok(()),
            Err(e) => return Err(SyscallError::calling("read signalfd")(io::Error::from(e)).into()),
        };
        let number = info.ssi_signo.cast_signed();
        match number {
            libc::SIGCHLD => reap_orphans(pid),
            // The Go runtime's and the terminal's own business.
            libc::SIGURG | libc::SIGPIPE => {}
            number if takes(number) => {}
            number => match signal(pidfd, number) {
                Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                    log::warn!("cannot forward signal {number}: {e}");
                }
                _ => {}
            },
        }
    }
}

/// Reaps what was adopted; not the container itself, whose end is read from its pidfd.
fn reap_orphans(pid: i32) {
    use nix::sys::wait::{Id, waitid};
    loop {
        let peek = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        let dead = match peek {
            Ok(WaitStatus::Exited(dead, _) | WaitStatus::Signaled(dead, _, _)) => dead,
            _ => return,
        };
        if dead.as_raw() == pid || waitpid(dead, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
