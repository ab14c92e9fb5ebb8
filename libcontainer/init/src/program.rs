//! Finding the user's program, as the user that will run it.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::channel::{At, Failure, Result, retry};
use crate::frame::Step;
use crate::paths::{PATH_MAX, PathBuffer};
use crate::plan::Program;
use crate::sys;

/// The first candidate that may be executed.
///
/// Of several failures the most telling one is reported: that something is there and may not be executed says more
/// than that nothing is there.
pub(crate) fn find<'a>(program: &Program<'a>) -> Result<&'a CStr> {
    let mut telling = Errno::NOENT;
    for candidate in program.candidates {
        match usable(candidate, program.never) {
            Ok(()) => return Ok(candidate),
            Err(failure) if failure.step == Step::ProgramIsRuntime => return Err(failure),
            Err(failure) if telling == Errno::NOENT => telling = failure.errno,
            Err(_) => {}
        }
    }
    Err(telling).at(Step::FindProgram)
}

fn usable(path: &CStr, never: (u64, u64)) -> Result {
    let fd = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at(Step::FindProgram)?;
    let stat = fstat(&fd).at(Step::FindProgram)?;
    if (stat.st_dev, stat.st_ino) == never {
        return Err(Failure { step: Step::ProgramIsRuntime, errno: Errno::PERM, value: 0 });
    }
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::ISDIR).at(Step::FindProgram);
    }
    match sys::may_execute(fd.as_fd()) {
        // Linux 5.7 and older: by the real ids, which are the same by now.
        Err(Errno::NOSYS) => sys::access(path),
        other => other,
    }
    .at(Step::FindProgram)
}

/// `HOME=` and the home directory of the user in the container's `/etc/passwd`; `/` when it is not in there.
///
/// Users are compared as numbers and never looked up by name (CVE-2016-3697).
#[inline(never)]
pub(crate) fn home_variable(uid: u32) -> Result<PathBuffer> {
    let mut variable = PathBuffer::from(c"HOME=")?;
    let mut found = false;
    // Whatever the image put there in place of a file, opening it does not block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(file) = openat(CWD, c"/etc/passwd", flags, Mode::empty()) {
        let is_file = fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_file());
        if is_file {
            found = copy_home(file.as_fd(), uid, &mut variable)?;
        }
    }
    if !found {
        variable.append(b"/")?;
    }
    Ok(variable)
}

/// Goes through the file line by line, in a buffer on the stack; a line longer than that is nobody's.
fn copy_home(file: BorrowedFd<'_>, uid: u32, variable: &mut PathBuffer) -> Result<bool> {
    let mut buffer = [0u8; PATH_MAX];
    let mut filled = 0;
    loop {
        let Ok(got) = retry(|| rustix::io::read(file, &mut buffer[filled..])) else { return Ok(false) };
        filled += got;
        let mut start = 0;
        while let Some(len) = buffer[start..filled].iter().position(|b| *b == b'\n') {
            if let Some(home) = home_in_line(&buffer[start..start + len], uid) {
                variable.append(home)?;
                return Ok(true);
            }
            start += len + 1;
        }
        if got == 0 || (start == 0 && filled == buffer.len()) {
            let home = if got == 0 { home_in_line(&buffer[start..filled], uid) } else { None };
            variable.append(home.unwrap_or_default())?;
            return Ok(home.is_some());
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// Field 6 of a line of passwd(5) whose field 3 is this uid.
fn home_in_line(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|b| *b == b':');
    let number = core::str::from_utf8(fields.nth(2)?).ok()?;
    let home = fields.nth(2)?;
    (number.parse() == Ok(uid) && !home.is_empty()).then_some(home)
}
