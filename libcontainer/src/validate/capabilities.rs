//! `process.capabilities` (config.md#linux-process): from names to masks.

use std::collections::BTreeSet;

use super::CapabilitySets;
use crate::config::Capabilities;

/// The names of capabilities(7), each at the place of its number (`linux/capability.h`).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability, by the name that `config.json` has for it: upper case, with `CAP_`.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let index = NAMES.iter().position(|known| *known == name)?;
    u32::try_from(index).ok()
}

/// The masks of the five sets. Absent means empty: a container never keeps the runtime's capabilities by omission.
///
/// Neither an unknown name nor one that the kernel could not grant is an error (config.md: "a warning SHOULD be
/// logged"): it is left out, and one warning names all of them.
pub(super) fn sets(capabilities: Option<&Capabilities>, warnings: &mut Vec<String>) -> CapabilitySets {
    let Some(listed) = capabilities else { return CapabilitySets::default() };
    let mut unknown = BTreeSet::new();
    let mut mask = |names: &'_ [String]| {
        names.iter().fold(0, |mask, name| match number(name) {
            Some(number) => mask | 1 << number,
            None => {
                unknown.insert(name.clone());
                mask
            }
        })
    };
    let asked = CapabilitySets {
        bounding: mask(&listed.bounding),
        effective: mask(&listed.effective),
        inheritable: mask(&listed.inheritable),
        permitted: mask(&listed.permitted),
        ambient: mask(&listed.ambient),
    };
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.into_iter().collect();
        warnings.push(format!("process.capabilities: ignoring unknown capabilities {}", unknown.join(", ")));
    }
    grantable(asked, warnings)
}

/// capset(2) fails if the effective set is not within the permitted one; ambient capabilities have to be permitted and
/// inheritable (capabilities(7)).
fn grantable(asked: CapabilitySets, warnings: &mut Vec<String>) -> CapabilitySets {
    let granted = CapabilitySets {
        effective: asked.effective & asked.permitted,
        ambient: asked.ambient & asked.permitted & asked.inheritable,
        ..asked
    };
    let mut warn = |set: &str, left_out: u64, why: &str| {
        if left_out != 0 {
            let names =
                NAMES.iter().enumerate().filter(|(i, _)| left_out >> i & 1 == 1).map(|(_, name)| *name);
            let names = names.collect::<Vec<_>>().join(", ");
            warnings.push(format!("process.capabilities.{set}: ignoring {names}: {why}"));
        }
    };
    warn("effective", asked.effective & !granted.effective, "not in the permitted set");
    warn("ambient", asked.ambient & !granted.ambient, "not in both the permitted and the inheritable set");
    granted
}
