//! Does the configuration make sense? Pure: nothing here looks at the machine.
//!
//! [`validate`] goes through the specification section by section, one file each. The result is a [`Valid`]: the
//! configuration beside the tables that were derived while checking it, so that nobody derives them twice.

mod at;
pub mod capabilities;
mod devices;
mod document;
mod hooks;
mod machine;
mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod resources;
mod rlimits;
mod scheduling;
mod seccomp;
pub mod sysctl;
pub(crate) mod text;
pub mod words;

#[cfg(test)]
mod tests;

use crate::config::{Config, Linux, NamespaceKind, Process, Resources};
use crate::error::{ConfigError, FieldPath, Problem};
use at::At;
pub(crate) use rlimits::rlimit_name;

/// A configuration that was checked.
#[derive(Debug)]
pub struct Valid<'a> {
    /// As written.
    pub config: &'a Config,
    /// Namespaces, in the order user, then the others as in [`NamespaceKind`].
    pub namespaces: Namespaces<'a>,
    /// Capability sets as masks of `1 << CAP_…`.
    pub capabilities: CapabilitySets,
    /// `(RLIMIT_… number, soft, hard)`.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// What is odd and not wrong, to be logged once.
    pub warnings: Vec<String>,
}

/// What becomes of each kind of namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces<'a> {
    entries: Vec<(NamespaceKind, Option<&'a str>)>,
}

impl<'a> Namespaces<'a> {
    /// From pairs of kind and path; a kind stands at most once.
    #[must_use]
    pub fn new(mut entries: Vec<(NamespaceKind, Option<&'a str>)>) -> Namespaces<'a> {
        entries.sort_by_key(|(kind, _)| *kind);
        Namespaces { entries }
    }

    /// Whether a new namespace of this kind is made.
    #[must_use]
    pub fn creates(&self, kind: NamespaceKind) -> bool {
        self.entries.iter().any(|(k, path)| *k == kind && path.is_none())
    }

    /// The path of the namespace of this kind that is joined.
    #[must_use]
    pub fn joins(&self, kind: NamespaceKind) -> Option<&'a str> {
        self.entries.iter().find(|(k, _)| *k == kind).and_then(|(_, path)| *path)
    }

    /// Whether the container has another namespace of this kind than the runtime, by creation or by path.
    #[must_use]
    pub fn has(&self, kind: NamespaceKind) -> bool {
        self.entries.iter().any(|(k, _)| *k == kind)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NamespaceKind, Option<&'a str>)> + '_ {
        self.entries.iter().copied()
    }
}

/// The five sets of capabilities(7), each a mask of `1 << CAP_…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Bounding set.
    pub bounding: u64,
    /// Effective set.
    pub effective: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// The result of one check.
type Check = Result<(), ConfigError>;

/// What a check may look at.
struct Context<'a> {
    config: &'a Config,
    linux: &'a Linux,
    namespaces: &'a Namespaces<'a>,
}

impl Context<'_> {
    /// The member at `at` only makes sense in a namespace of this kind that is not the runtime's.
    fn needs(&self, kind: NamespaceKind, at: At<'_>, why: &'static str) -> Check {
        if self.namespaces.has(kind) {
            return Ok(());
        }
        Err(at.err(Problem::Conflict { with: FieldPath::new("linux.namespaces"), why }))
    }
}

/// Every check of the document, in its order. The first one to fail decides what is reported.
const CHECKS: &[fn(&Context<'_>) -> Check] = &[
    document::oci_version,
    document::root,
    document::annotations,
    init_process,
    mounts::mounts,
    hooks::hooks,
    namespaces::id_mappings,
    namespaces::user_is_mapped,
    namespaces::uts,
    namespaces::time_offsets,
    namespaces::mount_tree,
    devices::devices,
    net_devices::net_devices,
    cgroup,
    sysctl::sysctl,
    seccomp::listener,
    machine::personality,
    machine::memory_policy,
    machine::intel_rdt,
    mount_label,
];

/// Checks a configuration.
///
/// # Errors
///
/// The first member that is wrong, with its path.
pub fn validate(config: &Config) -> Result<Valid<'_>, ConfigError> {
    let nothing = Linux::default();
    let linux = config.linux.as_ref();
    let namespaces = linux.map_or_else(|| Ok(Namespaces::default()), namespaces::namespaces)?;
    let cx = Context { config, linux: linux.unwrap_or(&nothing), namespaces: &namespaces };
    CHECKS.iter().try_for_each(|check| check(&cx))?;

    let mut warnings = Vec::new();
    mounts::warnings(&config.mounts, &mut warnings);
    resources::warnings(cx.linux.resources.as_ref(), &mut warnings);
    let process = config.process.as_ref();
    let capabilities = capabilities::sets(process.and_then(|p| p.capabilities.as_ref()), &mut warnings);
    let rlimits = process.map_or(&[][..], |process| &process.rlimits);
    let rlimits = rlimits::rlimits(rlimits, PROCESS.field("rlimits"))?;
    Ok(Valid { config, namespaces, capabilities, rlimits, warnings })
}

/// A process that was checked by itself, such as that of `exec --process`.
#[derive(Debug)]
pub struct ValidProcess<'a> {
    /// As written.
    pub process: &'a Process,
    /// Capability sets as masks of `1 << CAP_…`.
    pub capabilities: CapabilitySets,
    /// `(RLIMIT_… number, soft, hard)`.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// What is odd and not wrong, to be logged once.
    pub warnings: Vec<String>,
}

/// Checks a process; `at` is its place in the document, [`FieldPath::root`] if it is one of its own.
///
/// # Errors
///
/// The first member that is wrong, with its path.
pub fn validate_process<'a>(process: &'a Process, at: &FieldPath) -> Result<ValidProcess<'a>, ConfigError> {
    let at = At::path(at);
    check_process(process, at)?;
    let rlimits = rlimits::rlimits(&process.rlimits, at.field("rlimits"))?;
    let mut warnings = Vec::new();
    let capabilities = capabilities::sets(process.capabilities.as_ref(), &mut warnings);
    Ok(ValidProcess { process, capabilities, rlimits, warnings })
}

/// Checks limits; `at` is their place in the document, [`FieldPath::root`] if they are one of their own as in `update`.
///
/// # Errors
///
/// The first member that is wrong, with its path.
pub fn validate_resources(resources: &Resources, at: &FieldPath) -> Result<(), ConfigError> {
    resources::resources(resources, At::path(at))
}

const PROCESS: At<'_> = At::top("process");

fn check_process(process: &Process, at: At<'_>) -> Check {
    process::process(process, at)?;
    scheduling::scheduling(process, at)
}

fn init_process(cx: &Context<'_>) -> Check {
    cx.config.process.as_ref().map_or(Ok(()), |process| check_process(process, PROCESS))
}

fn mount_label(cx: &Context<'_>) -> Check {
    text::optional_c_string(cx.linux.mount_label.as_ref(), At::top("linux").field("mountLabel"))
}

fn cgroup(cx: &Context<'_>) -> Check {
    const LINUX: At<'_> = At::top("linux");
    text::optional_c_string(cx.linux.cgroups_path.as_ref(), LINUX.field("cgroupsPath"))?;
    cx.linux.resources.as_ref().map_or(Ok(()), |r| resources::resources(r, LINUX.field("resources")))
}
