//! `run`.

use super::build::{Built, Site, Wanted, build, run_poststop};
use super::create::announce;
use super::notify;
use super::options::RunOptions;
use super::start::poststart;
use super::start_hooks;
use crate::config::Config;
use crate::error::{Error, Result, SyscallError};
use crate::launch::{
    ConsoleSocket, Death, ForegroundSignals, LaunchError, Notify, Session, Terminal, wait_foreground,
};
use crate::state::{State, StateError, Store};

/// Creates and starts a container, waits for it unless detached, and returns its exit code.
///
/// While it waits it reaps every child of the calling process, as an init does: a program with children of its own runs
/// containers in a process for each, or detached.
///
/// # Errors
///
/// As [`super::create`] and [`super::start`]; nothing of the container is left then.
pub fn run(store: &Store, options: &RunOptions) -> Result<i32> {
    if options.detach {
        return run_detached(store, options);
    }
    if !options.no_subreaper {
        let adopted = nix::sys::prctl::set_child_subreaper(true);
        adopted.map_err(SyscallError::calling("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    }
    let signals = ForegroundSignals::block()?;
    let built = build(store, &options.create, Wanted { gate: false, attached: true })?;
    let (built, (terminal, notify)) = announce(built, &options.create, |built| {
        let terminal = built.console.take().map(ConsoleSocket::receive).transpose()?;
        // The manager goes on watching this process, which ends as the container does.
        let own = std::process::id().cast_signed();
        let notify = notify::open(&built.site.entry, options.create.notify_socket.as_deref(), own)?;
        begin(built).map(|()| (terminal, notify))
    })?;
    attend(built, &signals, terminal, notify, options.keep)
}

/// Leaves the container behind; with a service manager, once it is ready.
fn run_detached(store: &Store, options: &RunOptions) -> Result<i32> {
    let built = build(store, &options.create, Wanted::default())?;
    let (mut built, notify) = announce(built, &options.create, |built| {
        let pid = built.site.session()?.pid;
        let notify = notify::open(&built.site.entry, options.create.notify_socket.as_deref(), pid)?;
        begin(built).map(|()| notify)
    })?;
    if let Some(notify) = notify {
        // Others may want to stop it meanwhile.
        drop(built.lock);
        notify.wait_ready(&built.site.session()?.pidfd)?;
    }
    Ok(0)
}

/// Lets the program run, with the hooks on either side of that.
fn begin(built: &mut Built) -> Result<()> {
    let session = built.site.session.as_mut();
    let session = session.ok_or(LaunchError::Protocol { verb: "no process" })?;
    start_hooks::run(&built.state, &built.config, &session.pidfd)?;
    session.start()?;
    poststart(&built.state, &built.config, session.pid)
}

/// Waits for the end, and tidies up.
fn attend(
    built: Built,
    signals: &ForegroundSignals,
    terminal: Option<Terminal>,
    notify: Option<Notify>,
    keep: bool,
) -> Result<i32> {
    let Built { mut site, config, state, lock, .. } = built;
    // It may live for ever; pause, update and the others want their turn meanwhile.
    drop(lock);
    let waited = wait(site.session()?, signals, terminal, notify);
    if waited.is_err() {
        // Nobody attends to it any more, so it has to go.
        site.session()?.send_kill();
    }
    let tidied = if keep && waited.is_ok() { Ok(()) } else { tidy_up(&site, &config, &state) };
    let death = waited?;
    tidied.map(|()| death.code())
}

fn wait(
    session: &Session,
    signals: &ForegroundSignals,
    terminal: Option<Terminal>,
    mut notify: Option<Notify>,
) -> Result<Death> {
    match terminal {
        Some(terminal) => terminal.attend(signals, session.pid, &session.pidfd, &mut notify),
        None => wait_foreground(signals, session.pid, &session.pidfd, &mut notify),
    }
}

/// Removes what the container left. What did not work is tried once more: nobody will come back for it.
fn tidy_up(site: &Site, config: &Config, state: &State) -> Result<()> {
    let removed = remove(site).or_else(|first| {
        log::debug!("{first}; once more");
        remove(site)
    })?;
    if removed {
        run_poststop(config, state);
    }
    Ok(())
}

/// Whether this was the one that removed it.
fn remove(site: &Site) -> Result<bool> {
    let _lock = match site.entry.lock() {
        // Deleted by somebody else, hooks included.
        Err(Error::State(StateError::NotFound { .. })) => return Ok(false),
        lock => lock?,
    };
    // Without a pid namespace of its own, the container may have left processes behind.
    site.cgroup.kill_all(libc::SIGKILL)?;
    site.cgroup.destroy()?;
    site.entry.remove()?;
    Ok(true)
}
