//! Recording which system calls a program makes.
//!
//! The program runs under a filter that notifies for everything (`SECCOMP_RET_USER_NOTIF`), and each call is noted and
//! allowed to go on. Children inherit the filter, so nothing of what the program starts is missed, and nothing has to be
//! read from an audit log, which drops records under load.

mod sys;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::tables::X32_BIT;
use super::{Arch, name_of};
use crate::config::{Seccomp, SyscallRule};
use crate::error::{Strerror, SyscallError};
use crate::launch::ForegroundSignals;

/// What the runtime's own init calls once a container's filter is in force; see `ops::filter_check`.
const OF_INIT: [&str; 2] = ["capset", "execve"];

/// Why nothing could be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The program could not be started.
    #[error("start {program}: {}", Strerror(source))]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said, of the filter or of the program.
        source: io::Error,
    },
    /// A system call of the supervisor.
    #[error(transparent)]
    Syscall(#[from] SyscallError),
    /// Signals could not be waited for.
    #[error(transparent)]
    Signals(Box<crate::Error>),
    /// No table of system calls for this machine.
    #[error("no system calls are known for this architecture")]
    Architecture,
}

/// What a program and its descendants called.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Architectures and numbers.
    pub calls: BTreeSet<(Arch, u32)>,
    /// How the program ended; `None` if processes were left behind when the recording was ended by a signal.
    pub status: Option<ExitStatus>,
    /// Calls of an architecture that is not known, by audit token and number.
    pub foreign: BTreeSet<(u32, u32)>,
}

impl Recording {
    /// The smallest profile that permits what was recorded, and what a runtime needs to start the program: names in
    /// order, and beside the native architecture those that were seen. Everything else fails with EPERM.
    #[must_use]
    pub fn profile(&self, native: Arch) -> Seccomp {
        let names = self.calls.iter().filter_map(|(arch, nr)| name_of(*arch, *nr));
        let names: BTreeSet<&str> = names.chain(OF_INIT).collect();
        let others = self.calls.iter().map(|(arch, _)| *arch).filter(|arch| *arch != native);
        let arches: BTreeSet<Arch> = others.collect();
        Seccomp {
            default_action: "SCMP_ACT_ERRNO".to_owned(),
            default_errno_ret: Some(libc::EPERM.cast_unsigned()),
            architectures: [native].into_iter().chain(arches).map(|arch| arch.name().to_owned()).collect(),
            syscalls: vec![SyscallRule {
                names: names.into_iter().map(String::from).collect(),
                action: "SCMP_ACT_ALLOW".to_owned(),
                ..SyscallRule::default()
            }],
            ..Seccomp::default()
        }
    }

    /// Numbers that were called and have no name: there is no way to permit them.
    pub fn unnamed(&self) -> impl Iterator<Item = (Arch, u32)> + '_ {
        self.calls.iter().copied().filter(|(arch, nr)| name_of(*arch, *nr).is_none())
    }
}

/// Runs a program to its end, and that of all that it started, and notes their system calls.
///
/// Signals that this process gets meanwhile go to the program; once it has ended, the next SIGINT or SIGTERM ends the
/// recording although descendants still run. Without CAP_SYS_ADMIN the program runs with `no_new_privs`.
///
/// # Errors
/// If the program cannot be started, or the kernel is older than Linux 5.5.
pub fn record(command: Command) -> Result<Recording, RecordError> {
    let native = Arch::native().ok_or(RecordError::Architecture)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let signals = ForegroundSignals::block().map_err(|e| RecordError::Signals(Box::new(e)))?;
    let (ours, theirs) = UnixStream::pair().map_err(SyscallError::calling("socketpair"))?;
    // It returns when the program was executed, which takes answers to its first calls.
    let starting = thread::spawn(move || sys::spawn_filtered(command, theirs.into()));
    let listener = sys::receive_listener(&ours);
    let supervised = match &listener {
        Ok(Some(listener)) => supervise(listener, &signals, native),
        _ => Ok(None),
    };
    // Nobody answers any more: whoever is left shall see an error instead of waiting for ever.
    drop(listener);
    let started = starting.join().unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")));
    let mut child = started.map_err(|source| RecordError::Start { program, source })?;
    let Some((calls, foreign, ended)) = supervised? else { return Err(RecordError::Architecture) };
    let status = finish(&mut child, ended)?;
    Ok(Recording { calls, status, foreign })
}

fn finish(child: &mut Child, ended: bool) -> Result<Option<ExitStatus>, SyscallError> {
    let status = if ended { child.wait().map(Some) } else { child.try_wait() };
    status.map_err(SyscallError::calling("waitid"))
}

type Noted = (BTreeSet<(Arch, u32)>, BTreeSet<(u32, u32)>, bool);

/// Answers until no process with the filter is left (true), or a signal ends it.
fn supervise(
    listener: &OwnedFd,
    signals: &ForegroundSignals,
    native: Arch,
) -> Result<Option<Noted>, RecordError> {
    let (mut calls, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    let mut program: Option<OwnedFd> = None;
    let mut buffer = sys::Notification::new();
    loop {
        let signal_fd = signals.as_fd();
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&signal_fd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(SyscallError::calling("poll")(e).into()),
        }
        let events = fds[0].revents();
        if fds[1].revents().contains(PollFlags::IN) && !forward(signals, program.as_ref())? {
            return Ok(Some((calls, foreign, false)));
        }
        if events.contains(PollFlags::IN) {
            let Some(call) =
                buffer.receive(listener).map_err(SyscallError::calling("SECCOMP_IOCTL_NOTIF_RECV"))?
            else {
                continue;
            };
            if program.is_none() {
                let pid = rustix::process::Pid::from_raw(call.pid);
                program = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            }
            match arch_of(native, call.arch, call.nr) {
                Some(arch) => drop(calls.insert((arch, call.nr))),
                None => drop(foreign.insert((call.arch, call.nr))),
            }
            buffer.go_on(listener).map_err(SyscallError::calling("SECCOMP_IOCTL_NOTIF_SEND"))?;
        } else if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(Some((calls, foreign, true)));
        }
    }
}

fn arch_of(native: Arch, token: u32, nr: u32) -> Option<Arch> {
    let is_x32 = token == Arch::X86_64.token() && nr & X32_BIT != 0;
    let fits = |arch: &Arch| arch.token() == token && (*arch == Arch::X32) == is_x32;
    Arch::all().filter(|arch| arch.runs_on(native)).find(fits)
}

/// Sends signals on to the program. False if there is none any more and the recording shall end.
fn forward(signals: &ForegroundSignals, program: Option<&OwnedFd>) -> Result<bool, RecordError> {
    while let Some((number, from_terminal)) = signals.next().map_err(|e| RecordError::Signals(Box::new(e)))? {
        let ends = matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT);
        // The terminal has sent it to the program as well.
        if number == libc::SIGCHLD || from_terminal && ends {
            continue;
        }
        let Some(signal) = Signal::from_named_raw(number) else { continue };
        let sent = program.is_some_and(|program| pidfd_send_signal(program, signal).is_ok());
        if !sent && ends {
            return Ok(false);
        }
    }
    Ok(true)
}
