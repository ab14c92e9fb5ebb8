//! Paths inside the root filesystem: resolved once, by the kernel, to a descriptor.
//!
//! `openat2` with `RESOLVE_IN_ROOT` treats the root filesystem as `/`: absolute links and `..` stay inside, and nobody
//! who swaps a directory for a link during the walk gets out (CVE-2021-30465, CVE-2019-18837). Everything after that
//! works on the descriptor.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat_raw};
use rustix::io::Errno;

use crate::channel::{At, Failure, Result, retry};
use crate::frame::Step;
use crate::walk::{Links, open_in};

/// `PATH_MAX`
pub(crate) const PATH_MAX: usize = 4096;

/// As many links as the kernel follows.
pub(crate) const MAX_LINKS: usize = 40;

/// How often a resolution that raced with a rename elsewhere (EAGAIN) is tried again.
const MAX_RACES: usize = 256;

/// The link to a descriptor in `/proc/self/fd`, on the stack: a [`PathBuffer`] is a page, and each page counts as the
/// container's memory.
pub(crate) struct FdLink([u8; FdLink::SIZE]);

impl FdLink {
    const DIRECTORY: &[u8] = b"/proc/self/fd/";
    const SIZE: usize = FdLink::DIRECTORY.len() + "2147483647\0".len();

