//! The features document (features.md, features-linux.md): what this runtime knows, whatever the machine.
//!
//! Everything listed is true of this build; where a table decides, the table is asked, and a test feeds every other word
//! of the document to the code that has to know it.

use serde::Serialize;

use crate::config::{NamespaceKind, annotations};
use crate::plan::mount_options;
use crate::seccomp::Arch;
use crate::validate::{capabilities, words};

/// The features document of version 1.3 of the specification. An absent member means "unknown", not "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Lowest `ociVersion` of a `config.json`.
    pub oci_version_min: &'static str,
    /// Highest `ociVersion` whose members this runtime knows.
    pub oci_version_max: &'static str,
    /// Kinds of hook.
    pub hooks: Vec<&'static str>,
    /// Options of `mounts` that are not data for a filesystem.
    pub mount_options: Vec<&'static str>,
    /// What is particular to Linux.
    pub linux: LinuxFeatures,
    /// Annotations of a container that change what the runtime does; one that ends with a dot stands for all that begin
    /// with it.
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// `linux` of the features document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxFeatures {
    /// Types of namespace.
    pub namespaces: Vec<&'static str>,
    /// Names of capabilities.
    pub capabilities: Vec<&'static str>,
    /// Control groups.
    pub cgroup: CgroupFeatures,
    /// System call filters.
    pub seccomp: SeccompFeatures,
    /// AppArmor profiles.
    pub apparmor: Enabled,
    /// SELinux labels.
    pub selinux: Enabled,
    /// Intel RDT.
    pub intel_rdt: IntelRdtFeatures,
    /// Extensions of mounts.
    pub mount_extensions: MountExtensions,
    /// Moving network devices.
    pub net_devices: Enabled,
    /// NUMA memory policies.
    pub memory_policy: MemoryPolicyFeatures,
}

/// `linux.memoryPolicy` of the features document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPolicyFeatures {
    /// Modes that are understood.
    pub modes: Vec<&'static str>,
    /// Flags that are understood.
    pub flags: Vec<&'static str>,
}

/// `linux.intelRdt` of the features document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IntelRdtFeatures {
    /// Whether it is there at all.
    pub enabled: bool,
    /// Whether `schemata` is understood.
    pub schemata: bool,
    /// Whether `enableMonitoring` is understood.
    pub monitoring: bool,
}

/// Whether a feature is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// Yes or no.
    pub enabled: bool,
}

/// `linux.cgroup` of the features document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFeatures {
    /// Version 1.
    pub v1: bool,
    /// Version 2.
    pub v2: bool,
    /// Through the system's systemd.
    pub systemd: bool,
    /// Through a user's systemd.
    pub systemd_user: bool,
    /// The rdma controller.
    pub rdma: bool,
}

/// `linux.seccomp` of the features document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompFeatures {
    /// Whether filters can be compiled for this architecture.
    pub enabled: bool,
    /// What a rule can do.
    pub actions: Vec<&'static str>,
    /// What a rule can compare with.
    pub operators: Vec<&'static str>,
    /// Architectures that a filter can be compiled for.
    pub archs: Vec<&'static str>,
    /// Flags that are understood.
    pub known_flags: Vec<&'static str>,
    /// Flags that are also acted upon.
    pub supported_flags: Vec<&'static str>,
}

/// `linux.mountExtensions` of the features document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MountExtensions {
    /// Id-mapped mounts.
    pub idmap: Enabled,
}

/// What this build can do.
#[must_use]
pub fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: crate::spec::OCI_VERSION,
        hooks: vec![
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: mount_options::names().collect(),
        linux: linux(),
        potentially_unsafe_config_annotations: annotations::ALL.to_vec(),
    }
}

fn linux() -> LinuxFeatures {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};

    LinuxFeatures {
        namespaces: [Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts].map(NamespaceKind::name).to_vec(),
        capabilities: capabilities::NAMES.to_vec(),
        cgroup: CgroupFeatures { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
        seccomp: seccomp(),
        apparmor: Enabled { enabled: true },
        selinux: Enabled { enabled: true },
        intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
        net_devices: Enabled { enabled: true },
        memory_policy: MemoryPolicyFeatures {
            modes: words::MEMORY_MODES.iter().map(|(word, _)| *word).collect(),
            flags: words::MEMORY_FLAGS.iter().map(|(word, _)| *word).collect(),
        },
    }
}

