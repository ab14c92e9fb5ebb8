//! `linux.netDevices` (config-linux.md#network-devices).

use std::collections::{BTreeMap, BTreeSet};

use super::at::At;
use super::{Check, Context};
use crate::config::{NamespaceKind, NetDevice};
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");
const AT: At<'_> = LINUX.field("netDevices");

/// Every device has a name that the kernel takes, and a network namespace to move to.
pub(super) fn net_devices(cx: &Context<'_>) -> Check {
    if cx.linux.net_devices.is_empty() {
        return Ok(());
    }
    cx.needs(NamespaceKind::Network, AT, "devices cannot be moved without a network namespace")?;
    for (host, device) in &cx.linux.net_devices {
        let at = AT.field(host);
        name(host, at)?;
        if let Some(inside) = device.name.as_deref().filter(|inside| !inside.is_empty()) {
            name(inside, at.field("name"))?;
        }
    }
    distinct(&cx.linux.net_devices)
}

/// No two devices get one name. A template such as `eth%d` may stand twice: the kernel finds a free number for each.
fn distinct(devices: &BTreeMap<String, NetDevice>) -> Check {
    let inside = |(host, device): (&String, &NetDevice)| {
        device.name.clone().filter(|inside| !inside.is_empty()).unwrap_or_else(|| host.clone())
    };
    let mut names = BTreeSet::new();
    for (host, device) in devices {
        let name = inside((host, device));
        if !name.contains('%') && !names.insert(name.clone()) {
            return Err(AT.field(host).err(Problem::Duplicate { value: name }));
        }
    }
    Ok(())
}

/// `dev_valid_name()` of the kernel: 1 to 15 bytes, no slash, colon or white space, not `.` or `..`.
pub(super) fn name(name: &str, at: At<'_>) -> Check {
    let sound = |b: u8| !matches!(b, 0 | b'/' | b':') && !b.is_ascii_whitespace() && b != 0x0b;
    if matches!(name, "" | "." | "..") || name.len() > 15 || !name.bytes().all(sound) {
        let value = name.to_owned();
        return Err(at.err(Problem::Malformed { value, expected: "the name of a network interface" }));
    }
    Ok(())
}
