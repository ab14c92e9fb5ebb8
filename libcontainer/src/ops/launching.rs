//! The verbs that start processes.

use super::{CreateOptions, ExecOptions, RunOptions};
use crate::error::{Error, Result};
use crate::state::Store;

/// Creates a container, up to the point where its program waits for [`start`].
///
/// # Errors
///
/// [`Error::Unsupported`].
pub fn create(_store: &Store, _options: &CreateOptions) -> Result<()> {
    Err(Error::Unsupported { what: "create" })
}

/// Lets the program of a created container begin.
///
/// # Errors
///
/// [`Error::Unsupported`].
pub fn start(_store: &Store, _id: &str) -> Result<()> {
    Err(Error::Unsupported { what: "start" })
}

/// Creates and starts a container, waits for it unless detached, and returns its exit code.
///
/// # Errors
///
/// [`Error::Unsupported`].
pub fn run(_store: &Store, _options: &RunOptions) -> Result<i32> {
    Err(Error::Unsupported { what: "run" })
}

/// Starts another process in a container, waits for it unless detached, and returns its exit code.
///
/// # Errors
///
/// [`Error::Unsupported`].
pub fn exec(_store: &Store, _options: &ExecOptions) -> Result<i32> {
    Err(Error::Unsupported { what: "exec" })
}
