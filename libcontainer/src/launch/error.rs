//! Why a process could not be launched, in words.

use std::fmt;
use std::io;

use corten_init::{Frame, Step};

use super::net_devices::NetDeviceError;
use crate::error::{Since, Strerror};
use crate::plan::Origin;

/// Everything that goes wrong between the clone and the user's program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The child reported which step failed.
    #[error("unable to start container process: {0}")]
    Init(InitFailure),
    /// The same, for work in a container that is not about a process of its own.
    #[error("{0}")]
    Joined(InitFailure),
    /// The child died without a word.
    #[error("{who} died {phase}: {how}")]
    InitDied {
        /// `container init`, or a process that joined.
        who: &'static str,
        /// What it was at.
        phase: &'static str,
        /// Exit code or signal.
        how: Death,
    },
    /// The kernel's OOM killer ended the child.
    #[error("container init was OOM-killed {phase} (memory limit too low?){}", Limits(.limit, .peak))]
    OomKilled {
        /// What it was at.
        phase: &'static str,
        /// Bytes, of the container's cgroup.
        limit: Option<u64>,
        /// Bytes, the most that it used.
        peak: Option<u64>,
    },
    /// A process that joins a container is held with it in its frozen cgroup.
    #[error("the container was paused while a process was joining it")]
    Frozen,
    /// A namespace of another kind than the configuration says.
    #[error("linux.namespaces: {path} is not a {kind} namespace")]
    WrongNamespace {
        /// The path as configured.
        path: String,
        /// The word for the kind.
        kind: &'static str,
    },
    /// The rights to write an id mapping are missing.
    #[error("{field}: writing the id mapping: {}{}", Strerror(source), InBrackets(.hint))]
    Mapping {
        /// `linux.uidMappings` or `linux.gidMappings`
        field: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What would help.
        hint: &'static str,
    },
    /// The ids of a mount could not be mapped.
    #[error("mounts[{mount}].uidMappings: {step}: {}{}{}", Strerror(source), InBrackets(.hint), Since(step, source))]
    IdMappedMount {
        /// Index in `mounts`.
        mount: usize,
        /// The system call, or what it was for.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What would help.
        hint: &'static str,
    },
    /// A network device could not be moved into the container.
    #[error(transparent)]
    NetDevice(#[from] NetDeviceError),
    /// newuidmap or newgidmap failed.
    #[error("{field}: {helper} failed: {output}")]
    MappingHelper {
        /// `linux.uidMappings` or `linux.gidMappings`
        field: &'static str,
        /// Which program.
        helper: &'static str,
        /// What it printed.
        output: String,
    },
    /// The child said something that the protocol does not have at this point.
    #[error("unexpected message from container init: {verb}")]
    Protocol {
        /// What it said.
        verb: &'static str,
    },
}

impl LaunchError {
    /// Whether the process died without a word, or found that the one to be joined is on its way out: its namespaces go
    /// a moment before its pidfd tells.
    #[must_use]
    pub fn is_death(&self) -> bool {
        match self {
            LaunchError::InitDied { .. } => true,
            LaunchError::Init(failure) => failure.step == Step::Setns,
            _ => false,
        }
    }
}

struct Limits<'a>(&'a Option<u64>, &'a Option<u64>);

impl fmt::Display for Limits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(limit), Some(peak)) => write!(f, ": the limit is {limit} bytes, the peak was {peak}"),
            (Some(limit), None) => write!(f, ": the limit is {limit} bytes"),
            _ => Ok(()),
        }
    }
}

struct InBrackets<'a>(&'a str);

impl fmt::Display for InBrackets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// The kernel did not say.
    Unknown,
}

impl Death {
    /// The exit code as a shell has it: the code itself, or 128 and the signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Death::Exited(code) => code,
            Death::Signaled(signal) => 128 + signal,
            Death::Unknown => 255,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Exited(code) => write!(f, "exit status {code}"),
            Death::Signaled(signal) => write!(f, "killed by signal {signal}"),
            Death::Unknown => f.write_str("unknown status"),
        }
    }
}

/// The step that failed.
#[derive(Debug)]
pub struct InitFailure {
    /// Which part of the configuration it belongs to.
    pub origin: String,
    /// What the child was doing.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
    /// `args[0]`, for failures that are about the program.
    pub program: String,
    /// The parameter of a filesystem that was refused.
    pub parameter: Option<String>,
}

impl InitFailure {
    /// From a `Failed` frame.
    pub(crate) fn new(frame: &Frame, origins: &[Origin], program: &str) -> InitFailure {
        let item = usize::try_from(frame.value).unwrap_or(usize::MAX);
        let from = origins.get(usize::from(frame.op));
        let origin = from.map(|o| o.describe(item)).unwrap_or_else(|| match frame.step {
            Step::Setns => "join namespaces".to_owned(),
            _ => String::new(),
        });
        // Working directory and user are one operation, because each may need the other's rights.
        let origin = match frame.step {
            Step::Chdir | Step::CwdOutside if origin == "process.user" => "process.cwd".to_owned(),
            _ => origin,
        };
        let refused = from.filter(|_| frame.step == Step::Fsconfig).and_then(|o| o.parameter(item));
        let source = io::Error::from_raw_os_error(frame.errno);
        let (parameter, program) = (refused.map(str::to_owned), program.to_owned());
        InitFailure { origin, step: frame.step, source, program, parameter }
    }

