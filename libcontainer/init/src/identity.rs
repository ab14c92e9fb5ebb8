//! Who the program runs as: ids, groups, capabilities, working directory, limits.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, chdir, setrlimit};
use rustix::thread::set_keep_capabilities;

use crate::channel::{At, Result, retry};
use crate::frame::Step;
use crate::paths::PATH_MAX;
use crate::plan::{Capabilities, Identity};
use crate::stdio;
use crate::sys::{self, CapSets};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Becomes the user of the program, and keeps of the privileges what the plan says.
///
/// The order is the kernel's: the bounding set while `CAP_SETPCAP` is there; groups and gid while uid is 0; then uid
/// with `PR_SET_KEEPCAPS`, or the permitted set would be lost; then the sets themselves; and the ambient set last,
/// because it may only hold what is permitted and inheritable already.
pub(crate) fn assume_identity(identity: &Identity<'_>) -> Result {
    sys::umask(identity.umask).at(Step::Umask)?;
    if identity.chown_stdio {
        stdio::give_away(identity.uid)?;
    }
    let early = chdir(identity.cwd);
    drop_bounding(identity.capabilities.bounding)?;
    if identity.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::Prctl)?;
    }
    // Only who ceases to be root would lose any.
    let keeps = identity.uid != 0;
    if keeps {
        set_keep_capabilities(true).at(Step::Prctl)?;
    }
    if let Some(groups) = identity.groups {
        match sys::setgroups(groups) {
            Err(Errno::PERM) if identity.groups_if_allowed => {}
            done => done.at(Step::Setgroups)?,
        }
    }
    sys::setgid(identity.gid).at(Step::Setgid)?;
    sys::setuid(identity.uid).at(Step::Setuid)?;
    if keeps {
        set_keep_capabilities(false).at(Step::Prctl)?;
    }
    if early.is_err() {
        chdir(identity.cwd).at(Step::Chdir)?;
    }
    check_cwd()?;
    let keep = if identity.keep_admin { CAP_SYS_ADMIN } else { 0 };
    set_capabilities(&identity.capabilities, keep)
}

/// Loads the capability sets. What cannot be granted is left out (config.md#linux-process: not an error).
fn set_capabilities(wanted: &Capabilities, keep: u64) -> Result {
    let now = sys::capget().at(Step::Capset)?;
    let sets = CapSets {
        effective: wanted.effective & wanted.permitted & now.permitted,
        permitted: (wanted.permitted | keep) & now.permitted,
        inheritable: wanted.inheritable & (now.permitted | now.inheritable),
    };
    sys::capset(sets).at(Step::Capset)?;
    raise_ambient(wanted.ambient & sets.permitted & wanted.permitted & sets.inheritable)
}

fn raise_ambient(set: u64) -> Result {
    const PR_CAP_AMBIENT: usize = 47;
    const RAISE: usize = 2;
    const CLEAR_ALL: usize = 4;
    #[allow(clippy::cast_possible_truncation)]
    let option = PR_CAP_AMBIENT as u32;
    sys::prctl(option, CLEAR_ALL, 0).at(Step::CapAmbient)?;
    for capability in (0..64).filter(|c| set & (1 << c) != 0) {
        sys::prctl(option, RAISE, capability).at_item(Step::CapAmbient, capability as u64)?;
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result {
    const PR_CAPBSET_DROP: u32 = 24;
    for capability in (0..64u32).filter(|c| keep & (1 << c) == 0) {
        match sys::prctl(PR_CAPBSET_DROP, capability as usize, 0) {
            Ok(()) => {}
            // Past the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            // Not there any more is as good as dropped.
            Err(Errno::PERM) if sys::capability_is_bounding(capability) == Some(false) => {}
            Err(e) => return Err(e).at_item(Step::CapBounding, u64::from(capability)),
        }
    }
    Ok(())
}

/// Takes `CAP_SYS_ADMIN` up again, for loading the filter.
pub(crate) fn raise_admin() -> Result {
    let now = sys::capget().at(Step::Capset)?;
    if now.effective & CAP_SYS_ADMIN != 0 || now.permitted & CAP_SYS_ADMIN == 0 {
        return Ok(());
    }
    sys::capset(CapSets { effective: now.effective | CAP_SYS_ADMIN, ..now }).at(Step::Capset)
}

/// What remains when nothing has to be kept for loading the filter any more. Nothing is raised, so the ambient set stays.
pub(crate) fn last_sets(identity: &Identity<'_>) -> Result<CapSets> {
    let wanted = &identity.capabilities;
    let now = sys::capget().at(Step::Capset)?;
    let permitted = wanted.permitted & now.permitted;
    Ok(CapSets { effective: wanted.effective & permitted, permitted, inheritable: now.inheritable })
}

/// The working directory has to be inside: through a leaked descriptor it may be the host's (CVE-2024-21626), and then
/// the kernel's answer does not begin with a slash.
// Apart, for the buffer lies on the stack, of which each page counts as the container's memory.
#[inline(never)]
fn check_cwd() -> Result {
    let mut buffer = [0u8; PATH_MAX];
    let cwd = match sys::getcwd(&mut buffer) {
        Ok(cwd) => cwd,
        Err(e) => return Err(e).at(Step::CwdOutside),
    };
    if cwd.first() == Some(&b'/') { Ok(()) } else { Err(Errno::NOENT).at(Step::CwdOutside) }
}

/// Sets one resource limit.
pub(crate) fn limit(resource: u32, soft: u64, hard: u64) -> Result {
    let finite = |n: u64| (n != u64::MAX).then_some(n);
    let resource = match resource {
        0 => Resource::Cpu,
        1 => Resource::Fsize,
        2 => Resource::Data,
        3 => Resource::Stack,
        4 => Resource::Core,
        5 => Resource::Rss,
        6 => Resource::Nproc,
        7 => Resource::Nofile,
        8 => Resource::Memlock,
        9 => Resource::As,
        10 => Resource::Locks,
        11 => Resource::Sigpending,
        12 => Resource::Msgqueue,
        13 => Resource::Nice,
        14 => Resource::Rtprio,
        15 => Resource::Rttime,
        _ => return Err(Errno::INVAL).at(Step::Prlimit),
    };
    setrlimit(resource, Rlimit { current: finite(soft), maximum: finite(hard) }).at(Step::Prlimit)
}

/// A new session keyring, so that the container does not hold the runtime's. A kernel or an outer container without
/// keyrings, or a user whose quota is used up, is no reason to fail.
pub(crate) fn new_keyring(name: &CStr) -> Result {
    const OWNER_SEARCH: u32 = 0x0008_0000;
    const POSSESSOR_ALL: u32 = 0x3f3f_0000 & 0xff00_0000;
    let serial = match sys::join_session_keyring(name) {
        Ok(serial) => serial,
        Err(Errno::NOSYS | Errno::PERM | Errno::DQUOT | Errno::ACCESS) => return Ok(()),
        Err(e) => return Err(e).at(Step::Keyctl),
    };
    match sys::set_key_permissions(serial, POSSESSOR_ALL | OWNER_SEARCH) {
        Ok(()) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(e) => Err(e).at(Step::Keyctl),
    }
}

/// Moves this process into the cgroup whose `cgroup.procs` or `tasks` this is.
pub(crate) fn join_cgroup(file: BorrowedFd<'_>) -> Result {
    retry(|| rustix::io::write(file, b"0")).at(Step::JoinCgroup).map(|_| ())
}

/// Brings `lo` up.
pub(crate) fn loopback() -> Result {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).at(Step::Loopback)?;
    sys::loopback_up(socket.as_fd()).at(Step::Loopback)
}
