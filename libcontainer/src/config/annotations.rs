//! Annotations that change what the runtime does: those of crun that engines set.

use super::Config;

/// `1`: the program keeps the runtime's supplementary groups (`podman run --group-add keep-groups`).
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The parameter by which a filesystem gets `linux.mountLabel`.
pub(crate) const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";

/// What [`MOUNT_CONTEXT`] may be (mount(8)). Without the annotation it is the first.
pub(crate) const MOUNT_CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// Every annotation of a container that is acted upon; the first stands for all that begin so, properties of the unit.
pub(crate) const ALL: [&str; 3] = ["org.systemd.property.", KEEP_GROUPS, MOUNT_CONTEXT];

impl Config {
    /// Whether the program keeps the groups that the runtime was called with.
    pub(crate) fn keeps_groups(&self) -> bool {
        self.annotations.get(KEEP_GROUPS).is_some_and(|value| value == "1")
    }

    /// Parameter and value for the filesystems of `mounts` that can have a label.
    pub(crate) fn mount_label(&self) -> Option<(&'static str, &str)> {
        let label = self.linux.as_ref()?.mount_label.as_deref().filter(|label| !label.is_empty())?;
        let wanted = self.annotations.get(MOUNT_CONTEXT);
        let key = MOUNT_CONTEXTS.into_iter().find(|key| wanted.is_some_and(|wanted| wanted == key));
        Some((key.unwrap_or(MOUNT_CONTEXTS[0]), label))
    }
}
