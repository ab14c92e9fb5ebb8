//! Mounts: made detached, given their attributes while nobody sees them, and then moved onto a pinned target.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, XattrFlags, fsetxattr, fstat, fstatfs, openat, readlinkat_raw, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, fspick, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::fchdir;

use crate::channel::{At, Failure, Result};
use crate::copy_up::copy_up;
use crate::frame::Step;
use crate::nodes::find_null;
use crate::paths::{
    Create, PATH_MAX, PathBuffer, create_in_root, open_in_root, resolve, resolve_or_create, resolve_real,
};
use crate::plan::{Attrs, BindFrom, Guard, MountOp, Param, Slot, Source, SourceLink};
use crate::remount;
use crate::sys::{MountAttr, mount_setattr};

/// Descriptors that the parent opened.
pub(crate) trait Slots {
    fn slot(&self, slot: Slot) -> BorrowedFd<'static>;
}

/// Attaches a detached mount onto a pinned target.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags).at(Step::MoveMount)
}

/// Copies the mount tree at a path, detached.
pub(crate) fn copy_tree(from: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(from, path, flags).at(Step::OpenTree)
}

/// Changes attributes of a detached mount. What this kernel does only once it is attached is returned.
fn change_detached(mount: BorrowedFd<'_>, attrs: Attrs) -> Result<Attrs> {
    match change_attrs(mount, false, attrs) {
        Ok(()) => Ok(Attrs::default()),
        Err(Failure { errno: Errno::NOSYS, .. }) => Ok(attrs),
        Err(e) => Err(e),
    }
}

/// Changes attributes of an attached mount.
pub(crate) fn change_attached(mount: BorrowedFd<'_>, attrs: Attrs) -> Result {
    let left = change_detached(mount, attrs)?;
    if left.is_empty() { Ok(()) } else { remount::change_attached(mount, left).at(Step::MountSetattr) }
}

/// Changes attributes of a mount, or of all of its tree.
pub(crate) fn change_attrs(mount: BorrowedFd<'_>, recursive: bool, attrs: Attrs) -> Result {
    if attrs.is_empty() {
        return Ok(());
    }
    let attr = MountAttr { set: attrs.set, clear: attrs.clear, ..MountAttr::default() };
    mount_setattr(mount, recursive, &attr).at(Step::MountSetattr)
}

/// Changes the propagation of an attached mount; `flags` are `MS_*`.
pub(crate) fn change_propagation(mount: BorrowedFd<'_>, flags: u32) -> Result {
    const MS_REC: u32 = 0x4000;
    if flags == 0 {
        return Ok(());
    }
    let attr = MountAttr { propagation: u64::from(flags & !MS_REC), ..MountAttr::default() };
    match mount_setattr(mount, flags & MS_REC != 0, &attr) {
        Err(Errno::NOSYS) => remount::change_propagation(mount, flags),
        done => done,
    }
    .at(Step::Propagation)
}

/// Carries out one element of `mounts`.
pub(crate) fn attach_mount(root: BorrowedFd<'_>, slots: &impl Slots, op: &MountOp<'_>) -> Result {
    match op.source {
        Source::Filesystem { fstype, params, inherit_mode, copy_up: copies, label, otherwise } => {
            let (target, existed) = target_of(root, op, Create::Directory)?;
            let mode = if inherit_mode && existed { Some(mode_of(target.as_fd())?) } else { None };
            let mut left = Attrs::default();
            let made = match make_filesystem(fstype, params, mode, op.attrs.set) {
                Err(Failure { errno: Errno::PERM | Errno::BUSY, .. }) if otherwise.is_some() => {
                    let mount = copy_tree(CWD, otherwise.unwrap_or(c""), false)?;
                    left = change_detached(mount.as_fd(), op.attrs)?;
                    mount
                }
                other => other?,
            };
            if let Some(label) = label {
                set_label(made.as_fd(), label)?;
            }
            if copies && existed {
                copy_up(target.as_fd(), made.as_fd())?;
            }
            finish(made.as_fd(), target.as_fd(), op, left)
        }
        Source::Bind { from, recursive } => bind(root, slots, op, from, recursive),
        Source::Remount { params, reconfigure } => remount(root, op, params, reconfigure),
    }
}

