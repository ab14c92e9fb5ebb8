//! A terminal in the foreground: what is typed here goes to the container's terminal, what it prints comes back.
//!
//! ```text
//!  stdin ──> typed ──> master ──> slave: the container's stdio
//! stdout <── shown <── master <── slave
//! ```
//!
//! The pseudo-terminal is made inside, by the container's init, which sends the master through a socket: here one end
//! of a pair, with `--console-socket` somebody else's. One loop ([`relay`]) serves both directions, the signals and the
//! end of the process.

mod buffer;
mod caller;
mod eof;
mod port;
mod relay;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use rustix::termios::{OptionalActions, OutputModes, isatty, tcgetattr, tcsetattr};

use super::error::{Death, LaunchError};
use super::notify::Notify;
use super::signals::ForegroundSignals;
use super::sockets::receive_descriptor;
use crate::error::{Result, SyscallError};

pub(crate) use caller::window_size;

/// The runtime's own end of a console socket.
pub(crate) struct ConsoleSocket(OwnedFd);

impl ConsoleSocket {
    /// This end, and the one for the container's init.
    pub fn pair() -> Result<(ConsoleSocket, OwnedFd)> {
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(SyscallError::calling("socketpair"))?;
        Ok((ConsoleSocket(ours), theirs))
    }

    /// Takes the master, which init sends before it reports to be ready.
    pub fn receive(self) -> Result<Terminal> {
        let mut name = [0; 64];
        let (_, master) = receive_descriptor(self.0.as_fd(), &mut name, RecvFlags::DONTWAIT)
            .map_err(SyscallError::calling("receive the terminal"))?;
        let master = master.ok_or(LaunchError::Protocol { verb: "no terminal" })?;
        Terminal::new(master).map_err(|e| SyscallError::calling("set up the terminal")(e).into())
    }
}

/// The master of the container's terminal.
pub(crate) struct Terminal {
    master: OwnedFd,
}

impl Terminal {
    fn new(master: OwnedFd) -> rustix::io::Result<Terminal> {
        // The description is shared with init, which does not use it after it has sent it.
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        if !isatty(rustix::stdio::stdout()) {
            // `x=$(corten exec -t …)` gets lines that end as everywhere, as with runc; a terminal wants its `\r`.
            let mut modes = tcgetattr(&master)?;
            modes.output_modes.remove(OutputModes::ONLCR);
            tcsetattr(&master, OptionalActions::Now, &modes)?;
        }
        Ok(Terminal { master })
    }

    /// Connects it with the caller's standard input and output until the process behind `pidfd`, a child, has ended and
    /// all that was printed is written. The caller's terminal is raw in the meantime.
    pub fn attend(
        self,
        signals: &ForegroundSignals,
        pid: i32,
        pidfd: &OwnedFd,
        notify: &mut Option<Notify>,
    ) -> Result<Death> {
        let mut relay = relay::Relay::new(self.master)?;
        relay.run(signals, pid, pidfd, notify)
    }
}
