//! Ways to what is private and takes bytes of others, for `fuzz/targets` (feature `fuzzing`; not part of the API).

use std::collections::BTreeMap;
use std::path::Path;

use crate::cgroup::fuzzing as systemd;
use crate::config::IdMapping;

/// A message of a bus: what is understood can be sent, and is then the same.
///
/// # Panics
/// If it is not.
pub fn bus_message(bytes: &[u8]) {
    systemd::message(bytes);
}

/// The address of a bus, as `DBUS_SYSTEM_BUS_ADDRESS` has it.
pub fn bus_address(text: &str) {
    systemd::address(text, Path::new("/run/user/1000"));
}

/// Annotations `org.systemd.property.*`: their values can be sent over a bus.
///
/// # Panics
/// If one cannot.
pub fn unit_properties(annotations: &BTreeMap<String, String>) {
    systemd::properties(annotations);
}

/// What is written to `uid_map` and `gid_map`.
#[must_use]
pub fn map_text(mappings: &[IdMapping]) -> String {
    crate::launch::map_text(mappings)
}
