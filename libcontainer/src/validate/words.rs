//! Words of the specification that stand for numbers of the kernel: one table for the checks, the compiler of the plan and
//! the features document.

/// Words and their numbers.
pub type Words = &'static [(&'static str, u32)];

/// `process.scheduler.policy` (sched_setattr(2)).
pub const SCHEDULING_POLICIES: Words = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// `process.scheduler.flags` (sched_setattr(2)).
pub const SCHEDULING_FLAGS: Words = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// `process.ioPriority.class` (ioprio_set(2)).
pub const IO_CLASSES: Words = &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// `linux.personality.domain` (personality(2)).
pub const DOMAINS: Words = &[("LINUX", 0), ("LINUX32", 8)];

/// `linux.memoryPolicy.mode` (set_mempolicy(2)).
pub const MEMORY_MODES: Words = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// `linux.memoryPolicy.flags` (set_mempolicy(2)).
pub const MEMORY_FLAGS: Words = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// The number of a word; none if it is not in the table.
#[must_use]
pub fn number(words: Words, word: &str) -> Option<u32> {
    words.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

/// The numbers of several words, or-ed.
#[must_use]
pub fn mask(words: Words, list: &[String]) -> u32 {
    list.iter().filter_map(|word| number(words, word)).fold(0, |all, flag| all | flag)
}
