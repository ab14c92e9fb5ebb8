//! Standard input, output and error of the program.

use rustix::fd::BorrowedFd;
use rustix::fs::{Gid, Stat, Uid, fchown, fstat};
use rustix::io::Errno;

use crate::channel::{At, Result};
use crate::frame::Step;
use crate::nodes::is_null;
use crate::sys;

/// Puts this null device in place of another one, which is the host's.
pub(crate) fn exchange_null(null: BorrowedFd<'_>) -> Result {
    for (number, _) in standard().filter(|(_, stat)| is_null(stat)) {
        sys::dup_onto(null, number).at(Step::Dup)?;
    }
    Ok(())
}

/// Gives them to the user. Not `/dev/null`, which is everybody's.
pub(crate) fn give_away(uid: u32) -> Result {
    for (number, stat) in standard() {
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

fn standard() -> impl Iterator<Item = (i32, Stat)> {
    (0..3).filter_map(|number| Some((number, fstat(sys::borrow(number)).ok()?)))
}
