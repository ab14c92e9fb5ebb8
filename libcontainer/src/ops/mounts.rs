//! `mounts add` and `mounts remove`: change the mounts of a running container.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::exec::open_container;
use super::load;
use crate::cgroup::Cgroup;
use crate::config::{Config, Mount};
use crate::error::{Error, PathError, Result};
use crate::host::HostFacts;
use crate::launch::{LaunchError, Session, Sources, prepare};
use crate::plan::{Arena, HotMounts, Request, compile_mounts};
use crate::state::{Operation, State, Store, lifecycle};
use crate::validate::validate;

/// The file that lists the mounts: the member `mounts` of a `config.json`; anything else in it is ignored.
#[derive(Deserialize)]
struct Listed {
    mounts: Vec<Mount>,
}

/// Makes mounts in a running container, or removes them. Bind sources are paths of the host, relative ones below the
/// bundle. Later commands and a restart know nothing of it.
///
/// # Errors
///
/// If the container does not run, or a mount cannot be made or removed; those before it stay as they are by then.
pub fn mounts(store: &Store, id: &str, what: HotMounts, file: &Path) -> Result<()> {
    let (entry, _) = load(store, id)?;
    let _lock = entry.lock()?;
    let state = entry.read_state()?;
    lifecycle::check(Operation::Exec, id, lifecycle::status(&state, &entry)?)?;
    let bytes = fs::read(file).map_err(PathError::doing("open", file))?;
    let listed: Listed = crate::config::from_slice(&bytes)?;
    let mut config = Config::from_slice(&entry.read_config()?)?;
    config.mounts = match what {
        HotMounts::Add => listed.mounts,
        // Of these only the destination counts.
        HotMounts::Remove => listed.mounts.into_iter().map(destination_only).collect(),
    };
    let mut session = launch(&state, &config, what)?;
    let done = follow(&mut session);
    if done.is_err() {
        session.kill();
    }
    done.map_err(|error| match error {
        Error::Launch(LaunchError::Init(failure)) => LaunchError::Joined(failure).into(),
        other => other,
    })
}

fn destination_only(mount: Mount) -> Mount {
    Mount { destination: mount.destination, kind: Some("none".to_owned()), ..Mount::default() }
}

fn launch(state: &State, config: &Config, what: HotMounts) -> Result<Session> {
    let valid = validate(config)?;
    let host = HostFacts::probe()?;
    let arena = Arena::new();
    let cgroup = Cgroup::from_saved(&state.cgroup);
    let dirs: Vec<(String, PathBuf)> =
        cgroup.paths().map(|(controllers, path)| (controllers, path.to_owned())).collect();
    let request = Request {
        valid: &valid,
        id: &state.id,
        bundle: &state.bundle,
        rootfs: &state.rootfs,
        host: &host,
        cgroup_dirs: &dirs,
        cgroup_files: 0,
        waits_for_cgroup: false,
        filter: None,
        gate: false,
        console: false,
        joins_container: true,
        can_leave_network: false,
        no_pivot: false,
        no_new_keyring: true,
        preserve_fds: 0,
        extra_env: &[],
    };
    let compiled = compile_mounts(&arena, &request, what)?;
    let sources = Sources { container: Some(open_container(state)?), ..Sources::default() };
    let prepared = prepare(&compiled.demands, sources)?;
    Session::spawn(compiled, prepared, &Cgroup::none(), 0, String::new())
}

fn follow(session: &mut Session) -> Result<()> {
    session.await_ready()?;
    session.start()?;
    session.end()
}
