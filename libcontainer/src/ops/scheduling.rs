//! What a privileged runtime sets for a process in another user namespace, and for itself.

use std::io::ErrorKind;

use corten_init::sys;

use crate::config::Process;
use crate::error::{PathError, Result};
use crate::host::HostFacts;
use crate::launch::sys as launch;
use crate::plan::{Origin, bits, io_priority, sched_attr};
use crate::validate::{Namespaces, rlimit_name};

/// Scheduling and I/O priority of a process that has lost the right to raise its own: the kernel asks for capabilities of
/// the host's user namespace.
pub(super) fn set_priorities(
    pid: i32,
    process: Option<&Process>,
    namespaces: &Namespaces<'_>,
    host: &HostFacts,
) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    if host.euid != 0 || !namespaces.has(crate::config::NamespaceKind::User) {
        return Ok(());
    }
    if let Some(priority) = &process.io_priority {
        sys::ioprio_set(pid, io_priority(priority)).map_err(failed("process.ioPriority"))?;
    }
    if let Some(scheduler) = &process.scheduler {
        sys::sched_setattr(pid, &sched_attr(scheduler)).map_err(failed("process.scheduler"))?;
    }
    Ok(())
}

/// Resource limits of a process in a user namespace that was there before. What it may lower, it lowers itself; what it
/// would have to raise, only a privileged parent can.
pub(super) fn set_limits(
    pid: i32,
    limits: &[(u32, u64, u64)],
    namespaces: &Namespaces<'_>,
    host: &HostFacts,
) -> Result<()> {
    if host.euid != 0 || !namespaces.has(crate::config::NamespaceKind::User) {
        return Ok(());
    }
    for (index, limit @ (resource, _, hard)) in limits.iter().enumerate() {
        match limit_process(pid, index, *limit) {
            // Without CAP_SYS_RESOURCE: the process has the ceiling of this one, and could do it.
            Err(e)
                if e.source.kind() == ErrorKind::PermissionDenied
                    && launch::hard_limit(*resource) >= *hard => {}
            done => done?,
        }
    }
    Ok(())
}

/// Sets the limit of that place in `process.rlimits`.
pub(super) fn limit_process(
    pid: i32,
    index: usize,
    (resource, soft, hard): (u32, u64, u64),
) -> std::result::Result<(), PathError> {
    launch::limit_process(pid, resource, soft, hard).map_err(|source| {
        let path = Origin::Rlimit { index, name: rlimit_name(resource) }.describe(0).into();
        PathError { doing: "set", path, source }
    })
}

fn failed(field: &'static str) -> impl FnOnce(rustix::io::Errno) -> PathError {
    move |e| PathError { doing: "set", path: field.into(), source: e.into() }
}

/// Keeps this thread, and what it clones, on some processors until it is dropped.
pub(super) struct OnCpus {
    before: Vec<u64>,
}

impl OnCpus {
    /// `process.execCPUAffinity.initial`: where the runtime runs before the process has come into the cgroup. None if
    /// there is nothing to do.
    pub fn initially(process: &Process) -> Result<Option<OnCpus>> {
        const WORDS: usize = 8192 / 64;
        let list = process.exec_cpu_affinity.as_ref().and_then(|a| a.initial.as_deref());
        let mask = bits(list.unwrap_or_default());
        if mask.is_empty() {
            return Ok(None);
        }
        let mut before = vec![0; WORDS];
        sys::sched_getaffinity(&mut before).map_err(failed("process.execCPUAffinity.initial"))?;
        sys::sched_setaffinity(&mask).map_err(failed("process.execCPUAffinity.initial"))?;
        Ok(Some(OnCpus { before }))
    }
}

impl Drop for OnCpus {
    fn drop(&mut self) {
        if let Err(e) = sys::sched_setaffinity(&self.before) {
            log::warn!("cannot go back to the processors of before: {e}");
        }
    }
}
