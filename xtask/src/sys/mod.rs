//! The system calls that std does not offer. The only module of xtask with `unsafe`.

pub mod calls;
#[cfg_attr(not(target_arch = "x86_64"), path = "step_absent.rs")]
pub mod step;

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null;

/// The effective user and group of this process.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: no arguments, and they cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::other)
}

fn check(ret: c_int) -> io::Result<c_int> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Gives this process, which must have one thread, a mount namespace from which nothing spreads back.
pub fn private_mount_namespace() -> io::Result<()> {
    // SAFETY: a plain number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the target is static; the other pointers may be null for a change of propagation.
    check(unsafe { libc::mount(null(), c"/".as_ptr(), null(), flags, null()) }).map(drop)
}

/// Mounts cgroup v2 on `target`.
pub fn mount_cgroup2(target: &Path) -> io::Result<()> {
    let target = c_string(target.as_os_str())?;
    let kind = c"cgroup2".as_ptr();
    // SAFETY: every string is NUL-terminated and outlives the call.
    check(unsafe { libc::mount(kind, target.as_ptr(), kind, 0, null()) }).map(drop)
}

/// Mounts an empty tmpfs on `target`.
pub fn mount_tmpfs(target: &Path) -> io::Result<()> {
    let target = c_string(target.as_os_str())?;
    let kind = c"tmpfs".as_ptr();
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: every string is NUL-terminated and outlives the call.
    check(unsafe { libc::mount(kind, target.as_ptr(), kind, flags, c"mode=755".as_ptr().cast()) }).map(drop)
}

/// Detaches the mount on `target` and those below it.
pub fn detach(target: &Path) -> io::Result<()> {
    let target = c_string(target.as_os_str())?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes this process the parent of orphans among its descendants (`PR_SET_CHILD_SUBREAPER`), as an engine is.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// A command line in the form that posix_spawn(3) takes, made once and started many times.
pub struct Prepared {
    words: Vec<CString>,
    environment: Vec<CString>,
}

impl Prepared {
    /// Takes the program's absolute path and its arguments. The environment is PATH alone.
    pub fn new<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let words = words.into_iter().map(|word| c_string(word.as_ref())).collect::<io::Result<_>>()?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let environment = vec![c_string(&[OsStr::new("PATH="), &path].join(OsStr::new("")))?];
        Ok(Self { words, environment })
    }

    /// Starts the program with standard input at /dev/null, and its output in the two files.
    pub fn spawn(&self, stdout: &CStr, stderr: &CStr) -> io::Result<libc::pid_t> {
        let truncate = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        self.start(&[(0, c"/dev/null", libc::O_RDONLY), (1, stdout, truncate), (2, stderr, truncate)])
    }

    /// Starts the program with the standard streams of this one.
    pub fn spawn_here(&self) -> io::Result<libc::pid_t> {
        self.start(&[])
    }

    /// posix_spawn(3) suspends this process instead of copying its page tables, so a figure is the child's.
    fn start(&self, files: &[(c_int, &CStr, c_int)]) -> io::Result<libc::pid_t> {
        let vector = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
        };
        let (argv, envp) = (vector(&self.words), vector(&self.environment));
        let mut pid = 0;
        // SAFETY: the file actions are initialised before use and destroyed once; every pointer outlives the call,
        // and both vectors end with null.
        let error = unsafe {
            let mut actions = std::mem::zeroed();
            libc::posix_spawn_file_actions_init(&raw mut actions);
            for (fd, path, flags) in files {
                libc::posix_spawn_file_actions_addopen(&raw mut actions, *fd, path.as_ptr(), *flags, 0o600);
            }
            let (program, argv, envp) = (argv[0], argv.as_ptr().cast(), envp.as_ptr().cast());
            let error = libc::posix_spawn(&raw mut pid, program, &raw const actions, null(), argv, envp);
            libc::posix_spawn_file_actions_destroy(&raw mut actions);
            error
        };
        if error == 0 { Ok(pid) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}

/// Waits for `pid` and reaps whatever else ends meanwhile: the container of a runtime that went away is ours.
/// Answers the exit status in a shell's terms.
pub fn wait_reaping(pid: libc::pid_t) -> io::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: the out-pointer is valid.
        let ended = match check(unsafe { libc::waitpid(-1, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ended => ended?,
        };
        if ended == pid {
            let exited = libc::WIFEXITED(status);
            return Ok(if exited { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) });
        }
    }
}

/// Waits for all of `pids`, and reaps whatever else ends meanwhile. Answers how many ended badly.
pub fn wait_for_all(pids: &[libc::pid_t]) -> io::Result<usize> {
    let (mut waiting, mut failed) = (pids.to_vec(), 0);
    while !waiting.is_empty() {
        let mut status = 0;
        // SAFETY: the out-pointer is valid.
        let ended = match check(unsafe { libc::waitpid(-1, &raw mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ended => ended?,
        };
        if let Some(index) = waiting.iter().position(|pid| *pid == ended) {
            waiting.swap_remove(index);
            failed += usize::from(status != 0);
        }
    }
    Ok(failed)
}

/// Reaps the children that have ended already.
pub fn reap_ended() {
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// Sends a signal.
pub fn kill(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}
