//! The network namespace of a container, made by the parent while the child mounts: on two processors the one takes no
//! longer than the other (`docs/adr/0033-beside-the-child.md`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corten_init::{Frame, Verb};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::config::NamespaceKind;
use crate::error::{PathError, Result, SyscallError};
use crate::plan::clone_flag;

/// Makes a network namespace, sends it to the child as soon as it is there, and brings `lo` up in it. This thread is in
/// it meanwhile, and back where it was afterwards.
///
/// # Errors
///
/// What the kernel says. If it does not let this thread go back, that is the error; the thread is of no use then.
pub(super) fn hand_network_over(socket: BorrowedFd<'_>) -> Result<()> {
    let kind = clone_flag(NamespaceKind::Network);
    let before = present()?;
    corten_init::sys::unshare(kind).map_err(SyscallError::calling("unshare(CLONE_NEWNET)"))?;
    let done = send_present(socket).and_then(|()| bring_loopback_up());
    let back = corten_init::sys::setns(before.as_fd(), kind);
    back.map_err(SyscallError::calling("return to the network namespace of the runtime: setns"))?;
    done
}

/// The network namespace of this thread.
fn present() -> Result<OwnedFd> {
    const PATH: &str = "/proc/thread-self/ns/net";
    let opened = openat(CWD, PATH, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    Ok(opened.map_err(PathError::doing("open", PATH.as_ref()))?)
}

fn send_present(socket: BorrowedFd<'_>) -> Result<()> {
    let namespace = present()?;
    let word = Frame::new(Verb::Go).to_bytes();
    loop {
        match corten_init::sys::send_descriptor(socket, &word, namespace.as_fd()) {
            Err(Errno::INTR) => {}
            // It died meanwhile; the conversation finds out how.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(e) => return Err(SyscallError::calling("send to container init")(e).into()),
        }
    }
}

fn bring_loopback_up() -> Result<()> {
    let up = || {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        corten_init::sys::loopback_up(socket.as_fd())
    };
    Ok(up().map_err(SyscallError::calling("loopback interface: bring lo up"))?)
}
