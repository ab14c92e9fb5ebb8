//! `mounts` → operations.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use corten_init::{Attrs, BindFrom, Guard, Links, MountOp, Node, Op, Param, Source, SourceLink};

use super::mount_options::{Effect, effect};
use super::{Builder, Demand, Origin, Request, id_maps};
use crate::cgroup::{Hierarchy, Layout};
use crate::config::{Mount, NamespaceKind};
use crate::error::{ConfigError, FieldPath, Problem};

const RDONLY: u64 = 1;
const NOSUID_NODEV_NOEXEC: u64 = 0x2 | 0x4 | 0x8;

/// What may be mounted below `/proc`: files that lxcfs replaces, and two harmless switches. Everything else there
/// would let an image forge what the runtime reads or writes (CVE-2019-16884).
const ALLOWED_IN_PROC: [&str; 11] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
    "proc/net/dev",
];

/// The options of one mount, sorted by what they do; of contradicting ones the last has won.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'o> {
    attrs: Attrs,
    recursive: Attrs,
    propagation: u32,
    bind: Option<bool>,
    remount: bool,
    copy_up: bool,
    id_map: Option<bool>,
    links: Links,
    superblock: Vec<&'static str>,
    data: Vec<&'o str>,
}

impl<'o> Options<'o> {
    pub fn of(mount: &'o Mount) -> Options<'o> {
        let mut all = Options::default();
        for option in &mount.options {
            all.add(option);
        }
        all
    }

    fn add(&mut self, option: &'o str) {
        match effect(option) {
            Some(Effect::Attr { set, clear, superblock }) => {
                change(&mut self.attrs, set, clear);
                if let Some(flag) = superblock {
                    self.superblock.retain(|f| *f != "ro" && *f != "rw");
                    self.superblock.push(flag);
                }
            }
            Some(Effect::Recursive { set, clear }) => change(&mut self.recursive, set, clear),
            Some(Effect::Propagation(flags)) => self.propagation = flags,
            Some(Effect::Bind { recursive }) => self.bind = Some(recursive || self.bind == Some(true)),
            Some(Effect::Remount) => self.remount = true,
            Some(Effect::Superblock(flag)) => self.superblock.push(flag),
            Some(Effect::CopyUp) => self.copy_up = true,
            Some(Effect::IdMap { recursive }) => self.id_map = Some(recursive || self.id_map == Some(true)),
            Some(Effect::SourceLink(what)) => self.links.source = what,
            Some(Effect::CoverTarget) => self.links.cover_target = true,
            Some(Effect::Nothing) => {}
            // The kernel splits its data at commas; so one option may be several.
            None => self.data.extend(option.split(',').filter(|o| !o.is_empty())),
        }
    }

    pub fn is_bind(&self) -> bool {
        self.bind.is_some()
    }

    fn read_only(&self) -> bool {
        self.attrs.set & RDONLY != 0
    }
}

/// A later option undoes an earlier one. The access time modes are one field of several bits, all of which have to be
/// cleared when one is set.
fn change(attrs: &mut Attrs, set: u64, clear: u64) {
    const ATIME: u64 = 0x70;
    attrs.set = (attrs.set & !clear) | set;
    // The kernel takes the access time mode as one field: all of its bits or none.
    let field = if clear & ATIME == 0 { 0 } else { ATIME };
    attrs.clear = (attrs.clear & !(set & !ATIME)) | clear | field;
}

/// A path inside, without leading slash, `.` and `..`: what stays after taking `..` by the letter, as runc does.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Lowers every mount, in order.
pub(super) fn lower_mounts(b: &mut Builder<'_>, r: &Request<'_>) -> Result<(), ConfigError> {
    for (i, mount) in r.valid.config.mounts.iter().enumerate() {
        let at = FieldPath::new("mounts").index(i);
        let target = clean(&mount.destination);
        if target.is_empty() {
            let value = mount.destination.clone();
            let expected = "a path below the root of the container; the root itself is root.path";
            return Err(ConfigError::new(at.field("destination"), Problem::Malformed { value, expected }));
        }
        let options = Options::of(mount);
        let one = One { i, mount, target, options };
        one.check_copy_up()?;
        // By its name, what covers a tmpfs would become read-only in its place.
        b.read_only_later.retain(|(covered, _)| covered.to_bytes() != one.target.as_bytes());
        if one.options.remount || !one.options.is_bind() {
            id_maps::refuse(i, mount, one.options.id_map)?;
        }
        if !(one.options.is_bind() || one.options.remount || is_of_any_network(mount.kind.as_deref())) {
            b.network();
        }
        match (one.options.bind, mount.kind.as_deref()) {
            _ if one.options.remount => remount(b, &one),
            (Some(recursive), _) => bind(b, r, &one, recursive)?,
            (None, Some("cgroup" | "cgroup2")) => cgroup(b, r, &one),
            (None, _) => filesystem(b, r, &one)?,
        }
    }
    Ok(())
}

/// Whether such a filesystem has nothing to do with the network namespace of the one who mounts it. sysfs has.
fn is_of_any_network(kind: Option<&str>) -> bool {
    matches!(kind, Some("proc" | "tmpfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2"))
}

/// One element of `mounts`.
struct One<'c> {
    i: usize,
    mount: &'c Mount,
    target: String,
    options: Options<'c>,
}

