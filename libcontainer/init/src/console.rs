//! The container's terminal.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, OFlags, Uid, fchown, fstat, fstatfs, major};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use crate::channel::{At, Result, retry};
use crate::frame::Step;
use crate::mounts::{attach, copy_tree};
use crate::paths::{Create, open_in_root, resolve_or_create};
use crate::plan::ConsoleOp;
use crate::sys;

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Opens a pseudo-terminal of the container's own devpts, makes its slave this process's stdio and controlling terminal,
/// and sends the master out.
///
/// The slave comes from the master by `TIOCGPTPEER`, never by a path that the container could have replaced
/// (CVE-2025-52565), and the master is checked to be on a devpts.
pub(crate) fn make_console(root: BorrowedFd<'_>, socket: BorrowedFd<'_>, op: &ConsoleOp) -> Result {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = open_in_root(root, c"dev/pts/ptmx", flags).at(Step::OpenPty)?;
    #[allow(clippy::unnecessary_cast)]
    let on_devpts = fstatfs(&master).at(Step::OpenPty)?.f_type as i64 == DEVPTS_MAGIC;
    if !on_devpts {
        return Err(Errno::NODEV).at(Step::OpenPty);
    }
    unlockpt(&master).at(Step::OpenPty)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).at(Step::OpenPty)?;
    if !(136..144).contains(&major(fstat(&slave).at(Step::OpenPty)?.st_rdev)) {
        return Err(Errno::NODEV).at(Step::OpenPty);
    }
    if let Some((rows, columns)) = op.size {
        sys::set_window_size(slave.as_fd(), rows, columns).at(Step::OpenPty)?;
    }
    fchown(&slave, Some(Uid::from_raw(op.uid)), None::<Gid>).at(Step::Chown)?;
    if op.bind_console {
        let target = console_file(root)?;
        attach(copy_tree(slave.as_fd(), c"", false)?.as_fd(), target.as_fd())?;
    }
    retry(|| sys::send_descriptor(socket, b"/dev/ptmx", master.as_fd())).at(Step::SendConsole)?;
    sys::make_controlling(slave.as_fd()).at(Step::ControllingTty)?;
    for number in 0..3 {
        sys::dup_onto(slave.as_fd(), number).at(Step::Dup)?;
    }
    Ok(())
}

/// The file that the slave covers. Of a link it is the link itself: what that leads to is not the console's place.
fn console_file(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    match open_in_root(root, c"dev/console", OFlags::PATH | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => resolve_or_create(root, c"dev/console", Create::File),
        found => found.at(Step::Resolve),
    }
}
