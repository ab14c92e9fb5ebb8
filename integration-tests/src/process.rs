//! Running commands with a time limit, their output in files.
//!
//! Files and not pipes: a detached container inherits the runtime's stdio, and a pipe would not report end
//! of file before the container ends.

use crate::failure::Failure;
use crate::{ensure, sys};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a command may take.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Multiplies every time limit: on a machine under software emulation everything takes longer.
pub const PATIENCE_VARIABLE: &str = "CORTEN_PATIENCE";

/// The time limit on this machine: [`PATIENCE_VARIABLE`] times as long as it is on an ordinary one.
pub fn patience(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = || std::env::var(PATIENCE_VARIABLE).ok()?.parse().ok().filter(|n| *n > 0);
    limit * *FACTOR.get_or_init(|| factor().unwrap_or(1))
}

/// When the time is over that may be spent from now on.
pub fn deadline(limit: Duration) -> Instant {
    Instant::now() + patience(limit)
}

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Commands that somebody still holds: [`reap_orphans`] leaves them alone.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps children of this process that have ended, except commands that are still to be waited for: what
/// containers and runtimes left to their subreaper.
pub fn reap_orphans() {
    for pid in crate::leaks::descendants(std::process::id() as i32) {
        if !running().contains(&pid) {
            sys::reap(pid);
        }
    }
}

/// A command that is being put together.
pub struct Cmd {
    command: Command,
    shown: String,
    output: PathBuf,
    limit: Duration,
    stdin: Option<Vec<u8>>,
    terminal: Option<File>,
}

impl Cmd {
    /// A command whose output goes to files in the directory `scratch`.
    pub fn new(program: &std::path::Path, scratch: &std::path::Path) -> Self {
        let mut command = Command::new(program);
        let ours = [crate::driver::SETTINGS_VARIABLE, PATIENCE_VARIABLE];
        for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "XDG_RUNTIME_DIR"].into_iter().chain(ours) {
            command.env_remove(variable);
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let shown = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Cmd {
            command,
            shown,
            output: scratch.join(format!("cmd{serial}")),
            limit: LIMIT,
            stdin: None,
            terminal: None,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<std::ffi::OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Cmd::arg)
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Starts from an empty environment.
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Sets the working directory.
    pub fn cwd(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs as an ordinary user, without supplementary groups.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.command.uid(uid).gid(gid);
        self
    }

    /// Gives the command these bytes on its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Gives the command this terminal for its stdio, and a session of its own on it.
    pub fn terminal(mut self, slave: File) -> Self {
        sys::give_session(&mut self.command);
        self.terminal = Some(slave);
        self
    }

    /// Changes the time limit.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the command and does not wait.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn spawn(mut self) -> Result<Running, Failure> {
        let (out, err) = (self.output.with_extension("out"), self.output.with_extension("err"));
        let stdin = match self.stdin.take() {
            Some(text) => {
                let file = self.output.with_extension("in");
                fs::write(&file, text)?;
                Stdio::from(File::open(file)?)
            }
            None => Stdio::null(),
        };
        self.command.stdin(stdin).stdout(open_output(&out)?).stderr(open_output(&err)?);
        if let Some(slave) = self.terminal.take() {
            self.command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        }
        let child =
            self.command.spawn().map_err(|e| Failure::new(format!("cannot execute {}: {e}", self.shown)))?;
        running().insert(child.id() as i32);
        Ok(Running { child, shown: self.shown, out, err, limit: self.limit })
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// If it cannot be executed or does not end in time.
    pub fn run(self) -> Result<Out, Failure> {
        self.spawn()?.finish()
    }

    /// Runs the command, which has to succeed.
    ///
    /// # Errors
    /// If its exit status is not 0; its stderr is in the message.
    pub fn ok(self) -> Result<Out, Failure> {
        self.run()?.ok()
    }
}

fn open_output(path: &std::path::Path) -> Result<File, Failure> {
    Ok(File::options().create(true).append(true).open(path)?)
}

/// A command on its way.
pub struct Running {
    child: Child,
    shown: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
}

impl Running {
    /// The command's process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The file that its standard output goes to.
    pub fn output_path(&self) -> PathBuf {
        self.out.clone()
    }

