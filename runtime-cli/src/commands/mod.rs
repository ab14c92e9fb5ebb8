//! The verbs. Each file holds one: its entry in the table, and the few lines that call the library.

mod completion;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod help;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod regex;
mod resume;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod unsupported;
mod update;

use std::path::{Path, PathBuf};

use libcontainer::state::{CgroupManager, Store, default_root};

use crate::Failure;
use crate::args::{Command, Flag, Given, Invocation, UsageError};

pub use seccomp::{ARGUMENTS as SECCOMP_ARGUMENTS, ProfileFailure};

/// Every command, in the order of a container's life.
pub const COMMANDS: &[Command] = &[
    run::COMMAND,
    create::COMMAND,
    start::COMMAND,
    exec::COMMAND,
    list::COMMAND,
    state::COMMAND,
    ps::COMMAND,
    events::COMMAND,
    kill::COMMAND,
    pause::COMMAND,
    resume::COMMAND,
    update::COMMAND,
    mounts::COMMAND,
    delete::COMMAND,
    unsupported::CHECKPOINT,
    unsupported::RESTORE,
    spec::COMMAND,
    features::COMMAND,
    seccomp::COMMAND,
    seccomp::COMPILE,
    seccomp::CONVERT,
    seccomp::EXPLAIN,
    seccomp::DIFF,
    seccomp::RECORD,
    completion::COMMAND,
    help::COMMAND,
];

/// Flags that every command takes, on either side of the verb.
pub const GLOBAL_FLAGS: &[Flag] = &[
    Flag::value("root", "dir", "where the state of containers is kept")
        .default("/run/corten, or $XDG_RUNTIME_DIR/corten for an ordinary user"),
    Flag::value("log", "file", "also write errors there: a path, journald:<id> or syslog:<id>"),
    Flag::value("log-format", "format", "text or json").default("text").one_of(&["text", "json"]),
    Flag::value("log-level", "level", "error, warning, info or debug")
        .default("error")
        .one_of(&["error", "warning", "info", "debug"]),
    Flag::switch("debug", "the same as --log-level debug"),
    Flag::switch("systemd-cgroup", "let systemd make the cgroup of a new container"),
    Flag::value("cgroup-manager", "manager", "who makes the cgroup: cgroupfs, systemd or disabled")
        .default("cgroupfs")
        .one_of(&["cgroupfs", "systemd", "disabled"]),
    Flag::value("criu", "path", "accepted as runc 1.1 has it, and ignored"),
    Flag::value("rootless", "when", "ignore cgroup permission errors: true, false or auto")
        .default("auto")
        .one_of(&["true", "false", "auto"]),
];

/// Flags that `create` and `run` share, in a macro because a `const` table cannot be made of two slices.
macro_rules! creation_flags {
    ($($more:expr),* $(,)?) => {
        &[
            Flag::value("bundle", "dir", "directory with config.json and the root filesystem")
                .short(b'b')
                .default("the current directory"),
            Flag::value("config", "file", "file to read instead of the bundle's config.json").short(b'f'),
            Flag::value("console-socket", "path", "Unix socket that gets the container's terminal"),
            Flag::value("pidfd-socket", "path", "Unix socket that gets a pidfd of the container's process"),
            Flag::value("pid-file", "path", "file to write the pid of the container's process to"),
            Flag::switch("no-pivot", "move the root mount instead of pivot_root: for a rootfs on a ramdisk"),
            Flag::switch("no-new-keyring", "keep the caller's session keyring"),
            Flag::value("preserve-fds", "n", "pass n more file descriptors, from 3 (after $LISTEN_FDS) on")
                .default("0"),
            $($more),*
        ]
    };
}
use creation_flags;

/// The containers that `--root` says.
fn store(invocation: &Invocation) -> Result<Store, Failure> {
    let globals = &invocation.globals;
    // A wrong value is wrong also where it is of no use.
    rootless(globals)?;
    cgroup_manager(globals)?;
    let root = match globals.last("root") {
        Some(root) => PathBuf::from(root),
        None => default_root()?,
    };
    let store = Store::open(&root)?;
    if store.root().components().count() == 1 {
        // Deleting a container removes a directory below it; below `/` that would be `/etc` for one called `etc`.
        let (flag, value) = ("root", root.display().to_string());
        return Err(UsageError::InvalidValue { flag, value, expected: "a directory other than /" }.into());
    }
    Ok(store)
}

/// Whether a missing permission for the cgroup is ignored; `auto` is for the library to decide.
fn rootless(globals: &Given) -> Result<Option<bool>, UsageError> {
    match globals.text("rootless")? {
        None | Some("auto") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => {
            let (flag, value) = ("rootless", other.to_owned());
            Err(UsageError::InvalidValue { flag, value, expected: "true, false or auto" })
        }
    }
}

/// Who is to make the cgroup of a new container. Other commands obey what `create` wrote down: engines give
/// `--systemd-cgroup` to some of them and not to others.
fn cgroup_manager(globals: &Given) -> Result<CgroupManager, UsageError> {
    let manager = globals.parsed("cgroup-manager", "cgroupfs, systemd or disabled")?;
    let systemd = globals.is_on("systemd-cgroup").then_some(CgroupManager::Systemd);
    Ok(manager.or(systemd).unwrap_or_default())
}

fn path(given: &Given, flag: &'static str) -> Option<PathBuf> {
    given.last(flag).map(|value| Path::new(value).to_path_buf())
}

fn preserve_fds(given: &Given) -> Result<u32, UsageError> {
    let count = given.parsed("preserve-fds", "a number of file descriptors")?.unwrap_or(0);
    let first = 3 + u64::from(listen_fds());
    match (first..first + u64::from(count)).find(|fd| !is_inherited(*fd)) {
        None => Ok(count),
        Some(fd) => Err(UsageError::NotOpen { count, fd }),
    }
}

/// Whether the caller left this descriptor open for us. Those that are ours, such as the log, have close-on-exec set.
fn is_inherited(fd: u64) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
}

/// What socket activation passed (sd_listen_fds(3)); nonsense counts as nothing, as in the C library's function.
fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Where the service manager listens (sd_notify(3)).
fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()).map(PathBuf::from)
}

/// The exit code of a process. The library gives 128 + signal already; anything else fits by definition of wait(2).
fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}
