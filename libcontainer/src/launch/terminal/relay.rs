//! The loop.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};

use super::buffer::Buffer;
use super::caller::{RawMode, copy_size, stop_in_background};
use super::eof::EndOfInput;
use super::port::{Port, is_transient};
use crate::error::{Result, Strerror, SyscallError};
use crate::launch::error::Death;
use crate::launch::notify::Notify;
use crate::launch::signals::{ForegroundSignals, forward};
use crate::launch::sys::reap;

/// Nothing inside has the terminal open at the moment; that cannot be waited for.
const NOBODY: Duration = Duration::from_millis(100);

const TYPED: usize = 16 << 10;
const SHOWN: usize = 64 << 10;

/// What poll(2) reported.
#[derive(Default)]
struct Ready {
    signals: bool,
    ended: bool,
    input: bool,
    master: bool,
    output: bool,
    notify: bool,
    /// The time is over, and nothing has happened.
    nothing: bool,
}

pub(super) struct Relay {
    /// None after the output has gone: closing the master is how a terminal hangs up.
    master: Option<OwnedFd>,
    /// Nobody has the other side open.
    nobody: bool,
    /// None after its end.
    input: Option<Port>,
    end_of_input: Option<EndOfInput>,
    output: Port,
    typed: Buffer,
    shown: Buffer,
    raw: Option<RawMode>,
    /// The process has ended.
    over: bool,
    /// And so has all that it printed.
    drained: bool,
    /// Nobody wants to wait any longer for a reader that is stalled.
    abandoned: bool,
}

impl Relay {
    pub fn new(master: OwnedFd) -> Result<Relay> {
        let opened = SyscallError::calling("open standard input and output for the terminal");
        let ports = Port::input(rustix::stdio::stdin())
            .and_then(|input| Ok((input, Port::output(rustix::stdio::stdout())?)));
        let (input, output) = ports.map_err(opened)?;
        Ok(Relay {
            master: Some(master),
            nobody: false,
            input: Some(input),
            end_of_input: None,
            output,
            typed: Buffer::new(TYPED),
            shown: Buffer::new(SHOWN),
            raw: RawMode::enter(),
            over: false,
            drained: false,
            abandoned: false,
        })
    }

    pub fn run(
        &mut self,
        signals: &ForegroundSignals,
        pid: i32,
        pidfd: &OwnedFd,
        notify: &mut Option<Notify>,
    ) -> Result<Death> {
        let mut death = None;
        loop {
            let ready = self.wait(signals, pidfd, notify.as_ref())?;
            if let Some(notify) = notify.as_mut().filter(|_| ready.notify || ready.ended) {
                notify.pass_on();
            }
            if ready.signals {
                forward(signals, pid, pidfd.as_fd(), &mut |signal| self.takes(signal))?;
            }
            if ready.ended && death.is_none() {
                death = Some(reap(pidfd.as_fd()).map_err(SyscallError::calling("waitid"))?);
                self.stop_typing();
            }
            if ready.input {
                self.read_input();
            }
            self.type_on();
            if ready.nothing {
                self.nobody = false;
                self.press_end_of_input();
            }
            if ready.master || self.over || ready.nothing {
                self.read_master();
            }
            self.write_output(ready.output);
            match death {
                Some(death) if self.abandoned || (self.drained && self.shown.is_empty()) => return Ok(death),
                _ => {}
            }
        }
    }

