//! `linux.sysctl` (config-linux.md#sysctl): only kernel parameters that a namespace of the container's own confines.

use super::at::At;
use super::{Check, Context, text};
use crate::config::NamespaceKind;
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");
const AT: At<'_> = LINUX.field("sysctl");

/// Every key is well formed and belongs to a namespace that the container has.
pub(super) fn sysctl(cx: &Context<'_>) -> Check {
    cx.linux.sysctl.iter().try_for_each(|(key, value)| {
        let at = AT.field(key);
        text::c_string(value, at)?;
        let malformed =
            || Problem::Malformed { value: key.clone(), expected: "the name of a kernel parameter" };
        let path = proc_path(key).ok_or_else(|| at.err(malformed()))?;
        allowed(&path, cx, at)
    })
}

/// The path below `/proc/sys` of a kernel parameter, or nothing if the key has no such form.
///
/// As in sysctl(8), the first separator decides: in `net.ipv4.conf.eth0/1.x` a slash stands for a dot in a name,
/// `net/ipv4/conf/eth0.1/x` is the path as it is. No component is empty, `.` or `..`.
#[must_use]
pub fn proc_path(key: &str) -> Option<String> {
    let swap = key.find(['.', '/']).is_some_and(|i| key.as_bytes()[i] == b'.');
    let path: String = key
        .chars()
        .map(|c| match c {
            '.' if swap => '/',
            '/' if swap => '.',
            other => other,
        })
        .collect();
    let sound = |component: &str| !matches!(component, "" | "." | "..") && !component.contains('\0');
    path.split('/').all(sound).then_some(path)
}

fn allowed(path: &str, cx: &Context<'_>, at: At<'_>) -> Check {
    let ipc = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    match path.split_once('/') {
        Some(("kernel", name)) if ipc.contains(&name) => {
            cx.needs(NamespaceKind::Ipc, at, "this is the host's without an IPC namespace")
        }
        Some(("kernel", "domainname")) => {
            cx.needs(NamespaceKind::Uts, at, "this is the host's without a UTS namespace")
        }
        Some(("kernel", "hostname")) => {
            let with = At::top("hostname").to_path();
            Err(at.err(Problem::Conflict { with, why: "has a member of its own" }))
        }
        Some(("fs", name)) if name.starts_with("mqueue/") => {
            cx.needs(NamespaceKind::Ipc, at, "this is the host's without an IPC namespace")
        }
        Some(("net", _)) => {
            cx.needs(NamespaceKind::Network, at, "this is the host's without a network namespace")
        }
        Some(("user", _)) => cx.needs(NamespaceKind::User, at, "this is the host's without a user namespace"),
        _ => {
            Err(at.err(Problem::Forbidden { why: "no namespace keeps this kernel parameter from the host" }))
        }
    }
}
