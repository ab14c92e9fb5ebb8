//! One configuration under one runtime: everything that can be seen, from inside and from outside, without
//! what differs between any two containers.

use super::change::{self, Change};
use crate::cgroup;
use crate::failure::Failure;
use crate::leaks::{self, Snapshot};
use crate::mountinfo::{self, Mount};
use crate::process::{Cmd, Out, reap_orphans, tail};
use crate::{Bundle, sys};
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a comparison happens.
pub struct Place<'a> {
    /// A directory of the comparison's own, with the probe in it.
    pub scratch: &'a Path,
    /// The id of every container.
    pub id: &'a str,
}

/// Creates, looks, starts, waits, looks again and deletes.
///
/// # Errors
/// If the bundle cannot be made or a command does not end; what the runtime refuses is an observation.
pub fn observe(place: &Place, runtime: &Path, changes: &[Change]) -> Result<Value, Failure> {
    let dir = place.scratch.join("work");
    fs::create_dir_all(dir.join("state"))?;
    let bundle = change::apply(changes, &dir.join("bundle"), &place.scratch.join("probe"), place.id)?;
    let life = Life { place, runtime, dir: &dir, bundle: &bundle };
    let (before, mounts_before, names) = (Snapshot::take(), mount_ids(), names());
    let mut seen = life.whole();
    let left = life.clean(&before, &mounts_before);
    restore(&names);
    if let Ok(seen) = &mut seen {
        // By their words: a list would be compared by its order.
        seen["left"] = left.into_iter().map(|what| (what.clone(), json!(what))).collect::<Map<_, _>>().into();
        // How far a failed creation came is the runtime's business, as long as nothing but files is left.
        if seen["create"] == "ok" {
            seen["rootfs"] = tree(&bundle.dir.join("rootfs"));
            seen["hooks"] = hooks(&bundle.dir.join("out/hooks"));
        }
    }
    match leaks::remove_scratch(&dir) {
        // A mount that went meanwhile may have held it.
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let text = seen?.to_string();
    let text = text.replace(&*dir.to_string_lossy(), "$WORK").replace(place.id, "$ID");
    Ok(serde_json::from_str(&text)?)
}

const NAMES: [&str; 2] = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"];

/// The names of the UTS namespace, which a container may share.
fn names() -> [String; 2] {
    NAMES.map(|file| fs::read_to_string(file).unwrap_or_default())
}

fn restore(names: &[String; 2]) {
    for (file, name) in NAMES.iter().zip(names) {
        // Without the right to do so no container had it either.
        let _ = fs::write(file, name.trim_end());
    }
}

fn own_mounts() -> Vec<Mount> {
    mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn mount_ids() -> Vec<u32> {
    own_mounts().iter().map(|m| m.id).collect()
}

/// Takes away what a container without mounts of its own left in the comparison's mount namespace.
fn detach_since(before: &[u32]) {
    for mount in own_mounts().iter().rev().filter(|m| !before.contains(&m.id)) {
        // It may have gone with another one.
        let _ = sys::detach(&mountinfo::unescape(&mount.target));
    }
}

struct Life<'a> {
    place: &'a Place<'a>,
    runtime: &'a Path,
    dir: &'a Path,
    bundle: &'a Bundle,
}

impl Life<'_> {
    fn cmd(&self, args: &[&str]) -> Cmd {
        // A runtime may give its standard input to the container's user: not the machine's null device.
        let cmd = Cmd::new(self.runtime, self.dir).stdin(Vec::new());
        cmd.arg("--root").arg(self.dir.join("state")).args(args)
    }

    fn whole(&self) -> Result<Value, Failure> {
        let id = self.place.id;
        let pid_file = self.dir.join("pid");
        let (bundle, file) = (self.bundle.dir.to_string_lossy(), pid_file.to_string_lossy());
        let running = self.cmd(&["create", "-b", &bundle, "--pid-file", &file, id]).spawn()?;
        let printed = running.output_path();
        let created = running.finish_reaping()?;
        if created.code() != 0 {
            return Ok(json!({"create": failed(&created)}));
        }
        let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse().unwrap_or(0);
        let mut seen = json!({"create": "ok", "outside": outside(pid)});
        let started = self.cmd(&["start", id]).spawn()?.finish()?;
        seen["start"] = if started.code() == 0 { json!("ok") } else { json!(failed(&started)) };
        seen["exit"] = json!(wait(pid));
        seen["stopped"] = self.state();
        let printed = fs::read_to_string(printed).unwrap_or_default();
        seen["inside"] = printed.lines().map(|l| inside(l, pid)).collect();
        let deleted = self.cmd(&["delete", id]).spawn()?.finish_reaping()?;
        seen["delete"] = if deleted.code() == 0 { json!("ok") } else { json!(failed(&deleted)) };
        Ok(seen)
    }

    fn state(&self) -> Value {
        let state = self.cmd(&["state", self.place.id]).run().ok().filter(|o| o.code() == 0);
        let Some(Ok(state)) = state.map(|o| o.json()) else { return json!("no state") };
        let pid = state["pid"].as_i64();
        json!({"status": state["status"], "annotations": state["annotations"], "bundle": state["bundle"],
               "pid": pid.map(|p| p > 0)})
    }

    /// What is left, in words; and then takes it away.
    fn clean(&self, before: &Snapshot, mounts_before: &[u32]) -> Vec<String> {
        leaks::thaw(self.place.id);
        let mut left = leaks::state_left(&self.dir.join("state"));
        if !left.is_empty() {
            let _ = self.cmd(&["delete", "--force", self.place.id]).spawn().and_then(|r| r.finish_reaping());
        }
        left.extend(leaks::reap_descendants().into_iter().map(|_| "process".to_owned()));
        // The innermost first, with what is below them under other names.
        for cgroup in cgroup::find(self.place.id) {
            left.push(format!("cgroup: {}", cgroup.display()));
            remove_cgroups(&cgroup);
        }
        left.extend(before.compare());
        detach_since(mounts_before);
        left
    }
}

