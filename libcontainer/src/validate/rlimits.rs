//! `process.rlimits` (config.md#posix-process): from names to numbers.

use super::at::At;
use crate::config::Rlimit;
use crate::error::{ConfigError, Problem};

/// The limits of getrlimit(2).
const TYPES: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// The name of a limit of [`rlimits`].
pub(crate) fn rlimit_name(number: u32) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| name)
}

/// `(RLIMIT_… number, soft, hard)` in the order listed; `u64::MAX` is `RLIM_INFINITY`.
pub(super) fn rlimits(listed: &[Rlimit], at: At<'_>) -> Result<Vec<(u32, u64, u64)>, ConfigError> {
    let mut limits = Vec::with_capacity(listed.len());
    for (i, rlimit) in listed.iter().enumerate() {
        let at = at.index(i);
        let Some((_, number)) = TYPES.iter().find(|(name, _)| *name == rlimit.kind) else {
            let expected = "RLIMIT_NOFILE or another limit of getrlimit(2)";
            return Err(at.field("type").err(Problem::Unknown { value: rlimit.kind.clone(), expected }));
        };
        if limits.iter().any(|(known, _, _)| known == number) {
            return Err(at.field("type").err(Problem::Duplicate { value: rlimit.kind.clone() }));
        }
        if rlimit.soft > rlimit.hard {
            let with = at.field("hard").to_path();
            let why = "the soft limit is above the hard limit";
            return Err(at.field("soft").err(Problem::Conflict { with, why }));
        }
        limits.push((*number, rlimit.soft, rlimit.hard));
    }
    Ok(limits)
}
