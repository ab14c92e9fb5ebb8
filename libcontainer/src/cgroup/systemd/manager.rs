//! systemd's manager object (org.freedesktop.systemd1(5)).

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::dbus::{Address, Call, Connection, Match, Message, Value};
use super::error::Error;
use super::{Bus, BusError, Property};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
const SYSTEM_SOCKET: &str = "/run/dbus/system_bus_socket";
/// Where systemd itself listens, for root: for machines, and moments, without a bus.
const SYSTEM_PRIVATE: &str = "/run/systemd/private";
/// Longer than a job of ours should ever take; runc's, too.
const JOB_TIMEOUT: Duration = Duration::from_secs(30);
const JOB_REMOVED: Match = Match { path: OBJECT, interface: MANAGER, member: "JobRemoved" };

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

type Result<T> = std::result::Result<T, Error>;

/// A connection to a systemd.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
    bus: Bus,
}

/// Whether the machine's bus belongs to id 0 of this user namespace.
pub fn owns_system_bus() -> bool {
    std::fs::metadata(SYSTEM_SOCKET).is_ok_and(|socket| socket.uid() == 0)
}

impl Manager {
    /// Connects: to the bus, or where there is none to systemd itself.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: what the bus said, because that is the usual way.
    pub fn connect(bus: Bus) -> Result<Manager> {
        let unreachable = |source| Error::Unreachable { bus, source };
        let (addresses, private) = addresses(bus);
        let refused = match addresses.and_then(|addresses| Connection::open(&addresses, true)) {
            Ok(connection) => return Ok(Manager { connection, bus }),
            Err(e) => e,
        };
        let nobody_there = matches!(refused, BusError::Connect { .. } | BusError::Address { .. });
        match private.filter(|_| nobody_there).map(|private| Connection::open(&[private], false)) {
            Some(Ok(connection)) => Ok(Manager { connection, bus }),
            Some(Err(e)) => {
                log::debug!("{e}");
                Err(unreachable(refused))
            }
            None => Err(unreachable(refused)),
        }
    }

    #[cfg(test)]
    pub fn over(connection: Connection, bus: Bus) -> Manager {
        Manager { connection, bus }
    }

