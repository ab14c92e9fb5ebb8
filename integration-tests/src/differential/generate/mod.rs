//! Random configurations: valid ones, and [odd](Random::is_odd) ones, which are slightly wrong or ask for too much.

mod linux;
mod mounts;
mod process;
mod resources;
mod wrong;

use super::change::Change;
use super::random::Random;

type Maker = fn(&mut Random) -> Change;

/// The changes that make one configuration.
pub fn configuration(random: &mut Random, cgroup_v1: bool) -> Vec<Change> {
    let mut makers: Vec<Maker> = Vec::new();
    makers.extend(process::MAKERS);
    makers.extend(mounts::MAKERS);
    makers.extend(linux::MAKERS);
    if cgroup_v1 {
        makers.extend(resources::MAKERS);
    }
    let count = 1 + random.below(6);
    let mut changes: Vec<Change> = (0..count).map(|_| random.pick(&makers)(random)).collect();
    if random.is_odd() && random.percent(50) {
        changes.push(wrong::any(random));
    }
    changes
}