/// Labels the root directory of a mount.
fn set_label(mount: BorrowedFd<'_>, label: &CStr) -> Result {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(mount, c".", flags, Mode::empty()).at(Step::Open)?;
    fsetxattr(&dir, c"security.selinux", label.to_bytes_with_nul(), XattrFlags::empty()).at(Step::Label)
}

fn bind(
    root: BorrowedFd<'_>,
    slots: &impl Slots,
    op: &MountOp<'_>,
    from: BindFrom<'_>,
    recursive: bool,
) -> Result {
    let follow = op.links.source == SourceLink::Follow;
    let copied;
    let mount = match from {
        BindFrom::Path(path) => {
            copied = if follow { copy_tree(CWD, path, recursive)? } else { copy_end(path, recursive)? };
            copied.as_fd()
        }
        BindFrom::Slot(slot) => slots.slot(slot),
    };
    let stat = fstat(mount).at(Step::Stat)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() && op.links.source == SourceLink::Copy {
        return copy_link(root, mount, op.target);
    }
    let is_directory = kind.is_dir();
    let create = if is_directory { Create::Directory } else { Create::File };
    if op.guard == Guard::ProcOnly && !is_procfs(mount)? {
        return Err(Errno::INVAL).at(Step::NotProc);
    }
    let (target, _) = target_of(root, op, create)?;
    let left = change_detached(mount, op.attrs)?;
    finish(mount, target.as_fd(), op, left)
}

/// Copies the mount tree at a path, detached; a link at its end is not followed.
fn copy_end(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, path, flags).at(Step::OpenTree)
}

/// Makes a link in the root that points where this one does. One that is there already, and does, will do.
#[inline(never)]
fn copy_link(root: BorrowedFd<'_>, link: BorrowedFd<'_>, target: &CStr) -> Result {
    let (dir, name) = split(target)?;
    let dir = resolve_or_create(root, dir.as_c_str(), Create::Directory)?;
    let points_at = link_text(link, c"")?;
    match symlinkat(points_at.as_c_str(), &dir, name) {
        Err(Errno::EXIST) => match link_text(dir.as_fd(), name) {
            Ok(there) if there.as_c_str() == points_at.as_c_str() => Ok(()),
            _ => Err(Errno::EXIST).at(Step::Symlink),
        },
        other => other.at(Step::Symlink),
    }
}

/// Where a link points; with an empty name, that of the descriptor.
fn link_text(dir: BorrowedFd<'_>, name: &CStr) -> Result<PathBuffer> {
    let mut buffer = [0u8; PATH_MAX];
    let length = readlinkat_raw(dir, name, &mut buffer[..]).at(Step::Readlink)?;
    // One that fills the buffer does not fit into a path either.
    let mut path = PathBuffer::new();
    path.append(&buffer[..length])?;
    Ok(path)
}

/// A path's directory and its last component.
fn split(path: &CStr) -> Result<(PathBuffer, &CStr)> {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|b| *b == b'/');
    let mut dir = PathBuffer::new();
    dir.append(&bytes[..slash.unwrap_or(0)])?;
    let name = CStr::from_bytes_with_nul(&bytes[slash.map_or(0, |at| at + 1)..]).unwrap_or(c"");
    Ok((dir, name))
}

/// Attaches a mount with these attributes.
pub(crate) fn attach_with(mount: BorrowedFd<'_>, target: BorrowedFd<'_>, attrs: Attrs) -> Result {
    let left = change_detached(mount, attrs)?;
    attach(mount, target)?;
    change_attached(mount, left)
}

