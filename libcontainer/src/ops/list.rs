//! `list`: every container of a state root.

use super::state::{Owners, report};
use super::{StateReport, load};
use crate::error::{Error, Result};
use crate::state::{ContainerId, StateError, Store};

/// The containers of a store, by id. One that cannot be read is left out with a warning in the log, so that it does not
/// hide the others.
///
/// # Errors
///
/// If the state root cannot be read.
pub fn list(store: &Store) -> Result<Vec<StateReport>> {
    let mut reports = Vec::new();
    let owners = Owners::default();
    for id in store.ids()? {
        match one(store, &id, &owners) {
            Ok(report) => reports.push(report),
            // Deleted since the directory was read.
            Err(Error::State(StateError::NotFound { .. })) => {}
            Err(e) => log::warn!("container {id}: {e}"),
        }
    }
    Ok(reports)
}

/// The ids of all containers of a store, also of those whose state cannot be read.
///
/// # Errors
///
/// If the state root cannot be read.
pub fn ids(store: &Store) -> Result<Vec<String>> {
    Ok(store.ids()?.iter().map(|id| id.as_str().to_owned()).collect())
}

fn one(store: &Store, id: &ContainerId, owners: &Owners) -> Result<StateReport> {
    let (entry, state) = load(store, id.as_str())?;
    report(&entry, state, owners)
}
