//! The verbs of the runtime, one short file each.

mod delete;
mod kill;
mod launching;
mod list;
mod members;
pub mod options;
mod pause;
mod ps;
mod signal;
mod state;
mod sys;

pub use delete::delete;
pub use kill::kill;
pub use launching::{create, exec, run, start};
pub use list::list;
pub use options::{CreateOptions, ExecFlags, ExecOptions, ExecProcess, RunOptions};
pub use pause::{pause, resume};
pub use ps::{filter_table, ps};
pub use signal::{Signal, UnknownSignal};
pub use state::{StateReport, state};

use crate::error::Result;
use crate::state::{ContainerId, Entry, State, Store};

/// A container that exists, without its lock.
fn load(store: &Store, id: &str) -> Result<(Entry, State)> {
    let entry = store.open_entry(&ContainerId::new(id)?)?;
    let state = entry.read_state()?;
    Ok((entry, state))
}
