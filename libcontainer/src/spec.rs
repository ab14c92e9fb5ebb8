//! The configuration that `corten spec` writes: a place to start from, and the one that `runc spec` writes but for the
//! version and the host name.

use crate::config::{
    Capabilities, Config, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceKind, Process, Resources,
    Rlimit, Root, User,
};

/// Version of the specification that the configuration is written for.
pub const OCI_VERSION: &str = "1.3.0";

/// A shell in a terminal, with few rights, in a read-only root that is expected in `rootfs`.
#[must_use]
pub fn default_config() -> Config {
    Config {
        oci_version: OCI_VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root { path: "rootfs".to_owned(), readonly: true }),
        hostname: Some("corten".to_owned()),
        mounts: mounts(),
        linux: Some(linux()),
        ..Config::default()
    }
}

/// The same for an ordinary user: a user namespace in which root is `uid` and `gid` outside, and nothing that would take
/// more than one id or rights over the host's network and cgroups.
#[must_use]
pub fn rootless(mut config: Config, uid: u32, gid: u32) -> Config {
    for mount in &mut config.mounts {
        // Neither root's group tty nor any other is mapped.
        mount.options.retain(|option| !option.starts_with("uid=") && !option.starts_with("gid="));
        // A new sysfs needs a network namespace of the same user namespace; the host's does not.
        if mount.destination == "/sys" {
            mount.kind = Some("none".to_owned());
            mount.source = Some("/sys".to_owned());
            mount.options = strings(&["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
    }
    let linux = config.linux.get_or_insert_default();
    linux.namespaces.retain(|n| !matches!(n.kind, NamespaceKind::Network | NamespaceKind::User));
    linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    linux.resources = None;
    config
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn process() -> Process {
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    Process {
        terminal: true,
        user: User::default(),
        args: strings(&["sh"]),
        env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities.clone(),
            ambient: capabilities,
            inheritable: Vec::new(),
        }),
        rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".to_owned(), hard: 1024, soft: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: strings(options),
        ..Mount::default()
    };
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn linux() -> Linux {
    use NamespaceKind::{Ipc, Mount, Network, Pid, Uts};

    let nothing = DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() };
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
    ];
    let readonly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    Linux {
        namespaces: [Pid, Network, Ipc, Uts, Mount].map(|kind| Namespace { kind, path: None }).to_vec(),
        resources: Some(Resources { devices: vec![nothing], ..Resources::default() }),
        masked_paths: strings(&masked),
        readonly_paths: strings(&readonly),
        ..Linux::default()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{OCI_VERSION, default_config, rootless};
    use crate::config::Config;
    use crate::validate::validate;

    #[test]
    fn it_is_valid() {
        validate(&default_config()).unwrap();
        validate(&rootless(default_config(), 1000, 1000)).unwrap();
    }

    #[test]
    fn rootless_needs_one_id() {
        let config = rootless(default_config(), 1000, 100);
        let linux = config.linux.as_ref().unwrap();
        assert_eq!((linux.uid_mappings[0].host_id, linux.gid_mappings[0].host_id), (1000, 100));
        assert!(config.mounts.iter().flat_map(|m| &m.options).all(|option| !option.starts_with("gid=")));
        assert_eq!(rootless(config.clone(), 1000, 100), config);
    }

    /// What `runc spec` writes, or nothing where there is no runc.
    fn of_runc(option: Option<&str>) -> Option<serde_json::Value> {
        let name = format!("corten-spec-{}-{}", std::process::id(), option.is_some());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let run = Command::new("runc").arg("spec").args(option).current_dir(&dir).output();
        let bytes = std::fs::read(dir.join("config.json"));
        std::fs::remove_dir_all(&dir).unwrap();
        match run {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("nothing to compare with: runc is not on PATH");
                return None;
            }
            run => assert!(run.unwrap().status.success()),
        }
        let mut value: serde_json::Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
        value["ociVersion"] = OCI_VERSION.into();
        value["hostname"] = "corten".into();
        Some(value)
    }

    /// Versions of runc differ in the paths that they hide; the rest has been the same for years.
    #[track_caller]
    fn same(ours: &Config, theirs: Option<serde_json::Value>) {
        let Some(mut theirs) = theirs else { return };
        let ours = serde_json::to_value(ours).unwrap();
        let masked =
            |value: &serde_json::Value| value["linux"]["maskedPaths"].as_array().cloned().unwrap_or_default();
        let listed = masked(&theirs);
        assert!(masked(&ours).iter().all(|path| listed.contains(path)));
        theirs["linux"]["maskedPaths"] = ours["linux"]["maskedPaths"].clone();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn it_is_that_of_runc() {
        same(&default_config(), of_runc(None));
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        same(&rootless(default_config(), uid, gid), of_runc(Some("--rootless")));
    }
}
