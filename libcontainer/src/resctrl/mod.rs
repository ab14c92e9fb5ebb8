//! Intel RDT: shares of cache and memory bandwidth, through the file system resctrl
//! (config-linux.md#intel-rdt, Documentation/filesystems/resctrl.rst).
//!
//! A *class of service* is a directory with a `schemata` file and the list of its `tasks`; below its `mon_groups` there
//! are directories that only count. Kernel interface: Linux 4.10 (cache), 4.12 (bandwidth), 4.14 (counting).

mod error;
mod schemata;
mod stats;

pub use error::Error;
pub use stats::{BandwidthInfo, BandwidthUse, CacheInfo, CacheUse, Stats};

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::IntelRdt;
use crate::error::{FieldPath, PathError};

type Result<T> = std::result::Result<T, Error>;

/// Where everybody mounts it.
const ROOT: &str = "/sys/fs/resctrl";

/// The mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    root: PathBuf,
}

/// The groups of one container, as `state.json` keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Where resctrl is mounted.
    pub root: PathBuf,
    /// The class of service; `root` for the one of all processes.
    pub class: PathBuf,
    /// Whether it is the runtime's to remove: made for this container alone, which has not named it.
    #[serde(default)]
    pub made: bool,
    /// A group that counts for this container alone. Always the runtime's to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<PathBuf>,
}

/// Groups that have just been made.
#[derive(Debug)]
pub struct Made {
    dirs: Vec<PathBuf>,
}

impl Made {
    /// Removes them again, for a container that does not come into being. What cannot be removed is logged.
    pub fn undo(self) {
        for dir in self.dirs.iter().rev() {
            if let Err(e) = rmdir(dir) {
                log::warn!("{e}");
            }
        }
    }
}

impl Resctrl {
    /// Looks at this mount namespace: the usual place, or else wherever `/proc/self/mountinfo` shows a resctrl. The
    /// usual place counts whatever is mounted there, as only its owner can mount anything: it may be a part of the
    /// real one, or a stand-in.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read.
    pub fn find() -> std::result::Result<Option<Resctrl>, PathError> {
        if Path::new(ROOT).join("schemata").exists() {
            return Ok(Some(Resctrl::at(ROOT)));
        }
        let mounts = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(mounts).map_err(PathError::doing("read", mounts))?;
        Ok(mount_point(&text).map(Resctrl::at))
    }

    /// One that is mounted here.
    pub fn at(root: impl Into<PathBuf>) -> Resctrl {
        Resctrl { root: root.into() }
    }

    /// Where the groups of container `id` are, or will be.
    #[must_use]
    pub fn plan(&self, config: &IntelRdt, id: &str) -> Groups {
        let named = config.clos_id.as_deref();
        let class = match named {
            Some("/") => self.root.clone(),
            other => self.root.join(other.unwrap_or(id)),
        };
        let made = named.is_none() && !class.exists();
        let monitor = config.enable_monitoring.then(|| class.join("mon_groups").join(id));
        Groups { root: self.root.clone(), class, made, monitor }
    }
}

impl Groups {
    /// Makes what is not there and writes the schemata; what is there has to agree with them.
    ///
    /// # Errors
    /// A named class that is not there when there is nothing to make it with, or that has other values; what the
    /// kernel refuses. Nothing is left then.
    pub fn create(&self, config: &IntelRdt, at: &FieldPath) -> Result<Made> {
        let mut made = Made { dirs: Vec::new() };
        match self.create_class(config, at, &mut made).and_then(|()| self.create_monitor(at, &mut made)) {
            Ok(()) => Ok(made),
            Err(e) => {
                made.undo();
                Err(e)
            }
        }
    }

