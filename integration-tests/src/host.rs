//! What this machine has, probed once per case.

use crate::registry::Need;
use crate::{cgroup, sys};
use std::fs;
use std::path::Path;

/// Facts about the machine that decide which cases can be judged.
#[derive(Debug)]
pub struct Host {
    kernel: (u32, u32),
    cap_eff: u64,
    systemd_cgroups: bool,
}

impl Host {
    /// Looks at the machine. `systemd_cgroups`: containers get their cgroups from systemd in this run.
    pub fn probe(systemd_cgroups: bool) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
        let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cap_eff = status
            .lines()
            .find_map(|l| l.strip_prefix("CapEff:"))
            .and_then(|v| u64::from_str_radix(v.trim(), 16).ok())
            .unwrap_or(0);
        Host { kernel, cap_eff, systemd_cgroups }
    }

    /// `None` if the need is met, otherwise the reason for skipping.
    pub fn lacks(&self, need: Need) -> Option<String> {
        let (met, reason) = match need {
            Need::Root => (self.is_root(), "needs root in the initial user namespace".to_owned()),
            Need::V1(c) => (v1_controller(c), format!("no cgroup v1 controller {c}")),
            Need::V1File(c, f) => {
                (Path::new(cgroup::ROOT).join(c).join(f).exists(), format!("no cgroup v1 file {c}/{f}"))
            }
            Need::Unified => (cgroup::is_unified(), "no unified cgroup hierarchy can be mounted".to_owned()),
            Need::V2(c) => (v2_controller(c), format!("no cgroup v2 controller {c}")),
            Need::UserNs => (user_namespaces(), "user namespaces are switched off".to_owned()),
            Need::UnprivilegedUserNs => {
                (user_namespaces() && unprivileged_userns(), "no unprivileged user namespaces".to_owned())
            }
            Need::Namespace(n) => {
                (Path::new("/proc/self/ns").join(n).exists(), format!("kernel without {n} namespaces"))
            }
            Need::Kernel(a, b) => (self.kernel >= (a, b), format!("kernel older than {a}.{b}")),
            Need::Capability(bit, name) => {
                (self.cap_eff >> bit & 1 == 1, format!("the harness lacks {name}"))
            }
            Need::Runc => (on_path("runc"), "runc is not on PATH".to_owned()),
            Need::AppArmor => (apparmor(), "AppArmor is not enabled".to_owned()),
            Need::SeLinux => {
                (Path::new("/sys/fs/selinux/enforce").exists(), "SELinux is not enabled".to_owned())
            }
            Need::X86_64 => (cfg!(target_arch = "x86_64"), "not x86-64".to_owned()),
            Need::Systemd => (systemd_runs(), "systemd does not run here, or has no bus".to_owned()),
            Need::Cgroupfs => (!self.systemd_cgroups, "systemd makes the cgroups in this run".to_owned()),
            Need::File(f) => (Path::new(f).exists(), format!("{f} does not exist")),
        };
        (!met).then_some(reason)
    }

    /// Whether the harness has all the rights of the machine's root.
    pub fn is_root(&self) -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        sys::geteuid() == 0 && map.split_whitespace().nth(2) == Some("4294967295")
    }
}

/// Whether a program of this name is in one of PATH's directories.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// As sd_booted(3), and there is somebody to ask.
fn systemd_runs() -> bool {
    let exists = |path: &str| Path::new(path).exists();
    exists("/run/systemd/system") && exists("/run/dbus/system_bus_socket") && on_path("systemctl")
}

fn v1_controller(name: &str) -> bool {
    !cgroup::is_unified() && Path::new(cgroup::ROOT).join(name).join("cgroup.procs").exists()
}

fn v2_controller(name: &str) -> bool {
    let file = Path::new(cgroup::ROOT).join("cgroup.controllers");
    fs::read_to_string(file).is_ok_and(|c| c.split_whitespace().any(|w| w == name))
}

/// Whether memory can be limited here.
pub fn limits_memory() -> bool {
    v1_controller("memory") || v2_controller("memory")
}

fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|v| v.starts_with('Y'))
}

fn user_namespaces() -> bool {
    fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|v| v.trim() != "0")
}

fn unprivileged_userns() -> bool {
    let clone = fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone");
    let apparmor = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    clone.map_or(true, |v| v.trim() != "0") && apparmor.map_or(true, |v| v.trim() == "0")
}
