//! The scope of a new container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dbus::Value;
use super::error::Error;
use super::manager::Manager;
use super::name::Place as UnitPlace;
use super::{Bus, Property, Unit, annotations, devices, translate};
use crate::cgroup::create::{make, prepare};
use crate::cgroup::dir::{Dir, read_at};
use crate::cgroup::layout::{Hierarchy, Kind, Layout, Own};
use crate::cgroup::oom::{Around, LastWords};
use crate::cgroup::paths::{Paths, Place};
use crate::cgroup::{Cgroup, DevicePolicy, Member, Result, Saved, Write};
use crate::error::{FieldPath, PathError};

/// What a scope is made from.
#[derive(Debug)]
pub struct ScopeRequest<'a> {
    /// The machine's hierarchies.
    pub layout: &'a Layout,
    /// `linux.cgroupsPath`.
    pub cgroups_path: Option<&'a str>,
    /// The container's name.
    pub id: &'a str,
    /// Which systemd.
    pub bus: Bus,
    /// Of the configuration.
    pub annotations: &'a BTreeMap<String, String>,
    /// `linux.resources`, lowered.
    pub writes: &'a [Write],
    /// `linux.resources.devices`.
    pub devices: &'a DevicePolicy,
}

/// A scope that could be started: all is known but the process.
#[derive(Debug)]
pub struct Scope {
    manager: Manager,
    unit: Unit,
    is_slice: bool,
    properties: Vec<Property>,
    writes: Vec<Write>,
    paths: Paths,
    layout: Layout,
}

impl Scope {
    /// Connects to systemd, and works out name, place and properties. Nothing is made.
    ///
    /// # Errors
    /// A path, an annotation or a limit that systemd could not be told; no systemd.
    pub fn prepare(request: &ScopeRequest<'_>) -> Result<Scope> {
        let ScopeRequest { layout, bus, .. } = *request;
        let place = UnitPlace::parse(request.cgroups_path, request.id, bus)?;
        let asked = annotations::properties(request.annotations)?;
        match layout {
            Layout::None => {
                return Err(super::super::Error::NotMounted { field: FieldPath::new("--systemd-cgroup") });
            }
            Layout::Legacy { .. } if bus == Bus::User => return Err(Error::RootlessV1.into()),
            _ => {}
        }
        let mut manager = Manager::connect(bus)?;
        let version = manager.version()?;
        let translated = translate::translate(request.writes, layout.kind(), version, true)?;
        let mut properties = basic(&place, request.id, layout.kind());
        properties.extend(asked);
        properties.extend(devices::properties(request.devices, version));
        properties.extend(translated.properties);
        let paths = paths(layout, &manager.control_group()?.join(place.path()));
        Ok(Scope {
            manager,
            is_slice: place.is_slice(),
            unit: Unit { name: place.unit, bus },
            properties,
            writes: translated.writes,
            paths,
            layout: layout.clone(),
        })
    }

