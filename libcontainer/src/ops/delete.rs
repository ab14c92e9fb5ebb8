//! `delete`: undoes what `create` did.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::kill::{send, signal_init};
use super::members::Members;
use super::signal::Signal;
use crate::cgroup::Cgroup;
use crate::config::Config;
use crate::error::{Error, FieldPath, Result, SyscallError};
use crate::hooks::{Place, run_all_hooks};
use crate::host::HostFacts;
use crate::state::{
    ContainerId, Entry, Holder, Lock, Operation, State, StateError, Status, Store, lifecycle,
};

/// How long a killed process may take. Only one that sits in the kernel (a dead network filesystem, a stuck device)
/// takes longer than a moment.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long another command may keep the lock once the container's process was killed. Longer than it takes to remove a
/// container with difficulty.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to have the lock.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for its end before looking whether somebody has frozen it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Deletes a container: its cgroup, its state, and whatever else `create` made; then runs its `poststop` hooks.
///
/// A stopped container is deleted, and so is a created one, after its waiting process was killed (see
/// `docs/adr/0015-delete-of-a-created-container.md`). With `force`, any container is killed and deleted, also one whose
/// state cannot be read, and it is no error if there is none.
///
/// # Errors
///
/// If there is no such container, if its status does not allow it, or if something cannot be removed. A `poststop` hook
/// that fails is a warning in the log (`runtime.md#lifecycle`, step 13).
pub fn delete(store: &Store, id: &str, force: bool) -> Result<()> {
    let id = ContainerId::new(id)?;
    match delete_existing(store, &id, force) {
        Err(Error::State(StateError::NotFound { .. })) if force => store.remove_remains(&id),
        done => done,
    }
}

fn delete_existing(store: &Store, id: &ContainerId, force: bool) -> Result<()> {
    let entry = store.open_entry(id)?;
    let lock = if force { lock_forcibly(&entry)? } else { entry.lock()? };
    let state = match entry.read_state() {
        Err(e) if force && is_unreadable(&e) => {
            log::warn!("{e}; its processes are looked for where its configuration puts them");
            if let Err(e) = end_by_config(&entry) {
                log::warn!("container {id}: its processes and its cgroup are unknown and stay: {e}");
            }
            return entry.remove(&lock);
        }
        state => state?,
    };
    if !force {
        lifecycle::check(Operation::Delete, id.as_str(), lifecycle::status(&state, &entry)?)?;
    }
    destroy(&entry, &lock, &state)
}

/// Kills what is left of a container and removes everything that it has. Then runs its `poststop` hooks.
///
/// # Errors
///
/// If a process does not die or something cannot be removed.
pub(super) fn destroy(entry: &Entry, own: &Lock, state: &State) -> Result<()> {
    let members = Members::of(state);
    kill_and_wait(state, &members)?;
    // Whoever shared the pid namespace of the container's first process did not end with it; and where `create` was
    // interrupted, the first process may be there without being known yet.
    if state.shares_pid_namespace || state.pid.is_none() {
        members.signal_all(Signal::KILL)?;
    }
    members.destroy()?;
    if let Some(groups) = &state.intel_rdt {
        groups.remove()?;
    }
    entry.remove(own)?;
    run_poststop(state);
    Ok(())
}

/// The lock, from whoever has it: it may be waiting for the container's first process, and notices its end. For anything
/// else that may take long (hooks, agents, managers), nobody keeps the lock.
///
/// # Errors
///
/// [`StateError::NotFound`] if the container was deleted meanwhile; [`StateError::Busy`] if the other one does not let go.
pub(super) fn lock_forcibly(entry: &Entry) -> Result<Lock> {
    lock_within(entry, PATIENCE)
}

