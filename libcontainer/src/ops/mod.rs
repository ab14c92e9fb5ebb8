//! The verbs of the runtime, one short file each.

mod agent;
mod build;
mod bundle;
mod console;
mod create;
mod delete;
mod events;
mod exec;
mod filter_check;
mod kill;
mod labels;
mod list;
mod members;
mod mounts;
mod notify;
pub mod options;
mod ownership;
mod pause;
mod place;
mod ps;
mod report;
mod run;
mod scheduling;
mod signal;
mod start;
mod start_hooks;
mod state;
mod sys;
mod update;

pub use create::create;
pub use delete::delete;
pub use events::{Event, EventKind, events, stats};
pub use exec::exec;
pub use kill::kill;
pub use list::{ids, list};
pub use mounts::mounts;
pub use options::{CreateOptions, ExecFlags, ExecOptions, ExecProcess, RunOptions, StartOptions};
pub use pause::{pause, resume};
pub use ps::{filter_table, ps};
pub use run::run;
pub use signal::{Signal, UnknownSignal};
pub use start::start;
pub use state::{StateReport, state};
pub use update::{UpdateOptions, update};

pub use crate::plan::HotMounts;

use std::io;

use crate::error::{Error, PathError, Result};
use crate::state::{ContainerId, Entry, START_SOCKET, State, StateError, Status, Store};

/// Of a container that has ended meanwhile, that is what has to be said, and not what became of its files: an engine would
/// read the kernel's words as those about a missing program.
fn explain_end(error: Error, state: &State) -> Error {
    let has_ended = || state.init().is_none_or(|process| !process.is_alive());
    // Only the container's first process listens at the gate: a process that ends gives that up before it is dead.
    let is_ending =
        |e: &PathError| e.path.ends_with(START_SOCKET) && e.source.kind() == io::ErrorKind::ConnectionRefused;
    let is_its_end = match &error {
        Error::Path(e) => is_ending(e) || has_ended(),
        Error::Cgroup(_) => has_ended(),
        _ => false,
    };
    if !is_its_end {
        return error;
    }
    StateError::NotRunning { id: state.id.clone(), status: Status::Stopped }.into()
}

/// A container that exists, without its lock.
fn load(store: &Store, id: &str) -> Result<(Entry, State)> {
    let entry = store.open_entry(&ContainerId::new(id)?)?;
    let state = match entry.read_state() {
        // Somebody is making it or removing it right now; what it is to be shows when they are done.
        Err(Error::State(StateError::Incomplete { .. })) => {
            let _done = entry.lock()?;
            entry.read_state()?
        }
        state => state?,
    };
    Ok((entry, state))
}
