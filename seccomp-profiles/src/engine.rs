//! The format of engines' profiles: `linux.seccomp` with rules that depend on the container and the machine.

use libcontainer::config::{self, Seccomp, SyscallArg, SyscallRule};
use libcontainer::error::{ConfigError, FieldPath};
use libcontainer::seccomp::errno_by_name;
use serde::{Deserialize, Deserializer, Serialize};

use crate::circumstances::{Circumstances, Kernel, NotAVersion};

/// A profile as Docker, containerd, CRI-O and Podman keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineProfile {
    /// As in `linux.seccomp`.
    #[serde(default)]
    pub default_action: String,
    /// As in `linux.seccomp`.
    pub default_errno_ret: Option<u32>,
    /// Podman's `defaultErrno`: its name.
    pub default_errno: Option<String>,
    /// For each native architecture those that run beside it.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub arch_map: Vec<SubArches>,
    /// As in `linux.seccomp`; not together with `archMap`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub architectures: Vec<String>,
    /// As in `linux.seccomp`.
    pub flags: Option<Vec<String>>,
    /// As in `linux.seccomp`.
    pub listener_path: Option<String>,
    /// As in `linux.seccomp`.
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub syscalls: Vec<EngineRule>,
}

/// An element of `archMap`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubArches {
    /// `SCMP_ARCH_…`
    pub architecture: String,
    /// Those of the same kind of machine.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub sub_architectures: Vec<String>,
}

/// An element of `syscalls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineRule {
    /// One name, in profiles of Docker before 17.05.
    pub name: Option<String>,
    /// Names.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub names: Vec<String>,
    /// As in `linux.seccomp`.
    pub action: String,
    /// As in `linux.seccomp`.
    pub errno_ret: Option<u32>,
    /// Podman's `errno`: its name.
    pub errno: Option<String>,
    /// As in `linux.seccomp`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub args: Vec<SyscallArg>,
    /// For people.
    pub comment: Option<String>,
    /// When the rule applies: all of it has to be true.
    pub includes: Option<Filter>,
    /// When it does not: if any of it is true.
    pub excludes: Option<Filter>,
}

/// What a rule depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Go's names of architectures: the native one has to be, or must not be, among them.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub arches: Vec<String>,
    /// Capabilities: all have to be there for `includes`, one is enough for `excludes`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub caps: Vec<String>,
    /// A version of Linux, `4.8`: this one or newer.
    pub min_kernel: Option<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

/// A profile for one container on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `linux.seccomp`
    pub profile: Seccomp,
    /// For each rule of it, the index of its element in `syscalls` of the profile in the engines' format.
    pub origins: Vec<usize>,
    /// Rules that do not apply.
    pub left_out: Vec<LeftOut>,
}

/// A rule that does not apply to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its index in `syscalls`.
    pub index: usize,
    /// Why not.
    pub why: Why,
}

/// Why a rule does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// `includes.caps`
    #[error("it needs {0}")]
    Lacks(String),
    /// `excludes.caps`
    #[error("it is for containers without {0}")]
    Has(String),
    /// `includes.arches` or `excludes.arches`
    #[error("it is for other architectures")]
    Arch,
    /// `includes.minKernel`
    #[error("it is for Linux {0} and newer")]
    KernelOlder(String),
    /// `excludes.minKernel`
    #[error("it is for Linux older than {0}")]
    KernelNewer(String),
}

/// What is wrong with a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Two members that say the same.
    #[error("{path}: cannot be given together with {with}")]
    Both {
        /// One.
        path: FieldPath,
        /// The other.
        with: &'static str,
    },
    /// The name of an errno that is not known.
    #[error("{path}: unknown errno {name:?}")]
    Errno {
        /// Where.
        path: FieldPath,
        /// As written.
        name: String,
    },
    /// `minKernel` is no version.
    #[error("{path}: {source}")]
    Kernel {
        /// Where.
        path: FieldPath,
        /// What it is instead.
        source: NotAVersion,
    },
}

impl EngineProfile {
    /// Reads a profile. A plain `linux.seccomp` is one whose rules depend on nothing.
    ///
    /// # Errors
    /// The member that is not as it has to be.
    pub fn from_slice(bytes: &[u8]) -> Result<EngineProfile, ConfigError> {
        config::from_slice(bytes)
    }

