//! `exec`.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::agent;
use super::build::{INTEL_RDT, compile_filter, explain_oom, write_oom_score};
use super::console::{Console, adopt_size};
use super::labels::check_labels;
use super::load;
use super::options::{ExecFlags, ExecOptions, ExecProcess, listen_env};
use super::scheduling::{OnCpus, set_limits, set_priorities};
use crate::cgroup::Cgroup;
use crate::config::{Config, Process, User};
use crate::error::{ConfigError, Error, FieldPath, PathError, Problem, Result, SyscallError};
use crate::host::HostFacts;
use crate::launch::{
    ConsoleSocket, ForegroundSignals, GoFifo, LaunchError, Session, Sources, Terminal, prepare, send_pidfd,
    wait_foreground,
};
use crate::plan::{Arena, JoinRequest, compile_exec};
use crate::state::{Operation, State, StateError, Status, Store, lifecycle, pidfile};
use crate::validate::{validate, validate_process};

/// Starts another process in a container, waits for it unless detached, and returns its exit code.
///
/// # Errors
///
/// If the container does not run, or the process cannot be made as asked. The pid file is written only once the
/// program runs.
pub fn exec(store: &Store, options: &ExecOptions) -> Result<i32> {
    let (entry, state) = load(store, &options.id)?;
    let status = lifecycle::status(&state, &entry)?;
    let operation = if options.ignore_paused { Operation::ExecPaused } else { Operation::Exec };
    lifecycle::check(operation, &options.id, status)?;
    let mut config = Config::from_slice(&entry.read_config()?)?;
    config.process = Some(wanted_process(&config, &options.process)?);

    let signals = if options.detach { None } else { Some(ForegroundSignals::block()?) };
    if signals.is_some() {
        adopt_size(config.process.as_mut());
    }
    let begun = begin(&state, &config, options, signals.as_ref());
    let (session, terminal) = begun.map_err(|e| explain_end(e, &state))?;
    let death = match (signals, terminal) {
        (Some(signals), Some(terminal)) => {
            terminal.attend(&signals, session.pid, &session.pidfd, &mut None)?
        }
        (Some(signals), None) => wait_foreground(&signals, session.pid, &session.pidfd, &mut None)?,
        (None, _) => return Ok(0),
    };
    Ok(death.code())
}

/// Joins the container, up to where the program runs.
fn begin(
    state: &State,
    config: &Config,
    options: &ExecOptions,
    signals: Option<&ForegroundSignals>,
) -> Result<(Session, Option<Terminal>)> {
    let fifo = options.wait_fifo.as_deref().map(GoFifo::open).transpose()?;
    let (mut session, cgroup, console) = join(state, config, options)?;
    let go = |session: &mut Session| fifo.as_ref().map_or(Ok(()), |fifo| fifo.wait(session, signals));
    match follow(&mut session, state, config, options, console, go) {
        Ok(terminal) => Ok((session, terminal)),
        Err(error) => {
            session.kill();
            Err(explain_oom(error, &cgroup))
        }
    }
}

/// The container may have ended meanwhile, and taken the new process along; then that is what has to be said, unless the
/// program itself is at fault.
fn explain_end(error: Error, state: &State) -> Error {
    // What kills a container kills its processes one after the other.
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // Its end and a want of memory sound alike, and who wants memory should not wait for long.
    const SOON: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
    // Its namespaces go before its pidfd tells: on a busy machine, long before.
    const CERTAIN: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
    let within = |error: &Error| match error {
        Error::Launch(LaunchError::Init(failure)) if failure.has_no_process() => CERTAIN,
        Error::Launch(LaunchError::Init(failure)) if failure.has_no_room() => SOON,
        Error::Launch(e) if e.is_death() => MOMENT,
        _ => Timespec::default(),
    };
    match error {
        Error::Launch(LaunchError::Init(failure)) if failure.is_about_program() => {
            LaunchError::Init(failure).into()
        }
        Error::Launch(LaunchError::Frozen) => StateError::Paused { id: state.id.clone() }.into(),
        // Of a cgroup that is gone, an engine would read the kernel's words as those about a missing program.
        Error::Launch(_) | Error::Cgroup(_) | Error::Syscall(_) if has_ended(state, within(&error)) => {
            StateError::NotRunning { id: state.id.clone(), status: Status::Stopped }.into()
        }
        other => other,
    }
}

