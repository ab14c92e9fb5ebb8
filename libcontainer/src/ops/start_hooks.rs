//! `startContainer` hooks: programs of the container's own, run inside it, as its user and under its filter, while its
//! first process still waits (config.md#startcontainer-hooks). They are launched as `exec` launches a process, because
//! nothing that comes from an image may run with the runtime's privileges.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use super::agent;
use super::build::compile_filter;
use super::exec::open_with_cgroup;
use super::report::{hook_state, pid_inside};
use crate::cgroup::Cgroup;
use crate::config::{Config, Hook, Process};
use crate::error::{Error, FieldPath, Result, SyscallError};
use crate::hooks::{HookError, HookFailure};
use crate::host::HostFacts;
use crate::launch::{LaunchError, Session, Sources, prepare, sys};
use crate::plan::{Arena, JoinRequest, compile_exec};
use crate::state::{State, Status};
use crate::validate::{validate, validate_process};

/// As much of a hook's output as goes into an error.
const OUTPUT_KEPT: usize = 4096;

/// Runs all of them, in order, up to the first that fails.
pub(super) fn run(state: &State, config: &Config) -> Result<()> {
    let Some(hooks) = config.hooks.as_ref().filter(|h| !h.start_container.is_empty()) else { return Ok(()) };
    let at = FieldPath::new("hooks.startContainer");
    let pid = state.pid.map(pid_inside);
    let json = hook_state(state, config, Status::Created, pid);
    for (i, hook) in hooks.start_container.iter().enumerate() {
        run_one(state, config, hook, &at.index(i), &json)?;
    }
    Ok(())
}

fn run_one(state: &State, config: &Config, hook: &Hook, at: &FieldPath, json: &[u8]) -> Result<()> {
    let input = memory_file(json)?;
    let mut output = memory_file(b"")?;
    let fail = |failure, output: String| -> Error {
        HookError { at: at.clone(), path: PathBuf::from(&hook.path), failure, output }.into()
    };
    let mut session = match launch(state, config, hook, input.into(), &output) {
        Ok(session) => session,
        Err(Error::Launch(LaunchError::Init(failure))) => {
            let start = SyscallError { call: "exec", source: failure.source };
            return Err(fail(HookFailure::Start(start), String::new()));
        }
        Err(error) => return Err(error),
    };
    let outcome = wait(&mut session, hook.timeout)?;
    outcome.map_or(Ok(()), |failure| Err(fail(failure, tail(&mut output))))
}

/// Starts the hook as a process of the container.
fn launch(state: &State, config: &Config, hook: &Hook, stdin: OwnedFd, output: &File) -> Result<Session> {
    let valid = validate(config)?;
    let process = hook_process(config, hook);
    let process = validate_process(&process, &FieldPath::new("process"))?;
    let host = HostFacts::probe()?;
    let filter = compile_filter(config, state.seccomp.as_ref(), Some(process.process), false)?;
    let cgroup = Cgroup::from_saved(&state.cgroup);
    let cgroups = cgroup.join_fds(true)?;
    let arena = Arena::new();
    let request = JoinRequest {
        linux: None,
        keep_groups: valid.config.keeps_groups(),
        namespaces: &valid.namespaces,
        process: &process,
        path: Some(&hook.path),
        exact_env: !hook.env.is_empty(),
        id: &state.id,
        host: &host,
        cgroup_files: cgroups.len(),
        waits_for_cgroup: cgroup.needs_manager(),
        filter: filter.as_ref(),
        console: false,
        stdio: true,
        no_new_keyring: false,
        preserve_fds: 0,
        extra_env: &[],
    };
    let compiled = compile_exec(&arena, &request);
    let duplicate = || output.as_fd().try_clone_to_owned().map_err(SyscallError::calling("dup"));
    let outputs = vec![duplicate()?, duplicate()?];
    let container = Some(open_with_cgroup(state, &cgroup)?);
    let sources = Sources { cgroups, container, stdin: Some(stdin), outputs, ..Sources::default() };
    let prepared = prepare(&compiled.demands, sources)?;
    let mut session = Session::spawn(compiled, prepared, &cgroup, 0, hook.path.clone())?;
    match session.move_into(&cgroup).and_then(|()| begin(&mut session, state, config)) {
        Ok(()) => Ok(session),
        Err(error) => {
            session.kill();
            Err(error)
        }
    }
}

fn begin(session: &mut Session, state: &State, config: &Config) -> Result<()> {
    session.await_ready()?;
    agent::inform(session, config, state, Status::Created)?;
    session.start()
}

/// The container's process with the hook's program in its place. An absent environment is the process's own, as with
/// runc.
fn hook_process(config: &Config, hook: &Hook) -> Process {
    let mut process = config.process.clone().unwrap_or_default();
    process.args = if hook.args.is_empty() { vec![hook.path.clone()] } else { hook.args.clone() };
    if !hook.env.is_empty() {
        process.env.clone_from(&hook.env);
    }
    process.terminal = false;
    process.oom_score_adj = None;
    process
}

fn memory_file(content: &[u8]) -> Result<File> {
    let made = memfd_create("corten-hook", MemfdFlags::CLOEXEC);
    let mut file = File::from(made.map_err(SyscallError::calling("memfd_create"))?);
    let written = file.write_all(content).and_then(|()| file.rewind());
    written.map_err(SyscallError::calling("write"))?;
    Ok(file)
}

/// Waits for the end; a hook that takes longer than it may is killed.
fn wait(session: &mut Session, timeout: Option<i64>) -> Result<Option<HookFailure>> {
    let limit = timeout.and_then(|t| u64::try_from(t).ok()).map(Duration::from_secs);
    let began = std::time::Instant::now();
    loop {
        let left = limit.map(|l| l.saturating_sub(began.elapsed()));
        let timespec =
            left.map(|l| Timespec { tv_sec: l.as_secs().cast_signed(), tv_nsec: l.subsec_nanos().into() });
        let mut fds = [PollFd::new(&session.pidfd, PollFlags::IN)];
        match poll(&mut fds, timespec.as_ref()) {
            Ok(0) => {
                session.kill();
                return Ok(Some(HookFailure::TimedOut(limit.unwrap_or_default())));
            }
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(e) => return Err(SyscallError::calling("poll")(e).into()),
        }
    }
    let death = sys::reap(session.pidfd.as_fd()).map_err(SyscallError::calling("waitid"))?;
    Ok(match death {
        crate::launch::Death::Exited(0) => None,
        crate::launch::Death::Exited(code) => Some(HookFailure::Exit(code)),
        other => Some(HookFailure::Signal(other.code() - 128)),
    })
}

fn tail(output: &mut File) -> String {
    let mut bytes = Vec::new();
    if output.rewind().and_then(|()| output.read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let start = bytes.len().saturating_sub(OUTPUT_KEPT);
    String::from_utf8_lossy(&bytes[start..]).trim().to_owned()
}
