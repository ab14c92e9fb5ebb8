//! Making a cgroup's directories, and what has to be in place before a process can be in them.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::dir::{Dir, is_gone, keyed, read_at};
use super::error::Error;
use super::layout::Kind;
use super::paths::{Paths, Place};
use super::{Cgroup, Member, Result};
use crate::error::{FieldPath, PathError};

impl Cgroup {
    /// Makes the directories, those above them included, with the controllers of the hierarchy's root switched on.
    /// What was made is removed again if something fails.
    ///
    /// # Errors
    /// An existing cgroup with processes in it; one that is frozen, itself or by a parent; what the kernel said.
    pub fn create(paths: Paths) -> Result<Cgroup> {
        let mut cgroup = Cgroup {
            kind: paths.kind,
            members: Vec::with_capacity(paths.places.len()),
            disabled: false,
            unit: None,
            last_words: None,
        };
        for place in paths.places {
            match make(&place) {
                Ok(made) => {
                    let dir = Dir::new(place.path());
                    cgroup.members.push(Member { controllers: place.controllers.clone(), dir, made });
                    let member = &cgroup.members[cgroup.members.len() - 1];
                    if let Err(e) = prepare(member, &place, paths.kind) {
                        return Err(undo(&cgroup, e));
                    }
                }
                Err(e) if paths.optional && is_denied(&e) => {}
                Err(e) => {
                    let e = PathError { doing: "mkdir", path: place.path(), source: e };
                    return Err(undo(&cgroup, e.into()));
                }
            }
        }
        match cgroup.check_usable() {
            Ok(()) => Ok(cgroup),
            Err(e) => Err(undo(&cgroup, e)),
        }
    }

    /// That a process put into the cgroup would run, and be the first.
    fn check_usable(&self) -> Result<()> {
        self.check_thawed()?;
        // One hierarchy stands for all: they are made and removed together.
        let Some(m) = self.process_member().filter(|m| m.made == 0) else { return Ok(()) };
        match self.procs(true)?.len() {
            0 => Ok(()),
            processes => Err(Error::NotEmpty { path: m.dir.path().to_path_buf(), processes }),
        }
    }

    /// That a process inside runs.
    pub(super) fn check_thawed(&self) -> Result<()> {
        match self.member_of(if self.kind == Kind::Unified { "" } else { "freezer" }) {
            Some(m) => self.check_not_frozen(m),
            None => Ok(()),
        }
    }

    fn check_not_frozen(&self, m: &Member) -> Result<()> {
        // A new cgroup below a frozen one is frozen too, so this is for new ones as well.
        let (file, frozen): (_, fn(&str) -> bool) = match self.kind {
            Kind::Unified => ("cgroup.events", |t| keyed(t, "frozen") == Some(1)),
            Kind::Legacy => ("freezer.state", |t| t.trim_end() != "THAWED"),
        };
        let mut is_frozen = match m.dir.read(file) {
            Ok(text) => frozen(&text),
            // The root of a hierarchy has no such file; before Linux 5.2 none has.
            Err(e) if is_gone(&e) => false,
            Err(e) => return Err(m.dir.error("read", file, e)),
        };
        // An empty cgroup never reports that it is frozen.
        if self.kind == Kind::Unified && m.made == 0 && !is_frozen {
            is_frozen = m.dir.read("cgroup.freeze").is_ok_and(|t| t.trim_end() == "1");
        }
        if is_frozen { Err(Error::Frozen { path: m.dir.path().to_path_buf() }) } else { Ok(()) }
    }
}

/// The first error is what the user has to know; the directories are empty, so their removal has no reason to fail.
fn undo(cgroup: &Cgroup, e: Error) -> Error {
    if let Err(second) = cgroup.destroy() {
        log::warn!("after {e}: {second}");
    }
    e
}

