//! A process that is made and waits for the word to go, given through a FIFO (`exec --wait-fifo`): everything that can
//! fail has happened by then, and what remains is one `execve`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::session::Session;
use super::signals::{ForegroundSignals, forward};
use crate::error::{PathError, Result, SyscallError};

/// The reading end. A writer that opens and closes the FIFO is enough, written or not.
pub(crate) struct GoFifo(OwnedFd);

impl GoFifo {
    /// Opens the FIFO, without waiting for a writer.
    pub fn open(path: &Path) -> Result<GoFifo> {
        let open = || -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fifo = openat(CWD, path, flags, Mode::empty())?;
            match FileType::from_raw_mode(fstat(&fifo)?.st_mode).is_fifo() {
                true => Ok(fifo),
                false => Err(io::Error::other("not a FIFO")),
            }
        };
        Ok(GoFifo(open().map_err(PathError::doing("--wait-fifo: open", path))?))
    }

    /// Waits for the word. Signals go to the process meanwhile, and what ends it ends the waiting.
    pub fn wait(&self, session: &mut Session, signals: Option<&ForegroundSignals>) -> Result<()> {
        loop {
            let (go, ended) = self.look(session.pidfd.as_fd(), signals)?;
            if let Some(signals) = signals {
                forward(signals, session.pid, session.pidfd.as_fd(), &mut |_| false)?;
            }
            if ended {
                // Its last words, or how it died.
                return session.next().map(drop);
            }
            if go {
                return Ok(());
            }
        }
    }

    fn look(&self, pidfd: BorrowedFd<'_>, signals: Option<&ForegroundSignals>) -> Result<(bool, bool)> {
        let mut fds =
            vec![PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        fds.extend(signals.map(|s| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) => Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
            Err(Errno::INTR) => Ok((false, false)),
            Err(e) => Err(SyscallError::calling("poll")(e).into()),
        }
    }
}
