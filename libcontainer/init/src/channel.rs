//! The child's end of the socket, and how failures travel.

use core::mem::MaybeUninit;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};

use crate::frame::{FRAME_SIZE, Frame, Phase, Step, Verb};
use crate::plan::HandOver;
use crate::sys;

/// What failed, as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub step: Step,
    pub errno: Errno,
    pub value: u64,
}

pub(crate) type Result<T = ()> = core::result::Result<T, Failure>;

/// Adds the step to an errno: `fchdir(fd).at(Step::Chdir)?`.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T>;
    fn at_item(self, step: Step, value: u64) -> Result<T>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step) -> Result<T> {
        self.at_item(step, 0)
    }

    fn at_item(self, step: Step, value: u64) -> Result<T> {
        self.map_err(|errno| Failure { step, errno, value })
    }
}

/// The runtime, as the child sees it.
pub(crate) struct Channel<'a> {
    pub socket: BorrowedFd<'a>,
}

impl Channel<'_> {
    pub fn tell(&self, frame: Frame) -> Result {
        // write(2) and not send(2): a failed exec is reported under the container's filter, and hardly a filter that
        // allows execve forbids it. If nobody reads any more, SIGPIPE is as good an end as another.
        let bytes = frame.to_bytes();
        retry(|| rustix::io::write(self.socket, &bytes)).at(Step::Send).map(|_| ())
    }

    /// Says that all is made, and hands the listener of the filter over that is in force already.
    pub fn hand_over(&self, listener: BorrowedFd<'_>, how: HandOver) -> Result {
        let frame =
            Frame { value: u64::from(listener.as_raw_fd().unsigned_abs()), ..Frame::new(Verb::Ready) };
        match how {
            HandOver::Taken => self.tell(frame),
            HandOver::Sent => {
                let bytes = frame.to_bytes();
                retry(|| sys::send_descriptor(self.socket, &bytes, listener)).at(Step::Send).map(|_| ())
            }
        }
    }

    /// Waits for `Go`. An EOF is the death of the runtime.
    pub fn await_go(&self) -> Result {
        if receive_go(self.socket).at(Step::Receive)? { Ok(()) } else { Err(Errno::PIPE).at(Step::Receive) }
    }

    /// Waits for a `Go` that brings a descriptor.
    pub fn await_descriptor(&self) -> Result<OwnedFd> {
        let mut bytes = [0u8; FRAME_SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut receive = || {
            recvmsg(self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        };
        retry(&mut receive).at(Step::Receive)?;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        descriptor.ok_or(Errno::PIPE).at(Step::Receive)
    }

    pub fn barrier(&self, phase: Phase) -> Result {
        self.tell(Frame { value: phase as u64, ..Frame::new(Verb::Reached) })?;
        self.await_go()
    }
}

/// Whether the next frame is `Go`; an EOF or anything else is not.
pub(crate) fn receive_go(socket: impl AsFd) -> rustix::io::Result<bool> {
    let mut bytes = [0u8; FRAME_SIZE];
    let (got, _) = retry(|| recv(socket.as_fd(), &mut bytes[..], RecvFlags::empty()))?;
    Ok(Frame::from_bytes(&bytes[..got]).is_some_and(|f| f.verb == Verb::Go))
}

/// Again on EINTR.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
