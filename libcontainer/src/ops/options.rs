//! What can be asked of the verbs, as plain data.

use std::path::PathBuf;

use crate::seccomp::Program;
use crate::state::CgroupManager;

/// How to create a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// The container's name.
    pub id: String,
    /// The bundle's directory, absolute or relative to the working directory.
    pub bundle: PathBuf,
    /// A file to read instead of the bundle's `config.json`, absolute or relative to the working directory.
    pub config: Option<PathBuf>,
    /// Socket that gets the master side of the terminal.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of the container's first process.
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of the container's first process.
    pub pid_file: Option<PathBuf>,
    /// Move the mount instead of pivot_root(2): needed where the rootfs is on a ramdisk.
    pub no_pivot: bool,
    /// Stay in the session keyring of the caller.
    pub no_new_keyring: bool,
    /// Pass that many descriptors beyond stdio and `listen_fds`.
    pub preserve_fds: u32,
    /// Sockets passed by socket activation (sd_listen_fds(3)), from descriptor 3 on: the `LISTEN_FDS` of the caller.
    pub listen_fds: u32,
    /// Where the service manager listens (sd_notify(3)), the `NOTIFY_SOCKET` of the caller: an absolute path, or an
    /// abstract name after `@`. The container then gets a socket of its own at `/run/notify/notify.sock`.
    pub notify_socket: Option<PathBuf>,
    /// A ready filter in the place of `linux.seccomp`, also for what joins the container later.
    pub seccomp: Option<Program>,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
    /// Whether to do without a cgroup where there is no permission to make one; if absent, an ordinary user does.
    pub rootless: Option<bool>,
}

impl CreateOptions {
    /// The options that hold when nothing is said.
    #[must_use]
    pub fn new(id: impl Into<String>, bundle: impl Into<PathBuf>) -> CreateOptions {
        CreateOptions {
            id: id.into(),
            bundle: bundle.into(),
            config: None,
            console_socket: None,
            pidfd_socket: None,
            pid_file: None,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: 0,
            notify_socket: None,
            seccomp: None,
            cgroup_manager: CgroupManager::default(),
            rootless: None,
        }
    }
}

/// How to start a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// As [`CreateOptions::notify_socket`]: wait until the program says `READY=1`, and pass that on. Of no effect for a
    /// container that was created without one.
    pub notify_socket: Option<PathBuf>,
}

/// How to create, start and wait for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// How to create it.
    pub create: CreateOptions,
    /// Do not wait.
    pub detach: bool,
    /// Do not delete it at its end.
    pub keep: bool,
    /// Do not adopt processes that the container orphans.
    pub no_subreaper: bool,
}

/// How to start another process in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOptions {
    /// The container's name.
    pub id: String,
    /// What to start.
    pub process: ExecProcess,
    /// Do not wait.
    pub detach: bool,
    /// File that gets its pid; written only once the program runs (CRI-O tells failure by an empty one).
    pub pid_file: Option<PathBuf>,
    /// Socket that gets the master side of the terminal.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Pass that many descriptors beyond stdio and `listen_fds`.
    pub preserve_fds: u32,
    /// Sockets passed by socket activation (sd_listen_fds(3)), from descriptor 3 on: the `LISTEN_FDS` of the caller.
    pub listen_fds: u32,
    /// Make the process, and let its program run only when something opens this FIFO for writing and writes, or closes it.
    pub wait_fifo: Option<PathBuf>,
    /// Also in a frozen container.
    pub ignore_paused: bool,
    /// Sub-cgroups of the container's own, each `PATH` or, on v1, `CONTROLLER[,CONTROLLER…]:PATH`.
    pub cgroup: Vec<String>,
}

/// What `exec` starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecProcess {
    /// A file that holds the `process` object of a configuration.
    File(PathBuf),
    /// The container's own `process` with these changes.
    Flags(Box<ExecFlags>),
}

/// The variables that announce passed sockets. The process that gets them has pid 1, or at least believes so.
pub(super) fn listen_env(listen_fds: u32) -> Vec<String> {
    match listen_fds {
        0 => Vec::new(),
        n => vec![format!("LISTEN_FDS={n}"), "LISTEN_PID=1".to_owned()],
    }
}

/// Changes to the container's own `process`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecFlags {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// More variables, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// `UID[:GID]`.
    pub user: Option<String>,
    /// More group ids.
    pub additional_gids: Vec<u32>,
    /// More capabilities, for the bounding, effective and permitted sets.
    pub caps: Vec<String>,
    /// Set no_new_privs (else as in the configuration).
    pub no_new_privs: bool,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// Give it a terminal. Unlike the rest, `false` also overrides the configuration.
    pub terminal: bool,
}
