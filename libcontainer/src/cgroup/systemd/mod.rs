//! Cgroups that systemd makes (`--systemd-cgroup`): a container is a transient scope, asked for over D-Bus.
//!
//! In order: [`Scope::prepare`] finds the manager, and turns `linux.cgroupsPath`, limits and annotations into a unit's
//! name and properties. The child is cloned, and waits. [`Scope::start`] has systemd make the scope around it. From
//! there on the cgroup is like any other: what is left of the limits is written, processes join, freeze and are
//! counted without systemd. Only its end ([`Cgroup::destroy`]) and changes of limits ([`Cgroup::update`]) are asked for.
//!
//! Nothing here is touched by the other cgroup managers: the bus is connected to when it is needed.

mod annotations;
mod dbus;
mod devices;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gvariant;
mod manager;
mod name;
mod scope;
mod translate;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use dbus::Error as BusError;
pub use error::Error;
pub use scope::{Scope, ScopeRequest};

use super::{Cgroup, Result, Write};
use crate::host::in_user_namespace;
use dbus::Value;
use manager::Manager;

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// The machine's.
    System,
    /// That of an ordinary user.
    User,
}

impl Bus {
    /// The manager for a runtime that was told to be rootless or not, or not told.
    ///
    /// Being id 0 in a user namespace says nothing: that is root of a container with a systemd of its own, and an
    /// ordinary user who has mapped itself. The first has a bus that id 0 owns; the socket of the other's machine
    /// belongs to somebody who is not in the namespace.
    #[must_use]
    pub fn choose(rootless: Option<bool>, euid: u32) -> Bus {
        let is_rootless =
            rootless.unwrap_or_else(|| euid != 0 || (in_user_namespace() && !manager::owns_system_bus()));
        if is_rootless { Bus::User } else { Bus::System }
    }
}

/// A unit that was made for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `docker-1f.scope`.
    pub name: String,
    /// Whose it is.
    pub bus: Bus,
}

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
struct Property {
    name: String,
    value: Value,
}

impl Property {
    fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value }
    }
}

impl Unit {
    /// Ends the unit, and has systemd forget a failure of it. One that is gone is fine.
    pub(super) fn stop(&self) -> Result<()> {
        Ok(Manager::connect(self.bus)?.stop(&self.name)?)
    }

    /// Changes limits: in the cgroup, and in what systemd knows about it. All of them or, on an error, none.
    pub(super) fn update(&self, cgroup: &Cgroup, writes: &[Write]) -> Result<()> {
        let mut manager = Manager::connect(self.bus)?;
        let version = manager.version()?;
        let translated = translate::translate(writes, cgroup.kind(), version, false)?;
        // The kernel's refusals name the limit, so it is asked first. systemd takes all of the properties or none.
        cgroup.update_then(&translated.writes, || {
            Ok(manager.set_properties(&self.name, &translated.properties)?)
        })
    }

    /// Moves a process in, to `inner` below the unit's own cgroup.
    fn attach(&self, inner: &str, pid: i32) -> Result<()> {
        Ok(Manager::connect(self.bus)?.attach(&self.name, inner, pid)?)
    }
}

impl Cgroup {
    /// Whether a process can only be moved in by systemd: an ordinary user may write to the cgroup of the container,
    /// but not to the one above that it has in common with the caller's session, and the kernel asks for both.
    #[must_use]
    pub fn needs_manager(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.bus == Bus::User)
    }

    /// Has systemd move process `pid` in. Nothing happens to a cgroup that is not systemd's.
    ///
    /// # Errors
    /// If there is no reaching systemd, or if it refuses.
    pub fn attach_by_manager(&self, pid: i32) -> Result<()> {
        let (Some(unit), Some(member)) = (&self.unit, self.unified()) else { return Ok(()) };
        let path = member.dir.path();
        let below = path.iter().skip_while(|name| *name != unit.name.as_str()).skip(1);
        let inner: std::path::PathBuf = std::iter::once("/".as_ref()).chain(below).collect();
        unit.attach(&inner.to_string_lossy(), pid)
    }
}
