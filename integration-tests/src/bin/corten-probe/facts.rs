//! What a process can find out about itself.

use crate::sys;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Everything in one object.
pub fn all() -> Value {
    json!({
        "argv": std::env::args().collect::<Vec<_>>(),
        "environ": environ(),
        "cwd": std::env::current_dir().map(|p| p.display().to_string()).unwrap_or_default(),
        "pid": std::process::id(),
        "status": status(),
        "ns": namespaces(),
        "mountinfo": read("/proc/self/mountinfo"),
        "limits": limits(),
        "cgroup": read("/proc/self/cgroup"),
        "fds": fds(),
        "hostname": read("/proc/sys/kernel/hostname").trim(),
        "domainname": read("/proc/sys/kernel/domainname").trim(),
        "oom_score_adj": read("/proc/self/oom_score_adj").trim(),
        "uid_map": read("/proc/self/uid_map"),
        "gid_map": read("/proc/self/gid_map"),
        "setgroups": read("/proc/self/setgroups").trim(),
        "timens_offsets": read("/proc/self/timens_offsets"),
        "dev": tree(Path::new("/dev")),
        "root": tree(Path::new("/")),
        "process": sys::process_facts(),
        "tty": sys::tty_facts(),
        "stdin": owner("/proc/self/fd/0"),
        "stdout": owner("/proc/self/fd/1"),
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The environment as it is in memory, in order, duplicates and all.
fn environ() -> Vec<String> {
    let raw = fs::read("/proc/self/environ").unwrap_or_default();
    raw.split(|b| *b == 0)
        .filter(|e| !e.is_empty())
        .map(|e| String::from_utf8_lossy(e).into_owned())
        .collect()
}

fn status() -> Map<String, Value> {
    let wanted = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Cpus_allowed_list",
        "Mems_allowed_list",
        "NSpid",
    ];
    let text = read("/proc/self/status");
    let lines = text.lines().filter_map(|l| l.split_once(':'));
    lines
        .filter(|(k, _)| wanted.contains(k))
        .map(|(k, v)| (k.to_owned(), v.split_whitespace().collect::<Vec<_>>().join(" ").into()))
        .collect()
}

/// The links of the calling process's namespaces.
pub fn namespaces() -> Map<String, Value> {
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).ok();
    NAMESPACES
        .iter()
        .filter_map(|k| link(k).map(|l| ((*k).to_owned(), l.display().to_string().into())))
        .collect()
}

/// `RLIMIT_*` lines of `/proc/self/limits` as `name -> [soft, hard]`.
fn limits() -> Map<String, Value> {
    let text = read("/proc/self/limits");
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (name, rest) = line.split_at_checked(26)?;
            let mut values = rest.split_whitespace();
            Some((name.trim().to_owned(), json!([values.next()?, values.next()?])))
        })
        .collect()
}

/// Open descriptors with their targets, without the one used for looking.
pub fn fds() -> Map<String, Value> {
    let Ok(dir) = fs::read_dir("/proc/self/fd") else { return Map::new() };
    let names: Vec<_> = dir.flatten().map(|e| e.path()).collect();
    names
        .iter()
        .filter_map(|p| {
            let target = fs::read_link(p).ok()?;
            Some((p.file_name()?.to_string_lossy().into_owned(), target.display().to_string().into()))
        })
        .collect()
}

fn owner(path: &str) -> Value {
    match fs::metadata(path) {
        Ok(m) => json!({"uid": m.uid(), "gid": m.gid(), "rdev": rdev(m.rdev()), "mode": m.mode()}),
        Err(e) => json!({"result": sys::error_name(&e)}),
    }
}

/// The entries of one directory, described.
fn tree(dir: &Path) -> Map<String, Value> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), describe(&e.path()))).collect()
}

/// `lstat` in words: kind, permissions, owner, device number, link target.
pub fn describe(path: &Path) -> Value {
    let m = match fs::symlink_metadata(path) {
        Ok(m) => m,
        Err(e) => return json!({"result": sys::error_name(&e)}),
    };
    let t = m.file_type();
    let kind = match () {
        () if t.is_symlink() => "link",
        () if t.is_dir() => "dir",
        () if t.is_char_device() => "char",
        () if t.is_block_device() => "block",
        () if t.is_fifo() => "fifo",
        () if t.is_socket() => "socket",
        () => "file",
    };
    let mut value = json!({
        "kind": kind,
        "mode": format!("{:o}", m.mode() & 0o7777),
        "uid": m.uid(),
        "gid": m.gid(),
        "size": m.size(),
    });
    if t.is_char_device() || t.is_block_device() {
        value["rdev"] = rdev(m.rdev()).into();
    }
    if let Ok(target) = fs::read_link(path) {
        value["target"] = target.display().to_string().into();
    }
    value
}

fn rdev(dev: u64) -> String {
    let (major, minor) = sys::split_dev(dev);
    format!("{major}:{minor}")
}
