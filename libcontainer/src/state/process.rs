//! Processes that are remembered across commands.
//!
//! A pid alone does not name a process for long: the kernel hands it out again. A pid *and* the time at which its
//! process began (field 22 of proc_pid_stat(5), in clock ticks since boot) do.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process by pid and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessRef {
    /// In the pid namespace of the runtime.
    pub pid: i32,
    /// In clock ticks since boot.
    pub start_time: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: u8,
    /// In clock ticks since boot.
    pub start_time: u64,
    /// Whether it has executed a program since it was cloned.
    pub has_executed: bool,
    /// Whether SIGKILL has been sent to it, from that moment on. (Only for whoever may trace it; otherwise it says no.)
    pub is_killed: bool,
}

impl ProcessStat {
    /// A zombie has ended; only its parent has not looked yet.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

impl ProcessRef {
    /// The process that has this pid now.
    ///
    /// # Errors
    ///
    /// As [`stat`].
    pub fn of(pid: i32) -> io::Result<ProcessRef> {
        Ok(ProcessRef { pid, start_time: stat(pid)?.start_time })
    }

    /// Whether it runs: neither gone, nor a zombie, nor its pid recycled.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.look().is_some()
    }

    /// What there is to say of it while it is alive.
    #[must_use]
    pub fn look(&self) -> Option<ProcessStat> {
        stat(self.pid).ok().filter(|s| s.start_time == self.start_time && !s.has_ended())
    }

    /// A pidfd for exactly this process, or `None` when it has ended.
    ///
    /// The start time is compared *after* the pidfd was opened. The process began long before, so if it is still there
    /// now, it had the pid all the time, and the pidfd is its own.
    ///
    /// # Errors
    ///
    /// What pidfd_open(2) answers, except ESRCH.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        // `from_raw` panics on what no process can have.
        let Some(pid) = Pid::from_raw(self.pid.max(0)) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            // Kernels before 6.16 say so of one that is reaped at this moment.
            Err(rustix::io::Errno::INVAL) if !self.is_alive() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
///
/// What open(2) or read(2) answer; `InvalidData` if the file does not look like proc_pid_stat(5).
pub fn stat(pid: i32) -> io::Result<ProcessStat> {
    // 52 numbers of at most 20 digits and a name of at most 64 bytes.
    let mut buffer = [0; 1280];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut buffer)?;
    parse_stat(&buffer[..length]).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// `PF_FORKNOEXEC` (include/linux/sched.h), ever since there are process flags.
const FORKED_NOT_EXECUTED: u64 = 0x40;

/// The name in field 2 may contain anything, also spaces and parentheses: count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let end_of_name = text.iter().rposition(|b| *b == b')')?;
    let mut fields = text[end_of_name + 1..].split(|b| *b == b' ').filter(|f| !f.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip| std::str::from_utf8(fields.nth(skip)?).ok()?.trim_end().parse::<u64>().ok();
    // Field 3 was taken; the flags are field 9, and the start time is field 22.
    let flags = number(5)?;
    let start_time = number(12)?;
    // Field 52, the exit code, is in Linux 3.5 and later. A fatal signal is in it before the process has noticed.
    let is_killed = number(29) == Some(9);
    Some(ProcessStat { state, start_time, has_executed: flags & FORKED_NOT_EXECUTED == 0, is_killed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_look_like_fields() {
        let rest = "S 1 2 3 4 -1 4194560 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n";
        for name in ["sh", "a b", ") Z 1 (", "(((", ""] {
            let text = format!("77 ({name}) {rest}");
            let stat = parse_stat(text.as_bytes()).unwrap();
            let expected =
                ProcessStat { state: b'S', start_time: 4242, has_executed: true, is_killed: false };
            assert_eq!(stat, expected, "{name:?}");
        }
        let forked = parse_stat(b"77 (x) S 1 2 3 4 -1 4194368 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n");
        assert_eq!(forked.map(|stat| stat.has_executed), Some(false));
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"1 (x) S 1 2"), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_not() {
        let own = ProcessRef::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(own.open().unwrap().is_some());
        let recycled = ProcessRef { start_time: own.start_time + 1, ..own };
        assert!(!recycled.is_alive());
        assert!(recycled.open().unwrap().is_none());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let process = ProcessRef::of(child.id() as i32);
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let fd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let mut poll = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None).unwrap();
        assert!(!process.is_ok_and(|p| p.is_alive()));
        child.wait().unwrap();
    }

    #[test]
    fn who_is_killed_is_known_at_once() {
        for _ in 0..20 {
            let mut child = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
            let pid = child.id() as i32;
            assert!(!stat(pid).unwrap().is_killed);
            child.kill().unwrap();
            assert!(stat(pid).unwrap().is_killed);
            child.wait().unwrap();
        }
    }

    #[test]
    fn nonsense_pids_are_nobody() {
        for pid in [0, -1, i32::MAX, i32::MIN] {
            let process = ProcessRef { pid, start_time: 0 };
            assert!(!process.is_alive(), "{pid}");
            assert!(process.open().is_err() || process.open().is_ok_and(|p| p.is_none()), "{pid}");
        }
    }
}
