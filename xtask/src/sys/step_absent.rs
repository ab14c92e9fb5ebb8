//! Stands in for `step` on processors whose breakpoints it does not know.

use std::io;
use std::process::Command;

/// Fails: not supported.
pub fn follow(_: &mut Command, _: bool, _: &[u64], _: &mut (dyn FnMut(u64) + Send)) -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}
