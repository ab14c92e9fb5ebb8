//! `linux.devices` (config-linux.md#devices).

use super::at::At;
use super::{Check, Context, text};
use crate::config::Device;
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");
const AT: At<'_> = LINUX.field("devices");

/// Largest major number of a device (`MINORBITS` is 20 of 32).
pub(super) const MAX_MAJOR: i128 = (1 << 12) - 1;
/// Largest minor number of a device.
pub(super) const MAX_MINOR: i128 = (1 << 20) - 1;

/// Every device can be made with mknod(2).
pub(super) fn devices(cx: &Context<'_>) -> Check {
    cx.linux.devices.iter().enumerate().try_for_each(|(i, d)| device(d, AT.index(i)))
}

fn device(device: &Device, at: At<'_>) -> Check {
    text::one_of(&device.kind, &["c", "b", "u", "p"], "c, b, u or p", at.field("type"))?;
    text::absolute(&device.path, at.field("path"))?;
    if text::clean(&device.path) == "/" {
        return Err(at.field("path").err(Problem::Forbidden { why: "this is a directory" }));
    }
    if device.kind != "p" {
        let why = "unless type is \"p\"";
        let major = device.major.ok_or_else(|| at.field("major").err(Problem::Missing { why }))?;
        let minor = device.minor.ok_or_else(|| at.field("minor").err(Problem::Missing { why }))?;
        numbers(major, minor, at)?;
    }
    mode(device, at.field("fileMode"))?;
    for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
        text::in_range(id.unwrap_or(0), 0..=0xffff_fffe, "between 0 and 4294967294", at.field(name))?;
    }
    Ok(())
}

/// Both numbers of a device fit into a `dev_t`.
pub(super) fn numbers(major: i64, minor: i64, at: At<'_>) -> Check {
    text::in_range(major, 0..=MAX_MAJOR, "between 0 and 4095", at.field("major"))?;
    text::in_range(minor, 0..=MAX_MINOR, "between 0 and 1048575", at.field("minor"))
}

/// Permission bits. Some engines copy `st_mode` with the type of the file; harmless while it is the right type.
fn mode(device: &Device, at: At<'_>) -> Check {
    let kind = match device.kind.as_str() {
        "b" => libc::S_IFBLK,
        "p" => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    let mode = device.file_mode.unwrap_or(0);
    let permissions = if mode & libc::S_IFMT == kind { mode & !libc::S_IFMT } else { mode };
    text::in_range(permissions, 0..=0o7777, "permission bits, at most 4095 (octal 7777)", at)
}
