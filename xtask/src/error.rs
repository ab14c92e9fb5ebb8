//! What can go wrong with a chore.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// What a chore answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a chore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments make no chore.
    #[error("see `cargo xtask help`")]
    Usage,
    /// An argument has a value that it cannot have.
    #[error("{option}: `{value}` is not {expected}")]
    Argument {
        /// The option or operand.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file or a system call.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and to what.
        doing: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file that should hold JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it went wrong.
        source: serde_json::Error,
    },
    /// A program that ended badly.
    #[error("`{command}` ended with {status}{}{stderr}", if stderr.is_empty() { "" } else { ": " })]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it had to say.
        stderr: String,
    },
    /// Something that this chore needs and the machine lacks.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// The thing.
        what: String,
        /// What would help.
        hint: &'static str,
    },
}

/// Adds what was being done to an operating system error.
pub trait Doing<T> {
    /// Names the action, with its object.
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: action(), source })
    }
}
