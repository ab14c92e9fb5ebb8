//! The processes of a container, as its cgroup knows them.
//!
//! A container without a cgroup of its own (cgroup manager `disabled`, or rootless without delegation) is known by its
//! first process only.

use super::kill::signal_init;
use super::signal::Signal;
use crate::error::Result;
use crate::state::{State, StateError};

/// See the module.
pub(super) struct Members<'a> {
    state: &'a State,
}

impl Members<'_> {
    pub(super) fn of(state: &State) -> Members<'_> {
        Members { state }
    }

    /// Every process, those of sub-cgroups included.
    pub(super) fn pids(&self) -> Result<Vec<i32>> {
        let init = self.state.init().filter(|process| process.is_alive());
        Ok(init.map(|process| process.pid).into_iter().collect())
    }

    /// Signals every process. None left is no error.
    pub(super) fn signal_all(&self, signal: Signal) -> Result<()> {
        signal_init(self.state, signal).map(drop)
    }

    pub(super) fn freeze(&self) -> Result<()> {
        Err(self.no_cgroup())
    }

    pub(super) fn thaw(&self) -> Result<()> {
        Err(self.no_cgroup())
    }

    pub(super) fn thaw_if_frozen(&self) -> Result<()> {
        Ok(())
    }

    /// Kills what is left and removes the cgroup.
    pub(super) fn destroy(&self) -> Result<()> {
        Ok(())
    }

    fn no_cgroup(&self) -> crate::Error {
        StateError::NoCgroup { id: self.state.id.clone() }.into()
    }
}
