//! Runs a command and all that it forks under ptrace, and makes one of their system calls fail, or their last.
//!
//! Processes are numbered in the order of their birth, the command itself being 0, and the system calls of each from 0.
//! A process is followed until it executes another program, which is the container's or a hook. A process that was
//! there before (the container's init, which waits for `start`) can be followed as well: it is number 1 then.

use super::sys::{self, Stop};
use crate::leaks;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its process is killed before it is made.
    Kill,
    /// It is not made, and answers this errno.
    Errno(i32),
}

/// One system call of one process, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// Which process.
    pub process: usize,
    /// Which of its calls.
    pub call: usize,
    /// What happens.
    pub fault: Fault,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Trace {
    /// The numbers of the system calls of each process.
    pub calls: Vec<Vec<u64>>,
    /// The number of the call that was hit, if it was reached.
    pub hit: Option<u64>,
    /// How the command ended, as wait(2) has it.
    pub status: i32,
    /// It had to be killed.
    pub hung: bool,
    /// Memory of the command's own, not of files, when it was about to end, in KiB.
    pub anonymous: Option<u64>,
}

/// A command line, ready to be executed any number of times.
pub struct Traced {
    /// The program and its arguments.
    pub argv: Vec<CString>,
    /// Its environment.
    pub envp: Vec<CString>,
    /// Its standard streams.
    pub stdio: [OwnedFd; 3],
    /// A process that is there already and is followed, too.
    pub other: Option<i32>,
    /// How long it may take.
    pub limit: Duration,
}

/// Whether this processor's registers are known here.
pub fn is_supported() -> bool {
    sys::can_inject()
}

/// Runs the command.
///
/// # Errors
/// If it cannot be traced.
pub fn run(traced: &Traced, injection: Option<Injection>) -> io::Result<Trace> {
    // A thread of its own, at whose end all that is traced goes on by itself.
    std::thread::scope(|scope| {
        let traced = scope.spawn(|| Tracer::start(traced, injection)?.follow(traced.limit));
        traced.join().map_err(|_| io::Error::other("the tracer panicked"))?
    })
}

/// What the subreaper of an engine does: reaps orphans. Not what is traced: that would take its stops from the tracer.
fn reap_strays() {
    for pid in leaks::descendants(std::process::id() as i32) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let has = |line: &str| status.lines().any(|l| l == line);
        let is_ours = has(&format!("PPid:\t{}", std::process::id()));
        if is_ours && has("TracerPid:\t0") && status.contains("\nState:\tZ") {
            crate::sys::reap(pid);
        }
    }
}

/// What a process has written to, in KiB.
fn anonymous(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.split_whitespace().next()?.parse().ok()
}

struct Tracer {
    command: i32,
    numbers: BTreeMap<i32, usize>,
    injection: Option<Injection>,
    /// The process whose call was skipped and has not yet been given its answer.
    pending: Option<(i32, i32)>,
    trace: Trace,
    ended: bool,
}

impl Tracer {
    fn start(traced: &Traced, injection: Option<Injection>) -> io::Result<Tracer> {
        let stdio = [0, 1, 2].map(|i: usize| traced.stdio[i].as_raw_fd());
        let waiting = sys::fork(&traced.argv, &traced.envp, stdio)?;
        sys::seize(waiting.pid)?;
        let command = waiting.go();
        let mut tracer = Tracer {
            command,
            numbers: BTreeMap::new(),
            injection,
            pending: None,
            trace: Trace::default(),
            ended: false,
        };
        tracer.number(command);
        if let Some(other) = traced.other {
            sys::seize(other)?;
            sys::interrupt(other)?;
            tracer.number(other);
        }
        Ok(tracer)
    }

    fn number(&mut self, pid: i32) -> usize {
        let next = self.trace.calls.len();
        let number = *self.numbers.entry(pid).or_insert(next);
        if number == next {
            self.trace.calls.push(Vec::new());
        }
        number
    }

    fn follow(mut self, limit: Duration) -> io::Result<Trace> {
        let (done, watch) = channel::<()>();
        let command = self.command;
        let watchdog = std::thread::spawn(move || {
            let end = Instant::now() + limit;
            while watch.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                reap_strays();
                if Instant::now() > end {
                    sys::kill(command);
                    return true;
                }
            }
            false
        });
        // What is skipped has to get its answer, also when the command is gone meanwhile.
        while !self.ended || self.pending.is_some() {
            match sys::wait().and_then(|(pid, stop)| self.handle(pid, stop)) {
                // Killed while it was stopped: its end comes next.
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                done => done?,
            }
        }
        drop(done);
        self.trace.hung = watchdog.join().unwrap_or(false);
        Ok(self.trace)
    }

    fn handle(&mut self, pid: i32, stop: Stop) -> io::Result<()> {
        match stop {
            Stop::Entry(call) => self.enter(pid, call),
            Stop::Exit => {
                if let Some((_, errno)) = self.pending.take_if(|(skipped, _)| *skipped == pid) {
                    sys::set_answer(pid, errno)?;
                }
                self.go_on(pid, 0)
            }
            Stop::Forked(child) => {
                self.number(child);
                self.go_on(pid, 0)
            }
            Stop::Execed if pid != self.command => sys::detach(pid),
            Stop::Execed => self.go_on(pid, 0),
            Stop::Trapped => {
                self.number(pid);
                self.go_on(pid, 0)
            }
            Stop::Stopped => sys::listen(pid),
            Stop::Signal(signal) => self.go_on(pid, signal),
            Stop::Ended(status) => {
                self.pending.take_if(|(skipped, _)| *skipped == pid);
                self.numbers.remove(&pid);
                if pid == self.command {
                    (self.trace.status, self.ended) = (status, true);
                }
                Ok(())
            }
        }
    }

    fn enter(&mut self, pid: i32, call: u64) -> io::Result<()> {
        let process = self.number(pid);
        let calls = &mut self.trace.calls[process];
        calls.push(call);
        let number = calls.len() - 1;
        if pid == self.command && call == syscalls::Sysno::exit_group as u64 {
            self.trace.anonymous = anonymous(pid);
        }
        match self.injection {
            Some(i) if (i.process, i.call) == (process, number) => {
                self.trace.hit = Some(call);
                match i.fault {
                    Fault::Kill => sys::kill(pid),
                    Fault::Errno(errno) => {
                        // close(2) closes also when it fails.
                        if call != syscalls::Sysno::close as u64 {
                            sys::skip_call(pid)?;
                        }
                        self.pending = Some((pid, errno));
                    }
                }
                sys::go_on(pid, 0)
            }
            _ => sys::go_on(pid, 0),
        }
    }

    /// To the next call of a process whose calls are of interest; others are not held up.
    fn go_on(&mut self, pid: i32, signal: i32) -> io::Result<()> {
        let process = self.number(pid);
        match self.injection {
            Some(i) if i.process != process || (self.trace.hit.is_some() && self.pending.is_none()) => {
                sys::let_run(pid, signal)
            }
            _ => sys::go_on(pid, signal),
        }
    }
}
