//! A cgroup below a container's own, for `exec --cgroup`.

use super::dir::Dir;
use super::{Cgroup, Error, Member, Result};
use crate::error::{ConfigError, FieldPath, Problem};

impl Cgroup {
    /// The cgroups that `specs` name, and in the hierarchies that they leave out the container's own. Each is a path
    /// below the container's cgroup; on version 1 with the controllers that it is for: `pids,cpu:/sub`. They have to
    /// exist.
    ///
    /// # Errors
    /// When a path leads out of the container's cgroup, or no hierarchy has the controller.
    pub fn below(self, specs: &[String]) -> Result<Cgroup> {
        let mut members: Vec<Member> = self.members;
        for spec in specs {
            let (controllers, path) = match spec.split_once(':') {
                Some((controllers, path)) => (controllers, path),
                None => ("", spec.as_str()),
            };
            let inner = inside(path).ok_or_else(|| wrong(spec, "a path inside the container's cgroup"))?;
            let chosen = |m: &Member| match controllers {
                "" => true,
                some => some.split(',').any(|c| m.has(c) || (c == "systemd" && m.has("name=systemd"))),
            };
            let mut any = false;
            for member in members.iter_mut().filter(|m| chosen(m)) {
                member.dir = Dir::new(member.dir.path().join(&inner));
                member.made = 0;
                any = true;
            }
            if !any {
                return Err(wrong(spec, "a cgroup with a controller of the container's"));
            }
        }
        Ok(Cgroup { members, ..self })
    }
}

/// The path without its leading slash. It is compared by its components: a prefix of the text proves nothing
/// (`/a/b` is no part of `/a/bc`).
fn inside(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

fn wrong(spec: &str, expected: &'static str) -> Error {
    let problem = Problem::Malformed { value: spec.to_owned(), expected };
    ConfigError::new(FieldPath::new("--cgroup"), problem).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_lead_out() {
        assert_eq!(inside("/a//b/."), Some("a/b".to_owned()));
        assert_eq!(inside("/"), Some(String::new()));
        assert_eq!(inside("../a-suffix"), None);
        assert_eq!(inside("a/../../b"), None);
    }
}