fn lock_within(entry: &Entry, patience: Duration) -> Result<Lock> {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(lock) = entry.try_lock()? {
            return Ok(lock);
        }
        // Another one's pid is not in there: where there is no lock to be had, the container still is.
        if let Ok(state) = entry.read_state()
            && signal_init(&state, Signal::KILL)?
        {
            Members::of(&state).thaw_below()?;
        }
        if Instant::now() > end {
            let (id, holder) = (entry.id().to_string(), entry.lock_holder());
            return Err(StateError::Busy { id, seconds: patience.as_secs(), holder: Holder(holder) }.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_unreadable(error: &Error) -> bool {
    match error {
        Error::State(e) => {
            matches!(
                e,
                StateError::Incomplete { .. } | StateError::Damaged { .. } | StateError::Foreign { .. }
            )
        }
        // Something else has this name.
        Error::Path(e) => matches!(e.source.raw_os_error(), Some(libc::EISDIR | libc::ELOOP | libc::ENXIO)),
        _ => false,
    }
}

/// Without a state: what is in the cgroup that `create` makes for this configuration and this id, is the container.
fn end_by_config(entry: &Entry) -> Result<()> {
    let config = Config::from_slice(&entry.read_config()?)?;
    let path = config.linux.as_ref().and_then(|l| l.cgroups_path.as_deref()).filter(|p| !p.is_empty());
    let host = HostFacts::probe()?;
    let planned = Cgroup::plan(&host.layout, path, entry.id().as_str(), host.euid != 0)?;
    let cgroup = Cgroup::from_saved(&planned.presumed());
    cgroup.kill_all(libc::SIGKILL)?;
    Ok(cgroup.destroy()?)
}

fn kill_and_wait(state: &State, members: &Members) -> Result<()> {
    let Some(process) = state.init() else { return Ok(()) };
    let pidfd = process.open().map_err(SyscallError::calling("pidfd_open"))?;
    let Some(pidfd) = pidfd else { return Ok(()) };
    send(&pidfd, Signal::KILL)?;
    for _ in 0..DEADLINE.as_millis() / LOOK_AGAIN.as_millis() {
        // `pause` may be freezing it right now.
        if state.is_kept_from_dying() {
            members.thaw()?;
        }
        if has_ended(&pidfd, LOOK_AGAIN)? {
            return Ok(());
        }
        // The first process of a pid namespace waits for all others, whatever cgroup the container froze them in.
        members.thaw_below()?;
    }
    let (id, pid) = (state.id.clone(), process.pid);
    Err(StateError::WontDie { id, pid, seconds: DEADLINE.as_secs() }.into())
}

/// A pidfd is readable once its process is a zombie or gone.
fn has_ended(pidfd: &OwnedFd, timeout: Duration) -> Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
    match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(SyscallError::calling("poll")(e).into()),
    }
}

/// What a `poststop` hook reads on its standard input (`runtime.md#state`).
fn stopped_state(state: &State) -> serde_json::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Stopped<'a> {
        oci_version: &'a str,
        id: &'a str,
        status: &'static str,
        bundle: &'a Path,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    let State { oci_version, id, bundle, annotations, .. } = state;
    serde_json::to_vec(&Stopped { oci_version, id, status: Status::Stopped.as_str(), bundle, annotations })
}

