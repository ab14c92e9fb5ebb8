//! The end of standard input, told to a program that reads a terminal (docs/adr/0020-foreground-terminals.md).
//!
//! A terminal has no end of file; it has a key for it. `echo ls | corten run` would leave the shell inside waiting for
//! ever, so the key is pressed for as long as somebody reads: whenever all input has been read, once more.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

/// Control-D, what the key means to a program that reads single characters.
const CONTROL_D: u8 = 4;

const FIRST: Duration = Duration::from_millis(5);
const LAST: Duration = Duration::from_secs(1);

/// When to press the key.
pub(super) struct EndOfInput {
    /// Grows: a program that has not read its input for a while is not about to.
    pub pause: Duration,
}

impl EndOfInput {
    pub fn new() -> EndOfInput {
        EndOfInput { pause: FIRST }
    }

    /// The character to send now, unless there is input that nobody has read yet.
    pub fn press(&mut self, master: &OwnedFd) -> Option<u8> {
        self.pause = (self.pause * 2).min(LAST);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(master, flags).ok()?;
        let mut fds = [PollFd::new(&slave, PollFlags::IN)];
        let unread = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if unread != Ok(0) {
            return None;
        }
        let modes = tcgetattr(master).ok()?;
        let by_line = modes.local_modes.contains(LocalModes::ICANON);
        let key = if by_line { modes.special_codes[SpecialCodeIndex::VEOF] } else { CONTROL_D };
        // 0 stands for "no such key" (_POSIX_VDISABLE).
        (key != 0).then_some(key)
    }
}
