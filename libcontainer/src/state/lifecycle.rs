//! The states of a container, and what may be done in each (runtime-spec `runtime.md#lifecycle`).

use std::fmt;

use super::{Entry, State, StateError};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Everything is set up, and the user's program waits for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// It runs, and its cgroup is frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] =
        [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];

    /// The word that the specification uses (`paused` is an extension that all runtimes share).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be asked of a container that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Let the user's program begin.
    Start,
    /// Send a signal to the first process.
    Kill,
    /// Remove what `create` made.
    Delete,
    /// Remove it whatever its status.
    ForceDelete,
    /// Start another process inside.
    Exec,
    /// Start another process inside although the container is frozen.
    ExecPaused,
    /// Freeze.
    Pause,
    /// Thaw.
    Resume,
    /// Change limits.
    Update,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 9] = [
        Operation::Start,
        Operation::Kill,
        Operation::Delete,
        Operation::ForceDelete,
        Operation::Exec,
        Operation::ExecPaused,
        Operation::Pause,
        Operation::Resume,
        Operation::Update,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Start => "start",
            Operation::Kill => "kill",
            Operation::Delete | Operation::ForceDelete => "delete",
            Operation::Exec | Operation::ExecPaused => "exec in",
            Operation::Pause => "pause",
            Operation::Resume => "resume",
            Operation::Update => "update",
        })
    }
}

/// Which operations are legal in which status: one row per operation.
///
/// Plain `delete` of a created container is legal here although the specification wants an error: see
/// `docs/adr/0015-delete-of-a-created-container.md`.
#[rustfmt::skip]
const LEGAL: &[(Operation, [bool; 5])] = &[
    //                       creating created running paused stopped
    (Operation::Start,       [false,  true,   false,  false, false]),
    (Operation::Kill,        [false,  true,   true,   true,  false]),
    (Operation::Delete,      [false,  true,   false,  false, true]),
    (Operation::ForceDelete, [true,   true,   true,   true,  true]),
    (Operation::Exec,        [false,  true,   true,   false, false]),
    (Operation::ExecPaused,  [false,  true,   true,   true,  false]),
    (Operation::Pause,       [false,  true,   true,   false, false]),
    (Operation::Resume,      [false,  false,  false,  true,  false]),
    (Operation::Update,      [false,  true,   true,   true,  false]),
];

/// Whether `operation` may be done to a container that is `status`.
#[must_use]
pub fn is_legal(operation: Operation, status: Status) -> bool {
    LEGAL.iter().any(|(op, row)| *op == operation && row[status as usize])
}

/// Refuses an operation that is not legal in this status, in the words that engines know.
///
/// # Errors
///
/// The variant of [`StateError`] that belongs to the operation.
pub fn check(operation: Operation, id: &str, status: Status) -> Result<(), StateError> {
    if is_legal(operation, status) {
        return Ok(());
    }
    let id = id.to_owned();
    Err(match operation {
        Operation::Start => StateError::NotCreated { id, status },
        Operation::Delete => StateError::NotStopped { id, status },
        Operation::Exec if status == Status::Paused => StateError::Paused { id },
        Operation::Resume => StateError::NotPaused { id, status },
        _ if status == Status::Stopped => StateError::NotRunning { id, status },
        Operation::Kill => StateError::NotRunning { id, status },
        _ => StateError::Illegal { id, operation, status },
    })
}

/// Derives the status from what is true now.
///
/// # Errors
///
/// What the kernel answers when asked for the gate, except that it is not there.
pub fn status(state: &State, entry: &Entry) -> crate::Result<Status> {
    let Some(process) = state.init() else { return Ok(Status::Creating) };
    let Some(stat) = process.look() else { return Ok(Status::Stopped) };
    if state.creating {
        return Ok(Status::Creating);
    }
    let has_gate = entry.has_start_socket()?;
    // `run` has no gate, and writes the process down before that has executed its program.
    if !has_gate && !stat.has_executed {
        // Or `start` has removed the gate just now, which it does once the program is executed.
        match process.look() {
            None => return Ok(Status::Stopped),
            Some(now) if !now.has_executed => return Ok(Status::Creating),
            Some(_) => {}
        }
    }
    if state.is_frozen() {
        return Ok(Status::Paused);
    }
    Ok(if has_gate { Status::Created } else { Status::Running })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(operation: Operation, status: Status) -> Option<String> {
        check(operation, "c1", status).err().map(|e| e.to_string())
    }

    #[test]
    fn every_operation_has_one_row() {
        for operation in Operation::ALL {
            assert_eq!(LEGAL.iter().filter(|(op, _)| *op == operation).count(), 1, "{operation:?}");
        }
        assert_eq!(LEGAL.len(), Operation::ALL.len());
    }

    #[test]
    fn check_agrees_with_the_table() {
        for operation in Operation::ALL {
            for status in Status::ALL {
                assert_eq!(refusal(operation, status).is_none(), is_legal(operation, status));
            }
        }
    }

    #[test]
    fn status_indexes_its_column() {
        for (i, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, i);
        }
    }

    #[test]
    fn engines_find_their_words() {
        let words = |op, status| refusal(op, status).unwrap_or_default();
        assert!(words(Operation::Kill, Status::Stopped).contains("container not running"));
        assert!(words(Operation::Pause, Status::Stopped).contains("container not running"));
        assert!(words(Operation::Exec, Status::Stopped).contains("container not running"));
        assert!(words(Operation::Resume, Status::Running).contains("container not paused"));
        assert!(words(Operation::Delete, Status::Running).contains("that is not stopped: running"));
        assert_eq!(words(Operation::Start, Status::Running), "cannot start an already running container");
        assert_eq!(words(Operation::Start, Status::Stopped), "cannot start a container that has stopped");
        assert!(words(Operation::Exec, Status::Paused).contains("--ignore-paused"));
    }
}
