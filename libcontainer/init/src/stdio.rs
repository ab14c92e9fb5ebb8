//! Standard input, output and error of the program.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, openat};
use rustix::io::Errno;

use crate::channel::{At, Result, retry};
use crate::frame::Step;
use crate::nodes::is_null;
use crate::paths::{FdLink, resolve};
use crate::sys;

const NUMBERS: core::ops::Range<i32> = 0..3;

/// The host's procfs, while it can be reached, if [`exchange_null`] will need it.
pub(crate) fn host_procfs() -> Option<OwnedFd> {
    let any = NUMBERS.filter_map(standard).any(|(_, stat)| is_null(&stat));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    any.then(|| openat(CWD, c"/proc", flags, Mode::empty()).ok()).flatten()
}

/// Puts the container's null device in place of the host's, which a program that owns it could forbid to all the world:
/// `chmod(1)` on `/proc/self/fd/0` changes the host's node, in whatever mount namespace it is done.
///
/// What cannot be exchanged stays: there may be no such device in the container, or it may be one and the same.
pub(crate) fn exchange_null(procfs: &OwnedFd, root: BorrowedFd<'_>) -> Result {
    let Some(null) = open_null(procfs, root) else { return Ok(()) };
    for (number, _) in NUMBERS.filter_map(standard).filter(|(_, stat)| is_null(stat)) {
        sys::dup_onto(null.as_fd(), number).at(Step::Dup)?;
    }
    Ok(())
}

/// Opens the device that the path was resolved to, so that nobody can have exchanged it for another in between.
fn open_null(procfs: &OwnedFd, root: BorrowedFd<'_>) -> Option<OwnedFd> {
    let found = resolve(root, c"dev/null").ok()?;
    if !is_null(&fstat(&found).ok()?) {
        return None;
    }
    let link = FdLink::new(c"self/fd/", found.as_raw_fd());
    retry(|| openat(procfs, link.as_c_str(), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())).ok()
}

/// Gives them to the user. Not `/dev/null`, which is everybody's.
pub(crate) fn give_away(uid: u32) -> Result {
    for (number, stat) in NUMBERS.filter_map(standard) {
        if is_null(&stat) || stat.st_uid == uid {
            continue;
        }
        match fchown(sys::borrow(number), Some(Uid::from_raw(uid)), None::<Gid>) {
            // Not ours to give away, or not a thing with an owner.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::NOSYS) => {}
            Err(e) => return Err(e).at(Step::Chown),
        }
    }
    Ok(())
}

fn standard(number: i32) -> Option<(i32, Stat)> {
    fstat(sys::borrow(number)).ok().map(|stat| (number, stat))
}