    /// Whether the program itself is at fault: not there, not executable, not a program.
    #[must_use]
    pub fn is_about_program(&self) -> bool {
        matches!(self.step, Step::FindProgram | Step::Exec | Step::ProgramIsRuntime)
    }

    /// Whether the process whose namespaces were to be joined is on its way out, or gone.
    #[must_use]
    pub fn has_no_process(&self) -> bool {
        self.step == Step::Setns && self.source.raw_os_error() == Some(libc::ESRCH)
    }

    /// Whether no process could be made where others were to be joined: for want of memory, or because their pid
    /// namespace ends, of which the kernel says the same (pid_namespaces(7)).
    #[must_use]
    pub fn has_no_room(&self) -> bool {
        self.step == Step::Clone && self.source.raw_os_error() == Some(libc::ENOMEM)
    }

    /// Engines look for these very words.
    fn program_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, why) = (&self.program, Strerror(&self.source));
        let missing = matches!(self.source.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        match self.step {
            Step::ProgramIsRuntime => write!(f, "exec {name:?}: {}", self.step.name()),
            // execve(2) has EACCES for a directory. Docker knows either word, Podman's table of exit codes only the latter.
            _ if self.source.raw_os_error() == Some(libc::EISDIR) => {
                write!(f, "exec: {name:?}: {why}: permission denied")
            }
            Step::Exec => write!(f, "exec {name}: {why}"),
            _ if missing && !name.contains('/') => {
                write!(f, "exec: {name:?}: executable file not found in $PATH")
            }
            _ if missing => write!(f, "exec: {name:?}: stat {name}: {why}"),
            _ => write!(f, "exec: {name:?}: {why}"),
        }
    }

    fn hint(&self) -> &'static str {
        let refused = self.source.raw_os_error() == Some(libc::EPERM);
        let missing = self.source.raw_os_error() == Some(libc::ENOENT);
        let invalid = self.source.raw_os_error() == Some(libc::EINVAL);
        match self.step {
            Step::FsconfigCreate if refused && self.origin.contains("/proc") => {
                " (a new procfs needs a pid namespace of the same user namespace, and a /proc outside that nothing covers)"
            }
            Step::FsconfigCreate if refused && self.origin.contains("/sys") => {
                " (a new sysfs needs a network namespace of the same user namespace; or bind the host's /sys)"
            }
            Step::OpenTree if missing => " (the source does not exist)",
            Step::Write if missing && self.origin.contains("apparmor") => " (no such profile is loaded)",
            Step::Write if invalid && self.origin.contains("selinux") => " (the policy has no such context)",
            Step::Open if missing && self.origin.contains("sysctl") => {
                " (this kernel, or this namespace, has no such parameter)"
            }
            Step::Fsopen if self.source.raw_os_error() == Some(libc::ENODEV) => {
                " (no such filesystem; for a bind mount add the option bind or rbind)"
            }
            Step::PivotRoot if self.source.raw_os_error() == Some(libc::EINVAL) => {
                " (on an initramfs use --no-pivot)"
            }
            Step::Seccomp if self.source.raw_os_error() == Some(libc::EACCES) => {
                " (set process.noNewPrivileges, or run as root)"
            }
            Step::Scheduler if refused => {
                " (this policy needs CAP_SYS_NICE, and with version 1 cgroups real time in linux.resources.cpu)"
            }
            Step::IoPriority if refused => " (the class of real time needs CAP_SYS_NICE)",
            Step::MemoryPolicy if self.source.raw_os_error() == Some(libc::EINVAL) => {
                " (the flags do not go with the mode, or there are no such nodes in the cgroup's cpuset)"
            }
            Step::CpuAffinity if self.source.raw_os_error() == Some(libc::EINVAL) => {
                " (none of these processors is in the cgroup's cpuset)"
            }
            Step::OwnBinary => " (CVE-2019-5736; the kernel needs CONFIG_CHECKPOINT_RESTORE for it)",
            Step::Prlimit if refused => " (raising a limit needs CAP_SYS_RESOURCE)",
            _ => "",
        }
    }
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_about_program() {
            return self.program_words(f);
        }
        if !self.origin.is_empty() {
            write!(f, "{}: ", self.origin)?;
        }
        let checked_only =
            matches!(self.step, Step::NotADirectory | Step::InsideProc | Step::NotProc | Step::CwdOutside);
        write!(f, "{}", self.step.name())?;
        if let Some(parameter) = &self.parameter {
            write!(f, " {parameter}")?;
        }
        if !checked_only {
            write!(f, ": {}", Strerror(&self.source))?;
        }
        write!(f, "{}{}", self.hint(), Since(self.step.name(), &self.source))
    }
}
