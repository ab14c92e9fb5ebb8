//! What is fuzzed: functions that take bytes. They must not panic, allocate without bound, or take long, whatever the
//! bytes are; some also check what they got.
//!
//! The fuzzer in `fuzz/` runs them with libFuzzer (`cargo xtask fuzz`). A test of this crate runs each for a few seconds
//! with a mutator of its own, which needs nothing but `cargo test`.
#![deny(unsafe_code)]

mod bus;
mod container;
mod seccomp;

/// Something to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its program in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    Target { name: "seccomp_profile", run: seccomp::profile, seeds: seccomp::profile_seeds },
    Target { name: "seccomp_rules", run: seccomp::rules, seeds: seccomp::rules_seeds },
    Target { name: "seccomp_program", run: seccomp::program, seeds: seccomp::program_seeds },
    Target { name: "config", run: container::config, seeds: container::config_seeds },
    Target { name: "mount_options", run: container::mount_options, seeds: container::mount_options_seeds },
    Target { name: "state", run: container::state, seeds: container::state_seeds },
    Target { name: "frame", run: container::frame, seeds: container::frame_seeds },
    Target { name: "id_maps", run: container::id_maps, seeds: container::id_maps_seeds },
    Target { name: "bus_message", run: bus::message, seeds: bus::message_seeds },
    Target { name: "unit_properties", run: bus::properties, seeds: bus::properties_seeds },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, and whenever the target has found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target {name}")).run)(data);
}
