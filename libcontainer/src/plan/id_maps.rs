//! `uidMappings` and `gidMappings` of one mount, and the options `idmap` and `ridmap` (config.md#mounts).

use std::path::PathBuf;

use super::Request;
use crate::config::{IdMapping, Mount, NamespaceKind};
use crate::error::{ConfigError, FieldPath, Problem};

/// How a mount shows the owners of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountIds {
    /// Which id becomes which.
    pub ids: Ids,
    /// Of the mounts below, too.
    pub recursive: bool,
}

/// A mapping of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// From the configuration, of the mount or of the container's new user namespace.
    Mappings {
        /// Of users.
        uids: Vec<IdMapping>,
        /// Of groups.
        gids: Vec<IdMapping>,
    },
    /// That of a user namespace that the container joins.
    Namespace(PathBuf),
}

/// What a bind mount asks for; `option` is whether its options have `ridmap` or only `idmap`.
pub(super) fn of_bind(
    r: &Request<'_>,
    index: usize,
    mount: &Mount,
    option: Option<bool>,
) -> Result<Option<MountIds>, ConfigError> {
    if option.is_none() && mount.uid_mappings.is_empty() {
        return Ok(None);
    }
    let at = || FieldPath::new("mounts").index(index);
    if r.host.euid != 0 {
        let why = "an id-mapped mount needs a runtime that is root on the host";
        return Err(ConfigError::new(at().field("uidMappings"), Problem::Forbidden { why }));
    }
    let ids = own_ids(mount).or_else(|| container_ids(r));
    let Some(ids) = ids else {
        let why = "for the option idmap, without a user namespace of the container";
        return Err(ConfigError::new(at().field("uidMappings"), Problem::Missing { why }));
    };
    Ok(Some(MountIds { ids, recursive: option == Some(true) }))
}

/// A filesystem of its own has no owners to map, and one that is there cannot be mapped any more.
pub(super) fn refuse(index: usize, mount: &Mount, option: Option<bool>) -> Result<(), ConfigError> {
    if option.is_none() && mount.uid_mappings.is_empty() {
        return Ok(());
    }
    let at = FieldPath::new("mounts").index(index);
    let (at, with) = (at.field("uidMappings"), at.field("options"));
    Err(ConfigError::new(at, Problem::Conflict { with, why: "only a bind mount can be id-mapped" }))
}

fn own_ids(mount: &Mount) -> Option<Ids> {
    let (uids, gids) = (mount.uid_mappings.clone(), mount.gid_mappings.clone());
    (!uids.is_empty()).then_some(Ids::Mappings { uids, gids })
}

fn container_ids(r: &Request<'_>) -> Option<Ids> {
    let spaces = &r.valid.namespaces;
    if let Some(path) = spaces.joins(NamespaceKind::User) {
        return Some(Ids::Namespace(PathBuf::from(path)));
    }
    let linux = r.valid.config.linux.as_ref().filter(|_| spaces.creates(NamespaceKind::User))?;
    Some(Ids::Mappings { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() })
}
