//! Whose a container's cgroup is (config-linux.md#cgroup-ownership).

use crate::config::NamespaceKind;
use crate::host::HostFacts;
use crate::validate::Valid;

/// The host user to whom the cgroup is given, if that is another than the runtime's.
///
/// Only a container that can do something with it gets its cgroup: with a new cgroup namespace, in which its cgroup is
/// the root, and with a writable mount of it at `/sys/fs/cgroup`. Whose id it is on the host is only known with the
/// container's own mappings, not those of a user namespace that is joined.
pub(super) fn cgroup_owner(valid: &Valid<'_>, host: &HostFacts) -> Option<u32> {
    if host.euid != 0 || !valid.namespaces.creates(NamespaceKind::Cgroup) || !has_writable_mount(valid) {
        return None;
    }
    let uid = valid.config.process.as_ref()?.user.uid;
    let owner = if valid.namespaces.creates(NamespaceKind::User) {
        let mappings = &valid.config.linux.as_ref()?.uid_mappings;
        mappings
            .iter()
            .find_map(|m| uid.checked_sub(m.container_id).filter(|n| *n < m.size)?.checked_add(m.host_id))
    } else {
        (!valid.namespaces.has(NamespaceKind::User)).then_some(uid)
    };
    owner.filter(|owner| *owner != host.euid)
}

fn has_writable_mount(valid: &Valid<'_>) -> bool {
    valid.config.mounts.iter().any(|m| {
        matches!(m.kind.as_deref(), Some("cgroup" | "cgroup2"))
            && m.destination.trim_end_matches('/') == "/sys/fs/cgroup"
            && !m.options.iter().any(|option| option == "ro" || option == "rro")
    })
}
