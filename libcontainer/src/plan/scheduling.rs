//! When a process runs and where: scheduling, I/O priority, execution domain, memory policy, processors.

use corten_init::sys::SchedAttr;
use corten_init::{Op, Phase};

use super::{Builder, Origin};
use crate::config::{IoPriority, Linux, MemoryPolicy, Process, Scheduler};
use crate::validate::{text, words};

/// Who sets what needs privileges on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The process itself.
    Child,
    /// A privileged runtime: for `CAP_SYS_NICE` in another user namespace the kernel gives nothing.
    Parent,
}

/// A container's first process.
pub(super) fn push_scheduling(b: &mut Builder<'_>, process: &Process, linux: Option<&Linux>, by: By) {
    let policy = linux.is_some_and(|l| l.memory_policy.is_some());
    if policy || (by == By::Child && process.scheduler.is_some()) {
        // Which nodes there are, and whether there is real time, is up to the cgroup's limits.
        b.step(Op::Barrier(Phase::Cgroup), "limits of the cgroup");
    }
    push_settings(b, process, linux, by);
}

/// What every process of a container gets.
pub(super) fn push_settings(b: &mut Builder<'_>, process: &Process, linux: Option<&Linux>, by: By) {
    if let Some(priority) = process.io_priority.as_ref().filter(|_| by == By::Child) {
        b.push(Op::IoPriority(io_priority(priority)), Origin::Field("process.ioPriority"));
    }
    if let Some(scheduler) = process.scheduler.as_ref().filter(|_| by == By::Child) {
        let attr = b.arena.value(sched_attr(scheduler));
        b.push(Op::Scheduler(attr), Origin::Field("process.scheduler"));
    }
    if let Some(policy) = linux.and_then(|l| l.memory_policy.as_ref()) {
        memory_policy(b, policy);
    }
    if let Some(personality) = linux.and_then(|l| l.personality.as_ref()) {
        let domain = words::number(words::DOMAINS, &personality.domain).unwrap_or_default();
        b.push(Op::Personality(domain), Origin::Field("linux.personality"));
    }
}

/// Where a process that joins may run, after it has come into the cgroup.
pub(super) fn push_affinity(b: &mut Builder<'_>, process: &Process) {
    let list = process.exec_cpu_affinity.as_ref().and_then(|a| a.after.as_deref()).unwrap_or_default();
    let mask = bits(list);
    if !mask.is_empty() {
        b.push(Op::CpuAffinity(b.arena.slice(&mask)), Origin::Field("process.execCPUAffinity.final"));
    }
}

fn memory_policy(b: &mut Builder<'_>, policy: &MemoryPolicy) {
    let mode = words::number(words::MEMORY_MODES, &policy.mode).unwrap_or_default();
    let mode = mode | words::mask(words::MEMORY_FLAGS, &policy.flags);
    let nodes = b.arena.slice(&bits(policy.nodes.as_deref().unwrap_or_default()));
    b.push(Op::MemoryPolicy { mode, nodes }, Origin::Field("linux.memoryPolicy"));
}

/// `process.scheduler` as sched_setattr(2) takes it. Words that are not known were refused before.
#[must_use]
pub fn sched_attr(scheduler: &Scheduler) -> SchedAttr {
    SchedAttr {
        policy: words::number(words::SCHEDULING_POLICIES, &scheduler.policy).unwrap_or_default(),
        flags: u64::from(words::mask(words::SCHEDULING_FLAGS, &scheduler.flags)),
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).unwrap_or_default(),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedAttr::default()
    }
}

/// `process.ioPriority` as ioprio_set(2) takes it.
#[must_use]
pub fn io_priority(priority: &IoPriority) -> u32 {
    let class = words::number(words::IO_CLASSES, &priority.class).unwrap_or_default();
    class << 13 | u32::try_from(priority.priority).unwrap_or_default()
}

/// One bit for each number of a list such as `0-3,7`; nothing for an empty list.
#[must_use]
pub fn bits(list: &str) -> Vec<u64> {
    let mut bits = Vec::new();
    for number in text::ranges(list).into_iter().flatten().flatten() {
        let word = number as usize / 64;
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        bits[word] |= 1u64 << (number % 64);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_mask() {
        assert_eq!(bits("0-1, 3"), [0b1011]);
        assert_eq!(bits("63-64"), [1 << 63, 1]);
        assert_eq!(bits("8191").len(), 128);
        assert_eq!(bits(" "), Vec::<u64>::new());
    }

    #[test]
    fn class_and_priority_are_one_number() {
        let priority = IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 6 };
        assert_eq!(io_priority(&priority), 2 << 13 | 6);
    }

    #[test]
    fn a_deadline_is_handed_over_in_full() {
        let scheduler = Scheduler {
            policy: "SCHED_DEADLINE".into(),
            flags: vec!["SCHED_FLAG_RESET_ON_FORK".into(), "SCHED_FLAG_RECLAIM".into()],
            runtime: 1,
            deadline: 2,
            period: 3,
            ..Scheduler::default()
        };
        let attr = sched_attr(&scheduler);
        assert_eq!((attr.policy, attr.flags), (6, 3));
        assert_eq!((attr.runtime, attr.deadline, attr.period), (1, 2, 3));
    }
}