    pub fn new(fd: RawFd) -> FdLink {
        let mut bytes = [0; FdLink::SIZE];
        let len = FdLink::DIRECTORY.len();
        bytes[..len].copy_from_slice(FdLink::DIRECTORY);
        let mut number = fd.unsigned_abs();
        let digits = number.checked_ilog10().map_or(1, |n| n as usize + 1);
        for place in bytes[len..len + digits].iter_mut().rev() {
            #[allow(clippy::cast_possible_truncation)]
            let digit = (number % 10) as u8;
            *place = b'0' + digit;
            number /= 10;
        }
        FdLink(bytes)
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// A path on the stack, always null-terminated.
pub(crate) struct PathBuffer {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl PathBuffer {
    pub fn new() -> PathBuffer {
        PathBuffer { bytes: [0; PATH_MAX], len: 0 }
    }

    pub fn from(path: &CStr) -> Result<PathBuffer> {
        let mut buffer = PathBuffer::new();
        buffer.set(path.to_bytes())?;
        Ok(buffer)
    }

    fn set(&mut self, bytes: &[u8]) -> Result {
        self.len = 0;
        self.append(bytes)
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result {
        let end = self.len + bytes.len();
        if end >= PATH_MAX {
            return Err(Errno::NAMETOOLONG).at(Step::PathTooLong);
        }
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.bytes[end] = 0;
        self.len = end;
        Ok(())
    }

    /// Takes the last component off, and the slash before it.
    pub fn cut_last(&mut self) {
        let slash = self.as_bytes().iter().rposition(|b| *b == b'/').unwrap_or(0);
        self.truncate(slash);
    }

    /// The last component.
    pub fn last_name(&self) -> &[u8] {
        let name = self.as_bytes().iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        &self.as_bytes()[name..]
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        self.bytes[len] = 0;
    }

    /// Takes the last component off; `/` has none.
    pub fn pop(&mut self) -> bool {
        let Some(slash) = self.as_bytes().iter().rposition(|b| *b == b'/') else { return false };
        let had_one = self.len > 1;
        self.truncate(slash.max(1));
        had_one
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// What a missing mount point becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Directory,
    File,
}

/// Opens `path` in the root, `O_PATH`. An empty path is the root itself.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<OwnedFd> {
    open_in_root(root, path, OFlags::PATH)
}

/// As [`resolve`], but a directory, and no link on the way.
pub(crate) fn resolve_real(root: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    open_how(root, path, OFlags::PATH | OFlags::DIRECTORY, how)
}

/// Opens `path` in the root with these flags.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_how(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn open_how(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { c"." } else { path };
    let mut races = 0;
    loop {
        let opened = match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::NOSYS) => {
                let refuse = how.contains(ResolveFlags::NO_SYMLINKS);
                open_in(root, path, flags, if refuse { Links::Refuse } else { Links::Follow })
            }
            other => other,
        };
        match opened {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
            other => return other,
        }
    }
}

/// Opens `path` in the root, and makes what is missing of it.
pub(crate) fn resolve_or_create(root: BorrowedFd<'_>, path: &CStr, create: Create) -> Result<OwnedFd> {
    match resolve(root, path) {
        Err(Errno::NOENT) => create_in_root(root, path, create),
        other => other.at(Step::Resolve),
    }
}

/// The same for a path that was just seen to be missing.
// Apart, for its paths lie on the stack, of which each page counts as the container's memory.
#[inline(never)]
pub(crate) fn create_in_root(root: BorrowedFd<'_>, path: &CStr, create: Create) -> Result<OwnedFd> {
    let mut rest = PathBuffer::from(path)?;
    let mut links = 0;
    loop {
        match create_missing(root, &mut rest, create, links == 0)? {
            Made::All(fd) => return Ok(fd),
            Made::MetALink => links += 1,
        }
        if links > MAX_LINKS {
            return Err(Errno::LOOP).at(Step::PathTooLong);
        }
    }
}

enum Made {
    All(OwnedFd),
    /// A dangling link was in the way; the path now has its target in its place.
    MetALink,
}

/// Finds the longest part of `path` that is there, and makes the others one by one on pinned parents.
/// With `is_missing` all of it need not be looked for again.
fn create_missing(
    root: BorrowedFd<'_>,
    path: &mut PathBuffer,
    create: Create,
    is_missing: bool,
) -> Result<Made> {
    let mut whole = PathBuffer::new();
    whole.set(path.as_bytes())?;
    if is_missing {
        path.cut_last();
    }
    let (mut parent, mut done) = existing_prefix(root, path)?;
    while let Some((start, end)) = next_component(whole.as_bytes(), done) {
        let name = Name::new(&whole.as_bytes()[start..end])?;
        let last = next_component(whole.as_bytes(), end).is_none();
        match make_component(parent.as_fd(), name.as_c_str(), last && create == Create::File)? {
            Some(made) => parent = made,
            None => {
                splice_link(parent.as_fd(), &whole, (start, end), name.as_c_str(), path)?;
                return Ok(Made::MetALink);
            }
        }
        done = end;
    }
    Ok(Made::All(parent))
}

/// Shortens `path` until it exists; returns it and how many bytes it has.
fn existing_prefix(root: BorrowedFd<'_>, path: &mut PathBuffer) -> Result<(OwnedFd, usize)> {
    loop {
        match resolve(root, path.as_c_str()) {
            Ok(fd) => return Ok((fd, path.len)),
            Err(Errno::NOENT) if path.len > 0 => path.cut_last(),
            Err(e) => return Err(e).at(Step::Resolve),
        }
    }
}

/// Start and end of the component after byte `from`.
pub(crate) fn next_component(path: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = from + path[from..].iter().position(|b| *b != b'/')?;
    let len = path[start..].iter().position(|b| *b == b'/').unwrap_or(path.len() - start);
    Some((start, start + len))
}

/// Makes one component and opens it; none when it turns out to be a link.
///
/// Never `..`, which a dangling link may hold (`missing/../../victim`): only `openat2` stops it at the root.
fn make_component(parent: BorrowedFd<'_>, name: &CStr, file: bool) -> Result<Option<OwnedFd>> {
    if name == c".." {
        return Err(Errno::NOENT).at(Step::Resolve);
    }
    let made = if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        retry(|| openat(parent, name, flags, Mode::from_raw_mode(0o644))).map(|_| ()).at(Step::CreateFile)
    } else {
        mkdirat(parent, name, Mode::from_raw_mode(0o755)).at(Step::Mkdir)
    };
    match made {
        Ok(()) | Err(Failure { errno: Errno::EXIST, .. }) => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(parent, name, flags, Mode::empty()).at(Step::Resolve)?;
    let stat = rustix::fs::fstat(&fd).at(Step::Stat)?;
    let is_link = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink();
    Ok((!is_link).then_some(fd))
}

/// One component of a path on the stack.
struct Name([u8; Name::SIZE]);

impl Name {
    /// `NAME_MAX` and the null byte.
    const SIZE: usize = 256;

    fn new(component: &[u8]) -> Result<Name> {
        let mut bytes = [0; Name::SIZE];
        if component.len() >= Name::SIZE {
            return Err(Errno::NAMETOOLONG).at(Step::PathTooLong);
        }
        bytes[..component.len()].copy_from_slice(component);
        Ok(Name(bytes))
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// Puts the target of the dangling link `name` into the path in its place.
#[inline(never)]
fn splice_link(
    parent: BorrowedFd<'_>,
    whole: &PathBuffer,
    (start, end): (usize, usize),
    name: &CStr,
    path: &mut PathBuffer,
) -> Result {
    let mut target = [core::mem::MaybeUninit::<u8>::uninit(); PATH_MAX];
    let (target, _) = readlinkat_raw(parent, name, &mut target[..]).at(Step::Readlink)?;
    let rest = &whole.as_bytes()[end..];
    path.len = 0;
    if target.first() != Some(&b'/') {
        path.append(&whole.as_bytes()[..start])?;
    }
    path.append(target)?;
    path.append(rest)
}

/// Whether a path is there, anywhere, without following the last link.
pub(crate) fn exists(path: &CStr) -> bool {
    rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
