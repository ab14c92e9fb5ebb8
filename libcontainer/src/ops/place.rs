//! Where a new container's cgroup will be, and who makes it.

use super::options::CreateOptions;
use crate::cgroup::{Bus, Cgroup, DevicePolicy, Paths, Scope, ScopeRequest, Write};
use crate::config::Config;
use crate::error::Result;
use crate::host::HostFacts;
use crate::state::CgroupManager;

/// See the module.
pub(super) enum Place {
    /// The caller's cgroup.
    None,
    /// Directories to be made.
    Paths(Paths),
    /// A unit to be started with the process in it.
    Scope(Box<Scope>),
}

/// Decides on the place. systemd rounds some of the limits; `writes` are what it makes of them.
pub(super) fn plan_cgroup(
    host: &HostFacts,
    config: &Config,
    options: &CreateOptions,
    writes: &mut Vec<Write>,
    devices: &DevicePolicy,
) -> Result<Place> {
    let path = config.linux.as_ref().and_then(|l| l.cgroups_path.as_deref()).filter(|p| !p.is_empty());
    match options.cgroup_manager {
        CgroupManager::Disabled => Ok(Place::None),
        CgroupManager::Cgroupfs => {
            // The root of an ordinary user's namespace is that user where cgroups are concerned. Only a cgroup that
            // nobody asked for may be missing.
            let by_user = || host.euid != 0 || (path.is_none() && host.in_user_namespace);
            let rootless = options.rootless.unwrap_or_else(by_user);
            Ok(Place::Paths(Cgroup::plan(&host.layout, path, &options.id, rootless)?))
        }
        CgroupManager::Systemd => {
            let scope = Scope::prepare(&ScopeRequest {
                layout: &host.layout,
                cgroups_path: path,
                id: &options.id,
                bus: Bus::choose(options.rootless, host.euid),
                annotations: &config.annotations,
                writes,
                devices,
            })?;
            *writes = scope.writes().to_vec();
            Ok(Place::Scope(Box::new(scope)))
        }
    }
}
