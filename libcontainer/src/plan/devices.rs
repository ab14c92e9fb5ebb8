//! Default devices and links, `linux.devices` → operations.

use std::collections::BTreeMap;

use corten_init::{DeviceNode, Node, Op};

use super::mounts::{Options, clean};
use super::{Builder, Origin, Request, is_root_outside};
use crate::config::{Device, NamespaceKind};

const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

/// config-linux.md#default-devices: name, major, minor.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// runtime-linux.md#dev-symbolic-links, `ptmx`, and `core` as runc has it: name, target, only if that is there.
const LINKS: [(&str, &str, Option<&std::ffi::CStr>); 6] = [
    ("ptmx", "pts/ptmx", None),
    ("fd", "/proc/self/fd", None),
    ("stdin", "/proc/self/fd/0", None),
    ("stdout", "/proc/self/fd/1", None),
    ("stderr", "/proc/self/fd/2", None),
    ("core", "/proc/kcore", Some(c"/proc/kcore")),
];

/// A node, and its place in `linux.devices`.
type Placed<'a> = (Option<usize>, String, Node<'a>);

/// Lowers all devices, grouped by directory. Nothing is made in a `/dev` that is bound from elsewhere.
pub(super) fn lower_devices(b: &mut Builder<'_>, r: &Request<'_>) {
    let config = r.valid.config;
    let bound = |m: &crate::config::Mount| clean(&m.destination) == "dev" && Options::of(m).is_bind();
    if config.mounts.iter().any(bound) {
        return;
    }
    let listed: &[Device] = config.linux.as_ref().map_or(&[], |l| &l.devices);
    let mut dirs: BTreeMap<String, Vec<Placed<'_>>> = BTreeMap::new();
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = format!("dev/{name}");
        if !listed.iter().any(|d| clean(&d.path) == path) {
            let node = default_node(b, r, name, major, minor);
            dirs.entry("dev".to_owned()).or_default().push((None, format!("/dev/{name}"), node));
        }
    }
    for (i, device) in listed.iter().enumerate() {
        let path = clean(&device.path);
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let node = listed_node(b, r, device, name);
        dirs.entry(dir.to_owned()).or_default().push((Some(i), device.path.clone(), node));
    }
    for (name, target, only_if) in LINKS {
        let link = Node::Link { name: b.arena.cstr(name), target: b.arena.cstr(target), only_if };
        dirs.entry("dev".to_owned()).or_default().push((None, format!("/dev/{name}"), link));
    }
    for (dir, placed) in dirs {
        let nodes: Vec<Node<'_>> = placed.iter().map(|(_, _, node)| *node).collect();
        let origins = placed.into_iter().map(|(i, path, _)| (i, path)).collect();
        let op = Op::Nodes { dir: b.arena.cstr(&dir), nodes: b.arena.slice(&nodes) };
        b.push(op, Origin::Nodes(origins));
    }
}

/// mknod(2) is refused in a user namespace: there the host's nodes are bound.
fn binds(r: &Request<'_>) -> bool {
    r.valid.namespaces.has(NamespaceKind::User) || r.host.euid != 0
}

/// Whether root of the container could change the mode of the host's nodes, and their owner.
fn owns_nodes(r: &Request<'_>) -> bool {
    r.host.owns_devices && is_root_outside(r.host, &r.valid.namespaces, r.valid.config.linux.as_ref())
}

fn default_node<'a>(b: &Builder<'a>, r: &Request<'_>, name: &str, major: u32, minor: u32) -> Node<'a> {
    let host = b.arena.cstr(&format!("/dev/{name}"));
    let name = b.arena.cstr(name);
    let mode = S_IFCHR | 0o666;
    let (bind, read_only) = (binds(r), owns_nodes(r));
    Node::Device(DeviceNode { name, mode, major, minor, uid: 0, gid: 0, host, bind, read_only })
}

fn listed_node<'a>(b: &Builder<'a>, r: &Request<'_>, device: &Device, name: &str) -> Node<'a> {
    let kind = match device.kind.as_str() {
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        _ => S_IFCHR,
    };
    // Validation has checked that the numbers fit.
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    Node::Device(DeviceNode {
        name: b.arena.cstr(name),
        mode: kind | (device.file_mode.unwrap_or(0o666) & 0o7777),
        major: number(device.major),
        minor: number(device.minor),
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        host: b.arena.cstr(&device.path),
        bind: binds(r) && kind != S_IFIFO,
        read_only: owns_nodes(r),
    })
}
