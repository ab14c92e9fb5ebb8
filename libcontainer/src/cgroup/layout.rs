//! Which cgroup hierarchies this mount namespace shows, and where.

use std::io;
use std::path::{Path, PathBuf};

use super::dir::read_at;
use super::error::Error;
use crate::error::PathError;

const ROOT: &str = "/sys/fs/cgroup";
const SELF: &str = "/proc/thread-self";

/// Controllers of version 1, as they appear among the mount options.
const V1_CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

/// Which of the two sets of control files there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Version 2, one hierarchy.
    Unified,
    /// Version 1, one hierarchy per controller or group of them; hybrid machines have an empty v2 hierarchy as well.
    Legacy,
}

/// The hierarchies of this mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// No cgroup file system is mounted.
    None,
    /// Pure version 2.
    Unified {
        /// Where cgroup2 is mounted.
        mount: PathBuf,
    },
    /// Version 1 or hybrid.
    Legacy {
        /// Those with controllers, and `name=systemd`.
        hierarchies: Vec<Hierarchy>,
        /// The version 2 hierarchy of a hybrid machine.
        unified: Option<Hierarchy>,
    },
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers, or `name=systemd`; empty for version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Which of its directories is mounted there: `/`, or a container's own cgroup.
    pub root: PathBuf,
}

impl Layout {
    /// Looks at this mount namespace. One statfs(2) decides on a pure version 2 machine; only otherwise are the mounts
    /// read.
    ///
    /// # Errors
    /// When `/proc/thread-self/mountinfo` cannot be read.
    pub fn probe() -> Result<Layout, Error> {
        const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
        if rustix::fs::statfs(ROOT).is_ok_and(|s| i128::from(s.f_type) == i128::from(CGROUP2_SUPER_MAGIC)) {
            return Ok(Layout::Unified { mount: PathBuf::from(ROOT) });
        }
        let path = Path::new(SELF);
        let mounts = read_at(path, "mountinfo").map_err(PathError::doing("read", &path.join("mountinfo")))?;
        Ok(Layout::from_mountinfo(&mounts))
    }

    /// What the lines of a `mountinfo` file say.
    #[must_use]
    pub fn from_mountinfo(mounts: &str) -> Layout {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mut unified: Option<Hierarchy> = None;
        for h in mounts.lines().filter_map(parse_mount) {
            if h.controllers.is_empty() {
                if unified.as_ref().is_none_or(|u| better(&h, u)) {
                    unified = Some(h);
                }
            } else if let Some(old) = hierarchies.iter_mut().find(|o| o.controllers == h.controllers) {
                if better(&h, old) {
                    *old = h;
                }
            } else {
                hierarchies.push(h);
            }
        }
        // Only name=systemd besides the unified hierarchy would be a machine whose controllers are all version 2.
        let has_controllers = hierarchies.iter().any(|h| !h.controllers[0].starts_with("name="));
        match (has_controllers, unified) {
            (true, unified) => Layout::Legacy { hierarchies, unified },
            (false, Some(u)) => Layout::Unified { mount: u.mount },
            (false, None) => Layout::None,
        }
    }

    /// Which control files [`super::lower`] has to aim at.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Layout::Legacy { .. } => Kind::Legacy,
            Layout::None | Layout::Unified { .. } => Kind::Unified,
        }
    }
}

/// The same hierarchy mounted twice: the usual place wins, and a later mount hides an earlier one.
fn better(new: &Hierarchy, old: &Hierarchy) -> bool {
    new.mount.starts_with(ROOT) || !old.mount.starts_with(ROOT)
}

/// A cgroup line of `mountinfo` (proc_pid_mountinfo(5)).
fn parse_mount(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    if kind != "cgroup" && kind != "cgroup2" {
        return None;
    }
    let options = right.nth(1)?;
    let mut left = left.split(' ').skip(3);
    let (root, mount) = (unescape(left.next()?), unescape(left.next()?));
    let controllers: Vec<String> = match kind {
        "cgroup2" => Vec::new(),
        _ => options
            .split(',')
            .filter(|o| V1_CONTROLLERS.contains(o) || *o == "name=systemd")
            .map(str::to_owned)
            .collect(),
    };
    if kind == "cgroup" && controllers.is_empty() {
        return None;
    }
    Some(Hierarchy { controllers, mount, root })
}