    fn create_class(&self, config: &IntelRdt, at: &FieldPath, made: &mut Made) -> Result<()> {
        let lines = schemata::lines(config);
        if config.clos_id.is_some() && lines.is_empty() {
            if self.class.is_dir() {
                return Ok(());
            }
            return Err(Error::Absent { field: at.field("closID"), path: self.class.clone() });
        }
        let is_new = match fs::create_dir(&self.class) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(self.refused(at.field("closID"), "mkdir".into(), &self.class, e)),
        };
        if is_new {
            made.dirs.push(self.class.clone());
            return self.write_schemata(&lines, at);
        }
        self.compare(&lines, at)
    }

    /// One write for all lines: the kernel takes all or none.
    fn write_schemata(&self, lines: &[&str], at: &FieldPath) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.class.join("schemata");
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        write(&path, &text)
            .map_err(|e| self.refused(at.clone(), format!("write {:?} to", text.trim_end()), &path, e))
    }

    fn compare(&self, lines: &[&str], at: &FieldPath) -> Result<()> {
        let path = self.class.join("schemata");
        let text = self.read_schemata(at)?;
        for line in lines {
            let found = schemata::same_resource(&text, line).unwrap_or_default();
            if !schemata::agrees(line, found) {
                let (wanted, found) = ((*line).to_owned(), found.to_owned());
                return Err(Error::Mismatch { field: at.clone(), path, wanted, found });
            }
        }
        Ok(())
    }

    fn read_schemata(&self, at: &FieldPath) -> Result<String> {
        let path = self.class.join("schemata");
        fs::read_to_string(&path).map_err(|e| self.refused(at.clone(), "read".into(), &path, e))
    }

    fn create_monitor(&self, at: &FieldPath, made: &mut Made) -> Result<()> {
        let Some(dir) = &self.monitor else { return Ok(()) };
        let refused = |e| self.refused(at.field("enableMonitoring"), "mkdir".into(), dir, e);
        fs::create_dir(dir).map_err(refused)?;
        made.dirs.push(dir.clone());
        Ok(())
    }

    /// Puts a thread in, and whatever it will make.
    ///
    /// # Errors
    /// What the kernel says, such as `ESRCH`.
    pub fn join(&self, tid: i32, at: &FieldPath) -> Result<()> {
        // The kernel wants to see it in the class before it counts it there.
        for dir in std::iter::once(&self.class).chain(&self.monitor) {
            let path = dir.join("tasks");
            write(&path, &tid.to_string())
                .map_err(|e| self.refused(at.clone(), format!("write {tid} to"), &path, e))?;
        }
        Ok(())
    }

    /// Other values for the class; what they were, as lines that would undo it.
    ///
    /// # Errors
    /// [`Error::Root`]; what the kernel refuses, and then all values are what they were.
    pub fn change(&self, lines: &[&str], at: &FieldPath) -> Result<Vec<String>> {
        if self.class == self.root {
            return Err(Error::Root { field: at.clone() });
        }
        let before = self.read_schemata(at)?;
        let old = lines.iter().filter_map(|line| schemata::same_resource(&before, line)).map(str::to_owned);
        let old = old.collect();
        self.write_schemata(lines, at)?;
        Ok(old)
    }

    /// Removes what was made for this container. What is gone already is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self) -> std::result::Result<(), PathError> {
        let monitor = self.monitor.iter().try_for_each(|dir| rmdir(dir));
        if self.made { monitor.and(rmdir(&self.class)) } else { monitor }
    }

    fn refused(&self, field: FieldPath, doing: String, path: &Path, source: io::Error) -> Error {
        let status = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let status = status.trim().lines().next().filter(|s| *s != "ok").unwrap_or_default().to_owned();
        Error::Refused { field, doing, path: path.to_owned(), source, status }
    }
}

/// One write(2) to a file that is there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

fn rmdir(dir: &Path) -> std::result::Result<(), PathError> {
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(PathError::doing("rmdir", dir)(e)),
        _ => Ok(()),
    }
}

/// The first resctrl in a `mountinfo` file (proc_pid_mountinfo(5)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let is_resctrl = right.split(' ').next() == Some("resctrl");
        is_resctrl.then(|| crate::cgroup::unescape(left.split(' ').nth(4).unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> IntelRdt {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn places() {
        let resctrl = Resctrl::at("/nonexistent");
        let plan = |json: &str| resctrl.plan(&config(json), "c1");
        let made = plan("{}");
        assert_eq!((made.class.to_str(), made.made), (Some("/nonexistent/c1"), true));
        let named = plan(r#"{"closID":"gold","enableMonitoring":true}"#);
        assert_eq!((named.class.to_str(), named.made), (Some("/nonexistent/gold"), false));
        assert_eq!(named.monitor.as_deref(), Some(Path::new("/nonexistent/gold/mon_groups/c1")));
        let root = plan(r#"{"closID":"/"}"#);
        assert_eq!((root.class.to_str(), root.made, root.monitor), (Some("/nonexistent"), false, None));
    }

    #[test]
    fn found_by_its_type() {
        let mounts = "30 23 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      41 23 0:38 / /mnt/r\\040d rw,relatime shared:7 - resctrl resctrl rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/mnt/r d")));
        assert_eq!(mount_point("30 23 0:29 / /resctrl rw - tmpfs resctrl rw\n"), None);
    }

    #[test]
    fn a_class_that_nobody_made_is_named() {
        let groups = Resctrl::at("/nonexistent").plan(&config(r#"{"closID":"gold"}"#), "c1");
        let at = FieldPath::new("linux.intelRdt");
        let error = groups.create(&config(r#"{"closID":"gold"}"#), &at).unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt.closID: there is no class of service"), "{error}");
        let error = groups.change(&["L3:0=f"], &FieldPath::new("--l3-cache-schema")).unwrap_err().to_string();
        assert!(error.starts_with("--l3-cache-schema: read /nonexistent/gold/schemata: no such"), "{error}");
    }
}
