//! What can go wrong between corten and systemd.

use super::{Bus, BusError};

/// See the module. Each says what systemd was asked for, and what came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no systemd, or no way to it.
    #[error("cannot reach systemd over the {} bus: {source}{}", .bus.name(), hint(*.bus))]
    Unreachable {
        /// Which one.
        bus: Bus,
        /// Why not.
        source: BusError,
    },
    /// systemd did not do what it was asked for.
    #[error("cannot {doing} unit {unit}: {source}")]
    Refused {
        /// `start`, `stop`, `change`, `join`.
        doing: &'static str,
        /// The unit.
        unit: String,
        /// What it said.
        source: BusError,
    },
    /// A job that systemd accepted, and that came to nothing.
    #[error("cannot {doing} unit {unit}: {}", explain(.result))]
    Job {
        /// `start` or `stop`.
        doing: &'static str,
        /// The unit.
        unit: String,
        /// systemd's word for it.
        result: String,
    },
    /// A property that the manager has not, or has with another type.
    #[error("systemd's property {property} is not what it should be")]
    Property {
        /// Its name.
        property: &'static str,
    },
    /// Version 1 belongs to root alone.
    #[error("--systemd-cgroup: the systemd of an ordinary user makes cgroups of version 2 only")]
    RootlessV1,
    /// The process is not where systemd said that it would put it.
    #[error("unit {unit} was started, and process {pid} is in cgroup {found:?}")]
    Elsewhere {
        /// The unit.
        unit: String,
        /// The container's first process.
        pid: i32,
        /// Where it is.
        found: String,
    },
}

impl Bus {
    fn name(self) -> &'static str {
        match self {
            Bus::System => "system",
            Bus::User => "user",
        }
    }
}

fn hint(bus: Bus) -> &'static str {
    match bus {
        Bus::System => " (--systemd-cgroup needs a machine that runs systemd)",
        Bus::User => {
            " (--systemd-cgroup needs a systemd --user, and DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR)"
        }
    }
}

/// The results of a job (org.freedesktop.systemd1(5), signal `JobRemoved`).
fn explain(result: &str) -> String {
    let words = match result {
        "canceled" => "the job was canceled by another one",
        "timeout" => "the job took too long",
        "failed" => "the job failed; `systemctl status` and the journal may say why",
        "dependency" => "a unit that it depends on failed",
        "skipped" => "the job did not apply to the unit in its present state",
        _ => "systemd gave an unknown result",
    };
    format!("{words} ({result:?})")
}