    /// What it has written on stdout so far.
    pub fn stdout_so_far(&self) -> String {
        fs::read(&self.out).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the end and meanwhile reaps other children of this process, as an engine does: the init of
    /// a pid namespace cannot end before the orphans in its namespace are reaped.
    ///
    /// # Errors
    /// As for [`finish`](Self::finish).
    #[track_caller]
    pub fn finish_reaping(self) -> Result<Out, Failure> {
        let own = self.pid();
        let end = deadline(self.limit);
        let ended = || fs::read_to_string(format!("/proc/{own}/stat")).is_ok_and(|s| s.contains(") Z "));
        while !ended() && Instant::now() < end {
            reap_orphans();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.finish()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it does not end within its limit; it is killed then.
    pub fn finish(mut self) -> Result<Out, Failure> {
        let Some(status) = wait_child(&mut self.child, self.limit)? else {
            self.child.kill()?;
            self.child.wait()?;
            let err = fs::read_to_string(&self.err).unwrap_or_default();
            let text =
                format!("`{}` did not end in {:?}; stderr: {}", self.shown, patience(self.limit), err.trim());
            return Err(Failure::new(text));
        };
        let lossy = |p: &PathBuf| fs::read(p).map(|b| String::from_utf8_lossy(&b).into_owned());
        Ok(Out { status, stdout: lossy(&self.out)?, stderr: lossy(&self.err)?, shown: self.shown.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        running().remove(&self.pid());
    }
}

/// Waits for a child with a limit; `None` when the time is over.
pub fn wait_child(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
    let pidfd = sys::pidfd_open(child.id() as i32)?;
    let end = deadline(limit);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        sys::wait_readable(&pidfd, left)?;
    }
}

/// What a finished command left.
#[derive(Debug)]
pub struct Out {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The command line, for messages.
    pub shown: String,
}

impl Out {
    /// Exit code, or 128 + signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Demands exit status 0.
    #[track_caller]
    pub fn ok(self) -> Result<Self, Failure> {
        self.exits(0)
    }

    /// Demands this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Result<Self, Failure> {
        if self.code() == code {
            return Ok(self);
        }
        let (out, err) = (tail(&self.stdout), tail(&self.stderr));
        let text =
            format!("`{}` exited with {}, want {code}; stderr: {err} stdout: {out}", self.shown, self.code());
        Err(Failure::new(text))
    }

    /// Demands exit code 1 and one line on stderr that contains one of the needles (compared in lower case).
    ///
    /// # Errors
    /// If any of that is not so.
    #[track_caller]
    pub fn refused(self, needles: &[&str]) -> Result<Self, Failure> {
        self.refused_with(1, needles)
    }

    /// As [`refused`](Self::refused), with another exit code.
    ///
    /// # Errors
    /// If the code, the number of lines or the text is another.
    #[track_caller]
    pub fn refused_with(self, code: i32, needles: &[&str]) -> Result<Self, Failure> {
        let this = self.exits(code)?;
        // runc says `level=warning` about the machine in lines of their own; the error is what counts.
        let counts = |l: &&str| !l.trim().is_empty() && !l.contains("level=warning");
        let lines = this.stderr.lines().filter(counts).count();
        ensure!(lines == 1, "`{}`: {lines} lines on stderr, want 1: {}", this.shown, tail(&this.stderr));
        let lower = this.stderr.to_lowercase();
        let named = needles.is_empty() || needles.iter().any(|n| lower.contains(&n.to_lowercase()));
        ensure!(named, "`{}`: stderr names none of {needles:?}: {}", this.shown, tail(&this.stderr));
        Ok(this)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value, Failure> {
        serde_json::from_str(&self.stdout).map_err(|e| {
            Failure::new(format!("`{}`: stdout is not JSON ({e}): {}", self.shown, tail(&self.stdout)))
        })
    }
}

/// The end of a long text.
pub fn tail(text: &str) -> String {
    let text = text.trim();
    let start = text.char_indices().rev().nth(600).map_or(0, |(i, _)| i);
    format!("{:?}", &text[start..])
}
