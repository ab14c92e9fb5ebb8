//! From the limits to the program: what a container's first process and one that joins have in common.

use std::ffi::CStr;

use corten_init::{ConsoleOp, HandOver, Identity, Op, SeccompOp, Slot};

use super::scheduling::By;
use super::{Builder, Circumstances, Demand, Origin, process};
use crate::config::Process;
use crate::seccomp::Filter;
use crate::validate::{CapabilitySets, rlimit_name};

/// A process that was checked, and what it runs.
pub(super) struct Runnable<'r> {
    pub process: &'r Process,
    pub capabilities: &'r CapabilitySets,
    pub rlimits: &'r [(u32, u64, u64)],
    /// The program's path, where it is not looked up by `args[0]`.
    pub path: Option<&'r str>,
    /// The environment gets no `HOME` of the runtime's.
    pub exact_env: bool,
}

/// In another user namespace, the child has lost the right to raise a limit; a privileged parent has not. Both set it: the
/// parent may lack CAP_SYS_RESOURCE, without which it can do nothing for a process of another user.
pub(super) fn push_rlimits(b: &mut Builder<'_>, rlimits: &[(u32, u64, u64)], by: By) {
    for (index, (resource, soft, hard)) in rlimits.iter().enumerate() {
        let or_parent = by == By::Parent;
        let op = Op::Rlimit { resource: *resource, soft: *soft, hard: *hard, or_parent };
        b.push(op, Origin::Rlimit { index, name: rlimit_name(*resource) });
    }
}

/// Identity, program, gate, filter, exec: the same for a container's first process and for one that joins it.
///
/// The filter comes after the gate, so that of all the calls of this runtime it only ever has to let `execve` through
/// (and, where privileges were kept for loading it, one `capset`). One that notifies an agent comes before the parent is
/// told that all is made: with that word it gets the listener, for the agent, while the container is being created.
pub(super) fn push_program(
    b: &mut Builder<'_>,
    runnable: &Runnable<'_>,
    filter: Option<&Filter>,
    gate: Option<Slot>,
    extra_env: &[String],
    how: &Circumstances,
) {
    let process = runnable.process;
    let identity = process::identity(b.arena, process, runnable.capabilities, how);
    b.push(Op::Identity(identity), Origin::Field("process.user"));
    b.push(Op::FindProgram, Origin::Field("process.args[0]"));
    let relinquish = how.keep_admin.then_some(identity);
    if let Some(filter) = filter.filter(|filter| filter.notifies) {
        push_filter(b, filter, relinquish);
    }
    b.step(Op::Ready { gate }, "start");
    if let Some(filter) = filter.filter(|filter| !filter.notifies) {
        push_filter(b, filter, relinquish);
    }
    let program = process::program(b.arena, process, (runnable.path, runnable.exact_env), extra_env, how);
    b.push(Op::Exec(program), Origin::Field("process.args[0]"));
}

fn push_filter<'a>(b: &mut Builder<'a>, filter: &Filter, relinquish: Option<&'a Identity<'a>>) {
    let program = b.arena.slice(&filter.program);
    let listener = filter.notifies.then(|| hand_over(filter));
    let op = b.arena.value(SeccompOp { program, flags: filter.flags, relinquish, listener });
    b.push(Op::Seccomp(op), Origin::Field("linux.seccomp"));
}

/// How the parent can get the listener of a filter that is in force, and that nobody answers yet.
pub(crate) fn hand_over(filter: &Filter) -> HandOver {
    if filter.always_permits("sendmsg") { HandOver::Sent } else { HandOver::Taken }
}

/// Labels of security modules, which take effect with the program.
pub(super) fn push_labels(b: &mut Builder<'_>, process: &Process) {
    if let Some(profile) = process.apparmor_profile.as_deref().filter(|p| !p.is_empty()) {
        // The second is what kernels before 5.8 have, and AppArmor's only where it is the first of the modules.
        let paths = [c"thread-self/attr/apparmor/exec", c"thread-self/attr/exec"];
        let text = format!("exec {profile}");
        attribute(b, &paths, &text, Origin::Field("process.apparmorProfile"));
    }
    if let Some(label) = selinux_label(Some(process)) {
        b.has_label = true;
        attribute(b, &[c"thread-self/attr/exec"], label, SELINUX_LABEL);
    }
}

const SELINUX_LABEL: Origin = Origin::Field("process.selinuxLabel");

fn selinux_label(process: Option<&Process>) -> Option<&str> {
    process?.selinux_label.as_deref().filter(|label| !label.is_empty())
}

fn attribute(b: &mut Builder<'_>, paths: &[&'static CStr], value: &str, origin: Origin) {
    b.procfs();
    let (paths, value) = (b.arena.slice(paths), b.arena.bytes(value.as_bytes()));
    b.push(Op::Attribute { paths, value }, origin);
}

/// A session keyring that the program may use: with SELinux, under the program's label and not the runtime's. The
/// kernel forgets that again when the program begins.
pub(super) fn push_keyring(b: &mut Builder<'_>, id: &str, process: Option<&Process>) {
    if let Some(label) = selinux_label(process) {
        attribute(b, &[c"thread-self/attr/keycreate"], label, SELINUX_LABEL);
    }
    b.step(Op::Keyring { name: b.arena.cstr(&format!("_ses.{id}")) }, "session keyring");
}

pub(super) fn push_console(b: &mut Builder<'_>, process: Option<&Process>, bind_console: bool) {
    let socket = b.demand(Demand::Console);
    let clamp = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let size = process.and_then(|p| p.console_size).map(|s| (clamp(s.height), clamp(s.width)));
    let uid = process.map_or(0, |p| p.user.uid);
    let op = b.arena.value(ConsoleOp { socket, size, bind_console, uid });
    b.push(Op::Console(op), Origin::Field("process.terminal"));
}