    /// Whether something in it is not known to `linux.seccomp`.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        let odd = |rule: &EngineRule| {
            rule.name.is_some() || rule.errno.is_some() || rule.includes.is_some() || rule.excludes.is_some()
        };
        !self.arch_map.is_empty() || self.default_errno.is_some() || self.syscalls.iter().any(odd)
    }

    /// Keeps the rules that apply, as Docker does.
    ///
    /// # Errors
    /// The member that contradicts another one or cannot be understood, also in rules that do not apply.
    pub fn resolve(&self, circumstances: &Circumstances) -> Result<Resolved, ResolveError> {
        if !self.arch_map.is_empty() && !self.architectures.is_empty() {
            return Err(ResolveError::Both { path: FieldPath::new("archMap"), with: "architectures" });
        }
        let root = FieldPath::root();
        let default = errno(
            self.default_errno_ret,
            self.default_errno.as_deref(),
            &root,
            ("defaultErrno", "defaultErrnoRet"),
        )?;
        let mut resolved = Resolved {
            profile: Seccomp {
                default_action: self.default_action.clone(),
                default_errno_ret: default,
                architectures: self.architectures_of(circumstances),
                flags: self.flags.clone(),
                listener_path: self.listener_path.clone(),
                listener_metadata: self.listener_metadata.clone(),
                syscalls: Vec::with_capacity(self.syscalls.len()),
            },
            origins: Vec::new(),
            left_out: Vec::new(),
        };
        for (index, rule) in self.syscalls.iter().enumerate() {
            let at = FieldPath::new("syscalls").index(index);
            let plain = rule.plain(&at)?;
            match rule.left_out(circumstances, &at)? {
                Some(why) => resolved.left_out.push(LeftOut { index, why }),
                None => {
                    resolved.profile.syscalls.push(plain);
                    resolved.origins.push(index);
                }
            }
        }
        Ok(resolved)
    }

    fn architectures_of(&self, circumstances: &Circumstances) -> Vec<String> {
        let native = self.arch_map.iter().find(|entry| entry.architecture == circumstances.arch.name());
        match native {
            Some(entry) => {
                std::iter::once(&entry.architecture).chain(&entry.sub_architectures).cloned().collect()
            }
            None => self.architectures.clone(),
        }
    }
}

impl EngineRule {
    /// The rule without what it depends on.
    fn plain(&self, at: &FieldPath) -> Result<SyscallRule, ResolveError> {
        if self.name.is_some() && !self.names.is_empty() {
            return Err(ResolveError::Both { path: at.field("name"), with: "names" });
        }
        Ok(SyscallRule {
            names: self.name.iter().chain(&self.names).cloned().collect(),
            action: self.action.clone(),
            errno_ret: errno(self.errno_ret, self.errno.as_deref(), at, ("errno", "errnoRet"))?,
            args: self.args.clone(),
        })
    }

    fn left_out(&self, circumstances: &Circumstances, at: &FieldPath) -> Result<Option<Why>, ResolveError> {
        let has = |cap: &&String| circumstances.capabilities.contains(*cap);
        let (mut lacks, mut excluded) = (None, None);
        if let Some(includes) = &self.includes {
            let kernel = includes.kernel(&at.field("includes"))?;
            if !includes.arches.is_empty() && !includes.arches.iter().any(|a| circumstances.is_native(a)) {
                lacks = Some(Why::Arch);
            } else if let Some(cap) = includes.caps.iter().find(|cap| !has(cap)) {
                lacks = Some(Why::Lacks(cap.clone()));
            } else if let Some((_, text)) = kernel.filter(|(k, _)| circumstances.kernel < *k) {
                lacks = Some(Why::KernelOlder(text));
            }
        }
        if let Some(excludes) = &self.excludes {
            let kernel = excludes.kernel(&at.field("excludes"))?;
            if excludes.arches.iter().any(|a| circumstances.is_native(a)) {
                excluded = Some(Why::Arch);
            } else if let Some(cap) = excludes.caps.iter().find(has) {
                excluded = Some(Why::Has(cap.clone()));
            } else if let Some((_, text)) = kernel.filter(|(k, _)| circumstances.kernel >= *k) {
                excluded = Some(Why::KernelNewer(text));
            }
        }
        Ok(excluded.or(lacks))
    }
}

impl Filter {
    fn kernel(&self, at: &FieldPath) -> Result<Option<(Kernel, String)>, ResolveError> {
        let Some(text) = self.min_kernel.as_ref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = |source| ResolveError::Kernel { path: at.field("minKernel"), source };
        Ok(Some((text.parse().map_err(wrong)?, text.clone())))
    }
}

/// The number of an errno that may be given as number and by name.
fn errno(
    number: Option<u32>,
    name: Option<&str>,
    at: &FieldPath,
    (name_member, number_member): (&str, &'static str),
) -> Result<Option<u32>, ResolveError> {
    match (number, name.filter(|name| !name.is_empty())) {
        (number, None) => Ok(number),
        (given, Some(name)) => {
            let path = || at.field(name_member);
            let number = errno_by_name(name)
                .ok_or_else(|| ResolveError::Errno { path: path(), name: name.chars().take(40).collect() })?;
            // Podman's own profile has both.
            match given {
                Some(given) if given != u32::from(number) => {
                    Err(ResolveError::Both { path: path(), with: number_member })
                }
                _ => Ok(Some(number.into())),
            }
        }
    }
}
