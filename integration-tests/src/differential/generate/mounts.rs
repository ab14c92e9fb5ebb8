//! `mounts`, `linux.maskedPaths`, `linux.readonlyPaths`, `linux.rootfsPropagation`, `linux.devices`.

use super::Maker;
use crate::differential::change::{Change, Edit};
use crate::differential::random::Random;
use serde_json::json;

pub const MAKERS: &[Maker] =
    &[tmpfs, tmpfs, bind, bind, bind, special, masked, readonly, propagation, device, device, dropped];

const DIRECTORIES: [&str; 16] = [
    "/tmp",
    "/new",
    "/new/deep/dir",
    "/run",
    "/link",
    "/link/sub",
    "/etc",
    "/up/x",
    "/dangling",
    "/run/../tmp",
    "//tmp//x/",
    "/dev/x",
    "/dev/shm/x",
    "/out/x",
    "tmp",
    "/a b",
];

const FILES: [&str; 8] =
    ["/etc/file", "/etc/link", "/new", "/new/deep/file", "/link/file", "/up/file", "/dev/file", "/a b"];

/// Where nothing can be mounted, or not everything.
const ODD_PLACES: [&str; 8] =
    ["/etc/file", "/etc/link", "/proc/x", "/sys/x", "/bin/probe/x", "/loop", "/proc/self", "/tmp"];

const FLAGS: [&str; 14] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "sync",
    "async",
    "dirsync",
    "nodiratime",
    "diratime",
    "mand",
];

/// What was asked for last counts in some runtimes, and what is strictest in others: one wish, and what takes it back.
const ACCESS_TIME: [&[&str]; 9] = [
    &[],
    &[],
    &["noatime"],
    &["relatime"],
    &["strictatime"],
    &["noatime", "atime"],
    &["strictatime", "nostrictatime"],
    &["strictatime", "atime"],
    &["noatime", "norelatime"],
];

const PROPAGATION: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// A destination for a directory, more often an ordinary one.
fn destination(r: &mut Random) -> &'static str {
    if r.percent(30) {
        r.pick(&["/tmp", "/new", "/run", "/new/deep/dir"])
    } else {
        r.usually(&DIRECTORIES, &ODD_PLACES)
    }
}

fn options(r: &mut Random, first: &[&str], own: &[&str]) -> Vec<String> {
    let mut list: Vec<&str> = first.to_vec();
    list.extend(r.some(&FLAGS, 5));
    list.extend(r.pick(&ACCESS_TIME));
    list.extend(r.some(own, 2));
    if r.percent(35) {
        list.push(r.pick(&PROPAGATION));
    }
    list.into_iter().map(str::to_owned).collect()
}

/// What can be seen of a place in the container.
fn look(change: Change, path: &str) -> Change {
    change.step(&["stat", path]).step(&["ls", path])
}

fn tmpfs(r: &mut Random) -> Change {
    let to = destination(r);
    let own = [
        "mode=755",
        "mode=1777",
        "mode=0700",
        "size=64k",
        "size=1m",
        "nr_inodes=100",
        "uid=7",
        "gid=9",
        "tmpcopyup",
    ];
    let mut mount = json!({"destination": to, "type": "tmpfs", "source": r.pick(&["tmpfs", "none", "shm"]),
                           "options": options(r, &[], &own)});
    if r.percent(10) {
        mount.as_object_mut().map(|m| m.remove("source"));
    }
    look(Change::push("mount tmpfs", "/mounts", mount), to)
}

fn bind(r: &mut Random) -> Change {
    let directory = r.percent(50);
    let to = if directory { destination(r) } else { r.usually(&FILES, &DIRECTORIES) };
    let source = if directory {
        r.usually(&["$BUNDLE/src", "$BUNDLE/src", "src", "./src/sub"], &["$BUNDLE/missing", "src/file"])
    } else {
        r.pick(&["$BUNDLE/src/file", "src/file", "$BUNDLE/src/link", "/dev/null"])
    };
    let kind = r.pick(&["bind", "none", "", "ext4"]);
    let first = [r.pick(&["bind", "rbind"])];
    let mount =
        json!({"destination": to, "type": kind, "source": source, "options": options(r, &first, &[])});
    look(Change::push("mount bind", "/mounts", mount), to)
}