/// Removes a cgroup and all below it, as far as possible: that it was there is reported anyway.
fn remove_cgroups(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

fn failed(out: &Out) -> String {
    format!("failed: {}", tail(&out.stderr))
}

/// Waits for the end of init and gives its status in words.
fn wait(pid: i32) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match sys::reap(pid) {
            Some((_, status)) if status & 0x7f == 0 => return format!("code {}", status >> 8 & 0xff),
            Some((_, status)) => return format!("signal {}", status & 0x7f),
            None if Instant::now() > end => return "none".to_owned(),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
        for other in leaks::descendants(std::process::id() as i32).into_iter().filter(|p| *p != pid) {
            sys::reap(other);
        }
    }
}

/// What the host sees of a created container: its cgroups and files of its `/proc` directory.
fn outside(pid: i32) -> Value {
    let read = |f: &str| fs::read_to_string(format!("/proc/{pid}/{f}")).unwrap_or_default();
    let mut seen = json!({"oom_score_adj": read("oom_score_adj").trim(), "uid_map": read("uid_map"),
                          "gid_map": read("gid_map"), "setgroups": read("setgroups")});
    for line in read("cgroup").lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
        let controller = names.split(',').next().unwrap_or("");
        let mut files = cgroup::dir_of(pid, controller).map(|dir| cgroup_files(&dir)).unwrap_or_default();
        files.insert("path".into(), json!(path));
        seen[format!("cgroup {names}")] = Value::Object(files);
    }
    seen
}

/// Files of a cgroup that hold settings, and not measurements.
fn cgroup_files(dir: &Path) -> Map<String, Value> {
    const SETTINGS: [&str; 26] = [
        "limit_in_bytes",
        ".max",
        ".high",
        ".low",
        ".min",
        "shares",
        "cfs_quota_us",
        "cfs_period_us",
        "cfs_burst_us",
        "cpu.idle",
        "cpuset.cpus",
        "cpuset.mems",
        "devices.list",
        "swappiness",
        "freezer.state",
        "cpu.weight",
        "clone_children",
        "subtree_control",
        "oom_control",
        "use_hierarchy",
        "blkio.bfq.weight",
        "blkio.weight",
        "bps_device",
        "iops_device",
        "classid",
        "ifpriomap",
    ];
    let mut files = Map::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if SETTINGS.iter().any(|s| name.ends_with(s))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            files.insert(name, json!(lines.join("; ")));
        }
    }
    files
}

