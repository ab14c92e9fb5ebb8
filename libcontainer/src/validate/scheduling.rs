//! `process.scheduler`, `ioPriority` and `execCPUAffinity` (config.md#linux-process).

use super::at::At;
use super::{Check, text, words};
use crate::config::{ExecCpuAffinity, IoPriority, Process, Scheduler};
use crate::error::Problem;

/// `CONFIG_NR_CPUS` at its highest.
const MOST_CPUS: u32 = 8192;

/// All three.
pub(super) fn scheduling(process: &Process, at: At<'_>) -> Check {
    process.scheduler.as_ref().map_or(Ok(()), |s| scheduler(s, at.field("scheduler")))?;
    process.io_priority.as_ref().map_or(Ok(()), |p| io_priority(p, at.field("ioPriority")))?;
    process.exec_cpu_affinity.as_ref().map_or(Ok(()), |a| affinity(a, at.field("execCPUAffinity")))
}

/// What sched_setattr(2) takes: each policy has parameters of its own, and would ignore the others or fail without a word.
fn scheduler(scheduler: &Scheduler, at: At<'_>) -> Check {
    let expected = "a policy such as SCHED_OTHER";
    text::word_of(&scheduler.policy, words::SCHEDULING_POLICIES, expected, at.field("policy"))?;
    let flags = at.field("flags");
    let mut listed = scheduler.flags.iter().enumerate();
    listed.try_for_each(|(i, flag)| {
        let expected = "a flag such as SCHED_FLAG_RESET_ON_FORK";
        text::word_of(flag, words::SCHEDULING_FLAGS, expected, flags.index(i))
    })?;
    text::in_range(scheduler.nice, -20..=19, "between -20 and 19", at.field("nice"))?;
    text::in_range(scheduler.priority, 0..=99, "between 0 and 99", at.field("priority"))?;

    let policy = scheduler.policy.as_str();
    let deadline =
        [("runtime", scheduler.runtime), ("deadline", scheduler.deadline), ("period", scheduler.period)];
    let conflict = |name: &str, why| {
        let with = at.field("policy").to_path();
        Err(at.field(name).err(Problem::Conflict { with, why }))
    };
    if scheduler.priority != 0 && !matches!(policy, "SCHED_FIFO" | "SCHED_RR") {
        return conflict("priority", "only SCHED_FIFO and SCHED_RR have a priority");
    }
    match deadline.iter().find(|(_, value)| *value != 0) {
        Some((name, _)) if policy != "SCHED_DEADLINE" => conflict(name, "only SCHED_DEADLINE has deadlines"),
        _ => Ok(()),
    }
}

fn io_priority(priority: &IoPriority, at: At<'_>) -> Check {
    let expected = "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE";
    text::word_of(&priority.class, words::IO_CLASSES, expected, at.field("class"))?;
    text::in_range(priority.priority, 0..=7, "between 0 and 7", at.field("priority"))
}

fn affinity(affinity: &ExecCpuAffinity, at: At<'_>) -> Check {
    let list = |list: &Option<String>, at| {
        list.as_deref().map_or(Ok(()), |list| text::number_list_below(MOST_CPUS, list, text::CPU_LIST, at))
    };
    list(&affinity.initial, at.field("initial"))?;
    list(&affinity.after, at.field("final"))
}
