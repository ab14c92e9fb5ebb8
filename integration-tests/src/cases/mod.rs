//! The cases, one module for each area.

use crate::registry::Case;

mod deviations;
mod input;
mod lifecycle;
mod state;

/// Every case, in the order of the report.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [lifecycle::cases(), state::cases(), input::cases()].into_iter().flatten().collect();
    deviations::attach(&mut cases);
    cases
}
