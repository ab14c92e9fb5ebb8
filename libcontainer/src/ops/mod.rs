//! The verbs of the runtime, one short file each.

mod launching;
pub mod options;

pub use launching::{create, exec, run, start};
pub use options::{CreateOptions, ExecFlags, ExecOptions, ExecProcess, RunOptions};
