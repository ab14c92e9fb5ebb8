//! Where a container's cgroup is: `linux.cgroupsPath` (config-linux.md#cgroups-path).

use std::path::{Component, Path, PathBuf};

use super::layout::{Hierarchy, Kind, Layout, Own};
use super::{Cgroup, Result};
use crate::error::{ConfigError, FieldPath, Problem};

const FIELD: &str = "linux.cgroupsPath";

/// The directories that a container's cgroup will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub(super) kind: Kind,
    pub(super) places: Vec<Place>,
    /// A refusal for lack of permission means «no cgroup», because no place was asked for.
    pub(super) optional: bool,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub controllers: Vec<String>,
    pub mount: PathBuf,
    /// Relative to `mount`; never empty, and without `..`.
    pub inner: PathBuf,
}

impl Place {
    pub fn path(&self) -> PathBuf {
        self.mount.join(&self.inner)
    }
}

impl Cgroup {
    /// Decides where the cgroup of container `id` is.
    ///
    /// An absolute `cgroups_path` counts from the mount points, so that it is the same place for every caller. A
    /// relative one, and the id when there is none, counts from the cgroup that the runtime is in (version 1) or from
    /// its parent (version 2, where a cgroup with processes cannot have children with limits), as in runc.
    ///
    /// `rootless`: if no place was asked for, a lack of permission to make it means that there is no cgroup.
    ///
    /// # Errors
    /// A path with `..`, or one that names the root of the hierarchy.
    pub fn plan(layout: &Layout, cgroups_path: Option<&str>, id: &str, rootless: bool) -> Result<Paths> {
        let asked = cgroups_path.filter(|p| !p.is_empty());
        let (inner, absolute) = check(asked.unwrap_or(id))?;
        let own = if absolute || *layout == Layout::None { Own::default() } else { Own::read()? };
        let places = match layout {
            Layout::None => Vec::new(),
            Layout::Unified { mount } => vec![unified_place(mount, &inner, absolute, &own)],
            Layout::Legacy { hierarchies, unified } => {
                let unified = unified.iter();
                hierarchies.iter().chain(unified).map(|h| place(h, &own.inside(h), &inner)).collect()
            }
        };
        Ok(Paths { kind: layout.kind(), places, optional: rootless && asked.is_none() })
    }
}

/// In pure version 2 the runtime's own cgroup has processes, so its parent is the place.
fn unified_place(mount: &Path, inner: &Path, absolute: bool, own: &Own) -> Place {
    let h = Hierarchy { controllers: Vec::new(), mount: mount.to_path_buf(), root: PathBuf::from("/") };
    let own = own.inside(&h);
    let parent = own.parent().unwrap_or(Path::new(""));
    // A bind mount of a part of the hierarchy does not have our path in it.
    let parent = if absolute || mount.join(parent).is_dir() { parent } else { Path::new("") };
    place(&h, parent, inner)
}

fn place(h: &Hierarchy, parent: &Path, inner: &Path) -> Place {
    Place { controllers: h.controllers.clone(), mount: h.mount.clone(), inner: parent.join(inner) }
}

/// The path without its leading slash, and whether it had one.
fn check(path: &str) -> Result<(PathBuf, bool)> {
    let malformed = |expected| {
        let problem = Problem::Malformed { value: path.to_owned(), expected };
        Err(ConfigError::new(FieldPath::new(FIELD), problem).into())
    };
    let mut inner = PathBuf::new();
    for c in Path::new(path).components() {
        match c {
            Component::Normal(name) => inner.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return malformed("a path without \"..\""),
        }
    }
    if path.contains(['\0', '\n']) {
        return malformed("a path of printable characters");
    }
    if inner.as_os_str().is_empty() {
        return malformed("a cgroup below the root of the hierarchy");
    }
    Ok((inner, path.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified() -> Layout {
        Layout::Unified { mount: "/sys/fs/cgroup".into() }
    }

    #[test]
    fn absolute_counts_from_the_mount_point() {
        let p = Cgroup::plan(&unified(), Some("/a//b/./c/"), "id", false).unwrap();
        assert_eq!(p.places[0].path(), Path::new("/sys/fs/cgroup/a/b/c"));
        assert!(!p.optional);
    }

    #[test]
    fn parent_components_are_refused() {
        for bad in ["..", "/../x", "a/../../b", "/a/.."] {
            let e = Cgroup::plan(&unified(), Some(bad), "id", false).unwrap_err().to_string();
            assert!(e.starts_with("config.json: linux.cgroupsPath: "), "{e}");
            assert!(e.contains("without \"..\""), "{e}");
        }
        for bad in ["/", "//.", "a\nb"] {
            assert!(Cgroup::plan(&unified(), Some(bad), "id", false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn absent_is_the_id() {
        for asked in [None, Some("")] {
            let p = Cgroup::plan(&unified(), asked, "id", true).unwrap();
            assert!(p.places[0].path().ends_with("id"));
            assert!(p.optional);
        }
    }

    #[test]
    fn every_hierarchy_has_a_place() {
        let h = |c: &str| Hierarchy {
            controllers: vec![c.into()],
            mount: Path::new("/cg").join(c),
            root: "/".into(),
        };
        let u = Hierarchy { controllers: vec![], mount: "/cg/unified".into(), root: "/".into() };
        let layout = Layout::Legacy { hierarchies: vec![h("memory"), h("pids")], unified: Some(u) };
        let p = Cgroup::plan(&layout, Some("/x"), "id", false).unwrap();
        let paths: Vec<_> = p.places.iter().map(Place::path).collect();
        assert_eq!(paths, ["/cg/memory/x", "/cg/pids/x", "/cg/unified/x"].map(PathBuf::from));
    }
}
