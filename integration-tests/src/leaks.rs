//! What a case must leave as it found it.

use crate::{cgroup, sys};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

/// The parts of the machine that a runtime could forget to clean up.
#[derive(Debug)]
pub struct Snapshot {
    mounts: BTreeSet<String>,
    fds: BTreeSet<String>,
    names: [String; 2],
}

impl Snapshot {
    /// Records the present state, seen from the calling process.
    pub fn take() -> Self {
        let read = |p: &str| fs::read_to_string(p).unwrap_or_default();
        let names = [read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/domainname")];
        Snapshot { mounts: mounts(), fds: open_fds(), names }
    }

    /// What is there now that was not there before, in words.
    pub fn compare(&self) -> Vec<String> {
        let now = Snapshot::take();
        let mut found = Vec::new();
        found.extend(now.mounts.difference(&self.mounts).map(|m| format!("mount: {m}")));
        found.extend(self.mounts.difference(&now.mounts).map(|m| format!("mount gone: {m}")));
        found.extend(now.fds.difference(&self.fds).map(|fd| format!("descriptor: {fd}")));
        if now.names != self.names {
            found.push(format!("host names changed: {:?} -> {:?}", self.names, now.names));
        }
        found
    }
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The options of the unified hierarchy are one and the same for all its mounts: a peer in another case may have
    // changed them. A case of its own judges who does that (cgroup-v2/options-of-the-hierarchy-stay).
    let own_part = |line: &str| match line.split_once(" - cgroup2 ") {
        Some((own, _)) => format!("{own} - cgroup2"),
        None => line.to_owned(),
    };
    // Directories of users come and go with their sessions.
    let is_session = |line: &&str| line.contains(" /run/user/");
    text.lines().filter(|line| !is_session(line)).map(own_part).collect()
}

fn open_fds() -> BTreeSet<String> {
    let Ok(dir) = fs::read_dir("/proc/self/fd") else { return BTreeSet::new() };
    let fds: Vec<_> = dir.flatten().map(|e| e.path()).collect();
    // The directory's own descriptor is closed by now, so its link cannot be read any more.
    fds.iter()
        .filter_map(|p| {
            fs::read_link(p)
                .ok()
                .map(|t| format!("{} -> {}", p.file_name().unwrap().to_string_lossy(), t.display()))
        })
        .collect()
}

/// Gives `/dev/null` back to root, and to everybody; what it was like, if that was not so. It is one for the whole
/// machine, and a runtime that gives it to the container's user changes what every later case sees.
pub fn restore_null() -> Option<String> {
    let null = fs::metadata(NULL).ok()?;
    let (owner, mode) = ((null.uid(), null.gid()), null.mode() & 0o7777);
    if owner == (0, 0) && mode == 0o666 {
        return None;
    }
    // Without privileges it cannot have been changed by what was started from here.
    chown(NULL, Some(0), Some(0))
        .and_then(|()| fs::set_permissions(NULL, Permissions::from_mode(0o666)))
        .ok()?;
    Some(format!("{NULL}: owner {}:{}, mode {mode:o}", owner.0, owner.1))
}

const NULL: &str = "/dev/null";

/// The processes below this one, nearest first.
pub fn descendants(of: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut pending = vec![of];
    while let Some(pid) = pending.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children: Vec<i32> = children.split_whitespace().filter_map(|c| c.parse().ok()).collect();
            found.extend(&children);
            pending.extend(children);
        }
    }
    found
}

/// Reaps what has ended and waits up to two seconds for the rest. Whatever is still alive then is a leak: it
/// is described and killed.
pub fn reap_descendants() -> Vec<String> {
    let me = std::process::id() as i32;
    let end = crate::process::deadline(Duration::from_secs(2));
    loop {
        crate::process::reap_orphans();
        let alive = descendants(me);
        if alive.is_empty() {
            return Vec::new();
        }
        if Instant::now() > end {
            let described = alive.iter().map(|pid| describe(*pid)).collect();
            kill_all(&alive);
            crate::process::reap_orphans();
            return described;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the listed processes, thawing nothing: they are all the harness's own descendants.
pub fn kill_all(pids: &[i32]) {
    for pid in pids {
        // It may have ended meanwhile.
        let _ = sys::kill(*pid, libc::SIGKILL);
    }
    std::thread::sleep(Duration::from_millis(50));
}

fn describe(pid: i32) -> String {
    let read = |f: &str| fs::read_to_string(format!("/proc/{pid}/{f}")).unwrap_or_default();
    let state = read("status").lines().find(|l| l.starts_with("State")).unwrap_or("").replace('\t', " ");
    format!("process {pid} {:?} {state}", read("cmdline").replace('\0', " ").trim())
}

/// Cgroups that carry the case's id, removed if possible.
pub fn cgroups_left(id: &str) -> Vec<String> {
    let left = cgroup::find(id);
    for dir in &left {
        // Only to leave the machine clean; that it was there is reported anyway.
        let _ = fs::remove_dir(dir);
    }
    left.iter().map(|d| format!("cgroup: {}", d.display())).collect()
}

/// Entries of the runtime's state directory. Hidden ones are no containers: crun keeps its filter cache there.
pub fn state_left(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let entries = entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b"."));
    entries.map(|e| format!("state: {}", e.path().display())).collect()
}

/// Thaws the case's cgroups, so that a killed process in them can die.
pub fn thaw(id: &str) {
    for dir in cgroup::find(id) {
        // Only one of the two files exists.
        let _ = fs::write(dir.join("freezer.state"), "THAWED");
        let _ = fs::write(dir.join("cgroup.freeze"), "0");
    }
}

/// Removes a scratch directory, after detaching what may still be mounted below it.
///
/// # Errors
/// If something is still mounted there or cannot be removed.
pub fn remove_scratch(dir: &Path) -> std::io::Result<()> {
    let below = format!("{}/", dir.display());
    let mounted = || crate::mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    for mount in mounted().iter().rev().filter(|m| m.target.starts_with(&below)) {
        let target = crate::mountinfo::unescape(&mount.target);
        // It may have gone with another one, by propagation.
        match sys::detach(&target) {
            Err(e) if ![Some(libc::EINVAL), Some(libc::ENOENT)].contains(&e.raw_os_error()) => return Err(e),
            _ => {}
        }
    }
    fs::remove_dir_all(dir)
}
