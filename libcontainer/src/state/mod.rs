//! What is remembered of a container between two commands.
//!
//! Every container has a directory of its own, named by its id, under the state root:
//!
//! | file | written by | meaning |
//! |---|---|---|
//! | `state.json` | create, start, update | [`State`]; replaced by rename, so that a reader sees the old or the new |
//! | `config.json` | create | the configuration as it was then: later edits of the bundle change nothing |
//! | `start.sock` | create | the gate; while it exists, the container waits for `start` |
//! | `start.lock` | start | locked while hooks run in the container, which it has to have |
//! | `notify/` | create | sd_notify(3): a socket while `run` or `start` listens to the container; only if asked for |
//!
//! The status of a container is never stored. [`lifecycle::status`] derives it from what is true now: is the first
//! process alive, is the cgroup frozen, is the gate still there.

mod error;
mod id;
pub mod lifecycle;
mod lock;
pub mod pidfile;
pub mod process;
mod record;
mod root;
mod store;
pub mod time;

pub use error::{Holder, StateError};
pub use id::ContainerId;
pub use lifecycle::{Operation, Status};
pub use lock::{Lock, Turn};
pub use process::ProcessRef;
pub use record::{CgroupManager, FORMAT, State};
pub use root::default_root;
pub use store::{CONFIG_FILE, Entry, START_SOCKET, STATE_FILE, Store};

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::record::tests::example;
    pub(crate) use super::store::tests::Scratch;
}
