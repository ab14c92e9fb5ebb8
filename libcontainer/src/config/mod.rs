//! `config.json` as written.
//!
//! These types are tolerant where the specification is: unknown members are ignored, `null` means absent
//! (Go encoders emit it), and blocks for other platforms are skipped unread. What is *wrong* is reported with the
//! JSON path of the member at fault. Whether the values make sense is [`crate::validate`]'s question.

pub(crate) mod annotations;
pub(crate) mod json;
mod linux;
mod mounts;
mod place;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use json::from_slice;
pub use linux::*;
pub use mounts::*;
pub use process::*;
pub use resources::*;
pub use seccomp::*;

use crate::error::ConfigError;

/// A whole `config.json` (runtime-spec `config.md`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Version of the specification that the bundle was written for.
    pub oci_version: String,
    /// The container's root filesystem. Required on Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Mounts beyond the root, in the order in which they are made.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The container's process. Required for `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Host name in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Programs to run at points of the life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free-form metadata.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// `root` (config.md#root).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Directory, absolute or relative to the bundle.
    pub path: String,
    /// Whether `/` is read-only inside.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub readonly: bool,
}

/// `hooks` (config.md#posix-platform-hooks).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated; runs first, in the runtime namespaces.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// After the namespaces exist, before `pivot_root`, in the runtime namespaces.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// As `createRuntime`, but executed in the container namespaces.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// In the container, before the user's program.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the user's program was started, in the runtime namespaces.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted, in the runtime namespaces.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// argv, including `argv[0]`; absent means `[path]`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The complete environment.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which the hook is killed and counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

impl Config {
    /// Parses the bytes of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the path of the member that is malformed, of the wrong type or missing.
    pub fn from_slice(bytes: &[u8]) -> Result<Config, ConfigError> {
        from_slice(bytes)
    }
}

/// `null` is how Go spells "absent" for slices, maps and pointers.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
