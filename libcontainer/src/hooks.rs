//! Hooks: programs of the user's that run at points of the life cycle (config.md#posix-platform-hooks).
//!
//! A hook gets the container's state on stdin and then EOF, the environment that its entry lists and nothing else, and
//! no file descriptor but its three. What it prints ends up in the error if it fails. After its timeout its whole
//! process group is killed.
//!
//! Where a hook runs is a [`Place`]: the runtime's own namespaces, or those of a container. The path is always resolved
//! in the mount namespace that the hook runs in. For `createContainer` that is the container's *before* `pivot_root`,
//! whose root still is the host's tree, so that a path on the host means what it says.

#[allow(unsafe_code)]
mod sys;

#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};

use crate::config::Hook;
use crate::error::{FieldPath, Strerror, SyscallError};

/// How much of a hook's output is kept: the end of it, in bytes.
const OUTPUT_KEPT: usize = 4096;

/// Where hooks run.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In the runtime's namespaces: `prestart`, `createRuntime`, `poststart`, `poststop`.
    Runtime {
        /// Working directory; the bundle, by convention.
        cwd: &'a Path,
    },
    /// In the namespaces of another process: `createContainer`.
    ///
    /// The hook keeps the runtime's capabilities, or gets those of the user namespace if it joins one. That is right
    /// for programs of the host's; nothing from inside a container's root may be run so.
    Container {
        /// A process in these namespaces.
        pidfd: BorrowedFd<'a>,
        /// Which of its namespaces to join, as `CLONE_NEW…` (setns(2) with a pidfd, since Linux 5.8). Not the user
        /// namespace that the runtime is in already, which cannot be entered again.
        namespaces: u32,
        /// Working directory, resolved inside; `/` if absent.
        cwd: Option<&'a Path>,
    },
}

/// A hook that failed.
#[derive(Debug)]
pub struct HookError {
    /// Which one, such as `hooks.prestart[0]`.
    pub at: FieldPath,
    /// Its program.
    pub path: PathBuf,
    /// What went wrong.
    pub failure: HookFailure,
    /// The end of what it printed.
    pub output: String,
}

/// What went wrong with a hook.
#[derive(Debug)]
pub enum HookFailure {
    /// It exited with a status other than 0.
    Exit(i32),
    /// It was killed by a signal.
    Signal(i32),
    /// It ran longer than its timeout and was killed.
    TimedOut(Duration),
    /// It could not be started: the system call on the way to the program, and what the kernel said.
    Start(SyscallError),
    /// The runtime could not do its part.
    Runtime(SyscallError),
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "error running hook {}: {path}: ", self.at)?;
        match &self.failure {
            HookFailure::Exit(status) => write!(f, "exit status {status}")?,
            HookFailure::Signal(signal) => write!(f, "killed by signal {signal}")?,
            HookFailure::TimedOut(timeout) => {
                write!(f, "killed after its timeout of {} s", timeout.as_secs())?;
            }
            HookFailure::Start(e) | HookFailure::Runtime(e) => {
                write!(f, "{}: {}", e.call, Strerror(&e.source))?
            }
        }
        // Quoted, so that an error stays one line.
        if self.output.is_empty() { Ok(()) } else { write!(f, ", output: {:?}", self.output) }
    }
}

impl std::error::Error for HookError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            HookFailure::Start(e) | HookFailure::Runtime(e) => Some(e),
            _ => None,
        }
    }
}

/// Runs hooks of one kind one after the other, up to the first that fails.
///
/// `at` is their list in `config.json`, such as `hooks.prestart`; `state_json` is what they read from stdin.
///
/// # Errors
///
/// [`HookError`] of the hook that failed; those after it did not run.
pub fn run_hooks(
    hooks: &[Hook],
    at: &FieldPath,
    state_json: &[u8],
    place: &Place<'_>,
) -> Result<(), HookError> {
    hooks.iter().enumerate().try_for_each(|(i, hook)| run(hook, &at.index(i), state_json, place))
}

/// Runs hooks of one kind one after the other, whatever becomes of them: `poststop`, where a failure is a warning.
#[must_use = "failures are to be logged"]
pub fn run_all_hooks(hooks: &[Hook], at: &FieldPath, state_json: &[u8], place: &Place<'_>) -> Vec<HookError> {
    let outcomes = hooks.iter().enumerate().map(|(i, hook)| run(hook, &at.index(i), state_json, place));
    outcomes.filter_map(Result::err).collect()
}

fn run(hook: &Hook, at: &FieldPath, state_json: &[u8], place: &Place<'_>) -> Result<(), HookError> {
    let mut output = Tail::default();
    launch(hook, state_json, place).and_then(|running| running.finish(hook.timeout, &mut output)).map_err(
        |failure| HookError {
            at: at.clone(),
            path: PathBuf::from(&hook.path),
            failure,
            output: output.text(),
        },
    )
}

/// A hook between its start and its end.
struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    /// Read end of its stdout and stderr; gone once nobody holds the other.
    output: Option<OwnedFd>,
    /// Read end of the pipe by which the child says why it did not come to be the hook.
    report: OwnedFd,
}

