//! `mounts` (config.md#mounts). What the options mean is decided where they are compiled.

use super::at::At;
use super::{Check, Context, text};
use crate::config::{Mount, NamespaceKind};
use crate::error::Problem;

const AT: At<'_> = At::top("mounts");

/// Every mount has a place, and what it needs to be made.
pub(super) fn mounts(cx: &Context<'_>) -> Check {
    let mounts = &cx.config.mounts;
    if !mounts.is_empty() {
        cx.needs(NamespaceKind::Mount, AT, "mounts would be made on the host without a mount namespace")?;
    }
    for (i, mount) in mounts.iter().enumerate() {
        let at = AT.index(i);
        destination(mount, at.field("destination"))?;
        text::optional_c_string(mount.kind.as_ref(), at.field("type"))?;
        text::optional_c_string(mount.source.as_ref(), at.field("source"))?;
        text::c_strings(&mount.options, at.field("options"))?;
        what(mount, at)?;
        mappings(mount, at)?;
    }
    Ok(())
}

/// Relative destinations are deprecated: they are taken from `/`, with a warning. Data for a filesystem, as
/// in `size=1k`, means nothing to a bind mount: the kernel ignores it, and so do other runtimes.
pub(super) fn warnings(mounts: &[Mount], warnings: &mut Vec<String>) {
    for (i, mount) in mounts.iter().enumerate() {
        if !mount.destination.starts_with('/') {
            let destination = &mount.destination;
            warnings.push(format!("mounts[{i}].destination: relative path {destination:?} is taken from /"));
        }
        if mount.options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind")) {
            for data in mount.options.iter().filter(|option| option.contains('=')) {
                warnings.push(format!("mounts[{i}].options: {data:?} means nothing to a bind mount"));
            }
        }
    }
}

fn destination(mount: &Mount, at: At<'_>) -> Check {
    if mount.destination.is_empty() {
        return Err(at.err(Problem::Empty));
    }
    text::c_string(&mount.destination, at)?;
    let clean = text::clean(&mount.destination);
    if clean == "/" {
        return Err(at.err(Problem::Forbidden { why: "the root of the container cannot be mounted over" }));
    }
    match clean.strip_prefix("/proc/") {
        Some(inside) if !MAY_COVER_IN_PROC.contains(&inside) => Err(at.err(Problem::Forbidden {
            why: "files in /proc that the runtime relies on cannot be mounted over",
        })),
        _ => Ok(()),
    }
}

/// Files of procfs that lxcfs and its kin virtualise. Anything else in there could deceive the runtime
/// (CVE-2019-19921: `/proc/self/attr`). This check is on the text; the launcher resolves symbolic links and looks again.
const MAY_COVER_IN_PROC: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// A bind needs a source, a new filesystem a type, a change of an existing mount neither.
fn what(mount: &Mount, at: At<'_>) -> Check {
    let has = |words: &[&str]| mount.options.iter().any(|option| words.contains(&option.as_str()));
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    if has(&["bind", "rbind"]) {
        if empty(&mount.source) {
            return Err(at.field("source").err(Problem::Missing { why: "for a bind mount" }));
        }
        return Ok(());
    }
    let changes =
        ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];
    if empty(&mount.kind) && !has(&["remount"]) && !has(&changes) {
        return Err(at.field("type").err(Problem::Missing { why: "unless options has \"bind\"" }));
    }
    Ok(())
}

/// Mappings come in pairs.
fn mappings(mount: &Mount, at: At<'_>) -> Check {
    match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (false, true) => Err(at.field("gidMappings").err(Problem::Missing { why: "with uidMappings" })),
        (true, false) => Err(at.field("uidMappings").err(Problem::Missing { why: "with gidMappings" })),
        _ => {
            super::namespaces::extents(&mount.uid_mappings, at.field("uidMappings"))?;
            super::namespaces::extents(&mount.gid_mappings, at.field("gidMappings"))
        }
    }
}