    /// Waits for what can be made use of. Nothing else is in the set: poll(2) reports errors and hang-ups of all that
    /// is, wanted or not, and would not wait then.
    fn wait(&self, signals: &ForegroundSignals, pidfd: &OwnedFd, notify: Option<&Notify>) -> Result<Ready> {
        let typing = self.master.as_ref().filter(|_| !self.over);
        let input = self.input.as_ref().filter(|_| typing.is_some() && !self.typed.is_full());
        let master = typing.filter(|_| !self.nobody);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, !self.shown.is_full());
        wanted.set(PollFlags::OUT, !self.typed.is_empty());
        let sources = [
            Some(PollFd::new(signals, PollFlags::IN)),
            Some(PollFd::new(pidfd, PollFlags::IN)).filter(|_| !self.over),
            input.map(|input| PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)),
            master.filter(|_| !wanted.is_empty()).map(|master| PollFd::new(master, wanted)),
            Some(PollFd::new(&self.output, PollFlags::OUT)).filter(|_| !self.shown.is_empty()),
            notify.map(Notify::poll_fd).filter(|_| !self.over),
        ];
        let mut fds: Vec<PollFd<'_>> = sources.iter().flatten().cloned().collect();
        let timeout = self.timeout().map(timespec);
        let count = match poll(&mut fds, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(e) => return Err(SyscallError::calling("poll")(e).into()),
        };
        let mut polled = fds.iter();
        let mut next = |source: &Option<PollFd<'_>>| {
            source.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty())
        };
        let [signals, ended, input, master, output, notify] = sources.each_ref().map(&mut next);
        Ok(Ready { signals, ended, input, master, output, notify, nothing: count == 0 })
    }

    fn timeout(&self) -> Option<Duration> {
        if self.over || self.master.is_none() {
            return None;
        }
        let nobody = self.nobody.then_some(NOBODY);
        let end = self.end_of_input.as_ref().filter(|_| self.typed.is_empty()).map(|end| end.pause);
        nobody.into_iter().chain(end).min()
    }

    /// Whether a signal is for the runtime itself.
    fn takes(&mut self, signal: i32) -> bool {
        match signal {
            libc::SIGWINCH => {
                self.copy_size();
                return true;
            }
            libc::SIGCONT => {
                if let Some(raw) = &self.raw {
                    raw.apply();
                }
                self.copy_size();
            }
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP if self.over => self.abandoned = true,
            _ => {}
        }
        false
    }

    fn copy_size(&self) {
        if let Some(master) = &self.master {
            copy_size(master);
        }
    }

    fn read_input(&mut self) {
        let Some(input) = &self.input else { return };
        match self.typed.fill(|spare| input.read(spare)) {
            Ok(n) if n > 0 => {}
            Err(e) if is_transient(e) => {}
            // What the kernel says to a background process that cannot be stopped, or whose terminal is gone.
            Err(Errno::IO) if stop_in_background() => {}
            Ok(_) => {
                self.input = None;
                self.end_of_input = Some(EndOfInput::new());
            }
            Err(_) => self.input = None,
        }
    }

    fn stop_typing(&mut self) {
        self.over = true;
        self.input = None;
        self.end_of_input = None;
        self.typed.clear();
    }

    fn type_on(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| !self.typed.is_empty()) else { return };
        match self.typed.drain(|bytes| write(master, bytes)) {
            Ok(()) => {}
            Err(e) if is_transient(e) => {}
            // Nobody is there to read it.
            Err(_) => self.typed.clear(),
        }
    }

    fn press_end_of_input(&mut self) {
        let (Some(end), Some(master)) = (&mut self.end_of_input, &self.master) else { return };
        if let Some(key) = end.press(master) {
            // It is pressed again anyway.
            let _ = write(master, &[key]);
        }
    }

    fn read_master(&mut self) {
        let Some(master) = &self.master else { return };
        while !self.shown.is_full() {
            match self.shown.fill(|spare| read(master, spare)) {
                Ok(n) if n > 0 => {}
                Err(Errno::INTR) => {}
                // The kernel has passed on all that was written before it says so.
                Err(Errno::AGAIN) => {
                    self.drained = self.over;
                    return;
                }
                // EIO: nobody has the other side open, or not any more.
                Ok(_) | Err(_) => {
                    self.nobody = true;
                    self.drained = self.over;
                    return;
                }
            }
        }
    }

    fn write_output(&mut self, ready: bool) {
        if self.shown.is_empty() {
            return;
        }
        let polled = self.output.has_to_be_polled();
        let mut promised = ready || !polled;
        let output = &self.output;
        let written = self.shown.drain(|bytes| match promised {
            true => {
                promised = !polled;
                output.write(bytes)
            }
            false => Err(Errno::AGAIN),
        });
        match written {
            Ok(()) => {}
            Err(e) if is_transient(e) => {}
            Err(e) => {
                if !matches!(e, Errno::PIPE | Errno::IO) {
                    log::error!("write to standard output: {}", Strerror(&e.into()));
                }
                self.hang_up();
            }
        }
    }

    /// The caller's side has gone. What is inside sees its terminal go: a hang-up, then errors.
    fn hang_up(&mut self) {
        self.master = None;
        self.input = None;
        self.end_of_input = None;
        self.typed.clear();
        self.shown.clear();
        self.drained = true;
    }
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(duration.subsec_nanos()) }
}
