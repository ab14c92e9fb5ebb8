//! The list of cases and what each of them says about itself.

use crate::context::Ctx;
use crate::failure::Verdict;
use std::time::Duration;

/// How binding the behaviour is that a case judges, strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// MUST, MUST NOT or REQUIRED in the specification.
    Must,
    /// SHOULD or SHOULD NOT.
    Should,
    /// Not in the specification: what engines depend on.
    Practice,
}

impl Level {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::Practice => "practice",
        }
    }
}

/// What a case needs from the machine. Probed at run time; what is missing turns the case into a skip that
/// says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The harness runs as uid 0 of the initial user namespace.
    Root,
    /// This cgroup v1 controller is mounted under `/sys/fs/cgroup`.
    V1(&'static str),
    /// A cgroup v1 file exists in the controller's root (`controller`, `file`).
    V1File(&'static str, &'static str),
    /// A unified hierarchy at `/sys/fs/cgroup`; made in a private mount namespace if the host has another.
    Unified,
    /// This controller is in the unified hierarchy's `cgroup.controllers`.
    V2(&'static str),
    /// User namespaces can be created by root.
    UserNs,
    /// User namespaces can be created by an ordinary user.
    UnprivilegedUserNs,
    /// The kernel has this namespace kind (a name in `/proc/self/ns`).
    Namespace(&'static str),
    /// The kernel is at least this version.
    Kernel(u32, u32),
    /// The harness has this capability (bit number of `capabilities(7)`, name).
    Capability(u8, &'static str),
    /// The `runc` peer is on PATH.
    Runc,
    /// The kernel has AppArmor switched on.
    AppArmor,
    /// The kernel has SELinux at work, its filesystem mounted.
    SeLinux,
    /// x86-64 hardware, for system call numbers in machine terms.
    X86_64,
    /// systemd is the machine's init, with a bus.
    Systemd,
    /// The runtime makes cgroups itself in this run (no `--systemd-cgroup`).
    Cgroupfs,
    /// A file or device of the host exists.
    File(&'static str),
}

/// A peer that is known to fail a case, with the reason that was found when looking into it.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// The runtime's name as in the first word of `--version`.
    pub runtime: &'static str,
    /// Prefix of its version.
    pub version: &'static str,
    /// Why it fails.
    pub reason: &'static str,
}

type Body = Box<dyn Fn(&Ctx) -> Verdict + Send + Sync>;

/// One thing that is expected of a runtime.
pub struct Case {
    /// `area/what`.
    pub name: String,
    /// Clause ids of the checklist of the specification's requirements.
    pub clauses: &'static [&'static str],
    /// How binding it is.
    pub level: Level,
    /// What it needs from the machine.
    pub needs: Vec<Need>,
    /// Peers known to deviate.
    pub deviations: Vec<Deviation>,
    /// How long it may take before it is killed.
    pub limit: Duration,
    /// What it does.
    pub body: Body,
}

impl Case {
    /// A case on the level MUST that needs root and 60 seconds at most.
    pub fn new(
        name: impl Into<String>,
        clauses: &'static [&'static str],
        body: impl Fn(&Ctx) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Case {
            name: name.into(),
            clauses,
            level: Level::Must,
            needs: vec![Need::Root],
            deviations: Vec::new(),
            limit: Duration::from_secs(60),
            body: Box::new(body),
        }
    }

    /// The behaviour is a SHOULD.
    pub fn should(mut self) -> Self {
        self.level = Level::Should;
        self
    }

    /// The behaviour is not in the specification, but engines depend on it.
    pub fn practice(mut self) -> Self {
        self.level = Level::Practice;
        self
    }

    /// Adds to what the machine must have.
    pub fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }

    /// Gives the case more time than usual.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// The recorded reason for which this runtime is expected to fail, if there is one.
    pub fn deviation_of(&self, runtime: &str, version: &str) -> Option<&'static str> {
        self.deviations
            .iter()
            .find(|d| d.runtime == runtime && version.starts_with(d.version))
            .map(|d| d.reason)
    }
}