/// One line of the probe.
fn inside(line: &str, pid: i32) -> Value {
    let Ok(mut v) = serde_json::from_str::<Value>(line) else { return json!(line) };
    if v["step"] != "facts" {
        if let Some(stat) = v.get_mut("stat") {
            strip_size(stat);
        }
        return v;
    }
    v["environ"] = environment(&v["environ"]);
    v["mountinfo"] = mounts(v["mountinfo"].as_str().unwrap_or(""));
    for (kind, link) in v["ns"].as_object_mut().into_iter().flatten() {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).map(|p| p.display().to_string());
        *link = if own.is_ok_and(|o| json!(o) == *link) { json!("host") } else { json!("own") };
    }
    // glibc's posix_spawn, with which the harness starts a runtime, ignores its internal 32 and 33.
    let ignored = v["status"]["SigIgn"].as_str().and_then(|h| u64::from_str_radix(h, 16).ok());
    v["status"]["SigIgn"] = json!(ignored.map(|bits| bits & !(0b11 << 31)));
    let inner = v["pid"].clone();
    for pointer in ["/process/pgid", "/process/sid"] {
        if let Some(value) = v.pointer_mut(pointer) {
            *value = if *value == inner { json!("own") } else { json!("another") };
        }
    }
    v["pid"] = if inner == json!(pid) { json!("host's") } else { inner };
    if v["pid"] == "host's" {
        v["status"]["NSpid"] = json!("host's");
    } else if let Some(list) = v["status"]["NSpid"].as_str() {
        v["status"]["NSpid"] = json!(list.split(' ').skip(1).collect::<Vec<_>>());
    }
    v["process"]["keyring"] = json!(v["process"]["keyring"].as_i64() > Some(0));
    for (_, target) in v["fds"].as_object_mut().into_iter().flatten() {
        if let Some(text) = target.as_str() {
            let given = text.rsplit_once("/cmd").map(|(_, rest)| rest.trim_start_matches(char::is_numeric));
            *target = json!(given.unwrap_or(text.split('[').next().unwrap_or(text)));
        }
    }
    for directory in ["dev", "root"] {
        for (_, entry) in v[directory].as_object_mut().into_iter().flatten() {
            strip_size(entry);
        }
    }
    v
}

/// Variables by name; their order is nobody's business.
fn environment(list: &Value) -> Value {
    let mut by_name: Map<String, Value> = Map::new();
    for entry in list.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, "(no value)"));
        let values = by_name.entry(name).or_insert_with(|| json!([]));
        values.as_array_mut().expect("made above").push(json!(value));
    }
    Value::Object(by_name)
}

/// A directory's size depends on what was in it.
fn strip_size(entry: &mut Value) {
    if let Some(map) = entry.as_object_mut() {
        map.remove("size");
    }
}

/// Mounts by target, the covered ones too, each with what does not depend on the order of other mounts.
fn mounts(text: &str) -> Value {
    let mounts = mountinfo::parse(text);
    let mut by_target: Map<String, Value> = Map::new();
    for m in &mounts {
        let list = by_target.entry(m.target.clone()).or_insert_with(|| json!([]));
        let parent = mounts.iter().find(|p| p.id == m.parent).map_or("", |p| p.target.as_str());
        list.as_array_mut().expect("made above").push(describe(m, parent));
    }
    Value::Object(by_target)
}

fn describe(m: &Mount, parent: &str) -> Value {
    let propagation: Vec<&str> = m.propagation.iter().map(|p| p.split(':').next().unwrap_or(p)).collect();
    let sorted = |list: &[String]| {
        // A tmpfs shows the mode it was mounted with, not the one it got later; what it has is looked at anyway.
        let mut list: Vec<String> = list.iter().filter(|o| !o.starts_with("mode=")).cloned().collect();
        list.sort();
        list.join(",")
    };
    let mut seen = json!({"fstype": m.fstype, "source": m.source, "root": m.root, "super": sorted(&m.super_options),
                          "propagation": propagation.join(","), "on": parent});
    let name = if m.fstype == "cgroup" { "cgroup options" } else { "options" };
    seen[name] = json!(sorted(&m.options));
    seen
}

/// The log of the hooks, without times.
fn hooks(log: &Path) -> Value {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines
        .map(|v| {
            let mount = fs::read_link("/proc/self/ns/mnt").map(|p| p.display().to_string()).unwrap_or_default();
            let own = v["ns"]["mnt"] != json!(mount);
            let fds: Vec<&String> = v["fds"].as_object().into_iter().flat_map(|m| m.keys()).collect();
            let state = &v["state"];
            let mut env: Vec<&str> = v["env"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            env.sort_unstable();
            json!({"tag": v["tag"], "argv": v["argv"], "env": json!(env).to_string(), "cwd": v["cwd"], "container mounts": own,
                   "fds": fds.len(), "status": state["status"], "id": state["id"], "bundle": state["bundle"],
                   "annotations": state["annotations"], "pid": state["pid"].as_i64().map(|p| p > 0)})
        })
        .collect()
}

/// Every file below a directory of the host.
fn tree(dir: &Path) -> Value {
    let mut found = Map::new();
    let mut pending: Vec<PathBuf> = vec![dir.to_path_buf()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            let Ok(m) = entry.path().symlink_metadata() else { continue };
            let t = m.file_type();
            let kind = match () {
                () if t.is_dir() => "dir",
                () if t.is_symlink() => "link",
                () if t.is_file() => "file",
                () if t.is_fifo() => "fifo",
                () => "node",
            };
            let shown = entry.path().strip_prefix(dir).map(|p| p.display().to_string()).unwrap_or_default();
            found.insert(shown, json!(format!("{kind} {:o} {}:{}", m.mode() & 0o7777, m.uid(), m.gid())));
            if t.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    reap_orphans();
    Value::Object(found)
}