impl One<'_> {
    fn origin(&self) -> Origin {
        let place = match &self.mount.source {
            Some(source) if self.options.is_bind() => format!("{source} on {}", self.mount.destination),
            _ => self.mount.destination.clone(),
        };
        Origin::Mount { index: self.i, place, params: Vec::new() }
    }

    /// A new tmpfs alone can be given a copy of what it covers.
    fn check_copy_up(&self) -> Result<(), ConfigError> {
        let is_new = !self.options.is_bind() && !self.options.remount;
        if !self.options.copy_up || (is_new && self.mount.kind.as_deref() == Some("tmpfs")) {
            return Ok(());
        }
        let at = FieldPath::new("mounts").index(self.i);
        let why = "only a new tmpfs can have the option tmpcopyup";
        Err(ConfigError::new(at.field("options"), Problem::Conflict { with: at.field("type"), why }))
    }

    /// The same, for an operation that configures a filesystem.
    fn origin_with(&self, params: &[Param<'_>]) -> Origin {
        let text = |p: &Param<'_>| match p.value {
            Some(value) => format!("{}={}", p.key.to_string_lossy(), value.to_string_lossy()),
            None => p.key.to_string_lossy().into_owned(),
        };
        match self.origin() {
            Origin::Mount { index, place, .. } => {
                Origin::Mount { index, place, params: params.iter().map(text).collect() }
            }
            other => other,
        }
    }

    fn guard(&self) -> Guard {
        if ALLOWED_IN_PROC.contains(&self.target.as_str()) {
            Guard::AllowedInProc
        } else {
            Guard::OutsideProc
        }
    }
}

fn push<'a>(b: &mut Builder<'a>, one: &One<'_>, source: Source<'a>, guard: Guard) {
    let attrs = one.options.attrs;
    let op = MountOp {
        source,
        target: b.arena.cstr(&one.target),
        attrs,
        recursive: one.options.recursive,
        propagation: one.options.propagation,
        guard,
        links: one.options.links,
    };
    let params = match source {
        Source::Filesystem { params, .. } | Source::Remount { params, .. } => params,
        Source::Bind { .. } => &[],
    };
    b.push(Op::Mount(b.arena.value(op)), one.origin_with(params));
}

/// Filesystems whose files the policy labels one by one, and that take no label as a whole; mqueue takes it later.
const HAVE_OWN_LABELS: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// `linux.mountLabel`, for a filesystem that is made.
pub(super) fn label<'a>(b: &Builder<'a>, r: &Request<'_>) -> Option<Param<'a>> {
    let (key, label) = r.valid.config.mount_label()?;
    Some(Param { key: b.arena.cstr(key), value: Some(b.arena.cstr(label)) })
}