fn launch(hook: &Hook, state_json: &[u8], place: &Place<'_>) -> Result<Running, HookFailure> {
    let runtime = |call| move |e: Errno| HookFailure::Runtime(SyscallError { call, source: e.into() });
    let program = c_string(hook.path.as_bytes())?;
    let args = if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { &hook.args };
    let (join, cwd) = match place {
        Place::Runtime { cwd } => (None, Some(*cwd)),
        Place::Container { pidfd, namespaces, cwd } => (Some((*pidfd, *namespaces)), *cwd),
    };
    let cwd = cwd.map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?;

    let stdin = stdin(state_json)?;
    let (output, output_of_child) = pipe_with(PipeFlags::CLOEXEC).map_err(runtime("pipe2"))?;
    let (report, report_of_child) = pipe_with(PipeFlags::CLOEXEC).map_err(runtime("pipe2"))?;
    // Only our ends: the two ends of a pipe do not share this flag.
    fcntl_setfl(&output, OFlags::NONBLOCK).map_err(runtime("fcntl"))?;
    fcntl_setfl(&report, OFlags::NONBLOCK).map_err(runtime("fcntl"))?;

    let child = sys::Child {
        program: &program,
        argv: &sys::CStringArray::new(
            args.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<_, _>>()?,
        ),
        envp: &sys::CStringArray::new(
            hook.env.iter().map(|v| c_string(v.as_bytes())).collect::<Result<_, _>>()?,
        ),
        cwd: cwd.as_deref(),
        stdin: sys::above_stdio(stdin).map_err(runtime("fcntl"))?,
        output: sys::above_stdio(output_of_child).map_err(runtime("fcntl"))?,
        report: sys::above_stdio(report_of_child).map_err(runtime("fcntl"))?,
        join,
    };
    let (pid, pidfd) = child.spawn().map_err(HookFailure::Runtime)?;
    Ok(Running { pid, pidfd, output: Some(output), report })
}

fn c_string(bytes: &[u8]) -> Result<CString, HookFailure> {
    CString::new(bytes)
        .map_err(|e| HookFailure::Start(SyscallError { call: "execve", source: io::Error::from(e) }))
}

/// A file in memory that holds the state: a hook may read it or not, at its own pace or twice, and nobody has to feed a
/// pipe meanwhile or mind SIGPIPE.
fn stdin(state_json: &[u8]) -> Result<OwnedFd, HookFailure> {
    let failed = |call| move |source: io::Error| HookFailure::Runtime(SyscallError { call, source });
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    let created = match memfd_create("state", flags) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create("state", MemfdFlags::CLOEXEC),
        other => other,
    };
    let file = std::fs::File::from(created.map_err(|e| failed("memfd_create")(e.into()))?);
    // At an offset: reading then begins at the start.
    std::os::unix::fs::FileExt::write_all_at(&file, state_json, 0).map_err(failed("write"))?;
    Ok(file.into())
}

impl Running {
    /// Waits for the end, reading along, and judges it.
    fn finish(mut self, timeout: Option<i64>, output: &mut Tail) -> Result<(), HookFailure> {
        let timeout = timeout.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0)));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let failure = match self.wait_for_news(deadline) {
                Ok(News::Output) => {
                    self.read_along(output);
                    continue;
                }
                Ok(News::Exit) => break,
                Ok(News::Deadline) => HookFailure::TimedOut(timeout.unwrap_or_default()),
                Err(e) => HookFailure::Runtime(SyscallError { call: "poll", source: e.into() }),
            };
            self.kill();
            // How it ended is known.
            let _ = self.reap();
            self.read_along(output);
            return Err(failure);
        }
        let end = self.reap();
        // Not up to EOF: a daemon that the hook left behind may hold the other end for ever.
        self.read_along(output);
        sys::read_report(&self.report).map_or(end, |report| Err(HookFailure::Start(report)))
    }

    fn wait_for_news(&self, deadline: Option<Instant>) -> Result<News, Errno> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(News::Deadline);
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let output = self.output.as_ref().map_or(self.pidfd.as_fd(), |output| output.as_fd());
            let mut fds =
                [PollFd::new(&self.pidfd, PollFlags::IN), PollFd::from_borrowed_fd(output, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
            if self.output.is_some() && !fds[1].revents().is_empty() {
                return Ok(News::Output);
            }
            if !fds[0].revents().is_empty() {
                return Ok(News::Exit);
            }
        }
    }

    /// Takes what is in the pipe, and lets go of it at its end.
    fn read_along(&mut self, tail: &mut Tail) {
        let Some(output) = &self.output else { return };
        let mut buffer = [0; OUTPUT_KEPT];
        // Up to what a pipe holds, not as long as there is something: the hook's timeout has to be looked at.
        for _ in 0..16 {
            match rustix::io::read(output, &mut buffer) {
                Ok(n @ 1..) => tail.push(&buffer[..n]),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(0) | Err(_) => {
                    self.output = None;
                    return;
                }
            }
        }
    }

    /// The hook's whole process group; and the hook itself, in case it has left that.
    fn kill(&self) {
        // Neither can fail but for a process that is gone already.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Takes the exit status.
    fn reap(&self) -> Result<(), HookFailure> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => {
                    return match (status.exit_status(), status.terminating_signal()) {
                        (Some(0), _) => Ok(()),
                        (_, Some(signal)) => Err(HookFailure::Signal(signal)),
                        (status, None) => Err(HookFailure::Exit(status.unwrap_or(-1))),
                    };
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(e) => {
                    return Err(HookFailure::Runtime(SyscallError { call: "waitid", source: e.into() }));
                }
            }
        }
    }
}

/// What there is to do about a running hook.
enum News {
    Output,
    Exit,
    Deadline,
}

/// The end of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(OUTPUT_KEPT);
        self.0.drain(..surplus);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}
