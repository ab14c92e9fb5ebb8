//! The creation of a container → operations, in the order in which the kernel allows them.

use std::ffi::CStr;
use std::path::PathBuf;

use corten_init::{Attrs, EnterRoot, Guard, Join, Links, MountOp, Op, Param, Phase, Source, Usher};

use super::runnable::{Runnable, push_console, push_keyring, push_labels, push_program, push_rlimits};
use super::scheduling::{By, push_scheduling};
use super::stages::{Stages, clone_flag, stages};
use super::{
    Arena, Builder, Circumstances, Compiled, Demand, MS_PRIVATE, MS_REC, MS_SHARED, Origin, Request, clean,
    devices, groups_are_denied, is_root_outside, mount_options, mounts,
};
use crate::config::NamespaceKind;
use crate::error::ConfigError;
use crate::validate::sysctl::proc_path;

/// Compiles the creation of a container.
///
/// # Errors
///
/// What only shows when mounts are lowered: a mount on `/`, a bind with data, a mount without type.
pub fn compile_create<'a>(arena: &'a Arena, r: &Request<'_>) -> Result<Compiled<'a>, ConfigError> {
    let mut b = Builder::new(arena);
    let cgroups = b.cgroups(r.cgroup_files);
    let stages = stages(&r.valid.namespaces, has_offsets(r), moves_devices(r));
    if r.waits_for_cgroup {
        b.step(Op::Barrier(Phase::Cgroup), "cgroup made by systemd");
    }
    let usher = enter_namespaces(&mut b, r, &stages);
    b.step(Op::NewSession, "new session");
    if !r.no_new_keyring {
        push_keyring(&mut b, r.id, r.valid.config.process.as_ref());
    }
    host_names(&mut b, r);
    let mut clone_flags = stages.clone_flags;
    if parent_makes_network(r, &stages) {
        clone_flags &= !u64::from(clone_flag(NamespaceKind::Network));
        b.network_is_due = true;
    } else if r.valid.namespaces.creates(NamespaceKind::Network) {
        b.step(Op::Loopback, "loopback interface");
    }
    build_root(&mut b, r)?;
    enter_root(&mut b, r);
    if let Some(process) = &r.valid.config.process {
        let (capabilities, rlimits) = (&r.valid.capabilities, &r.valid.rlimits[..]);
        finish_process(&mut b, r, &Runnable { process, capabilities, rlimits, path: None, exact_env: false });
    } else {
        // Legal: `create` needs no process, only `start` does (runtime.md#create).
        let gate = if r.gate { Some(b.demand(Demand::Gate)) } else { None };
        b.step(Op::Ready { gate }, "start");
    }
    let protects = is_root_outside(r.host, &r.valid.namespaces, r.valid.config.linux.as_ref());
    Ok(b.finish(usher, clone_flags, cgroups, protects))
}

/// To make a network namespace takes as long as all the mounts, so the parent does it beside those; see
/// `docs/adr/0033-beside-the-child.md`. Not where it has to belong to a user namespace of the
/// container's, or where the child waits for something else before; nor in a user namespace, to which the network namespace
/// that the parent comes from need not belong: the kernel would not let it back.
fn parent_makes_network(r: &Request<'_>, stages: &Stages) -> bool {
    let namespaces = &r.valid.namespaces;
    namespaces.creates(NamespaceKind::Network)
        && namespaces.has(NamespaceKind::Mount)
        && !namespaces.has(NamespaceKind::User)
        && r.can_leave_network
        && !(stages.usher || r.waits_for_cgroup || moves_devices(r))
}