fn filesystem(b: &mut Builder<'_>, r: &Request<'_>, one: &One<'_>) -> Result<(), ConfigError> {
    let Some(kind) = one.mount.kind.as_deref().filter(|k| !k.is_empty()) else {
        let at = FieldPath::new("mounts").index(one.i).field("type");
        let why = "(or the option bind or rbind)";
        return Err(ConfigError::new(at, Problem::Missing { why }));
    };
    let is_tmpfs = kind == "tmpfs";
    // Device nodes and other mounts' targets are still to be made in there; it becomes read-only after that.
    let late_read_only = is_tmpfs && one.options.read_only();
    let mut params = Vec::new();
    if let Some(source) = one.mount.source.as_deref().filter(|s| !s.is_empty()) {
        params.push(Param { key: c"source", value: Some(b.arena.cstr(source)) });
    }
    params.extend(superblock_params(b, &one.options, late_read_only));
    params.extend(one.options.data.iter().map(|data| param(b, data)));
    let own_label = |p: &Param<'_>| p.key.to_bytes().ends_with(b"context");
    if !HAVE_OWN_LABELS.contains(&kind) && !params.iter().any(own_label) {
        params.extend(label(b, r));
    }
    let inherit_mode = is_tmpfs && !one.options.data.iter().any(|d| d.starts_with("mode="));
    let guard = if matches!(kind, "proc" | "sysfs") { Guard::RealDirectory } else { one.guard() };
    let fstype = b.arena.cstr(kind);
    let params = b.arena.slice(&params);
    let copy_up = one.options.copy_up;
    let late = (kind == "mqueue").then(|| r.valid.config.mount_label()).flatten();
    let label = late.map(|(_, label)| b.arena.cstr(label));
    let source = Source::Filesystem { fstype, params, inherit_mode, copy_up, label, otherwise: None };
    if late_read_only {
        let attrs = Attrs { set: one.options.attrs.set & !RDONLY, ..one.options.attrs };
        let (recursive, propagation) = (one.options.recursive, one.options.propagation);
        let target = b.arena.cstr(&one.target);
        let links = one.options.links;
        let op = MountOp { source, target, attrs, recursive, propagation, guard, links };
        b.push(Op::Mount(b.arena.value(op)), one.origin_with(params));
        b.read_only_later.push((target, one.origin()));
    } else {
        push(b, one, source, guard);
    }
    Ok(())
}

fn superblock_params<'a>(b: &Builder<'a>, options: &Options<'_>, skip_ro: bool) -> Vec<Param<'a>> {
    let wanted = options.superblock.iter().filter(|f| **f != "rw" && !(skip_ro && **f == "ro"));
    wanted.map(|flag| Param { key: b.arena.cstr(*flag), value: None }).collect()
}

fn param<'a>(b: &Builder<'a>, data: &str) -> Param<'a> {
    match data.split_once('=') {
        Some((key, value)) => Param { key: b.arena.cstr(key), value: Some(b.arena.cstr(value)) },
        None => Param { key: b.arena.cstr(data), value: None },
    }
}

fn bind(b: &mut Builder<'_>, r: &Request<'_>, one: &One<'_>, recursive: bool) -> Result<(), ConfigError> {
    let at = FieldPath::new("mounts").index(one.i);
    let Some(source) = one.mount.source.as_deref().filter(|s| !s.is_empty()) else {
        return Err(ConfigError::new(at.field("source"), Problem::Missing { why: "for a bind mount" }));
    };
    // `key=value` is data for a filesystem, which validation has warned about. A lone word is a mistake.
    if let Some(word) = one.options.data.iter().find(|data| !data.contains('=')) {
        let value = (*word).to_owned();
        let expected = "an option of a bind mount";
        return Err(ConfigError::new(at.field("options"), Problem::Malformed { value, expected }));
    }
    let path = r.bundle.join(source);
    let ids = id_maps::of_bind(r, one.i, one.mount, one.options.id_map)?;
    let from = if ids.is_some() || r.opens_sources_for_child() {
        let follow = one.options.links.source == SourceLink::Follow;
        BindFrom::Slot(b.demand(Demand::BindSource { mount: one.i, path, recursive, follow, ids }))
    } else {
        BindFrom::Path(b.path(&path))
    };
    let guard = if one.target == "proc" { Guard::ProcOnly } else { one.guard() };
    push(b, one, Source::Bind { from, recursive }, guard);
    Ok(())
}