fn seccomp() -> SeccompFeatures {
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];
    let operators = [
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ];
    let known_flags = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    // TSYNC has no effect: the filter is loaded by a process of one thread.
    let supported_flags = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    let mut archs: Vec<&str> = Arch::all().map(Arch::name).collect();
    archs.sort_unstable();
    SeccompFeatures {
        enabled: Arch::native().is_some(),
        actions: actions.to_vec(),
        operators: operators.to_vec(),
        archs,
        known_flags: known_flags.to_vec(),
        supported_flags: supported_flags.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::features;
    use crate::config::{Config, Seccomp};
    use crate::error::FieldPath;
    use crate::seccomp::{Arch, compile};
    use crate::spec::default_config;
    use crate::validate::validate;

    /// The configuration of `corten spec` with one member replaced.
    fn with(member: &str, value: Value) -> Config {
        let mut document = serde_json::to_value(default_config()).unwrap();
        let (parent, name) = member.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value;
        serde_json::from_value(document).unwrap()
    }

    #[track_caller]
    fn accepted(member: &str, value: Value) {
        let config = with(member, value.clone());
        let valid = validate(&config).unwrap_or_else(|e| panic!("{member} = {value}: {e}"));
        let unknown = valid.warnings.iter().find(|warning| warning.contains("unknown"));
        assert_eq!(unknown, None);
    }

    #[test]
    fn the_document_is_that_of_the_specification() {
        let document = serde_json::to_value(features()).unwrap();
        let members =
            |at: &str| document.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let top = [
            "hooks",
            "linux",
            "mountOptions",
            "ociVersionMax",
            "ociVersionMin",
            "potentiallyUnsafeConfigAnnotations",
        ];
        let mut found = members("");
        found.sort();
        assert_eq!(found, top);
        assert_eq!(members("/linux/intelRdt"), ["enabled", "monitoring", "schemata"]);
        for at in ["/linux/mountExtensions/idmap", "/linux/apparmor", "/linux/netDevices"] {
            assert_eq!(members(at), ["enabled"]);
        }
        assert!(document.pointer("/linux/cgroup/systemdUser").is_some_and(Value::is_boolean));
        assert!(document.pointer("/linux/seccomp/knownFlags").is_some_and(Value::is_array));
        assert!(features().mount_options.contains(&"rro"), "containerd looks for it");
    }

    #[test]
    fn both_versions_are_accepted() {
        let features = features();
        accepted("/ociVersion", json!(features.oci_version_min));
        accepted("/ociVersion", json!(features.oci_version_max));
    }

    #[test]
    fn every_word_outside_of_seccomp_is_accepted() {
        let features = features();
        for hook in features.hooks {
            let config = with("/hooks", json!({ hook: [{ "path": "/hook" }] }));
            let hooks = serde_json::to_value(config.hooks.unwrap()).unwrap();
            assert_eq!(hooks[hook][0]["path"], "/hook");
        }
        for option in features.mount_options {
            let mount = json!([{ "destination": "/x", "type": "none", "source": "/y", "options": [option] }]);
            accepted("/mounts", mount);
        }
        for kind in features.linux.namespaces {
            let namespace = json!([{ "type": kind, "path": "/proc/1/ns/x" }]);
            let config = with("/linux/namespaces", namespace);
            assert_eq!(config.linux.unwrap().namespaces[0].kind.name(), kind);
        }
        for mode in features.linux.memory_policy.modes {
            let nodes = if matches!(mode, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
            accepted("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes }));
        }
        for flag in features.linux.memory_policy.flags {
            accepted("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] }));
        }
        for capability in features.linux.capabilities {
            accepted("/process/capabilities", json!({ "bounding": [capability] }));
        }
    }

    #[test]
    fn every_word_of_seccomp_compiles() {
        let seccomp = features().linux.seccomp;
        let native = Arch::native().unwrap();
        let compiles = |value: Value| {
            let profile: Seccomp = serde_json::from_value(value.clone()).unwrap();
            compile(&profile, &FieldPath::new("linux.seccomp"), native)
                .unwrap_or_else(|e| panic!("{value}: {e}"));
        };
        for action in seccomp.actions {
            compiles(json!({ "defaultAction": action, "listenerPath": "/agent" }));
            compiles(json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
                "syscalls": [{ "names": ["read"], "action": action }] }));
        }
        for op in seccomp.operators {
            let rule = json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": op }] });
            compiles(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
        }
        for arch in seccomp.archs {
            compiles(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch] }));
        }
        for flag in seccomp.known_flags {
            compiles(json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "listenerPath": "/agent",
                "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_NOTIFY" }] }));
        }
    }
}