/// Joins, id mappings, and what has to wait for them.
fn enter_namespaces<'a>(b: &mut Builder<'a>, r: &Request<'_>, stages: &Stages) -> Option<Usher<'a>> {
    if stages.clocks {
        // While this process still is who the runtime was: the files in its directory of /proc are that user's.
        b.push(Op::Clocks { offsets: clock_offsets(b.arena, r) }, Origin::Field("linux.timeOffsets"));
    }
    let mut joins = Vec::new();
    for kind in &stages.joins {
        let path = r.valid.namespaces.joins(*kind).unwrap_or_default();
        let fd = b.demand(Demand::Namespace { kind: *kind, path: PathBuf::from(path) });
        let join = Join { fd, kinds: clone_flag(*kind) };
        if !stages.usher {
            b.push(Op::Join(join), Origin::Namespace(path.to_owned()));
        }
        joins.push(join);
    }
    if stages.mappings {
        let field = Origin::Field("linux.uidMappings");
        b.push(Op::Barrier(Phase::Mappings), field);
    }
    if stages.become_root {
        b.step(Op::BecomeRoot, "root of the user namespace");
    }
    // A runtime without privileges could not enter the namespaces of a concealed process for its hooks; an usher has
    // concealed it already where that matters, in a pid namespace with others.
    if r.host.euid == 0 || !r.has_hooks_inside() {
        b.step(Op::Conceal, "conceal");
    }
    if stages.unshare_later != 0 {
        b.step(Op::Unshare { kinds: stages.unshare_later }, "cgroup, ipc or network namespace");
    }
    let drops_groups = r.valid.namespaces.joins(NamespaceKind::User).is_some()
        && r.host.euid == 0
        && !r.valid.config.keeps_groups();
    stages.usher.then(|| Usher { joins: b.arena.slice(&joins), drops_groups })
}

/// Whether the parent moves network devices.
fn moves_devices(r: &Request<'_>) -> bool {
    r.valid.config.linux.as_ref().is_some_and(|linux| !linux.net_devices.is_empty())
}

fn has_offsets(r: &Request<'_>) -> bool {
    r.valid.config.linux.as_ref().is_some_and(|linux| !linux.time_offsets.is_empty())
}

/// One line for each clock, as time_namespaces(7) has it.
fn clock_offsets<'a>(arena: &'a Arena, r: &Request<'_>) -> &'a [u8] {
    let offsets = r.valid.config.linux.iter().flat_map(|linux| &linux.time_offsets);
    let lines: String = offsets.map(|(clock, at)| format!("{clock} {} {}\n", at.secs, at.nanosecs)).collect();
    arena.bytes(lines.as_bytes())
}

fn host_names(b: &mut Builder<'_>, r: &Request<'_>) {
    if let Some(name) = &r.valid.config.hostname {
        b.push(Op::Hostname(b.arena.bytes(name.as_bytes())), Origin::Field("hostname"));
    }
    if let Some(name) = &r.valid.config.domainname {
        b.push(Op::Domainname(b.arena.bytes(name.as_bytes())), Origin::Field("domainname"));
    }
}

/// The root filesystem, its mounts and its devices, while the host's tree is still there.
fn build_root(b: &mut Builder<'_>, r: &Request<'_>) -> Result<(), ConfigError> {
    let path = b.path(r.rootfs);
    if r.valid.namespaces.has(NamespaceKind::Mount) {
        let flags = r.root_flags();
        b.push(Op::Propagation { flags: flags | MS_REC }, Origin::Field("linux.rootfsPropagation"));
        b.push(Op::Root { path, private_parent: flags == MS_SHARED }, Origin::Field("root.path"));
        mounts::lower_mounts(b, r)?;
        b.network();
        devices::lower_devices(b, r);
        for (target, origin) in std::mem::take(&mut b.read_only_later) {
            b.push(Op::Mount(b.arena.value(read_only(target))), origin);
        }
    } else {
        b.push(Op::PlainRoot { path }, Origin::Field("root.path"));
    }
    Ok(())
}

fn read_only(target: &CStr) -> MountOp<'_> {
    MountOp {
        source: Source::Remount { params: &[], reconfigure: false },
        target,
        attrs: Attrs::READ_ONLY,
        recursive: Attrs::default(),
        propagation: 0,
        guard: Guard::OutsideProc,
        links: Links::default(),
    }
}