/// A hook that fails is a warning, and the others still run (`runtime.md#lifecycle`, step 13).
fn run_poststop(state: &State) {
    if state.poststop.is_empty() {
        return;
    }
    let json = match stopped_state(state) {
        Ok(json) => json,
        Err(e) => return log::warn!("container {}: poststop hooks were not run: {e}", state.id),
    };
    let place = Place::Runtime { cwd: &state.bundle };
    for error in run_all_hooks(&state.poststop, &FieldPath::new("hooks.poststop"), &json, &place) {
        log::warn!("container {}: {error}", state.id);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Hook;
    use crate::state::tests::{Scratch, example};
    use crate::state::{CONFIG_FILE, ProcessRef, STATE_FILE};

    struct Made {
        scratch: Scratch,
        store: Store,
        state: State,
    }

    /// A container in the store whose first process is `pid`, or one that ended long ago.
    fn made(pid: Option<i32>) -> (Made, Entry) {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.path().join("root")).unwrap();
        let (entry, lock) = store.reserve(&ContainerId::new("c1").unwrap()).unwrap();
        let process = pid.map(|pid| ProcessRef::of(pid).unwrap());
        let mut state = example("c1");
        state.bundle = scratch.path().to_path_buf();
        state.pid = Some(process.map_or(i32::MAX, |p| p.pid));
        state.start_time = process.map_or(0, |p| p.start_time);
        entry.write_state(&lock, &state).unwrap();
        drop(lock);
        (Made { scratch, store, state }, entry)
    }

    fn refused(done: Result<()>) -> String {
        done.map_err(|e| e.to_string()).unwrap_err()
    }

    #[test]
    fn a_stopped_container_is_gone_and_its_hooks_were_run() {
        let (mut made, entry) = made(None);
        let marker = made.scratch.path().join("marker");
        let hook = |script: String| Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script],
            ..Hook::default()
        };
        made.state.poststop = vec![hook("exit 1".into()), hook(format!("/bin/cat > {}", marker.display()))];
        entry.write_state(&entry.lock().unwrap(), &made.state).unwrap();
        delete(&made.store, "c1", false).unwrap();
        assert!(!entry.path().exists());
        let seen: serde_json::Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
        assert_eq!((&seen["id"], &seen["status"]), (&"c1".into(), &"stopped".into()));
        assert!(refused(delete(&made.store, "c1", false)).starts_with("container does not exist"));
        delete(&made.store, "c1", true).unwrap();
    }

    #[test]
    fn a_running_one_is_refused_and_killed_with_force() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let (made, entry) = made(Some(child.id() as i32));
        assert!(refused(delete(&made.store, "c1", false)).contains("that is not stopped: running"));
        assert!(entry.path().join(STATE_FILE).exists());
        delete(&made.store, "c1", true).unwrap();
        assert!(!entry.path().exists());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_created_one_is_killed_and_deleted() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let (made, entry) = made(Some(child.id() as i32));
        let gate = entry.path().join(crate::state::START_SOCKET);
        let _gate = std::os::unix::net::UnixListener::bind(gate).unwrap();
        delete(&made.store, "c1", false).unwrap();
        assert!(!entry.path().exists());
        assert!(!child.wait().unwrap().success());
    }

    /// Whoever has the lock waits for the container's process, or does nothing that takes long.
    #[test]
    fn who_has_the_lock_is_interrupted() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let (made, entry) = made(Some(child.id() as i32));
        let held = entry.lock().unwrap();
        std::thread::scope(|scope| {
            let deleting = scope.spawn(|| delete(&made.store, "c1", true));
            assert!(!child.wait().unwrap().success());
            assert!(entry.path().exists(), "nothing is removed without the lock");
            drop(held);
            deleting.join().unwrap().unwrap();
        });
        assert!(!entry.path().exists());
    }

    #[test]
    fn who_does_not_let_go_is_named_and_loses_nothing() {
        let (_made, entry) = made(None);
        let _held = entry.lock().unwrap();
        let refused = lock_within(&entry, Duration::from_millis(50)).map(drop).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(entry.path().join(STATE_FILE).exists());
    }

    #[test]
    fn what_cannot_be_read_can_be_deleted_with_force() {
        for content in [None, Some(""), Some("{"), Some("{\"id\":\"c1\"}"), Some("{\"cortenState\":77}")] {
            let (made, entry) = made(None);
            entry.write_config(&entry.lock().unwrap(), b"{}").unwrap();
            match content {
                None => fs::remove_file(entry.path().join(STATE_FILE)).unwrap(),
                Some(text) => fs::write(entry.path().join(STATE_FILE), text).unwrap(),
            }
            let text = refused(delete(&made.store, "c1", false));
            assert!(text.contains("delete --force"), "{content:?}: {text}");
            assert!(entry.path().join(CONFIG_FILE).exists());
            delete(&made.store, "c1", true).unwrap();
            assert!(!entry.path().exists(), "{content:?}");
        }
    }
}
