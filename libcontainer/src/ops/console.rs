//! Who gets the terminal of a process: a console socket, or the runtime itself.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::{ConsoleSize, Process};
use crate::error::{ConfigError, FieldPath, Problem, Result};
use crate::launch::{ConsoleSocket, connect_path, window_size};

/// The two ends of the way that the terminal takes.
#[derive(Default)]
pub(super) struct Console {
    /// For the process's init, if it has a terminal.
    pub theirs: Option<OwnedFd>,
    /// The runtime's, in the foreground.
    pub ours: Option<ConsoleSocket>,
}

impl Console {
    /// # Errors
    ///
    /// If a detached process would have a terminal that nobody gets, or if there is a socket for a terminal that the
    /// process does not have.
    pub fn open(socket: Option<&Path>, process: Option<&Process>, detached: bool) -> Result<Console> {
        let terminal = process.is_some_and(|p| p.terminal);
        let refused = |problem| Err(ConfigError::new(FieldPath::new("process.terminal"), problem).into());
        match (socket, terminal) {
            (None, false) => Ok(Console::default()),
            (Some(path), true) => {
                let theirs = connect_path(path, "--console-socket: connect to")?;
                Ok(Console { theirs: Some(theirs), ours: None })
            }
            (None, true) if detached => refused(Problem::DetachedTerminal),
            (None, true) => {
                let (ours, theirs) = ConsoleSocket::pair()?;
                Ok(Console { theirs: Some(theirs), ours: Some(ours) })
            }
            (Some(_), false) => {
                let with = FieldPath::new("--console-socket");
                refused(Problem::Conflict { with, why: "cannot use a console socket without a terminal" })
            }
        }
    }
}

/// A terminal in the foreground begins with the size of the caller's, unless the configuration says another one.
pub(super) fn adopt_size(process: Option<&mut Process>) {
    let Some(process) = process.filter(|p| p.terminal && p.console_size.is_none()) else { return };
    let size =
        window_size().map(|(rows, columns)| ConsoleSize { height: rows.into(), width: columns.into() });
    process.console_size = size;
}
