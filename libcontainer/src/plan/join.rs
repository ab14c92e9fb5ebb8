//! A process that joins a container → operations.

use corten_init::{Join, Op, Phase, Usher};

use super::runnable::{Runnable, push_console, push_keyring, push_labels, push_program, push_rlimits};
use super::scheduling::{By, push_affinity, push_settings};
use super::{
    Arena, Builder, Circumstances, Compiled, Demand, clone_flags, groups_are_denied, is_root_outside,
};
use crate::config::{Linux, NamespaceKind};
use crate::host::HostFacts;
use crate::seccomp::Filter;
use crate::validate::{Namespaces, ValidProcess};

/// What is compiled for a process that joins a container.
#[derive(Debug)]
pub struct JoinRequest<'r> {
    /// The container's namespaces.
    pub namespaces: &'r Namespaces<'r>,
    /// What the configuration of the container has for all of its processes.
    pub linux: Option<&'r Linux>,
    /// It keeps the runtime's supplementary groups.
    pub keep_groups: bool,
    /// The process that joins.
    pub process: &'r ValidProcess<'r>,
    /// The program's path, where it is not looked up by `args[0]` (hooks).
    pub path: Option<&'r str>,
    /// The environment is the process's as it stands, without a `HOME` of the runtime's (hooks).
    pub exact_env: bool,
    /// The container's name.
    pub id: &'r str,
    /// What the machine is like.
    pub host: &'r HostFacts,
    /// Files of cgroups that the child joins by itself.
    pub cgroup_files: usize,
    /// It waits for somebody else to move it into its cgroup.
    pub waits_for_cgroup: bool,
    /// The compiled filter.
    pub filter: Option<&'r Filter>,
    /// Whether there is a socket for the terminal.
    pub console: bool,
    /// Whether stdin, stdout and stderr are others than the runtime's (hooks).
    pub stdio: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Variables that the runtime adds.
    pub extra_env: &'r [String],
}

/// Compiles a process that joins a running container.
#[must_use]
pub fn compile_exec<'a>(arena: &'a Arena, r: &JoinRequest<'_>) -> Compiled<'a> {
    let mut b = Builder::new(arena);
    let cgroups = b.cgroups(r.cgroup_files);
    if r.waits_for_cgroup {
        b.step(Op::Barrier(Phase::Cgroup), "cgroup made by systemd");
    }
    let kinds = clone_flags(r.namespaces);
    let fd = b.demand(Demand::Container);
    let usher = (kinds != 0).then(|| Usher {
        joins: b.arena.slice(&[Join { fd, kinds }]),
        drops_groups: r.namespaces.has(NamespaceKind::User) && r.host.euid == 0 && !r.keep_groups,
    });
    if r.namespaces.has(NamespaceKind::User) {
        b.step(Op::BecomeRoot, "root of the user namespace");
    }
    b.step(Op::Conceal, "conceal");
    b.step(Op::NewSession, "new session");
    if !r.no_new_keyring {
        push_keyring(&mut b, r.id, Some(r.process.process));
    }
    if r.stdio {
        let slots = [b.demand(Demand::Stdin), b.demand(Demand::Output), b.demand(Demand::Output)];
        b.step(Op::Stdio { slots }, "standard streams");
    }
    join_process(&mut b, r);
    b.finish(usher, 0, cgroups, is_root_outside(r.host, r.namespaces, r.linux))
}

fn join_process(b: &mut Builder<'_>, r: &JoinRequest<'_>) {
    let process = r.process.process;
    if r.console {
        b.step(Op::PresentRoot, "root directory");
        push_console(b, Some(process), false);
    }
    push_labels(b, process);
    let by = if r.namespaces.has(NamespaceKind::User) && r.host.euid == 0 { By::Parent } else { By::Child };
    push_rlimits(b, &r.process.rlimits, by);
    push_settings(b, process, r.linux, by);
    push_affinity(b, process);
    let how = Circumstances {
        keep_groups: r.keep_groups || groups_are_denied(r.host, r.linux),
        joins_user: r.namespaces.has(NamespaceKind::User),
        keep_admin: r.filter.is_some() && !process.no_new_privileges,
        preserve_fds: r.preserve_fds,
        own_binary: r.host.own_binary,
    };
    let runnable = Runnable {
        process,
        capabilities: &r.process.capabilities,
        rlimits: &r.process.rlimits,
        path: r.path,
        exact_env: r.exact_env,
    };
    push_program(b, &runnable, r.filter, None, r.extra_env, &how);
}
