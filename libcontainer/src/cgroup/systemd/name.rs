//! Which unit a container is, and in which slice: `linux.cgroupsPath` as `slice:prefix:name`, as in runc.

use std::path::PathBuf;

use super::Bus;
use crate::cgroup::Result;
use crate::error::{ConfigError, FieldPath, Problem};

const FIELD: &str = "linux.cgroupsPath";
/// systemd's UNIT_NAME_MAX, with the byte that ends it.
const LONGEST: usize = 255;

/// A unit's name, and the slice that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `docker-ID.scope`, or a slice.
    pub unit: String,
    /// `system.slice`.
    pub slice: String,
}

impl Place {
    /// Without a path it is as if `:corten:ID` had been asked for.
    ///
    /// # Errors
    /// When it does not have three parts, or one of them is not a part of a unit's name.
    pub fn parse(cgroups_path: Option<&str>, id: &str, bus: Bus) -> Result<Place> {
        let asked = cgroups_path.filter(|path| !path.is_empty());
        // The only character that ids have and the names of units do not.
        let default = || format!(":corten:{}", id.replace('+', "\\x2b"));
        let path = asked.map_or_else(default, str::to_owned);
        let wrong = |expected| malformed(&path, expected);
        let parts: Vec<&str> = path.split(':').collect();
        let &[slice, prefix, name] = &parts[..] else {
            return wrong("slice:prefix:name, as the systemd cgroup manager needs it");
        };
        let unit = if is_slice(name) { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        if !is_name(&unit) {
            return wrong("slice:prefix:name of which systemd could make the name of a unit");
        }
        let slice = match (slice, bus) {
            ("", Bus::System) => "system.slice",
            ("", Bus::User) => "user.slice",
            ("-", _) => "-.slice",
            (slice, _) => slice,
        };
        if expand(slice).is_none() || (is_slice(&unit) && expand(&unit).is_none()) {
            return wrong("slice:prefix:name whose slice is the name of a slice, such as machine-a.slice");
        }
        Ok(Place { unit, slice: slice.to_owned() })
    }

    /// A slice is no unit for processes, but a place for other units.
    pub fn is_slice(&self) -> bool {
        is_slice(&self.unit)
    }

    /// The cgroup's path below the manager's own.
    pub fn path(&self) -> PathBuf {
        let slice = expand(&self.slice).unwrap_or_default();
        match expand(&self.unit) {
            // A slice's place follows from its name.
            Some(path) => path,
            None => slice.join(&self.unit),
        }
    }
}

fn malformed<T>(path: &str, expected: &'static str) -> Result<T> {
    let problem = Problem::Malformed { value: path.to_owned(), expected };
    Err(ConfigError::new(FieldPath::new(FIELD), problem).into())
}

fn is_slice(name: &str) -> bool {
    name.ends_with(".slice")
}

/// What systemd allows in the name of a unit.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.\\@".contains(&b))
}

/// The path of a slice: `a-b.slice` is in `a.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    if !is_name(slice) || name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, bus, slice, unit, cgroup) in [
            (
                Some("system.slice:docker:1f"),
                Bus::System,
                "system.slice",
                "docker-1f.scope",
                "system.slice/docker-1f.scope",
            ),
            (None, Bus::System, "system.slice", "corten-c1.scope", "system.slice/corten-c1.scope"),
            (Some(""), Bus::User, "user.slice", "corten-c1.scope", "user.slice/corten-c1.scope"),
            (Some(":libpod:x"), Bus::User, "user.slice", "libpod-x.scope", "user.slice/libpod-x.scope"),
            (
                Some("kubepods-burstable-podX.slice:cri-containerd:I"),
                Bus::System,
                "kubepods-burstable-podX.slice",
                "cri-containerd-I.scope",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podX.slice/cri-containerd-I.scope",
            ),
            (Some("-.slice:a:b"), Bus::System, "-.slice", "a-b.scope", "a-b.scope"),
            (Some("-:a:b"), Bus::System, "-.slice", "a-b.scope", "a-b.scope"),
            (Some("::b"), Bus::System, "system.slice", "-b.scope", "system.slice/-b.scope"),
            (Some("a.slice::a-b.slice"), Bus::System, "a.slice", "a-b.slice", "a.slice/a-b.slice"),
        ] {
            let place = Place::parse(path, "c1", bus).unwrap();
            assert_eq!((place.slice.as_str(), place.unit.as_str()), (slice, unit), "{path:?}");
            assert_eq!(place.path(), PathBuf::from(cgroup), "{path:?}");
        }
        assert_eq!(Place::parse(None, "a+b", Bus::System).unwrap().unit, "corten-a\\x2bb.scope");
    }

    #[test]
    fn what_is_no_place() {
        let long = format!(":a:{}", "x".repeat(300));
        for bad in [
            "/a/b",
            "a.slice:b",
            "a.slice:b:c:d",
            "user.slice/user-1.slice:a:b",
            ".slice:a:b",
            "a:b:c",
            "-a.slice:b:c",
            "a--b.slice:c:d",
            "a-.slice:c:d",
            "..:a:b",
            "a.slice:..:/b",
            "a.slice:b:c d",
            "::a--b.slice",
            "::.slice",
            &long,
        ] {
            let error = Place::parse(Some(bad), "c1", Bus::System).unwrap_err().to_string();
            assert!(error.starts_with("config.json: linux.cgroupsPath: "), "{bad}: {error}");
            assert!(error.contains("slice:prefix:name"), "{bad}: {error}");
        }
    }
}
