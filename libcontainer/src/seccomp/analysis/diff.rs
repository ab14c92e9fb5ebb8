//! Two filters side by side.

use std::collections::BTreeSet;

use crate::seccomp::{Arch, Condition, Test, calls_of};

use super::{Analysis, Verdict};

/// A difference between two filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Number and name of the call; `None` for numbers that no table has.
    pub call: Option<(u32, &'static str)>,
    /// What the first filter does.
    pub before: Verdict,
    /// What the second one does.
    pub after: Verdict,
}

/// Of so many combinations of arguments at most each is tried, to find out whether conditions that are written
/// differently mean the same.
const COMBINATIONS: usize = 20_000;

impl Analysis<'_> {
    /// Every call of an architecture that the other filter treats differently, by number.
    #[must_use]
    pub fn diff(&self, other: &Analysis<'_>, arch: Arch) -> Vec<Change> {
        let calls = calls_of(arch);
        // One that no table will have soon stands for all unknown ones.
        let unknown = calls.last().map_or(0, |(nr, _)| nr + 4000);
        let numbers = calls.into_iter().map(|(nr, name)| (nr, Some((nr, name)))).chain([(unknown, None)]);
        let changes = numbers.filter_map(|(nr, call)| {
            let (before, after) = (self.verdict(arch, nr), other.verdict(arch, nr));
            (!before.means_the_same(&after, arch.wide())).then_some(Change { call, before, after })
        });
        changes.collect()
    }
}

impl Verdict {
    /// Whether both take the same action for all arguments. Conditions with masks only mean the same if they are written
    /// the same; others are tried on both sides of every number that they mention.
    fn means_the_same(&self, other: &Verdict, wide: bool) -> bool {
        if self == other {
            return true;
        }
        let conditions = || self.cases.iter().chain(&other.cases).flat_map(|case| &case.conditions);
        if conditions().any(|c| matches!(c.test, Test::Masked { .. })) {
            return false;
        }
        let values: [Vec<u64>; 6] = std::array::from_fn(|arg| corners(conditions(), arg, wide));
        let combinations = values.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul);
        if combinations.is_none_or(|n| n > COMBINATIONS) {
            return false;
        }
        let mut picks = [0; 6];
        loop {
            let args = std::array::from_fn(|arg| values[arg][picks[arg]]);
            if self.action(&args) != other.action(&args) {
                return false;
            }
            let Some(next) = (0..6).find(|arg| picks[*arg] + 1 < values[*arg].len()) else { return true };
            picks[next] += 1;
            picks[..next].fill(0);
        }
    }

    /// The action for a call with these arguments.
    #[must_use]
    pub fn action(&self, args: &[u64; 6]) -> super::Action {
        let holds = |c: &Condition| c.test.holds(args[usize::from(c.arg)]);
        let case = self.cases.iter().find(|case| case.conditions.iter().all(holds));
        case.map_or(self.otherwise, |case| case.action)
    }
}

/// Numbers of an argument such that there is one between any two neighbours that a comparison tells apart.
fn corners<'c>(conditions: impl Iterator<Item = &'c Condition>, arg: usize, wide: bool) -> Vec<u64> {
    let mut values = BTreeSet::from([0]);
    for condition in conditions.filter(|c| usize::from(c.arg) == arg) {
        let (Test::Ne(v) | Test::Lt(v) | Test::Le(v) | Test::Eq(v) | Test::Ge(v) | Test::Gt(v)) =
            condition.test
        else {
            continue;
        };
        values.extend([v.saturating_sub(1), v, v.saturating_add(1)]);
    }
    let max = if wide { u64::MAX } else { u32::MAX.into() };
    values.into_iter().filter(|v| *v <= max).collect()
}
