//! What can be measured.

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// `run` of a busybox container whose program is `true`.
    Run,
    /// `create` of a container that will sleep.
    Create,
    /// `start` of it.
    Start,
    /// `delete --force` of it, while it sleeps.
    Delete,
    /// The three in a row.
    Cycle,
    /// `exec ID true` in a running container.
    Exec,
    /// `state` of a running container.
    State,
    /// `run` of what an engine writes, with its seccomp profile.
    Engine,
    /// The same without the profile.
    EngineWithoutSeccomp,
    /// `run` of a container with so many bind mounts more.
    Mounts(usize),
    /// So many `run` at a time.
    Parallel(usize),
    /// `create`, `start` and `delete --force` beside so many containers.
    Alive,
    /// Peak memory of `run`.
    Memory,
    /// The smallest memory limit under which `true` runs.
    Limit,
    /// `--version`.
    Version,
    /// The program's file.
    Size,
}

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 20] = [
        Self::Run,
        Self::Create,
        Self::Start,
        Self::Delete,
        Self::Cycle,
        Self::Exec,
        Self::State,
        Self::Engine,
        Self::EngineWithoutSeccomp,
        Self::Mounts(10),
        Self::Mounts(100),
        Self::Mounts(1000),
        Self::Parallel(2),
        Self::Parallel(8),
        Self::Parallel(32),
        Self::Alive,
        Self::Memory,
        Self::Limit,
        Self::Version,
        Self::Size,
    ];

    /// How the report and `--scenario` call it.
    pub fn name(self) -> String {
        let name = match self {
            Self::Run => "run",
            Self::Create => "create",
            Self::Start => "start",
            Self::Delete => "delete",
            Self::Cycle => "create+start+delete",
            Self::Exec => "exec",
            Self::State => "state",
            Self::Engine => "run-engine",
            Self::EngineWithoutSeccomp => "run-engine-without-seccomp",
            Self::Mounts(count) => return format!("run-{count}-mounts"),
            Self::Parallel(count) => return format!("run-{count}-at-a-time"),
            Self::Alive => "beside-others",
            Self::Memory => "memory",
            Self::Limit => "smallest-limit",
            Self::Version => "version",
            Self::Size => "size",
        };
        name.to_owned()
    }

    /// What that is, for `--list`.
    pub fn about(self) -> &'static str {
        match self {
            Self::Run => "run of a container whose program is busybox true (bundles/busybox)",
            Self::Create => "create of a container that will sleep",
            Self::Start => "start of it",
            Self::Delete => "delete --force of it while it sleeps",
            Self::Cycle => "create, start and delete --force of it, one after the other",
            Self::Exec => "exec of true in a running container",
            Self::State => "state of a running container",
            Self::Engine => "run of bundles/docker-like, Docker's seccomp profile included, without limits",
            Self::EngineWithoutSeccomp => "the same without linux.seccomp",
            Self::Mounts(_) => "run with so many bind mounts more",
            Self::Parallel(_) => "so many runs at a time; the time is that of all, divided by their number",
            Self::Alive => "create+start+delete beside --alive other containers of the same runtime",
            Self::Memory => {
                "peak resident memory of the largest process of run; the program has 4 instructions"
            }
            Self::Limit => "the smallest linux.resources.memory.limit under which busybox true runs",
            Self::Version => "--version, beside a static hello in Rust",
            Self::Size => "bytes of the program's file",
        }
    }

    /// What its figures count.
    pub fn unit(self) -> Unit {
        match self {
            Self::Memory | Self::Limit | Self::Size => Unit::Kibibytes,
            _ => Unit::Microseconds,
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Time.
    Microseconds,
    /// Memory, or a file's size.
    Kibibytes,
}

impl Unit {
    /// A figure for people.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{:.2} ms", value / 1e3),
            Self::Kibibytes => format!("{value:.0} KiB"),
        }
    }
}
