//! Why a command failed, and which exit code that means.

use std::io;
use std::path::PathBuf;

use libcontainer::error::Strerror;
use libcontainer::ops::UnknownSignal;

use crate::args::UsageError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The operation.
    #[error(transparent)]
    Runtime(#[from] libcontainer::Error),
    /// `exec` did not come so far as to start the program. Its own exit code keeps this apart from the program's.
    #[error(transparent)]
    Exec(libcontainer::Error),
    /// `exec` was called in a way that makes no sense. runc has the same exit code for that.
    #[error(transparent)]
    ExecUsage(UsageError),
    /// Not a signal.
    #[error(transparent)]
    Signal(#[from] UnknownSignal),
    /// The log file.
    #[error("--log: open {}: {}", path.display(), Strerror(source))]
    Log {
        /// As given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A command of runc or crun that is known, but not implemented.
    #[error("{0} is not supported yet")]
    NotSupported(&'static str),
    /// Not a regular expression.
    #[error("invalid value {pattern:?} for --regex: expected a regular expression: {source}")]
    Regex {
        /// As given.
        pattern: String,
        /// Where it goes wrong.
        source: regex_lite::Error,
    },
    /// With `--regex`, some containers of several failed. Each has its warning in the log.
    #[error("{verb} --regex {pattern:?}: {failed} of {matched} containers failed; the first: {first}")]
    Several {
        /// The command.
        verb: &'static str,
        /// As given.
        pattern: String,
        /// How many it could not be done to.
        failed: usize,
        /// How many were meant.
        matched: usize,
        /// Why not to the first of them.
        first: Box<libcontainer::Error>,
    },
    /// `spec` never overwrites.
    #[error("{} exists already: remove it first, or choose another directory with --bundle", .0.display())]
    SpecExists(PathBuf),
    /// The new config.json.
    #[error("write {}: {}", path.display(), Strerror(source))]
    Spec {
        /// Where to.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file or stream that `update --resources` names.
    #[error("--resources: open {}: {}", path.display(), Strerror(source))]
    Resources {
        /// As given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A seccomp profile.
    #[error(transparent)]
    Profile(#[from] crate::commands::ProfileFailure),
    /// A file that a flag names.
    #[error("{flag}: {}: {}", path.display(), Strerror(source))]
    File {
        /// The flag.
        flag: &'static str,
        /// As given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A system call that only other architectures have.
    #[error("{call}: {arch} has no such system call; others do")]
    NoSuchCall {
        /// Its name.
        call: String,
        /// The architecture that was asked about.
        arch: &'static str,
    },
    /// Not a system call.
    #[error("unknown system call {call:?}{}", nearest.map(|n| format!(", did you mean {n}?")).unwrap_or_default())]
    UnknownCall {
        /// As written.
        call: String,
        /// What might be meant.
        nearest: Option<&'static str>,
    },
    /// Nothing could be recorded.
    #[error(transparent)]
    Record(#[from] libcontainer::seccomp::record::RecordError),
    /// `record` was interrupted while processes without a supervisor were left.
    #[error(
        "interrupted: what still runs of the program can make no more system calls (ENOSYS); the profile is written"
    )]
    LeftBehind,
    /// A comparison that could not be made, which is neither equal nor different.
    #[error("{0}")]
    Compare(Box<Failure>),
    /// Standard output is full or closed.
    #[error("write to standard output: {}", Strerror(.0))]
    Output(io::Error),
    /// ps(1) could not be run.
    #[error("run ps: {} (`corten ps --format json` needs no ps)", Strerror(.0))]
    PsProgram(io::Error),
    /// ps(1) does not know the options.
    #[error("ps failed: {said}")]
    PsFailed {
        /// Its standard error.
        said: String,
    },
    /// ps(1) was asked for a table without a column of pids.
    #[error("the output of ps has no column PID, by which the container's processes could be found")]
    PsColumns,
    /// A report that cannot be written as JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// The exit code. Everything is 1, as in runc, but a program that `exec` could not start, and what diff(1) does.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Exec(_) | Failure::ExecUsage(_) => 255,
            Failure::Compare(_) => 2,
            _ => 1,
        }
    }
}
