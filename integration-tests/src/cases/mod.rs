//! The cases, one module for each area.

use crate::registry::{Case, Level};
use std::collections::BTreeSet;

mod attacks;
mod bombs;
mod capabilities;
mod cgroup_places;
mod cgroups;
mod cgroups_unified;
mod clocks;
mod compat;
mod console;
mod contract;
mod copy_up;
mod counts;
mod damage;
mod deviations;
mod deviations_crun;
mod devices;
mod edges;
mod escapes;
mod events;
mod exec;
mod extremes;
mod faults;
mod features;
mod found;
mod hooks;
mod hot_mounts;
mod id_mapped;
mod input;
mod intel_rdt;
mod labels;
mod lifecycle;
mod limits;
mod many;
mod mishaps;
mod mount_links;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod old_kernels;
mod optional;
mod parity;
mod process;
mod races;
mod resources;
mod rootless;
mod scheduling;
mod seccomp;
mod seccomp_actions;
mod seccomp_notify;
mod seccomp_record;
mod spies;
mod state;
mod stress;
mod swaps;
mod systemd;
mod terminal;
mod threats;
mod two_phase;
mod update;

/// Every case, in the order of the report.
pub fn all() -> Vec<Case> {
    let areas = [
        lifecycle::cases(),
        state::cases(),
        input::cases(),
        process::cases(),
        capabilities::cases(),
        namespaces::cases(),
        clocks::cases(),
        net_devices::cases(),
        mounts::cases(),
        mount_options::cases(),
        mount_links::cases(),
        id_mapped::cases(),
        copy_up::cases(),
        devices::cases(),
        hooks::cases(),
        found::cases(),
        hot_mounts::cases(),
        exec::cases(),
        scheduling::cases(),
        seccomp::cases(),
        seccomp_actions::cases(),
        seccomp_notify::cases(),
        seccomp_record::cases(),
        cgroups::cases(),
        cgroup_places::cases(),
        resources::cases(),
        intel_rdt::cases(),
        update::cases(),
        events::cases(),
        limits::cases(),
        console::cases(),
        terminal::cases(),
        notify::cases(),
        labels::cases(),
        rootless::cases(),
        contract::cases(),
        edges::cases(),
        optional::cases(),
        features::cases(),
        parity::cases(),
        compat::cases(),
        threats::cases(),
        two_phase::cases(),
        attacks::cases(),
        escapes::cases(),
        spies::cases(),
        swaps::cases(),
        counts::cases(),
        faults::cases(),
        races::cases(),
        mishaps::cases(),
        damage::cases(),
        extremes::cases(),
        bombs::cases(),
        old_kernels::cases(),
        systemd::cases(),
        stress::cases(),
        many::cases(),
    ];
    let mut cases: Vec<Case> = areas.into_iter().flatten().collect();
    deviations::attach(&mut cases);
    // What no clause of the specification says, is not demanded, whatever the case makes of it.
    let practice: BTreeSet<&str> = crate::clauses::all()
        .iter()
        .filter(|clause| clause.level == "practice")
        .map(|clause| clause.id)
        .collect();
    for case in &mut cases {
        if case.clauses.iter().all(|clause| practice.contains(clause)) {
            case.level = Level::Practice;
        }
    }
    cases
}