/// Hooks, kernel parameters, labels; then the new root, and what hides or protects parts of it.
fn enter_root(b: &mut Builder<'_>, r: &Request<'_>) {
    if r.has_hooks() {
        b.push(Op::Barrier(Phase::Mounted), Origin::Field("hooks"));
    }
    write_proc(b, r);
    if let Some(process) = &r.valid.config.process {
        let path = clean(&process.cwd);
        if !path.is_empty() {
            b.push(Op::MakeCwd { path: b.arena.cstr(&path) }, Origin::Field("process.cwd"));
        }
    }
    let has_mount_namespace = r.valid.namespaces.has(NamespaceKind::Mount);
    if has_mount_namespace {
        hide_paths(b, r);
    }
    let how = match (has_mount_namespace, r.no_pivot) {
        (true, false) => EnterRoot::Pivot { shared: r.root_flags() == MS_SHARED },
        (true, true) => EnterRoot::Move,
        (false, _) => EnterRoot::Chroot,
    };
    b.push(Op::EnterRoot(how), Origin::Field("root.path"));
    if has_mount_namespace {
        final_root(b, r);
    }
}

fn final_root(b: &mut Builder<'_>, r: &Request<'_>) {
    if let Some(flags) = r.rootfs_propagation().and_then(mount_options::propagation) {
        let origin = || Origin::Field("linux.rootfsPropagation");
        if flags & MS_SHARED != 0 {
            // Out of the host's group first: the new group is to be the container's own.
            b.push(Op::RootPropagation { flags: MS_PRIVATE | (flags & MS_REC) }, origin());
        }
        b.push(Op::RootPropagation { flags }, origin());
    }
    if r.console {
        let process = r.valid.config.process.as_ref();
        push_console(b, process, true);
    }
    if r.valid.config.root.as_ref().is_some_and(|root| root.readonly) {
        b.push(Op::ReadOnlyRoot, Origin::Field("root.readonly"));
    }
}

/// Hides and protects paths. The host's null device can only be copied while the host's tree is there.
fn hide_paths(b: &mut Builder<'_>, r: &Request<'_>) {
    let linux = r.valid.config.linux.as_ref();
    let read_only = linux.map_or(&[][..], |l| &l.readonly_paths);
    if !read_only.is_empty() {
        b.push(Op::ReadOnly { paths: cleaned(b, read_only) }, Origin::ReadonlyPaths(read_only.to_vec()));
    }
    let masked = linux.map_or(&[][..], |l| &l.masked_paths);
    if !masked.is_empty() {
        let mut empty =
            vec![Param { key: c"source", value: Some(c"tmpfs") }, Param { key: c"ro", value: None }];
        empty.extend(mounts::label(b, r));
        let op = Op::Mask { paths: cleaned(b, masked), empty: b.arena.slice(&empty) };
        b.push(op, Origin::MaskedPaths(masked.to_vec()));
    }
}

fn cleaned<'a>(b: &Builder<'a>, paths: &[String]) -> &'a [&'a CStr] {
    let paths: Vec<&CStr> = paths.iter().map(|p| b.arena.cstr(&clean(p))).collect();
    b.arena.slice(&paths)
}

/// Kernel parameters and labels, through a procfs that nobody else can have touched.
fn write_proc(b: &mut Builder<'_>, r: &Request<'_>) {
    let sysctl = r.valid.config.linux.as_ref().map(|l| &l.sysctl);
    for (key, value) in sysctl.into_iter().flatten() {
        b.procfs();
        // Validation has refused a key that is no path.
        let path = b.arena.cstr(&format!("sys/{}", proc_path(key).unwrap_or_default()));
        let op = Op::Sysctl { path, value: b.arena.bytes(value.as_bytes()) };
        b.push(op, Origin::Sysctl(key.clone()));
    }
    if let Some(process) = &r.valid.config.process {
        push_labels(b, process);
    }
}

