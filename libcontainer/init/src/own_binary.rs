//! Puts the runtime's own program beyond the container's reach (CVE-2019-5736).
//!
//! A container's process can name the program that it was executed from: by `/proc/self/exe`, also as the interpreter
//! of a script, or by `/proc/PID/exe` of a process that joins. Until it has executed the user's program that is the
//! runtime, on a mount of the host, and somebody who keeps the name could write to it later.
//!
//! To execute a protected copy first would cost more than all the rest of the child's work. Instead the child changes
//! what that name means: its memory is mapped anew from the same file on a detached, read-only mount, and then the
//! kernel is told that this file is the program (`PR_SET_MM_MAP`, Linux 3.18; it insists that nothing of the old one is
//! mapped any more). No byte of the text is copied.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::channel::{At, Result};
use crate::frame::Step;
use crate::sys;

/// A part of the program's file that is mapped, in whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub start: usize,
    /// Bytes.
    pub len: usize,
    /// Where in the file.
    pub offset: u64,
    /// Whether it was written to: then its content is kept, and the file is not needed for it any more.
    pub writable: bool,
    /// Whether it is code.
    pub executable: bool,
}

/// The program of this process, and a descriptor of the same file on a read-only mount.
#[derive(Debug, Clone, Copy)]
pub struct OwnBinary<'a> {
    /// What is mapped.
    pub segments: &'a [Segment],
    /// The file, opened for reading.
    pub file: BorrowedFd<'a>,
}

/// Makes the read-only file the program of this process.
pub(crate) fn exchange(own: &OwnBinary<'_>) -> Result {
    let code = own.segments.iter().find(|s| s.executable).map_or(0, |s| s.start);
    map_anew(own, false)?;
    match sys::set_program(own.file, code) {
        // corten itself has what it writes to on memory of its own, since its start.
        Err(Errno::BUSY) => {}
        done => return done.at(Step::OwnBinary),
    }
    map_anew(own, true)?;
    sys::set_program(own.file, code).at(Step::OwnBinary)
}

fn map_anew(own: &OwnBinary<'_>, writable: bool) -> Result {
    let mut segments = own.segments.iter().filter(|segment| segment.writable == writable);
    segments.try_for_each(|segment| sys::map_anew(*segment, own.file).at(Step::OwnBinary))
}
