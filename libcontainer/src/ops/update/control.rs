//! `--l3-cache-schema` and `--mem-bw-schema`: the container's class of service in resctrl.

use std::collections::BTreeSet;
use std::fs;

use super::{FieldPath, Result, UpdateOptions};
use crate::config::IntelRdt;
use crate::ops::members::Members;
use crate::resctrl::{self, Made, Resctrl};
use crate::state::{Entry, Lock, State};

pub(super) const L3_CACHE: &str = "--l3-cache-schema";
pub(super) const MEM_BW: &str = "--mem-bw-schema";

/// What is asked for. An empty text asks for nothing.
pub(super) fn asked(options: &UpdateOptions) -> Option<IntelRdt> {
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let asked = IntelRdt {
        l3_cache_schema: given(&options.l3_cache_schema),
        mem_bw_schema: given(&options.mem_bw_schema),
        ..IntelRdt::default()
    };
    (asked != IntelRdt::default()).then_some(asked)
}

/// A change that has happened.
pub(super) enum Done {
    /// The container's class has other values; these were the old ones.
    Changed { old: Vec<String>, at: FieldPath },
    /// A container without a class has been given one.
    Made(Made),
}

/// Changes the class of a container, or gives it one of its own.
pub(super) fn change(asked: &IntelRdt, entry: &Entry, own: &Lock, state: &mut State) -> Result<Done> {
    let at = FieldPath::new(if asked.l3_cache_schema.is_some() { L3_CACHE } else { MEM_BW });
    if let Some(groups) = &state.intel_rdt {
        let lines: Vec<&str> = [&asked.l3_cache_schema, &asked.mem_bw_schema]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        return Ok(Done::Changed { old: groups.change(&lines, &at)?, at });
    }
    let resctrl = Resctrl::find()?.ok_or_else(|| resctrl::Error::NotMounted { field: at.clone() })?;
    let groups = state.intel_rdt.insert(resctrl.plan(asked, &state.id)).clone();
    entry.write_state(own, state)?;
    let made = match groups.create(asked, &at) {
        Ok(made) => made,
        Err(error) => {
            forget(entry, own, state)?;
            return Err(error.into());
        }
    };
    match move_all(state, &groups, &at) {
        Ok(()) => Ok(Done::Made(made)),
        Err(error) => {
            made.undo();
            forget(entry, own, state)?;
            Err(error)
        }
    }
}

fn forget(entry: &Entry, own: &Lock, state: &mut State) -> Result<()> {
    state.intel_rdt = None;
    entry.write_state(own, state)
}

/// Every thread, until no new ones turn up: what a thread makes is where it is itself.
fn move_all(state: &State, groups: &resctrl::Groups, at: &FieldPath) -> Result<()> {
    let mut moved = BTreeSet::new();
    loop {
        let before = moved.len();
        for pid in Members::of(state).pids()? {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for tid in tasks.filter_map(|t| t.file_name().to_str()?.parse::<i32>().ok()) {
                if moved.insert(tid) {
                    join(groups, tid, at)?;
                }
            }
        }
        if moved.len() == before {
            return Ok(());
        }
    }
}

fn join(groups: &resctrl::Groups, tid: i32, at: &FieldPath) -> Result<()> {
    match groups.join(tid, at) {
        // It has ended.
        Err(resctrl::Error::Refused { source, .. }) if source.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Takes the change back. What cannot be taken back is logged, beside the error that led here.
pub(super) fn undo(done: Done, entry: &Entry, own: &Lock, state: &mut State) {
    match (done, &state.intel_rdt) {
        (Done::Changed { old, at }, Some(groups)) => {
            let lines: Vec<&str> = old.iter().map(String::as_str).collect();
            if let Err(e) = groups.change(&lines, &at) {
                log::warn!("putting back the old values: {e}");
            }
        }
        (Done::Made(made), _) => {
            made.undo();
            if let Err(e) = forget(entry, own, state) {
                log::warn!("{e}");
            }
        }
        (Done::Changed { .. }, None) => {}
    }
}