    /// What is to be kept before the unit is made, so that a `create` that is killed in between can be cleaned up.
    /// Where there is a cgroup of that name already, it is somebody else's, and nothing is to be removed.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let mut saved = self.paths.saved();
        if saved.dirs.iter().any(|dir| dir.made > 0) {
            saved.unit = Some(self.unit.clone());
        }
        saved
    }

    /// The limits as they are to be written to the cgroup: as systemd rounds them.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Where the cgroup is expected to be, for mounts of it.
    pub fn dirs(&self) -> impl Iterator<Item = (String, PathBuf)> {
        self.paths.places.iter().map(|place| (place.controllers.join(","), place.path()))
    }

    /// Has systemd make the scope with process `pid` in it. The process must not go on before.
    ///
    /// # Errors
    /// What systemd said; nothing is left then.
    pub fn start(mut self, pid: i32) -> Result<Cgroup> {
        let mut properties = std::mem::take(&mut self.properties);
        if !self.is_slice {
            let pids = Value::Array("u".to_owned(), vec![Value::Uint32(pid.unsigned_abs())]);
            properties.push(Property::new("PIDs", pids));
        }
        log::debug!("unit {}: {}", self.unit.name, listed(&properties));
        let last_words = self.last_words(&properties);
        self.manager.start(&self.unit.name, &properties)?;
        let adopted = self.adopt(pid).map(|cgroup| Cgroup { last_words, ..cgroup });
        if adopted.is_err() {
            self.manager.discard(&self.unit.name);
        }
        adopted
    }

    /// What an OOM kill before the container runs is told by. Only version 2 counts in the cgroup above as well.
    fn last_words(&self, properties: &[Property]) -> Option<LastWords> {
        let around = Around::of(&self.paths.places.first()?.path())?;
        let limit = properties.iter().find(|p| p.name == "MemoryMax").and_then(|p| match p.value {
            Value::Uint64(limit) => Some(limit),
            _ => None,
        });
        Some(LastWords { around, limit })
    }

    /// The cgroup around the process, with what systemd does not do: controllers that it does not know, and version 1
    /// hierarchies that it leaves alone.
    fn adopt(&mut self, pid: i32) -> Result<Cgroup> {
        if !self.is_slice {
            self.find(pid)?;
        }
        let kind = self.paths.kind;
        let unit = Some(self.unit.clone());
        let mut cgroup = Cgroup { kind, members: Vec::new(), disabled: false, unit, last_words: None };
        for place in &self.paths.places {
            let path = place.path();
            let made = make(place).map_err(PathError::doing("mkdir", &path))?;
            let controllers = place.controllers.clone();
            cgroup.members.push(Member { controllers, dir: Dir::new(path), made: made.max(1) });
            prepare(&cgroup.members[cgroup.members.len() - 1], place, kind)?;
        }
        if kind == Kind::Legacy || self.is_slice {
            cgroup.attach(pid, false)?;
        }
        cgroup.check_thawed()?;
        Ok(cgroup)
    }

    /// Looks where systemd has put the process: its names for cgroups are not always those of the units.
    fn find(&mut self, pid: i32) -> Result<()> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let text = read_at(&proc, "cgroup").map_err(PathError::doing("read", &proc.join("cgroup")))?;
        let at = Own::parse(&text);
        let Layout::Unified { mount } = &self.layout else { return Ok(()) };
        let inner = at.inside(&whole(mount));
        if !inner.ends_with(&self.unit.name) && !inner.ends_with(format!("_{}", self.unit.name)) {
            let found = inner.display().to_string();
            return Err(Error::Elsewhere { unit: self.unit.name.clone(), pid, found }.into());
        }
        self.paths.places.iter_mut().for_each(|place| place.inner.clone_from(&inner));
        Ok(())
    }
}

fn whole(mount: &Path) -> Hierarchy {
    Hierarchy { controllers: Vec::new(), mount: mount.to_path_buf(), root: PathBuf::from("/") }
}

/// The same path in every hierarchy.
fn paths(layout: &Layout, path: &Path) -> Paths {
    let hierarchies: Vec<Hierarchy> = match layout {
        Layout::None => Vec::new(),
        Layout::Unified { mount } => vec![whole(mount)],
        Layout::Legacy { hierarchies, unified } => hierarchies.iter().chain(unified).cloned().collect(),
    };
    let place = |h: &Hierarchy| {
        let inner = path.strip_prefix(&h.root).unwrap_or_else(|_| path.strip_prefix("/").unwrap_or(path));
        Place { controllers: h.controllers.clone(), mount: h.mount.clone(), inner: inner.to_path_buf() }
    };
    Paths { kind: layout.kind(), places: hierarchies.iter().map(place).collect(), optional: false }
}

/// What every unit of a container has.
fn basic(place: &UnitPlace, id: &str, kind: Kind) -> Vec<Property> {
    let slice = Value::string(place.slice.as_str());
    let mut properties = vec![Property::new("Description", Value::string(format!("corten container {id}")))];
    if place.is_slice() {
        // Its place follows from its name; that the one above is there has to be asked for.
        properties.push(Property::new("Wants", Value::Array("s".to_owned(), vec![slice])));
    } else {
        properties.push(Property::new("Slice", slice));
        // The container may have cgroups of its own below, which systemd leaves alone then.
        properties.push(Property::new("Delegate", Value::Bool(true)));
    }
    let io = if kind == Kind::Unified { "IOAccounting" } else { "BlockIOAccounting" };
    // Statistics like those of the other cgroup managers, limits or not.
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::new(accounting, Value::Bool(true)));
    }
    // A shutdown of the machine stops the engine, which knows better how to stop its containers.
    properties.push(Property::new("DefaultDependencies", Value::Bool(false)));
    properties
}

fn listed(properties: &[Property]) -> String {
    let words: Vec<String> = properties.iter().map(|p| format!("{}={:?}", p.name, p.value)).collect();
    words.join(" ")
}
