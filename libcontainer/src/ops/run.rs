//! `run`.

use super::build::{Built, Site, Wanted, build};
use super::create::announce;
use super::delete::destroy;
use super::notify;
use super::options::{CreateOptions, RunOptions};
use super::start::poststart;
use super::start_hooks;
use crate::error::{Error, Result, SyscallError};
use crate::launch::{ConsoleSocket, Death, ForegroundSignals, Notify, Session, Terminal, wait_foreground};
use crate::state::{StateError, Store, pidfile};

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
    let built = run_poststart(built, &options.create)?;
    attend(built, &signals, terminal, notify, options.keep)
}

/// Leaves the container behind; with a service manager, once it is ready.
fn run_detached(store: &Store, options: &RunOptions) -> Result<i32> {
    let built = build(store, &options.create, Wanted::default())?;
    let (built, notify) = announce(built, &options.create, |built| {
        let pid = built.site.session()?.pid;
        let notify = notify::open(&built.site.entry, options.create.notify_socket.as_deref(), pid)?;
        begin(built).map(|()| notify)
    })?;
    let mut built = run_poststart(built, &options.create)?;
    if let Some(notify) = notify {
        notify.wait_ready(&built.site.session()?.pidfd)?;
    }
    Ok(0)
}

/// Lets the program run, after the hooks that are run in the container.
fn begin(built: &mut Built) -> Result<()> {
    let Built { site, state, config, .. } = &mut *built;
    if config.hooks.as_ref().is_some_and(|h| !h.start_container.is_empty()) {
        site.let_go(|_| start_hooks::run(state, config))?;
    }
    built.commit()?;
    built.site.session()?.start()
}

/// The container is anybody's by now. One whose hook fails is removed.
fn run_poststart(mut built: Built, options: &CreateOptions) -> Result<Built> {
    let pid = built.site.session()?.pid;
    let Err(error) = poststart(&built.state, &built.config, pid) else { return Ok(built) };
    if let Err(e) = tidy_up(&built.site) {
        log::warn!("{e}; `delete --force {}` removes what is left", built.state.id);
    }
    if let Some(path) = &options.pid_file {
        pidfile::remove(path, pid);
    }
    built.site.session()?.kill();
    Err(error)
}

/// Waits for the end, and tidies up.
fn attend(
    built: Built,
    signals: &ForegroundSignals,
    terminal: Option<Terminal>,
    notify: Option<Notify>,
    keep: bool,
) -> Result<i32> {
    let mut site = built.site;
    let waited = wait(site.session()?, signals, terminal, notify);
    if waited.is_err() {
        // Nobody attends to it any more, so it has to go.
        site.session()?.send_kill();
    }
    let tidied = if keep && waited.is_ok() { Ok(()) } else { tidy_up(&site) };
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
fn tidy_up(site: &Site) -> Result<()> {
    remove(site).or_else(|first| {
        log::debug!("{first}; once more");
        remove(site)
    })
}

fn remove(site: &Site) -> Result<()> {
    let own = match site.entry.lock() {
        // Deleted by somebody else, hooks included.
        Err(Error::State(StateError::NotFound { .. })) => return Ok(()),
        own => own?,
    };
    // As it is on disk: `update` may have added to it.
    destroy(&site.entry, &own, &site.entry.read_state()?)
}