/// From the limits to the program.
fn finish_process(b: &mut Builder<'_>, r: &Request<'_>, runnable: &Runnable<'_>) {
    let new_user = r.valid.namespaces.creates(NamespaceKind::User);
    let by =
        if r.valid.namespaces.has(NamespaceKind::User) && r.host.euid == 0 { By::Parent } else { By::Child };
    // In a user namespace of its own, the parent has set them with the mappings.
    if !(new_user && by == By::Parent) {
        push_rlimits(b, runnable.rlimits, by);
    }
    push_scheduling(b, runnable.process, r.valid.config.linux.as_ref(), by);
    let gate = if r.gate { Some(b.demand(Demand::Gate)) } else { None };
    let how = Circumstances {
        keep_groups: r.valid.config.keeps_groups()
            || groups_are_denied(r.host, r.valid.config.linux.as_ref()),
        joins_user: r.valid.namespaces.joins(NamespaceKind::User).is_some(),
        keep_admin: r.filter.is_some() && !runnable.process.no_new_privileges,
        preserve_fds: r.preserve_fds,
        own_binary: r.host.own_binary,
    };
    push_program(b, runnable, r.filter, gate, r.extra_env, &how);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cgroup::Layout;
    use crate::config::{Config, Namespace};
    use crate::host::HostFacts;
    use crate::validate::validate;

    const BUSYBOX: &str = include_str!("../../../bundles/busybox/config.json");
    const NEWNET: u64 = 0x4000_0000;

    /// The flags of the clone, and the operations in short.
    fn compiled(config: &Config, euid: u32, can_leave_network: bool) -> (u64, Vec<&'static str>) {
        let valid = validate(config).unwrap();
        let layout = Layout::Unified { mount: PathBuf::from("/sys/fs/cgroup") };
        let host = HostFacts {
            euid,
            egid: euid,
            layout,
            own_binary: (1, 2),
            in_user_namespace: false,
            owns_devices: true,
            denies_groups: false,
        };
        let arena = Arena::new();
        let request = Request {
            valid: &valid,
            id: "c1",
            bundle: Path::new("/bundle"),
            rootfs: Path::new("/bundle/rootfs"),
            host: &host,
            cgroup_dirs: &[],
            cgroup_files: 0,
            waits_for_cgroup: false,
            filter: None,
            gate: false,
            console: false,
            joins_container: false,
            can_leave_network,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            extra_env: &[],
        };
        let plan = compile_create(&arena, &request).unwrap().plan;
        let word = |op: &Op<'_>| match op {
            Op::Network => Some("network"),
            Op::Loopback => Some("loopback"),
            Op::Unshare { kinds } if u64::from(*kinds) & NEWNET != 0 => Some("unshare"),
            Op::Nodes { .. } => Some("nodes"),
            Op::Mount(mount) => match mount.source {
                Source::Filesystem { fstype, .. } if fstype == c"sysfs" => Some("sysfs"),
                Source::Filesystem { fstype, .. } if fstype == c"mqueue" => Some("mqueue"),
                _ => None,
            },
            _ => None,
        };
        (plan.clone_flags, plan.ops.iter().filter_map(word).collect())
    }

    #[test]
    fn the_network_comes_right_before_what_depends_on_it() {
        let mut config = Config::from_slice(BUSYBOX.as_bytes()).unwrap();
        let (flags, ops) = compiled(&config, 0, true);
        assert_eq!(flags & NEWNET, 0);
        assert_eq!(ops, ["mqueue", "network", "sysfs", "nodes"]);

        config.mounts.retain(|mount| mount.kind.as_deref() != Some("sysfs"));
        assert_eq!(compiled(&config, 0, true).1, ["mqueue", "network", "nodes"]);
    }

    #[test]
    fn a_network_of_another_owner_is_made_when_that_has_its_ids() {
        let mut config = Config::from_slice(BUSYBOX.as_bytes()).unwrap();
        let user = Namespace { kind: NamespaceKind::User, path: None };
        let linux = config.linux.as_mut().unwrap();
        linux.namespaces.push(user);
        let ids = r#"[{"containerID":0,"hostID":100000,"size":1000}]"#;
        linux.uid_mappings = serde_json::from_str(ids).unwrap();
        linux.gid_mappings = serde_json::from_str(ids).unwrap();
        for euid in [0, 1000] {
            let (flags, ops) = compiled(&config, euid, euid == 0);
            assert_eq!(flags & NEWNET, 0);
            assert_eq!(ops.iter().filter(|op| **op == "network").count(), 0);
            assert_eq!(ops[..2], ["unshare", "loopback"]);
        }
    }

    #[test]
    fn who_cannot_come_back_stays() {
        let config = Config::from_slice(BUSYBOX.as_bytes()).unwrap();
        let (flags, ops) = compiled(&config, 0, false);
        assert_eq!(flags & NEWNET, NEWNET);
        assert_eq!(ops, ["loopback", "mqueue", "sysfs", "nodes"]);
    }
}