fn remount(b: &mut Builder<'_>, one: &One<'_>) {
    let reconfigure = one.options.bind.is_none();
    let mut params = superblock_params(b, &one.options, false);
    params.extend(one.options.data.iter().map(|data| param(b, data)));
    let params = b.arena.slice(&params);
    push(b, one, Source::Remount { params, reconfigure }, one.guard());
}

/// `type: cgroup`: the whole of what `/sys/fs/cgroup` is expected to be, on either version.
fn cgroup(b: &mut Builder<'_>, r: &Request<'_>, one: &One<'_>) {
    let has = |kind| r.valid.namespaces.has(kind);
    match &r.host.layout {
        Layout::Legacy { hierarchies, .. } => legacy_cgroups(b, r, one, hierarchies),
        // In the initial cgroup namespace, a new mount of the hierarchy would set the options of all its mounts, and
        // take `nsdelegate` and `memory_recursiveprot` away from the host. What is to be seen is the same.
        Layout::Unified { mount } if !has(NamespaceKind::Cgroup) && !r.opens_sources_for_child() => {
            let from = BindFrom::Path(b.path(mount));
            push(b, one, Source::Bind { from, recursive: false }, one.guard());
        }
        Layout::None | Layout::Unified { .. } => {
            let own = r.cgroup_dirs.iter().find(|(controllers, _)| controllers.is_empty());
            let otherwise = own.map(|(_, path)| b.path(path));
            let params = [Param { key: c"source", value: Some(c"cgroup") }];
            let params = b.arena.slice(&params);
            let source = Source::Filesystem {
                fstype: c"cgroup2",
                params,
                inherit_mode: false,
                copy_up: false,
                label: None,
                otherwise,
            };
            push(b, one, source, one.guard());
        }
    }
}

/// A tmpfs with a mount for each hierarchy, and links for the controllers that share one. `ro` is for the hierarchies;
/// the tmpfs stays writable, as with runc: an init in the container may want to mount more there.
fn legacy_cgroups(b: &mut Builder<'_>, r: &Request<'_>, one: &One<'_>, hierarchies: &[Hierarchy]) {
    let params =
        [Param { key: c"source", value: Some(c"tmpfs") }, Param { key: c"mode", value: Some(c"755") }];
    let mut params = params.to_vec();
    params.extend(label(b, r));
    let params = b.arena.slice(&params);
    let source = Source::Filesystem {
        fstype: c"tmpfs",
        params,
        inherit_mode: false,
        copy_up: false,
        label: None,
        otherwise: None,
    };
    let attrs = Attrs { set: NOSUID_NODEV_NOEXEC, clear: 0 };
    let target = b.arena.cstr(&one.target);
    push_plain(b, one, source, target, attrs);
    let mut links = Vec::new();
    for hierarchy in hierarchies {
        let Some(name) = hierarchy.mount.file_name().and_then(|n| n.to_str()) else { continue };
        let source = legacy_source(b, r, hierarchy);
        let target = b.arena.cstr(&format!("{}/{name}", one.target));
        let attrs =
            Attrs { set: one.options.attrs.set | NOSUID_NODEV_NOEXEC, clear: one.options.attrs.clear };
        push_plain(b, one, source, target, attrs);
        let aliases = hierarchy.controllers.iter().filter(|c| *c != name && hierarchy.controllers.len() > 1);
        links.extend(aliases.map(|alias| (alias.clone(), name.to_owned())));
    }
    link_controllers(b, one, &links);
}

