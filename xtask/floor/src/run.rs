//! `run`: the default bundle, start to end.

use std::ffi::{CStr, CString};

use libc::{
    MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT,
    MS_SLAVE, MS_STRICTATIME,
};

use crate::cgroup::Cgroup;
use crate::{Doing, Failure, sys};

const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNS;

const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
];

const READONLY: [&CStr; 5] = [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];

const MASKED_FILES: [&CStr; 6] = [
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/proc/sched_debug",
];

const MASKED_DIRECTORIES: [&CStr; 4] = [c"/proc/acpi", c"/proc/asound", c"/proc/scsi", c"/sys/firmware"];

/// Runs /bin/true in `rootfs`; the answer is its exit status.
pub fn run(rootfs: &CStr, id: &CStr, cgroup: &Cgroup) -> Result<i32, Failure> {
    let state = State::create(id)?;
    let directory = cgroup.create().doing("create the cgroup")?;
    let [gate, opener] = sys::pipe().doing("pipe")?;
    // On v1 the child enters its cgroup after the clone, and has to make the root of its cgroup namespace of that.
    let cgroup_namespace = if directory.is_some() { libc::CLONE_NEWCGROUP } else { 0 };
    let child = sys::clone3(NAMESPACES | cgroup_namespace, directory).doing("clone")?;
    if child == 0 {
        let failure = container(rootfs, cgroup, gate);
        let text = format!("corten-bench-floor: {}: errno {}\n", failure.doing, failure.errno.0);
        let _ = sys::write(2, text.as_bytes());
        sys::exit(1);
    }
    if directory.is_none() {
        cgroup.enter(child).doing("enter the cgroup")?;
    }
    sys::write(opener, b".").doing("open the gate")?;
    let (status, _) = sys::wait(child).doing("wait")?;
    cgroup.remove().doing("remove the cgroup")?;
    state.remove()?;
    Ok(status)
}

/// The state directory that every runtime has to keep while a container lives.
struct State {
    directory: CString,
    file: CString,
}

impl State {
    fn create(id: &CStr) -> Result<Self, Failure> {
        let path = |suffix: &[u8]| {
            CString::new([b"/run/corten-bench-floor-", id.to_bytes(), suffix].concat()).unwrap_or_default()
        };
        let (directory, file, fresh) = (path(b""), path(b"/state.json"), path(b"/state.json.new"));
        sys::mkdir(&directory, 0o700).doing("create the state directory")?;
        let fd =
            sys::open(&fresh, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY).doing("create the state")?;
        sys::write(fd, &[b' '; 4096]).doing("write the state")?;
        sys::close(fd);
        sys::rename(&fresh, &file).doing("rename the state")?;
        Ok(Self { directory, file })
    }

    fn remove(&self) -> Result<(), Failure> {
        sys::unlink(&self.file).doing("remove the state")?;
        sys::rmdir(&self.directory).doing("remove the state directory")
    }
}

fn container(rootfs: &CStr, cgroup: &Cgroup, gate: i32) -> Failure {
    let set_up = || {
        sys::read(gate, &mut [0]).doing("wait at the gate")?;
        if matches!(cgroup, Cgroup::V1 { .. }) {
            sys::unshare(libc::CLONE_NEWCGROUP).doing("make a cgroup namespace")?;
        }
        sys::setsid().doing("setsid")?;
        sys::join_session_keyring(c"_ses.floor").doing("join a session keyring")?;
        enter_rootfs(rootfs)?;
        mount_filesystems()?;
        mount_cgroups(cgroup)?;
        make_devices()?;
        leave_the_host()?;
        protect_paths()?;
        drop_privileges()
    };
    match set_up() {
        Ok(()) => Failure { doing: "exec", errno: sys::exec(c"/bin/true", c"true") },
        Err(failure) => failure,
    }
}

fn enter_rootfs(rootfs: &CStr) -> Result<(), Failure> {
    sys::mount(None, c"/", None, MS_SLAVE | MS_REC, None).doing("make / a slave")?;
    sys::mount(Some(rootfs), rootfs, None, MS_BIND | MS_REC, None).doing("bind the rootfs")?;
    sys::chdir(rootfs).doing("enter the rootfs")
}

fn mount_filesystems() -> Result<(), Failure> {
    let safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    let mount = |name: &CStr, target: &CStr, flags, data| {
        sys::mount(Some(name), target, Some(name), flags, data).doing("mount a filesystem")
    };
    mount(c"proc", c"proc", 0, None)?;
    mount(c"tmpfs", c"dev", MS_NOSUID | MS_STRICTATIME, Some(c"mode=755,size=65536k"))?;
    for directory in [c"dev/pts", c"dev/shm", c"dev/mqueue"] {
        sys::mkdir(directory, 0o755).doing("make a mount point")?;
    }
    let pts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(c"devpts", c"dev/pts", MS_NOSUID | MS_NOEXEC, Some(pts))?;
    mount(c"tmpfs", c"dev/shm", safe, Some(c"mode=1777,size=65536k"))?;
    mount(c"mqueue", c"dev/mqueue", safe, None)?;
    mount(c"sysfs", c"sys", safe | MS_RDONLY, None)
}

