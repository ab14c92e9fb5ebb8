//! Labels that the machine's security modules have to know. A container that runs without the confinement that its
//! author asked for is worse than none; so a label is refused where its module is not at work, as runc does.

use crate::config::{Linux, Process};
use crate::error::{ConfigError, FieldPath, Problem};
use crate::host::{apparmor_is_enabled, selinux_is_enabled};

/// Refuses labels that nothing would come of.
pub(super) fn check_labels(process: Option<&Process>, linux: Option<&Linux>) -> Result<(), ConfigError> {
    const SELINUX: &str = "SELinux is not enabled on this machine";
    const APPARMOR: &str = "AppArmor is not enabled on this machine";
    let has = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
    let refuse = |at: &str, why| Err(ConfigError::new(FieldPath::new(at), Problem::Unsupported { why }));
    let label = has(process.and_then(|p| p.selinux_label.as_ref()));
    let mount_label = has(linux.and_then(|l| l.mount_label.as_ref()));
    if (label || mount_label) && !selinux_is_enabled() {
        return refuse(if label { "process.selinuxLabel" } else { "linux.mountLabel" }, SELINUX);
    }
    if has(process.and_then(|p| p.apparmor_profile.as_ref())) && !apparmor_is_enabled() {
        return refuse("process.apparmorProfile", APPARMOR);
    }
    Ok(())
}
