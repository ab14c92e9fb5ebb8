//! A terminal with the harness at the keyboard.

use crate::failure::Failure;
use crate::process::{Cmd, Running};
use crate::sys;
use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// How long something may take to appear on the screen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pseudo-terminal, both sides open.
pub struct Pty {
    master: File,
    slave: File,
    /// All that has appeared on the screen so far.
    pub screen: Vec<u8>,
}

impl Pty {
    /// A new terminal of this size.
    ///
    /// # Errors
    /// If there are no more pseudo-terminals.
    pub fn open(rows: u16, columns: u16) -> Result<Pty, Failure> {
        let (master, slave) = sys::open_pty()?;
        let pty = Pty { master: master.into(), slave: slave.into(), screen: Vec::new() };
        pty.resize(rows, columns)?;
        Ok(pty)
    }

    /// Starts a command on it.
    pub fn spawn(&self, cmd: Cmd) -> Result<Running, Failure> {
        cmd.terminal(self.slave.try_clone()?).spawn()
    }

    /// Its modes: input, output, control, local.
    pub fn modes(&self) -> Result<[u32; 4], Failure> {
        Ok(sys::terminal_modes(&self.slave)?)
    }

    /// Changes its size, which the kernel tells the foreground process group.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        Ok(sys::set_window_size(&self.master, rows, columns)?)
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<(), Failure> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Reads what there is, after waiting for it no longer than that; false if there was nothing.
    pub fn read(&mut self, limit: Duration) -> Result<bool, Failure> {
        if !sys::wait_readable(&self.master, limit)? {
            return Ok(false);
        }
        let mut buffer = [0u8; 65536];
        let n = self.master.read(&mut buffer)?;
        self.screen.extend_from_slice(&buffer[..n]);
        Ok(true)
    }

    /// Reads until this text has appeared.
    ///
    /// # Errors
    /// If nothing appears for ten seconds before it.
    pub fn expect(&mut self, text: &str) -> Result<(), Failure> {
        let mut searched = 0;
        loop {
            let unsearched = &self.screen[searched..];
            if unsearched.windows(text.len()).any(|w| w == text.as_bytes()) {
                return Ok(());
            }
            searched = self.screen.len().saturating_sub(text.len());
            if !self.read(crate::process::patience(PATIENCE))? {
                let seen = crate::process::tail(&self.text());
                return Err(Failure::new(format!("{text:?} did not appear on the terminal, only {seen}")));
            }
        }
    }

    /// Reads until the command has ended, and then what is left.
    ///
    /// # Errors
    /// As for [`Running::finish`].
    pub fn attend(&mut self, running: Running) -> Result<crate::process::Out, Failure> {
        let pidfd = sys::pidfd_open(running.pid())?;
        let end = crate::process::deadline(crate::process::LIMIT);
        while !sys::wait_readable(&pidfd, Duration::ZERO)? && Instant::now() < end {
            self.read(Duration::from_millis(10))?;
        }
        while self.read(Duration::ZERO)? {}
        running.finish()
    }

    /// The screen as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }
}
