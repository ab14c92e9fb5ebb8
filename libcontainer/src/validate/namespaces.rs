//! `linux.namespaces` and what goes with each of them (config-linux.md#namespaces).

use super::at::At;
use super::{Check, Context, Namespaces, text};
use crate::config::{IdMapping, Linux, NamespaceKind};
use crate::error::{ConfigError, Problem};

const LINUX: At<'_> = At::top("linux");
const AT: At<'_> = LINUX.field("namespaces");

/// The kinds that are listed, at most once each, with absolute paths.
pub(super) fn namespaces(linux: &Linux) -> Result<Namespaces<'_>, ConfigError> {
    let mut entries: Vec<(NamespaceKind, Option<&str>)> = Vec::with_capacity(linux.namespaces.len());
    for (i, namespace) in linux.namespaces.iter().enumerate() {
        let at = AT.index(i);
        if entries.iter().any(|(kind, _)| *kind == namespace.kind) {
            let value = namespace.kind.name().to_owned();
            return Err(at.field("type").err(Problem::Duplicate { value }));
        }
        // Go encoders write an absent path as "".
        let path = namespace.path.as_deref().filter(|path| !path.is_empty());
        path.map_or(Ok(()), |path| text::absolute(path, at.field("path")))?;
        entries.push((namespace.kind, path));
    }
    Ok(Namespaces::new(entries))
}

/// `linux.uidMappings` and `gidMappings` go with a user namespace. With one that is joined they are allowed, since
/// engines repeat there what the namespace has; whether they agree can only be known once it is open.
pub(super) fn id_mappings(cx: &Context<'_>) -> Check {
    let linux = cx.linux;
    for (name, mappings) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
        let at = LINUX.field(name);
        if mappings.is_empty() {
            if cx.namespaces.creates(NamespaceKind::User) {
                return Err(at.err(Problem::Missing { why: "with a new user namespace" }));
            }
            continue;
        }
        cx.needs(NamespaceKind::User, at, "ids cannot be mapped without a user namespace")?;
        extents(mappings, at)?;
    }
    Ok(())
}

/// What user_namespaces(7) demands of a map: up to 340 extents, none empty, none overlapping another.
pub(super) fn extents(mappings: &[IdMapping], at: At<'_>) -> Check {
    const MOST: usize = 340;
    if mappings.len() > MOST {
        return Err(at.err(Problem::TooMany { count: mappings.len(), most: MOST }));
    }
    for (i, extent) in mappings.iter().enumerate() {
        let at = at.index(i);
        if extent.size == 0 {
            return Err(at.field("size").err(Problem::OutOfRange { value: 0, range: "at least 1" }));
        }
        for (name, first) in [("containerID", extent.container_id), ("hostID", extent.host_id)] {
            if first.checked_add(extent.size).is_none() {
                let with = at.field("size").to_path();
                let why = "the ids run beyond 4294967294";
                return Err(at.field(name).err(Problem::Conflict { with, why }));
            }
        }
    }
    overlaps(mappings, "containerID", |extent| extent.container_id, at)?;
    overlaps(mappings, "hostID", |extent| extent.host_id, at)
}

fn overlaps(
    mappings: &[IdMapping],
    name: &'static str,
    first: impl Fn(&IdMapping) -> u32,
    at: At<'_>,
) -> Check {
    let mut order: Vec<usize> = (0..mappings.len()).collect();
    order.sort_by_key(|i| first(&mappings[*i]));
    for pair in order.windows(2) {
        let (lower, upper) = (&mappings[pair[0]], &mappings[pair[1]]);
        if first(lower) + lower.size > first(upper) {
            let (i, j) = (pair[0].max(pair[1]), pair[0].min(pair[1]));
            let with = at.index(j).field(name).to_path();
            return Err(at.index(i).field(name).err(Problem::Conflict { with, why: "the ids overlap" }));
        }
    }
    Ok(())
}