/// Attributes of the whole tree, the place in the root, what of the attributes is left, and propagation.
fn finish(mount: BorrowedFd<'_>, target: BorrowedFd<'_>, op: &MountOp<'_>, left: Attrs) -> Result {
    change_attrs(mount, true, op.recursive)?;
    attach(mount, target)?;
    change_attached(mount, left)?;
    change_propagation(mount, op.propagation)
}

/// `remount`: other attributes for what is there, and other parameters for its filesystem.
fn remount(root: BorrowedFd<'_>, op: &MountOp<'_>, params: &[Param<'_>], reconfigure: bool) -> Result {
    let target = resolve(root, op.target).at(Step::Resolve)?;
    change_attached(target.as_fd(), op.attrs)?;
    change_attrs(target.as_fd(), true, op.recursive)?;
    if reconfigure {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let context = fspick(&target, c"", flags).at(Step::Fsopen)?;
        configure(context.as_fd(), params)?;
        fsconfig_reconfigure(&context).at(Step::FsconfigCreate)?;
    }
    change_propagation(target.as_fd(), op.propagation)
}

/// The target, made if it is missing, and whether it was there.
fn target_of(root: BorrowedFd<'_>, op: &MountOp<'_>, create: Create) -> Result<(OwnedFd, bool)> {
    let real = matches!(op.guard, Guard::RealDirectory | Guard::ProcOnly);
    let found = match (real, op.links.cover_target) {
        (true, _) => resolve_real(root, op.target),
        (false, true) => open_in_root(root, op.target, OFlags::PATH | OFlags::NOFOLLOW),
        (false, false) => resolve(root, op.target),
    };
    let target = match found {
        Ok(target) => (target, true),
        Err(Errno::NOENT) => (create_in_root(root, op.target, create)?, false),
        Err(e @ (Errno::LOOP | Errno::NOTDIR)) if real => return Err(e).at(Step::NotADirectory),
        Err(e) => return Err(e).at(Step::Resolve),
    };
    if op.guard == Guard::OutsideProc && is_procfs(target.0.as_fd())? {
        return Err(Errno::INVAL).at(Step::InsideProc);
    }
    Ok(target)
}

fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    let magic = fstatfs(fd).at(Step::Stat)?.f_type as u64;
    Ok(magic == PROC_SUPER_MAGIC)
}

fn mode_of(target: BorrowedFd<'_>) -> Result<u32> {
    Ok(fstat(target).at(Step::Stat)?.st_mode & 0o7777)
}

/// A new filesystem instance, detached.
pub(crate) fn make_filesystem(
    fstype: &CStr,
    params: &[Param<'_>],
    mode: Option<u32>,
    attrs: u64,
) -> Result<OwnedFd> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).at(Step::Fsopen)?;
    configure(context.as_fd(), params)?;
    if let Some(mode) = mode {
        let text = octal(mode);
        let text = CStr::from_bytes_until_nul(&text).unwrap_or(c"0");
        fsconfig_set_string(&context, c"mode", text).at(Step::Fsconfig)?;
    }
    fsconfig_create(&context).at(Step::FsconfigCreate)?;
    #[allow(clippy::cast_possible_truncation)]
    let attrs = MountAttrFlags::from_bits_retain(attrs as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs).at(Step::Fsmount)
}

fn configure(context: BorrowedFd<'_>, params: &[Param<'_>]) -> Result {
    for (i, param) in params.iter().enumerate() {
        match param.value {
            Some(value) => fsconfig_set_string(context, param.key, value),
            None => fsconfig_set_flag(context, param.key),
        }
        .at_item(Step::Fsconfig, i as u64)?;
    }
    Ok(())
}

/// A mode in octal digits, null-terminated.
fn octal(mode: u32) -> [u8; 8] {
    let mut text = [0; 8];
    for (i, digit) in text.iter_mut().take(5).enumerate() {
        #[allow(clippy::cast_possible_truncation)]
        let value = (mode >> (3 * (4 - i))) as u8 & 7;
        *digit = b'0' + value;
    }
    text
}

