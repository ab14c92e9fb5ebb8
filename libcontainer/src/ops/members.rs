//! The processes of a container, as its cgroup knows them.
//!
//! A container without a cgroup of its own (cgroup manager `disabled`, or rootless without delegation) is known by its
//! first process only.

use super::kill::signal_init;
use super::signal::Signal;
use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::state::{State, StateError};

/// See the module.
pub(super) struct Members<'a> {
    state: &'a State,
    cgroup: Cgroup,
}

impl Members<'_> {
    pub(super) fn of(state: &State) -> Members<'_> {
        Members { state, cgroup: Cgroup::from_saved(&state.cgroup) }
    }

    /// Every process, those of sub-cgroups included.
    pub(super) fn pids(&self) -> Result<Vec<i32>> {
        if self.cgroup.is_none() {
            let init = self.state.init().filter(|process| process.is_alive());
            return Ok(init.map(|process| process.pid).into_iter().collect());
        }
        Ok(self.cgroup.procs(true)?)
    }

    /// Signals every process. None left is no error.
    pub(super) fn signal_all(&self, signal: Signal) -> Result<()> {
        if self.cgroup.is_none() {
            return signal_init(self.state, signal).map(drop);
        }
        Ok(self.cgroup.kill_all(signal.number())?)
    }

    pub(super) fn freeze(&self) -> Result<()> {
        self.check_cgroup()?;
        Ok(self.cgroup.freeze()?)
    }

    pub(super) fn thaw(&self) -> Result<()> {
        self.check_cgroup()?;
        Ok(self.cgroup.thaw()?)
    }

    /// Whether there are cgroups below in which processes would not die.
    pub(super) fn may_be_frozen_below(&self) -> bool {
        self.cgroup.may_be_frozen_below()
    }

    /// Lets also those go on that the container froze itself, in cgroups below its own. On version 1 they do not die
    /// otherwise.
    pub(super) fn thaw_below(&self) -> Result<()> {
        Ok(self.cgroup.thaw_for_kill()?)
    }

    /// Removes the cgroup, which must be empty by now.
    pub(super) fn destroy(&self) -> Result<()> {
        Ok(self.cgroup.destroy()?)
    }

    fn check_cgroup(&self) -> Result<()> {
        if self.cgroup.is_none() {
            return Err(StateError::NoCgroup { id: self.state.id.clone() }.into());
        }
        Ok(())
    }
}
