//! A time namespace with clocks of its own (time_namespaces(7)).

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::channel::{At, Result, retry};
use crate::frame::Step;
use crate::sys;

/// Makes a time namespace, sets its clocks, and enters it.
///
/// unshare(2) makes it for children only, and the clocks stand still for good as soon as somebody is in it: hence not by
/// clone3(2), whose child would be. The process itself is taken in by setns(2), so no other one is needed.
pub(crate) fn set_clocks(offsets: &[u8]) -> Result {
    const CLONE_NEWTIME: u32 = 0x80;
    sys::unshare(CLONE_NEWTIME).at(Step::Unshare)?;
    let file = open(c"/proc/self/timens_offsets", OFlags::WRONLY)?;
    let written = retry(|| rustix::io::write(&file, offsets)).at(Step::Write)?;
    if written != offsets.len() {
        return Err(Errno::IO).at(Step::Write);
    }
    let namespace = open(c"/proc/self/ns/time_for_children", OFlags::RDONLY)?;
    sys::setns(namespace.as_fd(), CLONE_NEWTIME).at_item(Step::Setns, u64::from(CLONE_NEWTIME))
}

/// In the runtime's procfs, where a process that is in a pid namespace of its own finds itself, too.
fn open(path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    retry(|| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())).at(Step::Open)
}
