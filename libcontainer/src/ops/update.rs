//! `update`: other limits for a container that exists.

mod changes;
mod control;

use changes::{Changes, merged};

use super::explain_end;
use crate::cgroup::Cgroup;
use crate::config::{Config, Resources};
use crate::error::{ConfigError, Error, FieldPath, Problem, Result};
use crate::state::{ContainerId, Operation, Store, lifecycle};
use crate::validate::validate;

/// What `update` shall change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdateOptions {
    /// The container's name.
    pub id: String,
    /// A `linux.resources` object in JSON: what `--resources` names. Its device rules are left alone, as in runc:
    /// engines send the whole object although only the other limits may change, and others (GPU hooks) change the
    /// rules behind the runtime's back.
    pub document: Option<Vec<u8>>,
    /// What single flags say. They win over the document.
    pub flags: Resources,
    /// `--l3-cache-schema`: a line for `schemata`, as `linux.intelRdt.l3CacheSchema`.
    pub l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`: likewise `linux.intelRdt.memBwSchema`.
    pub mem_bw_schema: Option<String>,
}

/// Changes limits of a container: all that are asked for or, on an error, none. What is not asked for stays, and so do
/// memory limits, weights, quotas and periods that are asked to be zero, which is how engines say "absent".
///
/// The new values are written to the container's own copy of its configuration, so that a later `update` starts from
/// them. The bundle stays as it is.
///
/// # Errors
///
/// If there is no such container, if it has stopped, if a value makes no sense by itself or together with those that
/// stay, or if the kernel refuses it. The flag or the member of the document is named.
pub fn update(store: &Store, options: &UpdateOptions) -> Result<()> {
    let mut changes = Changes::read(options)?;
    let entry = store.open_entry(&ContainerId::new(&options.id)?)?;
    let lock = entry.lock()?;
    let mut state = entry.read_state()?;
    lifecycle::check(Operation::Update, &options.id, lifecycle::status(&state, &entry)?)?;

    let cgroup = Cgroup::from_saved(&state.cgroup);
    let before = entry.read_config()?;
    let present = Config::from_slice(&before)?.linux.and_then(|l| l.resources).unwrap_or_default();
    changes.complete(&present, cgroup.kind());
    let writes = changes.lower(cgroup.kind())?;
    let rdt = control::asked(options);
    let after = merged(&before, &changes.persistent(&present, cgroup.kind()), rdt.as_ref())?;
    validate(&Config::from_slice(&after)?).map_err(|e| changes.explain(e))?;

    // Written first: should that fail, nothing has happened yet. Under the lock nobody acts on it before it is true.
    entry.write_config(&lock, &after)?;
    let done = rdt.map(|rdt| control::change(&rdt, &entry, &lock, &mut state)).transpose();
    let error = match done {
        Err(error) => error,
        Ok(done) => match (cgroup.update(&writes), done) {
            (Ok(()), _) => return Ok(()),
            (Err(error), done) => {
                if let Some(done) = done {
                    control::undo(done, &entry, &lock, &mut state);
                }
                error.into()
            }
        },
    };
    entry.write_config(&lock, &before)?;
    Err(explain_end(error, &state))
}
