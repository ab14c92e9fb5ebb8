#![doc = include_str!("../README.md")]

/// The default profile, for an engine's `linux.seccomp`: what most programs need, and nothing that has to do with the
/// machine. For the architecture that this crate is compiled for, and those that it can run.
pub const DEFAULT: &str = if cfg!(target_arch = "s390x") { DEFAULT_S390X } else { DEFAULT_COMMON };

/// A profile for services that need little. Without 32-bit programs.
pub const STRICT: &str = if cfg!(target_arch = "s390x") { STRICT_S390X } else { STRICT_COMMON };

const DEFAULT_COMMON: &str = include_str!("../profiles/default.json");
const STRICT_COMMON: &str = include_str!("../profiles/strict.json");
// clone(2) has its first two arguments the other way round on s390.
const DEFAULT_S390X: &str = include_str!("../profiles/default-s390x.json");
const STRICT_S390X: &str = include_str!("../profiles/strict-s390x.json");

/// Every profile with its name; `s390x` is for that architecture, the others are for all others.
pub const ALL: [(&str, &str); 4] = [
    ("default", DEFAULT_COMMON),
    ("default-s390x", DEFAULT_S390X),
    ("strict", STRICT_COMMON),
    ("strict-s390x", STRICT_S390X),
];
