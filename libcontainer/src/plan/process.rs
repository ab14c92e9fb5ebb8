//! `process` → identity, program, environment.

use std::collections::BTreeSet;
use std::ffi::CStr;

use corten_init::{Capabilities, Identity, Program};

use super::Arena;
use crate::config::Process;
use crate::validate::CapabilitySets;

/// What the runtime decides about a process, beside its configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// `setgroups` is denied in the user namespace, or would fail: leave the groups alone.
    pub keep_groups: bool,
    /// The user namespace was made before, maybe by somebody who had to give up setgroups(2).
    pub joins_user: bool,
    /// Keep `CAP_SYS_ADMIN` permitted until a filter is loaded.
    pub keep_admin: bool,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Device and inode of the runtime.
    pub own_binary: (u64, u64),
}

/// The umask of a process whose configuration has none. The specification leaves it at the caller's; runc sets this,
/// and engines count on it (docs/adr/0010-default-umask.md).
const DEFAULT_UMASK: u32 = 0o022;

pub(super) fn identity<'a>(
    arena: &'a Arena,
    process: &Process,
    caps: &CapabilitySets,
    how: &Circumstances,
) -> &'a Identity<'a> {
    let groups = arena.slice(&process.user.additional_gids);
    arena.value(Identity {
        uid: process.user.uid,
        gid: process.user.gid,
        groups: (!how.keep_groups).then_some(groups),
        groups_if_allowed: how.joins_user,
        umask: process.user.umask.unwrap_or(DEFAULT_UMASK),
        cwd: arena.cstr(&process.cwd),
        capabilities: Capabilities {
            bounding: caps.bounding,
            effective: caps.effective,
            inheritable: caps.inheritable,
            permitted: caps.permitted,
            ambient: caps.ambient,
        },
        no_new_privileges: process.no_new_privileges,
        keep_admin: how.keep_admin,
        chown_stdio: !process.terminal,
    })
}

pub(super) fn program<'a>(
    arena: &'a Arena,
    process: &Process,
    (path, exact_env): (Option<&str>, bool),
    extra_env: &[String],
    how: &Circumstances,
) -> &'a Program<'a> {
    let env = last_of_each(process.env.iter().chain(extra_env));
    let has_home =
        exact_env || env.iter().any(|e| e.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()));
    let placeholder = (!has_home).then_some(c"HOME=/");
    let candidates = path.map_or_else(|| candidates(&process.args, &env), |path| vec![path.to_owned()]);
    let candidates: Vec<&CStr> = candidates.iter().map(|c| arena.cstr(c)).collect();
    let env = env.into_iter().filter(|e| has_home || *e != "HOME=").map(|e| arena.cstr(e));
    arena.value(Program {
        candidates: arena.slice(&candidates),
        argv: arena.string_table(process.args.iter().map(|a| arena.cstr(a))),
        envp: arena.string_table(placeholder.into_iter().chain(env)),
        home_of: (!has_home).then_some(process.user.uid),
        preserve_fds: how.preserve_fds,
        never: how.own_binary,
    })
}

/// Of several assignments to one variable the last one counts.
fn last_of_each<'e>(env: impl DoubleEndedIterator<Item = &'e String>) -> Vec<&'e str> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<&str> = Vec::new();
    for entry in env.rev() {
        let name = entry.split('=').next().unwrap_or_default();
        if seen.insert(name) {
            kept.push(entry);
        }
    }
    kept.reverse();
    kept
}

/// The paths that execvp(3) would try for `args[0]`. Empty and relative elements of `PATH` are left out: they would
/// stand for whatever the working directory is.
fn candidates(args: &[String], env: &[&str]) -> Vec<String> {
    let Some(name) = args.first() else { return Vec::new() };
    if name.contains('/') {
        return vec![name.clone()];
    }
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_last_assignment_of_a_variable_counts() {
        let env = strings(&["A=1", "B=2", "A=3"]);
        assert_eq!(last_of_each(env.iter()), ["B=2", "A=3"]);
    }

    #[test]
    fn a_name_is_looked_for_in_path() {
        let args = strings(&["sh"]);
        assert_eq!(candidates(&args, &["PATH=/bin::rel:/usr/bin"]), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(candidates(&args, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_name_with_a_slash_is_a_path() {
        assert_eq!(candidates(&strings(&["./x/y"]), &["PATH=/bin"]), ["./x/y"]);
    }

    #[test]
    fn a_missing_home_gets_a_placeholder() {
        let arena = Arena::new();
        let process = Process { args: strings(&["sh"]), env: strings(&["A=1"]), ..Process::default() };
        let program = program(&arena, &process, (None, false), &[], &Circumstances::default());
        assert_eq!(program.envp.iter().collect::<Vec<_>>(), [c"HOME=/", c"A=1"]);
        assert_eq!(program.home_of, Some(0));
    }
}