    /// Its version: `v257.9-1~deb13u1`, `255`.
    pub fn version(&mut self) -> Result<u32> {
        let text = self.property("Version")?;
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| Error::Property { property: "Version" })
    }

    /// The cgroup that its units are in, from the root of the hierarchy as systemd sees it.
    pub fn control_group(&mut self) -> Result<PathBuf> {
        Ok(self.property("ControlGroup")?.into())
    }

    fn property(&mut self, property: &'static str) -> Result<String> {
        let call = Call {
            destination: SYSTEMD,
            path: OBJECT,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            body: vec![Value::string(MANAGER), Value::string(property)],
        };
        let reply = self.connection.call(&call);
        match reply.map_err(|source| Error::Unreachable { bus: self.bus, source })?.body.first() {
            Some(Value::Variant(value)) => {
                value.as_str().map(str::to_owned).ok_or(Error::Property { property })
            }
            _ => Err(Error::Property { property }),
        }
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> std::result::Result<Message, BusError> {
        self.connection.call(&Call { destination: SYSTEMD, path: OBJECT, interface: MANAGER, member, body })
    }

    /// Starts a transient unit, and waits until it is there.
    ///
    /// # Errors
    /// What systemd said. Nothing of the unit is left then, unless there was one of that name before.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let refused = |source| Error::Refused { doing: "start", unit: unit.to_owned(), source };
        // Asked for before the job exists, or its end might be missed.
        self.connection.subscribe(JOB_REMOVED).map_err(refused)?;
        let started = match self.start_transient(unit, properties) {
            Err(e) if e.is(UNIT_EXISTS) => {
                // Perhaps one of an earlier container that failed: nobody needs its record any more.
                if let Err(e) = self.reset_failed(unit) {
                    log::debug!("unit {unit}: {e}");
                }
                self.start_transient(unit, properties)
            }
            other => other,
        };
        let started = started.map_err(refused)?;
        let done = self.wait(&started, "start", unit);
        if done.is_err() {
            self.discard(unit);
        }
        done
    }

    fn start_transient(
        &mut self,
        unit: &str,
        properties: &[Property],
    ) -> std::result::Result<Message, BusError> {
        let body = vec![
            Value::string(unit),
            Value::string("replace"),
            list(properties),
            // Units to be made along with it.
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        self.call("StartTransientUnit", body)
    }

    /// Waits for the end of the job that a call has returned.
    fn wait(&mut self, job: &Message, doing: &'static str, unit: &str) -> Result<()> {
        let refused = |source| Error::Refused { doing, unit: unit.to_owned(), source };
        let path = job.body.first().and_then(Value::as_str).unwrap_or_default();
        let result =
            self.connection.wait_signal(JOB_REMOVED, job.sender.as_deref(), JOB_TIMEOUT, |body| match body {
                [Value::Uint32(_), job, _, Value::String(result)] if job.as_str() == Some(path) => {
                    Some(result.clone())
                }
                _ => None,
            });
        match result.map_err(refused)? {
            result if result == "done" => Ok(()),
            result => Err(Error::Job { doing, unit: unit.to_owned(), result }),
        }
    }

    /// After a failure, of which the user will hear: what fails here is only logged.
    pub fn discard(&mut self, unit: &str) {
        if let Err(e) = self.stop(unit) {
            log::warn!("{e}");
        }
    }

    /// Stops a unit, waits until it has ended, and has a failure of it forgotten. One that is not there is fine.
    ///
    /// # Errors
    /// What systemd said.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let refused = |source| Error::Refused { doing: "stop", unit: unit.to_owned(), source };
        self.connection.subscribe(JOB_REMOVED).map_err(refused)?;
        let stopped = match self.call("StopUnit", vec![Value::string(unit), Value::string("replace")]) {
            Ok(job) => self.wait(&job, "stop", unit),
            Err(e) if e.is(NO_SUCH_UNIT) => Ok(()),
            Err(e) => Err(refused(e)),
        };
        match self.reset_failed(unit) {
            Err(e) if !e.is(NO_SUCH_UNIT) => stopped.and(Err(refused(e))),
            _ => stopped,
        }
    }

    fn reset_failed(&mut self, unit: &str) -> std::result::Result<(), BusError> {
        self.call("ResetFailedUnit", vec![Value::string(unit)]).map(drop)
    }

    /// Changes properties, until the next boot.
    ///
    /// # Errors
    /// What systemd said; then it has changed none.
    pub fn set_properties(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let body = vec![Value::string(unit), Value::Bool(true), list(properties)];
        let set = self.call("SetUnitProperties", body);
        set.map(drop).map_err(|source| Error::Refused { doing: "change", unit: unit.to_owned(), source })
    }

    /// Moves a process into a unit's cgroup, or into `inner` below it.
    ///
    /// # Errors
    /// What systemd said.
    pub fn attach(&mut self, unit: &str, inner: &str, pid: i32) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::Uint32(pid.unsigned_abs())]);
        let attached =
            self.call("AttachProcessesToUnit", vec![Value::string(unit), Value::string(inner), pids]);
        attached.map(drop).map_err(|source| Error::Refused { doing: "join", unit: unit.to_owned(), source })
    }
}

fn list(properties: &[Property]) -> Value {
    let pairs = properties
        .iter()
        .map(|p| Value::Struct(vec![Value::string(p.name.as_str()), Value::variant(p.value.clone())]));
    Value::Array("(sv)".to_owned(), pairs.collect())
}

/// Where the bus is; and where systemd itself is, unless a certain bus is asked for.
fn addresses(bus: Bus) -> (std::result::Result<Vec<Address>, BusError>, Option<Address>) {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let uid = rustix::process::geteuid().as_raw();
    let runtime = || variable("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{uid}"));
    let (asked, runtime, socket, private) = match bus {
        Bus::System => {
            (variable("DBUS_SYSTEM_BUS_ADDRESS"), None, SYSTEM_SOCKET.into(), SYSTEM_PRIVATE.into())
        }
        Bus::User => {
            let dir = PathBuf::from(runtime());
            let (socket, private) = (dir.join("bus"), dir.join("systemd/private"));
            (variable("DBUS_SESSION_BUS_ADDRESS"), Some(dir), socket, private)
        }
    };
    match asked {
        Some(address) => (Address::parse(&address, runtime.as_deref()), None),
        None => (Ok(vec![Address::Path(socket)]), Some(Address::Path(private))),
    }
}
