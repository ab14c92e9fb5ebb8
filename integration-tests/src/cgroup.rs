//! Reading cgroupfs from outside, independent of any runtime's idea of it.

use crate::failure::Failure;
use crate::sys;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the hierarchies are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Every cgroup directory, in every hierarchy, whose own name contains `needle`.
pub fn find(needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from(ROOT)];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(needle) {
                found.push(entry.path());
            }
            pending.push(entry.path());
        }
    }
    found.sort_by_key(|p| std::cmp::Reverse(p.as_os_str().len()));
    found
}

/// The cgroup of a process in the hierarchy of one v1 controller, or (with `""`) in the unified one: the
/// path as `/proc/PID/cgroup` has it.
pub fn path_of(proc_cgroup: &str, controller: &str) -> Option<String> {
    proc_cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        names.split(',').any(|n| n == controller).then(|| path.to_owned())
    })
}

/// The directory of a process's cgroup: v1 with a controller's name, unified with `""`.
///
/// # Errors
/// If the process is gone or is in no such hierarchy.
pub fn dir_of(pid: i32, controller: &str) -> Result<PathBuf, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = path_of(&text, controller)
        .ok_or_else(|| Failure::new(format!("process {pid} is in no hierarchy of {controller:?}")))?;
    let base = match controller {
        "" if is_unified() => PathBuf::from(ROOT),
        "" => Path::new(ROOT).join("unified"),
        "name=systemd" => Path::new(ROOT).join("systemd"),
        c => Path::new(ROOT).join(c),
    };
    Ok(base.join(path.trim_start_matches('/')))
}

/// Whether `/sys/fs/cgroup` itself is a cgroup2 mount.
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// The options of the unified hierarchy at [`ROOT`] (`nsdelegate`, `memory_recursiveprot`), which all its mounts share.
pub fn options() -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let at_root = |line: &&str| line.split(' ').nth(4) == Some(ROOT);
    let last = text.lines().rfind(at_root).and_then(|line| line.split_once(" - cgroup2 "));
    let options = last.and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
    options.split(',').filter(|word| !["rw", "ro"].contains(word)).collect::<Vec<_>>().join(",")
}

/// Gives the hierarchy its options back if a runtime took them away, as runc and crun do when they mount it for a
/// container in the host's cgroup namespace. The caller has mounts of its own.
///
/// # Errors
/// If the kernel refuses.
pub fn restore_options(before: &str) -> Result<(), Failure> {
    if is_unified() && !before.is_empty() && options() != before {
        let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
        sys::mount("none", Path::new(ROOT), "", flags, before)?;
    }
    Ok(())
}

/// A file of a cgroup, trimmed.
///
/// # Errors
/// If it cannot be read; the path is in the message.
pub fn read(dir: &Path, file: &str) -> Result<String, Failure> {
    fs::read_to_string(dir.join(file))
        .map(|s| s.trim().to_owned())
        .map_err(|e| Failure::new(format!("{}/{file}: {e}", dir.display())))
}
