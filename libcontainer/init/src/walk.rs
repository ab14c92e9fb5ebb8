//! `openat2` with `RESOLVE_IN_ROOT`, by hand: for kernels before 5.6 and sandboxes that do not know it.
//!
//! Every component is opened without following links, on the descriptor of its parent. Links are followed here, from the
//! root if they are absolute. `..` is never asked of the kernel, for which the parent of a directory that somebody moves
//! meanwhile is wherever it was moved to: the names that led to the parent are walked again from the root, and none of
//! them may be a link by now.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::io::Result;

use crate::paths::{MAX_LINKS, PATH_MAX, PathBuffer, next_component};

/// Whether links are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}

/// Opens `path` in `root` with these flags.
// Apart, for its paths lie on the stack, of which each page counts as the container's memory.
#[cold]
#[inline(never)]
pub(crate) fn open_in(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, links: Links) -> Result<OwnedFd> {
    let mut walk = Walk { root, done: PathBuffer::new(), at: here(root)?, followed: 0 };
    let mut rest = PathBuffer::from(path).map_err(|f| f.errno)?;
    while let Some((start, end)) = next_component(rest.as_bytes(), 0) {
        let mut name = PathBuffer::new();
        name.append(&rest.as_bytes()[start..end]).map_err(|f| f.errno)?;
        let mut after = PathBuffer::new();
        after.append(&rest.as_bytes()[end..]).map_err(|f| f.errno)?;
        // Only the last one may be a link that is meant itself.
        let itself = flags.contains(OFlags::NOFOLLOW) && next_component(after.as_bytes(), 0).is_none();
        match walk.step(name.as_c_str(), links, itself)? {
            None => rest = after,
            Some(mut target) => {
                target.append(after.as_bytes()).map_err(|f| f.errno)?;
                rest = target;
            }
        }
    }
    walk.finish(flags)
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The names from the root to `at`, none of them a link, each with a slash before it.
    done: PathBuffer,
    at: OwnedFd,
    followed: usize,
}

impl Walk<'_> {
    /// One component further; or the link's target, to be walked instead.
    fn step(&mut self, name: &CStr, links: Links, itself: bool) -> Result<Option<PathBuffer>> {
        match name.to_bytes() {
            b"." => return Ok(None),
            b".." => return self.up().map(|()| None),
            _ => {}
        }
        let next = open_name(self.at.as_fd(), name)?;
        if itself || !FileType::from_raw_mode(fstat(&next)?.st_mode).is_symlink() {
            self.done.append(b"/").and_then(|()| self.done.append(name.to_bytes())).map_err(|f| f.errno)?;
            self.at = next;
            return Ok(None);
        }
        self.followed += 1;
        // Those of procfs may lead anywhere, whatever they say.
        if links == Links::Refuse || self.followed > MAX_LINKS || is_procfs(next.as_fd())? {
            return Err(Errno::LOOP);
        }
        let mut buffer = [core::mem::MaybeUninit::<u8>::uninit(); PATH_MAX];
        let (target, _) = readlinkat_raw(&next, c"", &mut buffer[..])?;
        let mut path = PathBuffer::new();
        path.append(target).map_err(|f| f.errno)?;
        if target.first() == Some(&b'/') {
            self.done = PathBuffer::new();
            self.at = here(self.root)?;
        }
        Ok(Some(path))
    }

    /// To the parent, on the way on which it was found; the root is its own.
    fn up(&mut self) -> Result<()> {
        self.done.cut_last();
        self.at = self.again()?;
        Ok(())
    }

    /// Walks the names once more.
    fn again(&self) -> Result<OwnedFd> {
        let names = self.done.as_bytes();
        let (mut at, mut from) = (here(self.root)?, 0);
        while let Some((start, end)) = next_component(names, from) {
            let mut name = PathBuffer::new();
            name.append(&names[start..end]).map_err(|f| f.errno)?;
            at = open_name(at.as_fd(), name.as_c_str())?;
            if FileType::from_raw_mode(fstat(&at)?.st_mode).is_symlink() {
                // It was none a moment ago.
                return Err(Errno::AGAIN);
            }
            from = end;
        }
        Ok(at)
    }

    /// The same file with the flags that were asked for.
    fn finish(mut self, flags: OFlags) -> Result<OwnedFd> {
        let found = fstat(&self.at)?;
        if flags.contains(OFlags::DIRECTORY) && !FileType::from_raw_mode(found.st_mode).is_dir() {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OFlags::PATH) {
            return Ok(self.at);
        }
        let mut name = PathBuffer::new();
        name.append(self.done.last_name()).map_err(|f| f.errno)?;
        let name = if name.as_bytes().is_empty() { c"." } else { name.as_c_str() };
        self.done.cut_last();
        let parent = self.again()?;
        let opened = openat(&parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let now = fstat(&opened)?;
        let is_same = (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino);
        if is_same { Ok(opened) } else { Err(Errno::AGAIN) }
    }
}

fn here(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(root, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_name(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    Ok(fstatfs(fd)?.f_type as u64 == PROC_SUPER_MAGIC)
}
