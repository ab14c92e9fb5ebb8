//! Does the configuration make sense? Pure: nothing here looks at the machine.
//!
//! [`validate`] goes through the specification section by section, one file each. The result is a [`Valid`]: the
//! configuration beside the tables that were derived while checking it, so that nobody derives them twice.

use crate::config::{Config, NamespaceKind};
use crate::error::ConfigError;

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

/// Checks a configuration.
///
/// # Errors
///
/// The first member that is wrong, with its path.
pub fn validate(config: &Config) -> Result<Valid<'_>, ConfigError> {
    let namespaces = config.linux.iter().flat_map(|l| &l.namespaces);
    let namespaces = namespaces.map(|n| (n.kind, n.path.as_deref().filter(|p| !p.is_empty()))).collect();
    Ok(Valid {
        config,
        namespaces: Namespaces::new(namespaces),
        capabilities: CapabilitySets::default(),
        rlimits: Vec::new(),
        warnings: Vec::new(),
    })
}
