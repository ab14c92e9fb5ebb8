//! What `create`, `run` and `start` do for sd_notify(3). Nothing of it is in the persisted configuration: it is the
//! caller's, not the bundle's.

use std::path::Path;

use super::options::{CreateOptions, listen_env};
use crate::config::{Config, Mount, NamespaceKind};
use crate::error::Result;
use crate::launch::{Notify, notify};
use crate::state::{Entry, Store};

/// Adds the mount of the socket's directory, if there is a service manager. Returns whether it did: a container that
/// does not make its own mounts cannot have it.
pub(super) fn add_mount(config: &mut Config, store: &Store, options: &CreateOptions) -> bool {
    if options.notify_socket.is_none() || !makes_mounts(config) {
        return false;
    }
    let directory = store.root().join(&options.id).join(notify::DIRECTORY);
    let Some(source) = directory.to_str() else {
        log::warn!("NOTIFY_SOCKET is not passed on: the state root is not UTF-8");
        return false;
    };
    config.mounts.push(Mount {
        destination: notify::MOUNT_POINT.to_owned(),
        source: Some(source.to_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    true
}

fn makes_mounts(config: &Config) -> bool {
    let namespaces = config.linux.as_ref().map_or(&[][..], |l| &l.namespaces);
    let own = |path: Option<&str>| path.unwrap_or_default().is_empty();
    namespaces.iter().any(|n| n.kind == NamespaceKind::Mount && own(n.path.as_deref()))
}

/// The variables that the process has beyond those of its configuration.
pub(super) fn environment(options: &CreateOptions, notified: bool) -> Vec<String> {
    let mut env = listen_env(options.listen_fds);
    env.extend(notified.then(|| notify::VARIABLE.to_owned()));
    env
}

/// Opens the proxy between a container that is about to begin and the manager, if there is one.
pub(super) fn open(entry: &Entry, address: Option<&Path>, main_pid: i32) -> Result<Option<Notify>> {
    Ok(address.map(|address| Notify::open(entry, address, main_pid)).transpose()?.flatten())
}
