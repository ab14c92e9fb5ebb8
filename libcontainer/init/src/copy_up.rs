//! `tmpcopyup`: what a directory holds, copied into the tmpfs that is to cover it, while that is attached nowhere yet.
//!
//! Every entry is opened without following a link, and from then on only its descriptor is used: the directory may belong
//! to somebody who changes it meanwhile. Hard links become files of their own.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, mkdirat, mknodat, openat,
    readlinkat_raw, sendfile, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, Result};

use crate::channel::{self, At, retry};
use crate::frame::Step;
use crate::paths::PATH_MAX;

/// How many directories may lie in one another: each takes two descriptors, and some of the stack.
const MAX_DEPTH: usize = 128;

/// Bytes of directory entries that are read at once.
const ENTRIES: usize = 2048;

/// `XATTR_SIZE_MAX`, and `XATTR_LIST_MAX`.
const XATTR_MAX: usize = 65_536;

/// Copies what is in one directory into another one.
pub(crate) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> channel::Result {
    let copied = open_directory(from, c".")
        .and_then(|from| copy_entries(from.as_fd(), open_directory(to, c".")?.as_fd(), MAX_DEPTH));
    copied.at(Step::CopyUp)
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| openat(parent, name, flags, Mode::empty()))
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); ENTRIES];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => copy_directory(from, to, name, depth),
        FileType::RegularFile => copy_file(from, to, name),
        FileType::Symlink => copy_link(from, to, name, &stat),
        kind => copy_node(to, name, kind, &stat),
    }
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let Some(depth) = depth.checked_sub(1) else { return Err(Errno::LOOP) };
    let source = open_directory(from, name)?;
    mkdirat(to, name, Mode::RWXU)?;
    let made = open_directory(to, name)?;
    copy_entries(source.as_fd(), made.as_fd(), depth)?;
    adopt(source.as_fd(), made.as_fd())
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    /// As much as one call moves.
    const MOST: usize = 0x7fff_f000;
    // Were a fifo in its place by now, opening it would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = retry(|| openat(from, name, flags, Mode::empty()))?;
    if !FileType::from_raw_mode(fstat(&source)?.st_mode).is_file() {
        return Err(Errno::STALE);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    while retry(|| sendfile(&made, &source, None, MOST))? != 0 {}
    adopt(source.as_fd(), made.as_fd())
}

fn copy_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    // One byte is left for the null at the end.
    let mut target = [0u8; PATH_MAX];
    let mut buffer = [MaybeUninit::<u8>::uninit(); PATH_MAX - 1];
    let (read, _) = readlinkat_raw(from, name, &mut buffer[..])?;
    target[..read.len()].copy_from_slice(read);
    let target = CStr::from_bytes_until_nul(&target).unwrap_or(c"");
    symlinkat(target, to, name)?;
    give(to, name, stat)
}

/// A device, a fifo or a socket.
fn copy_node(to: BorrowedFd<'_>, name: &CStr, kind: FileType, stat: &Stat) -> Result<()> {
    mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
    give(to, name, stat)
}

/// Owner and times of what is not opened.
fn give(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner, attributes, mode and times, in the order in which the kernel takes none of them back.
fn adopt(source: BorrowedFd<'_>, made: BorrowedFd<'_>) -> Result<()> {
    let stat = fstat(source)?;
    fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    copy_attributes(source, made)?;
    fchmod(made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(made, &times(&stat))
}

/// Extended attributes, as far as a tmpfs of this kernel knows them. Not inlined: its buffers are not to be on the stack
/// once for every level of the tree.
#[inline(never)]
fn copy_attributes(source: BorrowedFd<'_>, made: BorrowedFd<'_>) -> Result<()> {
    let mut names = [MaybeUninit::<u8>::uninit(); XATTR_MAX];
    let names = match flistxattr(source, &mut names[..]) {
        Ok((names, _)) => &*names,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e),
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { return Err(Errno::ILSEQ) };
        copy_attribute(source, made, name)?;
    }
    Ok(())
}

#[inline(never)]
fn copy_attribute(source: BorrowedFd<'_>, made: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let mut value = [MaybeUninit::<u8>::uninit(); XATTR_MAX];
    let value = match fgetxattr(source, name, &mut value[..]) {
        Ok((value, _)) => &*value,
        Err(Errno::NODATA) => return Ok(()),
        Err(e) => return Err(e),
    };
    match fsetxattr(made, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        done => done,
    }
}

fn times(stat: &Stat) -> Timestamps {
    #[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast)]
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds as i64, tv_nsec: nanoseconds as i64 };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