/// Whether the container's first process has ended, or does so within this time.
fn has_ended(state: &State, within: Timespec) -> bool {
    let Some(process) = state.init() else { return true };
    match process.open() {
        Ok(Some(pidfd)) => {
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&within)).is_ok_and(|n| n > 0)
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// The process, from a file or from flags on top of the container's own.
fn wanted_process(config: &Config, wanted: &ExecProcess) -> Result<Process> {
    match wanted {
        ExecProcess::File(path) => {
            let bytes = fs::read(path).map_err(PathError::doing("--process: open", path))?;
            let process = crate::config::from_slice(&bytes).map_err(|e| e.in_document("--process"))?;
            Ok(confined_as(config.process.as_ref(), process))
        }
        ExecProcess::Flags(flags) => changed(config, flags),
    }
}

/// What confines a process and is not mentioned in its file, is that of the container's own process, as in runc.
fn confined_as(own: Option<&Process>, mut process: Process) -> Process {
    let Some(own) = own else { return process };
    if process.capabilities.is_none() {
        process.capabilities.clone_from(&own.capabilities);
    }
    if process.exec_cpu_affinity.is_none() {
        // In `config.json` the member is for the processes that will join, whatever they are.
        process.exec_cpu_affinity.clone_from(&own.exec_cpu_affinity);
    }
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&own.rlimits);
    }
    for (label, own) in [
        (&mut process.apparmor_profile, &own.apparmor_profile),
        (&mut process.selinux_label, &own.selinux_label),
    ] {
        if label.as_ref().is_none_or(String::is_empty) {
            label.clone_from(own);
        }
    }
    process
}

fn changed(config: &Config, flags: &ExecFlags) -> Result<Process> {
    let mut process =
        config.process.clone().unwrap_or_else(|| Process { cwd: "/".into(), ..Process::default() });
    process.args.clone_from(&flags.args);
    process.env.extend(flags.env.iter().cloned());
    process.terminal = flags.terminal;
    process.console_size = None;
    if let Some(cwd) = &flags.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &flags.user {
        change_user(&mut process.user, user)?;
    }
    process.user.additional_gids.extend(&flags.additional_gids);
    process.no_new_privileges |= flags.no_new_privs;
    if flags.apparmor.is_some() {
        process.apparmor_profile.clone_from(&flags.apparmor);
    }
    if flags.process_label.is_some() {
        process.selinux_label.clone_from(&flags.process_label);
    }
    let capabilities = process.capabilities.get_or_insert_default();
    // Never inheritable: a file's inheritable bits would turn them into permitted ones (CVE-2022-29162).
    for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
        set.extend(flags.caps.iter().cloned());
    }
    Ok(process)
}

/// `UID[:GID]` in numbers; names are never looked up (CVE-2016-3697). The groups stay, and so does the gid that is not
/// given.
fn change_user(user: &mut User, text: &str) -> Result<()> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid.parse(), gid.parse()),
        None => (text.parse(), Ok(user.gid)),
    };
    if let (Ok(uid), Ok(gid)) = (uid, gid) {
        (user.uid, user.gid) = (uid, gid);
        return Ok(());
    }
    let problem = Problem::Malformed { value: text.to_owned(), expected: "<uid>[:<gid>] in numbers" };
    Err(ConfigError::new(FieldPath::new("process.user"), problem).into())
}

/// The process, its cgroup, and the way on which its terminal comes.
type Joined = (Session, Cgroup, Option<ConsoleSocket>);

