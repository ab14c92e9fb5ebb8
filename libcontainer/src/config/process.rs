use serde::{Deserialize, Serialize};

use super::{is_default, null_as_default};

/// `process` (config.md#process).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether stdio is a pseudo-terminal.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub terminal: bool,
    /// Size of that terminal, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who the process runs as.
    #[serde(default, deserialize_with = "null_as_default")]
    pub user: User,
    /// argv. Required for `start`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The environment, `KEY=value`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// The five capability sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether `PR_SET_NO_NEW_PRIVS` is set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// AppArmor profile for the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// SELinux label for the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// `/proc/self/oom_score_adj`, -1000..=1000; untouched when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// CPU scheduling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// I/O priority.
    #[serde(rename = "ioPriority", skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// CPU affinity of `exec`.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// `process.consoleSize`, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// `process.user`. Ids are those of the container's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub uid: u32,
    /// Group id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub gid: u32,
    /// File mode creation mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// `process.capabilities`. Names are open: an unknown one is a warning, not an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bounding set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// Effective set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// Inheritable set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// Permitted set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// Ambient set.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One element of `process.rlimits`; `u64::MAX` is `RLIM_INFINITY`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Ceiling for the soft limit.
    pub hard: u64,
    /// The limit in force.
    pub soft: u64,
}

/// `process.scheduler` (sched_setattr(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_…`.
    pub policy: String,
    /// Nice value, -20..=19.
    #[serde(default, deserialize_with = "null_as_default")]
    pub nice: i32,
    /// Static priority of the real-time policies.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
    /// `SCHED_FLAG_…`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub period: u64,
}

/// `process.ioPriority` (ioprio_set(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_…`.
    pub class: String,
    /// 0..=7, lower is more.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
}

/// `process.execCPUAffinity`: CPU lists for processes that join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecCpuAffinity {
    /// Before the move into the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// After the move into the cgroup.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