/// A mount that is a part of what one element of `mounts` asks for.
fn push_plain<'a>(b: &mut Builder<'a>, one: &One<'_>, source: Source<'a>, target: &'a CStr, attrs: Attrs) {
    let (recursive, propagation) = (Attrs::default(), one.options.propagation);
    let (guard, links) = (Guard::OutsideProc, Links::default());
    let op = MountOp { source, target, attrs, recursive, propagation, guard, links };
    b.push(Op::Mount(b.arena.value(op)), one.origin());
}

fn link_controllers(b: &mut Builder<'_>, one: &One<'_>, links: &[(String, String)]) {
    if links.is_empty() {
        return;
    }
    let node = |(name, to): &(String, String)| Node::Link {
        name: b.arena.cstr(name),
        target: b.arena.cstr(to),
        only_if: None,
    };
    let nodes: Vec<Node<'_>> = links.iter().map(node).collect();
    let op = Op::Nodes { dir: b.arena.cstr(&one.target), nodes: b.arena.slice(&nodes) };
    b.push(op, one.origin());
}

fn legacy_source<'a>(b: &Builder<'a>, r: &Request<'_>, hierarchy: &Hierarchy) -> Source<'a> {
    let mine = |(controllers, _): &&(String, PathBuf)| {
        controllers.split(',').eq(hierarchy.controllers.iter().map(String::as_str))
    };
    let own = r.cgroup_dirs.iter().find(mine).map(|(_, path)| path.as_path());
    let named = hierarchy.controllers.first().and_then(|c| c.strip_prefix("name="));
    // In a cgroup namespace that begins at the container's cgroup, that directory bound and a file system mounted anew
    // look alike but for the name of the source, and the former is cheaper by far. A namespace that is joined may begin
    // elsewhere.
    let namespaces = &r.valid.namespaces;
    let alike = own.is_some() && named.is_none() && namespaces.creates(NamespaceKind::Cgroup);
    if alike || !namespaces.has(NamespaceKind::Cgroup) {
        let from = BindFrom::Path(b.path(own.unwrap_or(&hierarchy.mount)));
        return Source::Bind { from, recursive: false };
    }
    let mut params = vec![Param { key: c"source", value: Some(b.arena.cstr(named.unwrap_or("cgroup"))) }];
    params.extend(hierarchy.controllers.iter().map(|c| param(b, c)));
    let otherwise = own.map(|path: &Path| b.path(path));
    Source::Filesystem {
        fstype: c"cgroup",
        params: b.arena.slice(&params),
        inherit_mode: false,
        copy_up: false,
        label: None,
        otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&str]) -> Mount {
        Mount { options: list.iter().map(|o| (*o).to_owned()).collect(), ..Mount::default() }
    }

    #[test]
    fn the_last_of_contradicting_options_wins() {
        let (a, b) = (options(&["ro", "rw"]), options(&["rw", "ro"]));
        assert_eq!(Options::of(&a).attrs, Attrs { set: 0, clear: 1 });
        assert_eq!(Options::of(&b).attrs, Attrs { set: 1, clear: 0 });
        assert_eq!(Options::of(&a).superblock, ["rw"]);
    }

    #[test]
    fn an_atime_mode_replaces_another() {
        let mount = options(&["noatime", "strictatime"]);
        assert_eq!(Options::of(&mount).attrs, Attrs { set: 0x20, clear: 0x70 });
    }

    #[test]
    fn unknown_options_are_data_split_at_commas() {
        let mount = options(&["size=64k,mode=700", "nosuid"]);
        let lowered = Options::of(&mount);
        assert_eq!(lowered.data, ["size=64k", "mode=700"]);
        assert_eq!(lowered.attrs.set, 2);
    }

    #[test]
    fn paths_are_cleaned_by_the_letter() {
        assert_eq!(clean("/a/./b//../c/"), "a/c");
        assert_eq!(clean("/../../x"), "x");
        assert_eq!(clean("relative"), "relative");
        assert_eq!(clean("/"), "");
    }
}