/// Clones the process into the container's cgroup and namespaces.
fn join(state: &State, config: &Config, options: &ExecOptions) -> Result<Joined> {
    let valid = validate(config)?;
    let process = config.process.as_ref().ok_or(LaunchError::Protocol { verb: "no process" })?;
    let process = validate_process(process, &FieldPath::new("process"))?;
    for warning in &process.warnings {
        log::warn!("{warning}");
    }
    check_labels(Some(process.process), None)?;
    let host = HostFacts::probe()?;
    let filter = compile_filter(config, state.seccomp.as_ref(), Some(process.process), false)?;
    let socket = options.console_socket.as_deref();
    let console = Console::open(socket, Some(process.process), options.detach)?;
    let cgroup = Cgroup::from_saved(&state.cgroup).below(&options.cgroup)?;
    let passed = options.preserve_fds.saturating_add(options.listen_fds);
    let cgroups = cgroup.join_fds(true)?;
    let arena = Arena::new();
    let request = JoinRequest {
        namespaces: &valid.namespaces,
        linux: config.linux.as_ref(),
        keep_groups: config.keeps_groups(),
        process: &process,
        path: None,
        exact_env: false,
        id: &state.id,
        host: &host,
        cgroup_files: cgroups.len(),
        waits_for_cgroup: cgroup.needs_manager(),
        filter: filter.as_ref(),
        console: console.theirs.is_some(),
        stdio: false,
        no_new_keyring: false,
        preserve_fds: passed,
        extra_env: &listen_env(options.listen_fds),
    };
    let compiled = compile_exec(&arena, &request);
    let container = Some(open_with_cgroup(state, &cgroup)?);
    let sources = Sources { cgroups, console: console.theirs, container, ..Sources::default() };
    let prepared = prepare(&compiled.demands, sources)?;
    let program = process.process.args.first().cloned().unwrap_or_default();
    let initially = OnCpus::initially(process.process)?;
    // Whoever joins a paused container on purpose waits for its end.
    let watched = (!options.ignore_paused).then(|| Cgroup::from_saved(&state.cgroup));
    let watched = watched.filter(|cgroup| !cgroup.is_none());
    let mut session = Session::spawn_watching(compiled, prepared, &cgroup, passed, program, watched)?;
    let controlled = state
        .intel_rdt
        .as_ref()
        .map_or(Ok(()), |groups| groups.join(session.pid, &FieldPath::new(INTEL_RDT)));
    let moved = controlled.map_err(Error::from).and_then(|()| session.move_into(&cgroup));
    drop(initially);
    let placed = moved.and_then(|()| {
        set_limits(session.pid, &process.rlimits, &valid.namespaces, &host)?;
        set_priorities(session.pid, Some(process.process), &valid.namespaces, &host)
    });
    if let Err(error) = placed {
        session.kill();
        return Err(error);
    }
    Ok((session, cgroup, console.ours))
}

/// A pidfd of the container's first process, after its cgroup was opened: the process lives, so the container was not
/// deleted by then, and what was opened is no other container's.
pub(super) fn open_with_cgroup(state: &State, cgroup: &Cgroup) -> Result<OwnedFd> {
    cgroup.unified_dir()?;
    open_container(state)
}

/// A pidfd of the container's first process.
pub(super) fn open_container(state: &State) -> Result<OwnedFd> {
    let gone = || StateError::NotRunning { id: state.id.clone(), status: Status::Stopped };
    let process = state.init().ok_or_else(gone)?;
    let opened = process.open().map_err(SyscallError::calling("pidfd_open"))?;
    Ok(opened.ok_or_else(gone)?)
}

/// Talks to the child until its program runs.
fn follow(
    session: &mut Session,
    state: &State,
    config: &Config,
    options: &ExecOptions,
    console: Option<ConsoleSocket>,
    go: impl FnOnce(&mut Session) -> Result<()>,
) -> Result<Option<Terminal>> {
    let score = config.process.as_ref().and_then(|p| p.oom_score_adj);
    if let Some(score) = score {
        write_oom_score(session.pid, score)?;
    }
    if options.wait_fifo.is_none() {
        session.go_ahead()?;
    }
    session.release();
    session.await_ready()?;
    agent::inform(session, config, state, Status::Running)?;
    let terminal = console.map(ConsoleSocket::receive).transpose()?;
    go(session)?;
    // The first word stands for the state of a container, which a process that joins does not have.
    session.start()?;
    if let Some(path) = &options.pidfd_socket {
        send_pidfd(path, &session.pidfd)?;
    }
    if let Some(path) = &options.pid_file {
        pidfile::write(path, session.pid)?;
    }
    Ok(terminal)
}