fn mount_cgroups(cgroup: &Cgroup) -> Result<(), Failure> {
    let flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME;
    let root = c"sys/fs/cgroup";
    match cgroup {
        Cgroup::V2 { .. } => sys::mount(Some(c"cgroup"), root, Some(c"cgroup2"), flags | MS_RDONLY, None)
            .doing("mount cgroup2"),
        Cgroup::V1 { hierarchies, .. } => {
            let tmpfs = Some(c"tmpfs");
            sys::mount(tmpfs, root, tmpfs, flags, Some(c"mode=755")).doing("mount the cgroup tmpfs")?;
            let legacy = hierarchies.iter().filter(|name| **name != c"unified");
            legacy.into_iter().try_for_each(|name| mount_hierarchy(name, flags | MS_RDONLY))
        }
    }
}

fn mount_hierarchy(name: &CStr, flags: libc::c_ulong) -> Result<(), Failure> {
    let target = CString::new([b"sys/fs/cgroup/", name.to_bytes()].concat()).unwrap_or_default();
    sys::mkdir(&target, 0o755).doing("make a cgroup mount point")?;
    let data = if name == c"systemd" { c"none,name=systemd" } else { name };
    sys::mount(Some(c"cgroup"), &target, Some(c"cgroup"), flags, Some(data)).doing("mount a cgroup hierarchy")
}

fn make_devices() -> Result<(), Failure> {
    sys::umask(0);
    for (path, major, minor) in DEVICES {
        sys::mknod(path, libc::S_IFCHR | 0o666, libc::makedev(major, minor)).doing("make a device")?;
    }
    for (target, path) in LINKS {
        sys::symlink(target, path).doing("make a link")?;
    }
    sys::umask(0o022);
    Ok(())
}

fn leave_the_host() -> Result<(), Failure> {
    sys::pivot_root_here().doing("pivot_root")?;
    sys::umount(c".", MNT_DETACH).doing("detach the old root")?;
    sys::chdir(c"/").doing("chdir")?;
    sys::mount(None, c"/", None, MS_BIND | MS_REMOUNT | MS_RDONLY, None).doing("make / read-only")?;
    sys::sethostname(c"corten").doing("sethostname")?;
    sys::loopback_up().doing("bring lo up")
}

fn protect_paths() -> Result<(), Failure> {
    for path in READONLY {
        match sys::mount(Some(path), path, None, MS_BIND | MS_REC, None) {
            Err(sys::Errno(libc::ENOENT)) => continue,
            bound => bound.doing("bind a read-only path")?,
        }
        sys::mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)
            .doing("make a path read-only")?;
    }
    let present = |outcome| match outcome {
        Err(sys::Errno(libc::ENOENT)) => Ok(()),
        outcome => outcome,
    };
    for path in MASKED_FILES {
        present(sys::mount(Some(c"/dev/null"), path, None, MS_BIND, None)).doing("mask a file")?;
    }
    // Known to be directories: to try the null device first, and fail, would cost an RCU grace period each.
    for path in MASKED_DIRECTORIES {
        let tmpfs = Some(c"tmpfs");
        present(sys::mount(tmpfs, path, tmpfs, MS_RDONLY, None)).doing("mask a directory")?;
    }
    Ok(())
}

/// Limits, no_new_privs, capabilities and descriptors: what comes right before execve.
pub fn drop_privileges() -> Result<(), Failure> {
    const KILL: u32 = 5;
    const NET_BIND_SERVICE: u32 = 10;
    const AUDIT_WRITE: u32 = 29;
    const LAST_CAPABILITY: u32 = 40;
    let kept = [KILL, NET_BIND_SERVICE, AUDIT_WRITE];
    let mask = kept.iter().fold(0, |mask, bit| mask | 1 << bit);
    sys::limit_open_files(1024).doing("set the limit on open files")?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).doing("set no_new_privs")?;
    for capability in (0..=LAST_CAPABILITY).filter(|bit| !kept.contains(bit)) {
        sys::prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).doing("drop a capability")?;
    }
    // Nothing is inheritable, so nothing can be ambient, whatever the bundle lists there.
    sys::capset(mask, 0).doing("set the capabilities")?;
    sys::close_the_rest_on_exec().doing("mark descriptors")
}
