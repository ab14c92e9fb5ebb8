//! What can go wrong, in the user's terms.
//!
//! Every error names the thing at fault: the member of `config.json`, the path, the id, the system call and what the
//! kernel said. Modules have error types of their own; [`Error`] is their sum.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of most of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Place of a member in `config.json`, such as `linux.namespaces[2].path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(String);

impl FieldPath {
    /// The document itself.
    #[must_use]
    pub fn root() -> FieldPath {
        FieldPath(String::new())
    }

    /// A path that is already written out.
    #[must_use]
    pub fn new(path: impl Into<String>) -> FieldPath {
        let path = path.into();
        if path == "." { FieldPath::root() } else { FieldPath(path) }
    }

    /// The member `name` of this object.
    #[must_use]
    pub fn field(&self, name: impl fmt::Display) -> FieldPath {
        if self.0.is_empty() { FieldPath(name.to_string()) } else { FieldPath(format!("{}.{name}", self.0)) }
    }

    /// Element `i` of this array.
    #[must_use]
    pub fn index(&self, i: usize) -> FieldPath {
        FieldPath(format!("{}[{i}]", self.0))
    }

    /// The text, empty for the document itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `config.json` that cannot be used: which member, and why.
#[derive(Debug)]
pub struct ConfigError {
    /// The member at fault.
    pub path: FieldPath,
    /// What is wrong with it.
    pub problem: Problem,
}

impl ConfigError {
    /// An error about `path`.
    #[must_use]
    pub fn new(path: FieldPath, problem: Problem) -> ConfigError {
        ConfigError { path, problem }
    }

    /// The same about a document that `flag` names, and not about `config.json`.
    pub(crate) fn in_document(self, flag: &str) -> ConfigError {
        let path = match self.path.as_str() {
            "" => flag.to_owned(),
            member => format!("{flag}: {member}"),
        };
        ConfigError::new(FieldPath::new(path), self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.0.is_empty() {
            write!(f, "config.json: {}", self.problem)
        } else if self.path.0.starts_with("--") {
            // A flag, or what it names.
            write!(f, "{}: {}", self.path, self.problem)
        } else {
            write!(f, "config.json: {}: {}", self.path, self.problem)
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Json(e) => Some(e),
            _ => None,
        }
    }
}

/// What is wrong with a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not JSON, or not of the type that the specification says.
    #[error("{0}")]
    Json(serde_json::Error),
    /// Required and not there.
    #[error("is required{}", because(.why))]
    Missing {
        /// When it is required, or empty.
        why: &'static str,
    },
    /// There and empty.
    #[error("must not be empty")]
    Empty,
    /// An object with a member whose name is empty.
    #[error("has an empty key")]
    EmptyKey,
    /// Text for the kernel with a NUL byte in it, where the kernel would stop to read.
    #[error("must not contain a NUL byte")]
    Nul,
    /// Text beyond the kernel's limit.
    #[error("must not be longer than {most} bytes")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// A list beyond the kernel's limit.
    #[error("must not have more than {most} elements, and has {count}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A value that would break what a container is.
    #[error("is not allowed: {why}")]
    Forbidden {
        /// Why not.
        why: &'static str,
    },
    /// A path that has to begin with a slash.
    #[error("must be an absolute path, not {value:?}")]
    NotAbsolute {
        /// As written.
        value: String,
    },
    /// A number outside its range.
    #[error("must be {range}, not {value}")]
    OutOfRange {
        /// As written.
        value: i128,
        /// What is allowed, such as `between 0 and 100`.
        range: &'static str,
    },
    /// A word that is not in the list.
    #[error("unknown value {value:?}, expected {expected}")]
    Unknown {
        /// As written.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// A text of the wrong form.
    #[error("{value:?} is not {expected}")]
    Malformed {
        /// As written.
        value: String,
        /// What would do, with its article: `a list of CPUs such as 0-3,7`.
        expected: &'static str,
    },
    /// Given twice.
    #[error("duplicate {value:?}")]
    Duplicate {
        /// What is given twice.
        value: String,
    },
    /// It does not go together with another member.
    #[error("{why} ({with})")]
    Conflict {
        /// The other member.
        with: FieldPath,
        /// Why the two do not go together.
        why: &'static str,
    },
    /// A seccomp filter that the container's init would not survive.
    #[error(
        "answers {call} with {action}, and the container's init has to make this call after the filter is loaded"
    )]
    StopsInit {
        /// The system call.
        call: String,
        /// What happens to it.
        action: String,
    },
    /// A terminal that nobody would get.
    #[error("cannot allocate a terminal for a detached container without --console-socket")]
    DetachedTerminal,
    /// Legal, and not supported here.
    #[error("is not supported: {why}")]
    Unsupported {
        /// What is not supported, or what it would need.
        why: &'static str,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" {why}") }
}

/// Something that the operating system refused, on a path.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {}{}", path.display(), Strerror(source), Since(doing, source))]
pub struct PathError {
    /// The system call or the action, such as `open` or `write "max" to`.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl PathError {
    /// For `map_err`: `fs::read(p).map_err(PathError::doing("read", p))`.
    pub fn doing<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> PathError + use<E> {
        let path = path.to_path_buf();
        move |source| PathError { doing, path, source: source.into() }
    }
}

/// Something that the operating system refused, on no path.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {}{}", Strerror(source), Since(call, source))]
pub struct SyscallError {
    /// The system call.
    pub call: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl SyscallError {
    /// For `map_err`: `socketpair(…).map_err(SyscallError::calling("socketpair"))`.
    pub fn calling<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> SyscallError + use<E> {
        move |source| SyscallError { call, source: source.into() }
    }
}

/// An [`io::Error`] in the words of strerror(3), in lower case, without `(os error 2)`: engines look for these words.
pub struct Strerror<'a>(pub &'a io::Error);

impl fmt::Display for Strerror<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut chars = text.chars();
        match chars.next() {
            Some(first) if !text.starts_with("I/O") => {
                write!(f, "{}{}", first.to_lowercase(), chars.as_str())
            }
            _ => f.write_str(text),
        }
    }
}

/// Which kernel has a system call that this one lacks; nothing for other errors.
pub(crate) struct Since<'a>(pub &'a str, pub &'a io::Error);

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.raw_os_error() != Some(libc::ENOSYS) {
            return Ok(());
        }
        let version = match self.0 {
            "pidfd_send_signal" => "5.1",
            "open_tree" | "move_mount" | "fsopen" | "fsconfig" | "fsmount" | "fspick"
            | "create filesystem" => "5.2",
            "pidfd_open" | "clone3" => "5.3",
            "close_range" => "5.9, or a /proc",
            "mount_setattr" => "5.12",
            _ => return Ok(()),
        };
        write!(f, " (needs Linux {version})")
    }
}

/// Everything that an operation of the runtime can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bundle's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A limit that `update` was asked for.
    #[error("{field}: {problem}")]
    Limit {
        /// The flag, or the member of the document.
        field: FieldPath,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A file or directory.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The container's cgroup.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::Error),
    /// Shares of cache and memory bandwidth.
    #[error(transparent)]
    Resctrl(#[from] crate::resctrl::Error),
    /// A system call without a path.
    #[error(transparent)]
    Syscall(#[from] SyscallError),
    /// The container's process, between clone and exec.
    #[error(transparent)]
    Launch(#[from] crate::launch::LaunchError),
    /// A container's id, state or status.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// A hook.
    #[error(transparent)]
    Hook(#[from] crate::hooks::HookError),
    /// Something that is not there yet.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// The verb or the flag.
        what: &'static str,
    },
}