/// The ids of `process.user` exist in a new user namespace.
pub(super) fn user_is_mapped(cx: &Context<'_>) -> Check {
    const USER: At<'_> = At::top("process").field("user");
    let Some(process) = &cx.config.process else { return Ok(()) };
    if !cx.namespaces.creates(NamespaceKind::User) {
        return Ok(());
    }
    let check = |id: u32, mappings: &[IdMapping], name: &str, at: At<'_>| {
        if mappings.iter().any(|m| id >= m.container_id && id - m.container_id < m.size) {
            return Ok(());
        }
        let with = LINUX.field(name).to_path();
        Err(at.err(Problem::Conflict { with, why: "the id is not mapped in the user namespace" }))
    };
    let user = &process.user;
    check(user.uid, &cx.linux.uid_mappings, "uidMappings", USER.field("uid"))?;
    check(user.gid, &cx.linux.gid_mappings, "gidMappings", USER.field("gid"))?;
    let at = USER.field("additionalGids");
    let mut gids = user.additional_gids.iter().enumerate();
    gids.try_for_each(|(i, gid)| check(*gid, &cx.linux.gid_mappings, "gidMappings", at.index(i)))
}

/// `hostname` and `domainname` need a UTS namespace, or the host would be renamed.
pub(super) fn uts(cx: &Context<'_>) -> Check {
    /// `__NEW_UTS_LEN` of `linux/utsname.h`.
    const MOST: usize = 64;
    for (name, value) in [("hostname", &cx.config.hostname), ("domainname", &cx.config.domainname)] {
        let at = At::top(name);
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        text::c_string(value, at)?;
        if value.len() > MOST {
            return Err(at.err(Problem::TooLong { most: MOST }));
        }
        cx.needs(NamespaceKind::Uts, at, "the host would be renamed without a UTS namespace")?;
    }
    Ok(())
}

/// `linux.timeOffsets` are those of a new time namespace.
pub(super) fn time_offsets(cx: &Context<'_>) -> Check {
    const AT: At<'_> = LINUX.field("timeOffsets");
    if cx.linux.time_offsets.is_empty() {
        return Ok(());
    }
    cx.needs(NamespaceKind::Time, AT, "clocks cannot be set off without a time namespace")?;
    if cx.namespaces.joins(NamespaceKind::Time).is_some() {
        let with = LINUX.field("namespaces").to_path();
        let why = "the offsets of a time namespace that is joined cannot be changed";
        return Err(AT.err(Problem::Conflict { with, why }));
    }
    for (clock, offset) in &cx.linux.time_offsets {
        text::one_of(clock, &["monotonic", "boottime"], "monotonic or boottime", AT.field(clock))?;
        let nanosecs = AT.field(clock);
        text::in_range(offset.nanosecs, 0..=999_999_999, "below one second", nanosecs.field("nanosecs"))?;
    }
    Ok(())
}

/// What is done to the mount tree needs a tree of the container's own.
pub(super) fn mount_tree(cx: &Context<'_>) -> Check {
    const WORDS: [&str; 8] =
        ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];
    const READONLY: At<'_> = At::top("root").field("readonly");
    if cx.config.root.as_ref().is_some_and(|root| root.readonly) {
        cx.needs(
            NamespaceKind::Mount,
            READONLY,
            "the root cannot be made read-only without a mount namespace",
        )?;
    }
    for (name, paths) in
        [("maskedPaths", &cx.linux.masked_paths), ("readonlyPaths", &cx.linux.readonly_paths)]
    {
        let at = LINUX.field(name);
        if !paths.is_empty() {
            cx.needs(NamespaceKind::Mount, at, "paths cannot be protected without a mount namespace")?;
        }
        paths.iter().enumerate().try_for_each(|(i, path)| text::absolute(path, at.index(i)))?;
    }
    let propagation = cx.linux.rootfs_propagation.as_deref().filter(|word| !word.is_empty());
    let Some(propagation) = propagation else { return Ok(()) };
    let at = LINUX.field("rootfsPropagation");
    text::one_of(propagation, &WORDS, "[r]private, [r]shared, [r]slave or [r]unbindable", at)?;
    cx.needs(NamespaceKind::Mount, at, "the host's root would be changed without a mount namespace")
}
