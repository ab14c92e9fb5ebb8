#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod circumstances;
mod engine;

pub use circumstances::{Circumstances, ENGINE_CAPABILITIES, Kernel};
pub use engine::{EngineProfile, EngineRule, Filter, LeftOut, ResolveError, Resolved, SubArches, Why};

/// The profiles in the engines' format, by name: their rules depend on capabilities, kernel and architecture.
pub const PROFILES: [(&str, &str); 4] = [
    ("default", include_str!("../profiles/engine/default.json")),
    ("strict", include_str!("../profiles/engine/strict.json")),
    ("nested", include_str!("../profiles/engine/nested.json")),
    ("unconfined-logged", include_str!("../profiles/engine/unconfined-logged.json")),
];

/// The same as `linux.seccomp`, for a container with the capabilities of [`ENGINE_CAPABILITIES`], and for every
/// architecture but s390x, where clone(2) has its first two arguments the other way round.
pub const PLAIN: [(&str, &str); 4] = [
    ("default", include_str!("../profiles/default.json")),
    ("strict", include_str!("../profiles/strict.json")),
    ("nested", include_str!("../profiles/nested.json")),
    ("unconfined-logged", include_str!("../profiles/unconfined-logged.json")),
];

/// The text of a profile in the engines' format.
#[must_use]
pub fn profile(name: &str) -> Option<&'static str> {
    PROFILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