/// Makes paths unreadable: files show the null device, directories an empty read-only tmpfs. Missing ones are skipped.
///
/// The null device is the container's own, if what is there really is one, and else the host's (CVE-2025-31133): a path
/// of that name in the container's tree is whatever its image says.
pub(crate) fn mask(root: BorrowedFd<'_>, paths: &[&CStr], params: &[Param<'_>]) -> Result {
    let (null, attrs) = find_null(root)?;
    let null = (null.as_fd(), attrs);
    let mut empty: Option<OwnedFd> = None;
    for (i, path) in paths.iter().enumerate() {
        let target = match resolve(root, path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(e) => return Err(e).at_item(Step::Resolve, i as u64),
        };
        mask_one(target.as_fd(), null, params, &mut empty).map_err(|f| Failure { value: i as u64, ..f })?;
    }
    Ok(())
}

fn mask_one(
    target: BorrowedFd<'_>,
    (null, attrs): (BorrowedFd<'_>, Attrs),
    params: &[Param<'_>],
    empty: &mut Option<OwnedFd>,
) -> Result {
    let stat = fstat(target).at(Step::Stat)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return attach_with(copy_tree(null, c"", false)?.as_fd(), target, attrs);
    }
    // All masked directories show one and the same empty filesystem: a superblock each would be paid for at creation
    // and again, with per-CPU counters, at teardown.
    if let Some(first) = empty {
        return attach(copy_tree(first.as_fd(), c"", false)?.as_fd(), target);
    }
    let made = make_filesystem(c"tmpfs", params, None, Attrs::READ_ONLY.set)?;
    attach(made.as_fd(), target)?;
    *empty = Some(made);
    Ok(())
}

/// Makes paths read-only, with everything below. Missing ones are skipped.
pub(crate) fn make_read_only(root: BorrowedFd<'_>, paths: &[&CStr]) -> Result {
    for (i, path) in paths.iter().enumerate() {
        let at = |f: Failure| Failure { value: i as u64, ..f };
        let target = match resolve(root, path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(e) => return Err(e).at_item(Step::Resolve, i as u64),
        };
        let copy = copy_tree(target.as_fd(), c"", true).map_err(at)?;
        match change_attrs(copy.as_fd(), true, Attrs::READ_ONLY) {
            Err(Failure { errno: Errno::NOSYS, .. }) => {
                // One mount at a time then, and what is mounted below is not shown at all.
                let copy = copy_tree(target.as_fd(), c"", false).map_err(at)?;
                attach(copy.as_fd(), target.as_fd()).map_err(at)?;
                change_attached(copy.as_fd(), Attrs::READ_ONLY).map_err(at)?;
            }
            done => {
                done.map_err(at)?;
                attach(copy.as_fd(), target.as_fd()).map_err(at)?;
            }
        }
    }
    Ok(())
}

/// Takes the mount that holds `path` out of its peer group: it is a mount point of one of the path's prefixes, and only
/// at a mount point is the propagation changed.
#[inline(never)]
pub(crate) fn make_parent_private(path: &CStr) -> Result {
    let mut prefix = PathBuffer::from(path)?;
    loop {
        match mount_change(prefix.as_c_str(), MountPropagationFlags::PRIVATE) {
            Ok(()) => return Ok(()),
            Err(Errno::INVAL) if prefix.pop() => {}
            Err(e) => return Err(e).at(Step::Propagation),
        }
    }
}

/// Takes the topmost mount off a path in the root. It is unmounted as the working directory: by then the path may lead
/// somewhere else.
pub(crate) fn detach_mount(root: BorrowedFd<'_>, target: &CStr) -> Result {
    let target = resolve(root, target).at(Step::Resolve)?;
    fchdir(&target).at(Step::Chdir)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::Umount)?;
    fchdir(root).at(Step::Chdir)
}