/// Undoes the octal escapes of spaces and the like.
pub(crate) fn unescape(s: &str) -> PathBuf {
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        (rest, _) = match code {
            Some(byte) => (&tail[3..], out.push(byte)),
            None => (tail, out.push(*first)),
        };
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(out))
}

/// Where the calling process is, from `/proc/thread-self/cgroup` (a thread can be elsewhere than its process).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Own(Vec<(String, PathBuf)>);

impl Own {
    pub fn read() -> Result<Own, Error> {
        let path = Path::new(SELF);
        match read_at(path, "cgroup") {
            Ok(text) => Ok(Own::parse(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Own::default()),
            Err(e) => Err(PathError::doing("read", &path.join("cgroup"))(e).into()),
        }
    }

    pub fn parse(text: &str) -> Own {
        let line = |l: &str| {
            let mut fields = l.splitn(3, ':').skip(1);
            Some((fields.next()?.to_owned(), PathBuf::from(fields.next()?)))
        };
        Own(text.lines().filter_map(line).collect())
    }

    /// The path inside the hierarchy, as seen through this mount of it.
    pub fn inside(&self, h: &Hierarchy) -> PathBuf {
        let matches = |list: &str| match h.controllers.first() {
            None => list.is_empty(),
            Some(c) => list.split(',').any(|l| l == c),
        };
        let path = self.0.iter().find(|(list, _)| matches(list)).map_or(Path::new("/"), |(_, p)| p);
        // Outside of what is mounted (a bind mount of another cgroup, or a cgroup namespace whose root is below the
        // process): the mount point is the closest place that can be named.
        let relative = path.strip_prefix(&h.root).unwrap_or(Path::new(""));
        let escapes = relative.components().any(|c| matches!(c, std::path::Component::ParentDir));
        if escapes { PathBuf::new() } else { relative.components().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 0:20 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
42 31 0:39 / /sys/fs/cgroup/elogind rw,relatime - cgroup cgroup rw,xattr,name=elogind
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
43 23 0:32 /docker/ab /mnt/a\\040b rw,relatime - cgroup cgroup rw,memory
";

    fn hierarchy(controllers: &[&str], mount: &str, root: &str) -> Hierarchy {
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        Hierarchy { controllers, mount: mount.into(), root: root.into() }
    }

    #[test]
    fn hybrid() {
        let Layout::Legacy { hierarchies, unified } = Layout::from_mountinfo(HYBRID) else {
            panic!("hybrid is a kind of legacy")
        };
        assert_eq!(unified, Some(hierarchy(&[], "/sys/fs/cgroup/unified", "/")));
        assert_eq!(
            hierarchies,
            [
                hierarchy(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct", "/"),
                hierarchy(&["memory"], "/sys/fs/cgroup/memory", "/docker/ab"),
                hierarchy(&["name=systemd"], "/sys/fs/cgroup/systemd", "/"),
            ]
        );
    }

    #[test]
    fn unified_elsewhere_and_nothing() {
        let line = "41 31 0:38 / /mnt/x\\040y rw - cgroup2 none rw\n";
        assert_eq!(Layout::from_mountinfo(line), Layout::Unified { mount: "/mnt/x y".into() });
        assert_eq!(Layout::from_mountinfo("1 0 0:1 / / rw - ext4 x rw\n"), Layout::None);
    }

    #[test]
    fn own_paths() {
        let own = Own::parse("4:memory:/docker/ab/sub\n2:cpu,cpuacct:/x\n1:name=systemd:/a:b\n0::/../up\n");
        assert_eq!(own.inside(&hierarchy(&["memory"], "/m", "/docker/ab")), Path::new("sub"));
        assert_eq!(own.inside(&hierarchy(&["memory"], "/m", "/elsewhere")), Path::new(""));
        assert_eq!(own.inside(&hierarchy(&["cpuacct", "cpu"], "/c", "/")), Path::new("x"));
        assert_eq!(own.inside(&hierarchy(&["name=systemd"], "/s", "/")), Path::new("a:b"));
        assert_eq!(own.inside(&hierarchy(&[], "/u", "/")), Path::new(""), "never above the mount point");
        assert_eq!(own.inside(&hierarchy(&["pids"], "/p", "/")), Path::new(""));
    }
}