fn is_denied(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// mkdir -p; how many directories were made, counted from the end of the path.
pub(super) fn make(place: &Place) -> io::Result<usize> {
    // Somebody may remove a parent that was there a moment ago.
    const ATTEMPTS: u32 = 5;
    let path = place.path();
    let mut made = 0;
    for _ in 0..ATTEMPTS {
        match mkdir(&path) {
            Ok(new) => return Ok(made + usize::from(new)),
            Err(Errno::NOENT) => made = make_parents(place)?,
            Err(e) => return Err(e.into()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Makes what is missing above the last component; how many of them are new.
fn make_parents(place: &Place) -> io::Result<usize> {
    let mut path = place.mount.clone();
    let mut made = 0;
    for name in place.inner.parent().unwrap_or(Path::new("")).components() {
        path.push(name);
        if mkdir(&path)? {
            made += 1;
        } else {
            // Only an unbroken run up from the container's own directory is ours.
            made = 0;
        }
    }
    Ok(made)
}

/// Whether the directory is new.
fn mkdir(path: &Path) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

pub(super) fn prepare(member: &Member, place: &Place, kind: Kind) -> Result<()> {
    if member.has("cpuset") {
        return populate_cpuset(member, place);
    }
    // The v2 side of a hybrid machine has no controllers that anybody needs here.
    if kind == Kind::Unified { enable_controllers(place) } else { Ok(()) }
}

/// A v1 cpuset is born without CPUs and memory nodes, and refuses processes until it has some.
fn populate_cpuset(member: &Member, place: &Place) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if member.made == 0 && member.dir.read(file).is_ok_and(|t| !t.trim().is_empty()) {
            continue;
        }
        // From the nearest ancestor that has a value down to the new directory.
        let mut empty = vec![place.inner.as_path()];
        let mut value = String::new();
        for above in place.inner.ancestors().skip(1) {
            let dir = place.mount.join(above);
            value = read_at(&dir, file).map_err(PathError::doing("read", &dir.join(file)))?;
            if !value.trim().is_empty() {
                break;
            }
            empty.push(above);
        }
        for inner in empty.into_iter().rev() {
            if inner == place.inner {
                write_cpuset(&member.dir, file, value.trim())?;
            } else {
                write_cpuset(&Dir::new(place.mount.join(inner)), file, value.trim())?;
            }
        }
    }
    Ok(())
}

fn write_cpuset(dir: &Dir, file: &'static str, value: &str) -> Result<()> {
    dir.write(file, value).map_err(|e| dir.error("write", file, e))
}

/// Switches on, from the root down to the parent, every controller that the root has.
///
/// What cannot be switched on (a parent with processes, a read-only mount) is an error only when a limit needs it,
/// which [`Cgroup::apply`] finds out.
fn enable_controllers(place: &Place) -> Result<()> {
    const AVAILABLE: &str = "cgroup.controllers";
    let path = place.mount.join(AVAILABLE);
    let available = read_at(&place.mount, AVAILABLE).map_err(PathError::doing("read", &path))?;
    let available: Vec<&str> = available.split_whitespace().collect();
    let parent = place.inner.parent().unwrap_or(Path::new(""));
    let done = read_at(&place.mount.join(parent), "cgroup.subtree_control").unwrap_or_default();
    let is_complete = available.iter().all(|c| done.split_whitespace().any(|e| e == *c));
    // A threaded parent cannot have domain controllers, so where there are any, there is no need to ask its type.
    if is_complete && available.iter().any(|c| !is_threaded_controller(c)) {
        return Ok(());
    }
    let mut above: Vec<&Path> = place.inner.ancestors().skip(1).collect();
    above.reverse();
    for inner in above {
        enable_in(&Dir::new(place.mount.join(inner)), &available);
    }
    check_type(place)
}

fn is_threaded_controller(name: &str) -> bool {
    matches!(name, "cpu" | "cpuset" | "perf_event" | "pids")
}

/// All at once, or, if one of them does not go, each by itself.
fn enable_in(dir: &Dir, available: &[&str]) {
    let enabled = dir.read("cgroup.subtree_control").unwrap_or_default();
    let missing = available.iter().filter(|c| !enabled.split_whitespace().any(|e| e == **c));
    let missing: Vec<String> = missing.map(|c| format!("+{c}")).collect();
    if missing.is_empty() || dir.write("cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return;
    }
    for controller in &missing {
        if let Err(e) = dir.write("cgroup.subtree_control", controller) {
            log::debug!("{}/cgroup.subtree_control: {controller}: {e}", dir.path().display());
        }
    }
}

/// Below a threaded cgroup a new one is `domain invalid` and takes no process before it is made threaded itself,
/// which does not go together with controllers for whole processes.
fn check_type(place: &Place) -> Result<()> {
    let dir = Dir::new(place.path());
    // No such file in the root, or before Linux 4.14.
    let Ok(kind) = dir.read("cgroup.type") else { return Ok(()) };
    let kind = kind.trim();
    if kind == "domain" {
        return Ok(());
    }
    let on = dir.read("cgroup.controllers").unwrap_or_default();
    let domain: Vec<&str> = on.split_whitespace().filter(|c| !is_threaded_controller(c)).collect();
    if !domain.is_empty() {
        let path: PathBuf = dir.path().to_path_buf();
        return Err(Error::Threaded { path, kind: kind.to_owned(), controllers: domain.join(", ") });
    }
    if kind == "domain invalid" {
        return dir.write("cgroup.type", "threaded").map_err(|e| dir.error("write", "cgroup.type", e));
    }
    Ok(())
}

/// What is missing when there is no directory for a controller.
pub(super) fn missing(cgroup: &Cgroup, controller: &str, field: &FieldPath) -> Error {
    if cgroup.is_none() {
        return Error::ControllerMissing {
            field: field.clone(),
            controller: controller.to_owned(),
            why: "the container has no cgroup (none is mounted, or there is no permission to make one)",
        };
    }
    Error::ControllerMissing { field: field.clone(), controller: controller.to_owned(), why: "" }
}
