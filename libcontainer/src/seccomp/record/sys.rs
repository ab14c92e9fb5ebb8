//! The kernel's interface for notifications (seccomp_unotify(2)).
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use corten_init::bpf::SockFilter;
use nix::sys::signal::SigSet;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::seccomp::Action;
use crate::seccomp::arch::high_half;
use crate::seccomp::codegen::{JEQ, LD_ABS, NR, RET};
use crate::seccomp::{Arch, FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV};

/// Upper half of the third argument of the one call that the filter lets pass: the child's, by which it sends the
/// listener. The kernel only takes the lower half, which is all that sendmsg(2) has for flags; no program sets it.
const MARK: u32 = 0xc0f7_e50d;

/// A program that notifies for everything but the marked call.
fn filter(native: Arch) -> [SockFilter; 6] {
    let op = |code, jt, jf, k| SockFilter { code, jt, jf, k };
    [
        op(LD_ABS, 0, 0, NR),
        op(JEQ, 0, 3, libc::SYS_sendmsg as u32),
        op(LD_ABS, 0, 0, high_half(native.token(), 2)),
        op(JEQ, 0, 1, MARK),
        op(RET, 0, 0, Action::Allow.to_ret()),
        op(RET, 0, 0, Action::Notify.to_ret()),
    ]
}

/// Starts a program under the filter; the listener is sent to the other end of `socket`. Returns when the program was
/// executed.
pub(super) fn spawn_filtered(mut command: Command, socket: OwnedFd) -> io::Result<Child> {
    if size_of::<libc::c_long>() < 8 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let Some(native) = Arch::native() else { return Err(io::ErrorKind::Unsupported.into()) };
    let program = filter(native);
    let before_exec = move || {
        SigSet::empty().thread_set_mask()?;
        let listener = install(&program)?;
        send(socket.as_raw_fd(), listener)
    };
    // SAFETY: between fork and exec it makes system calls, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(before_exec) };
    command.spawn()
}

/// Loads the filter. `no_new_privs` is set only if the kernel wants it.
fn install(program: &[SockFilter]) -> io::Result<RawFd> {
    let flags = FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV;
    load(flags, program).or_else(|e| match e.raw_os_error() {
        Some(libc::EACCES) => {
            // SAFETY: changes this process only.
            if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
            load(flags, program).or_else(|_| load(FLAG_NEW_LISTENER, program))
        }
        // Before Linux 5.19.
        Some(libc::EINVAL) => load(FLAG_NEW_LISTENER, program),
        _ => Err(e),
    })
}

fn load(flags: u32, program: &[SockFilter]) -> io::Result<RawFd> {
    let fprog = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `SockFilter` has the layout of `struct sock_filter`; the kernel copies the program and keeps no pointer.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as RawFd) }
}

/// Sends a descriptor, with the call that the filter lets pass.
fn send(socket: RawFd, fd: RawFd) -> io::Result<()> {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut byte = 0_u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: all zeroes is a valid msghdr; the pointers in it live until the call has returned, and the header of the
    // control message fits into the buffer, which is aligned for it.
    let sent = unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        libc::syscall(libc::SYS_sendmsg, socket, &raw const message, u64::from(MARK) << 32)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the listener; `None` if the child failed before it had one.
pub(super) fn receive_listener(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [io::IoSliceMut::new(&mut byte)];
    recvmsg(socket.as_fd(), &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let listener = fds.next();
    if let Some(listener) = &listener {
        // Linux 6.6: hand the processor over to who is woken. Only a matter of speed.
        let sync_wake_up = 1_u64;
        // SAFETY: the argument is the value itself.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, sync_wake_up) };
    }
    Ok(listener)
}

/// A call that waits for an answer.
pub(super) struct Call {
    pub(super) pid: i32,
    pub(super) arch: u32,
    pub(super) nr: u32,
}

/// Room for notifications. The kernel may know more of them than we do: it says how long they are.
pub(super) struct Notification {
    request: Vec<u64>,
    response: Vec<u64>,
}

impl Notification {
    pub(super) fn new() -> Notification {
        let mut sizes =
            libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
        // SAFETY: the kernel writes the structure. Should it fail, zeroes remain, and our own sizes count.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
        let words = |kernel: u16, own: usize| vec![0; usize::from(kernel).max(own).div_ceil(8)];
        Notification {
            request: words(sizes.seccomp_notif, size_of::<libc::seccomp_notif>()),
            response: words(sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>()),
        }
    }

    /// Takes the next call; `None` if its process died meanwhile.
    pub(super) fn receive(&mut self, listener: &OwnedFd) -> io::Result<Option<Call>> {
        // The kernel wants zeroes.
        self.request.fill(0);
        let request = self.request.as_mut_ptr().cast::<libc::seccomp_notif>();
        // SAFETY: the buffer is as long as the kernel says that it writes, and aligned for its numbers.
        let got = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, request) };
        if got < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR) => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: the kernel has written it; the buffer is at least as long and aligned.
        let request = unsafe { &*request };
        Ok(Some(Call {
            pid: request.pid.cast_signed(),
            arch: request.data.arch,
            nr: request.data.nr.cast_unsigned(),
        }))
    }

    /// Lets the received call go on.
    pub(super) fn go_on(&mut self, listener: &OwnedFd) -> io::Result<()> {
        self.response.fill(0);
        let request = self.request.as_ptr().cast::<libc::seccomp_notif>();
        let response = self.response.as_mut_ptr().cast::<libc::seccomp_notif_resp>();
        // SAFETY: both buffers are as long as the kernel says, zeroed or written by it, and aligned.
        let sent = unsafe {
            (*response).id = (*request).id;
            (*response).flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, response)
        };
        match io::Error::last_os_error() {
            _ if sent == 0 => Ok(()),
            // The process died, or a signal ended the wait.
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        }
    }
}