fn special(r: &mut Random) -> Change {
    let to = destination(r);
    let (kind, own): (&str, &[&str]) = r.pick(&[
        ("proc", &["hidepid=2", "hidepid=invisible"] as &[&str]),
        ("sysfs", &[]),
        ("devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("mqueue", &[]),
        ("cgroup", &[]),
        ("ramfs", &["mode=700"]),
    ]);
    let mount = json!({"destination": to, "type": kind, "source": kind, "options": options(r, &[], own)});
    look(Change::push("mount special", "/mounts", mount), to)
}

/// Without one of the usual mounts, or with its options changed.
fn dropped(r: &mut Random) -> Change {
    let index = 1 + r.below(6);
    if r.percent(50) {
        return Change { about: "usual mount", edits: vec![Edit::Remove(format!("/mounts/{index}"))] };
    }
    let list = options(r, &[], &[]);
    Change::set("usual mount", format!("/mounts/{index}/options"), json!(list))
}

const PATHS: [&str; 16] = [
    "/proc/kcore",
    "/proc/sys",
    "/proc/keys",
    "/tmp",
    "/etc/file",
    "/etc/link",
    "/link",
    "/missing",
    "/missing/deep",
    "/dangling",
    "/sys/firmware",
    "/proc/sys/kernel",
    "/etc",
    "/dev/null",
    "/dev/shm",
    "/run/",
];

fn masked(r: &mut Random) -> Change {
    paths(r, "maskedPaths", "/linux/maskedPaths")
}

fn readonly(r: &mut Random) -> Change {
    paths(r, "readonlyPaths", "/linux/readonlyPaths")
}

fn paths(r: &mut Random, about: &'static str, pointer: &str) -> Change {
    let chosen = r.some(&PATHS, 4);
    let change = if r.percent(50) {
        Change::set(about, pointer, json!(chosen))
    } else {
        let edits = chosen.iter().map(|p| Edit::Push(pointer.into(), json!(p))).collect();
        Change { about, edits }
    };
    chosen.iter().fold(change, |c, p| look(c, p).step(&["open", p, "r"]).step(&["open", p, "w"]))
}

fn propagation(r: &mut Random) -> Change {
    Change::set("rootfsPropagation", "/linux/rootfsPropagation", json!(r.pick(&PROPAGATION)))
}

fn device(r: &mut Random) -> Change {
    let path = r.usually(
        &[
            "/dev/foo",
            "/dev/sub/foo",
            "/dev/bar",
            "/dev/console",
            "/etc/foo",
            "/link/foo",
            "/dev/shm/foo",
            "/dev/baz",
        ],
        &["/etc/file", "dev/foo"],
    );
    let (kind, major, minor) = r.pick(&[
        ("c", 1, 3),
        ("c", 1, 5),
        ("u", 1, 7),
        ("b", 7, 0),
        ("p", 0, 0),
        ("c", 10, 229),
        ("c", 300, 70_000),
    ]);
    let mut device = json!({"path": path, "type": kind});
    if kind != "p" || r.percent(20) {
        device["major"] = json!(major);
        device["minor"] = json!(minor);
    }
    if r.percent(60) {
        device["fileMode"] = json!(r.usually(&[0o666, 0o600, 0o000, 0o4755, 0o777], &[0o20_666]));
    }
    for id in ["uid", "gid"] {
        if r.percent(40) {
            device[id] = json!(r.pick(&[0, 1, 1000]));
        }
    }
    let change =
        Change::push("device", "/linux/devices", device).step(&["stat", path]).step(&["open", path, "r"]);
    if r.percent(40) {
        let rule = json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm"});
        return change.and(Edit::Push("/linux/resources/devices".into(), rule));
    }
    change
}
