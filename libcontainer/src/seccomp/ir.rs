//! The middle: rules, to one map from system call number to decision for each architecture.

use super::action::Action;
use super::arch::Arch;
use super::rules::{Condition, Rule, Rules, Test};
use super::tables::{ARM_PRIVATE, Call, Multiplexer};

/// A profile as numbers, ready to be laid out as code.
#[derive(Debug)]
pub(super) struct Ir {
    pub(super) default: Action,
    pub(super) maps: Vec<ArchMap>,
    pub(super) checks: Vec<Check>,
}

/// What an architecture's system calls meet.
#[derive(Debug)]
pub(super) struct ArchMap {
    pub(super) arch: Arch,
    /// By ascending number; all others meet the default action, or ENOSYS.
    pub(super) entries: Vec<(u32, Decision)>,
    /// Numbers above this one are newer than the profile and meet ENOSYS, but for those that are private to ARM.
    pub(super) newest: Option<u32>,
}

/// What decides a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    /// Its number alone.
    Act(Action),
    /// Its arguments: an index into [`Ir::checks`].
    Check(u16),
}

/// Clauses in order; the first one whose conditions hold decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Whether arguments have 64 bits.
    pub(super) wide: bool,
    pub(super) clauses: Vec<Clause>,
    pub(super) otherwise: Action,
}

/// Conditions that all have to hold (at least one), and the action then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// Above every system call number: groups of calls behind a multiplexer, while a map is built.
const BEHIND: u32 = 0xffff_0000;

/// Lowers rules. There is nothing left that could be wrong with them.
pub(super) fn lower(rules: &Rules) -> Ir {
    let mut ir =
        Ir { default: rules.default, maps: Vec::with_capacity(rules.arches.len()), checks: Vec::new() };
    for &arch in &rules.arches {
        let map = ir.map(rules, arch);
        ir.maps.push(map);
    }
    ir
}

/// What a call meets that does not exist yet for a profile, so that programs fall back to an older one: ENOSYS.
///
/// The number differs on MIPS and parisc.
pub(super) fn not_implemented(arch: Arch) -> Action {
    match arch {
        Arch::Mips | Arch::Mipsel | Arch::Mips64 | Arch::Mipsel64 | Arch::Mips64N32 | Arch::Mipsel64N32 => {
            Action::Errno(89)
        }
        Arch::Parisc | Arch::Parisc64 => Action::Errno(251),
        _ => Action::Errno(38),
    }
}

/// The greatest number of the architecture that the profile mentions, if unknown numbers shall meet ENOSYS.
///
/// As runc has it: not if the default action lets calls through or leaves them to a tracer, or an agent, which can then
/// answer.
pub(super) fn newest(rules: &Rules, arch: Arch) -> Option<u32> {
    if matches!(rules.default, Action::Allow | Action::Log | Action::Trace(_) | Action::Notify) {
        return None;
    }
    let calls = rules.rules.iter().flat_map(|rule| &rule.calls);
    let number = |call: &Call| call.nr(arch).or_else(|| call.multiplexed()?.0.nr(arch));
    calls.filter_map(number).filter(|&nr| arch != Arch::Arm || nr < ARM_PRIVATE).max()
}

impl Ir {
    fn map(&mut self, rules: &Rules, arch: Arch) -> ArchMap {
        let keys = keys(rules, arch);
        let mut entries: Vec<(u32, Decision)> = Vec::with_capacity(keys.len());
        let mut behind = Vec::new();
        for group in keys.chunk_by(|a, b| nr_of(*a) == nr_of(*b)) {
            let nr = nr_of(group[0]);
            if nr < BEHIND {
                entries.push((nr, self.decide(rules, group, arch.wide())));
            } else {
                let decision = self.decide(rules, group, arch.wide());
                behind.push((nr, decision));
            }
        }
        for multiplexer in [Multiplexer::Socketcall, Multiplexer::Ipc] {
            self.add_multiplexer(multiplexer, arch, &behind, &mut entries);
        }
        let newest = newest(rules, arch);
        if newest.is_some() && matches!(arch, Arch::S390 | Arch::S390x) {
            // A number that does not fit the instruction travels in a register with 0 in its place, and stays 0 if the
            // kernel does not know it.
            entries.insert(0, (0, Decision::Act(not_implemented(arch))));
        }
        ArchMap { arch, entries, newest }
    }

    /// The decision of the rules (by index, in the order of the profile) that name one call.
    fn decide(&mut self, rules: &Rules, keys: &[u64], wide: bool) -> Decision {
        let rule = |key: &u64| &rules.rules[*key as u32 as usize];
        if let Some(rule) = keys.iter().map(rule).find(|rule| rule.conditions.is_empty()) {
            return Decision::Act(rule.action);
        }
        let clauses = keys.iter().map(|key| clause(rule(key)));
        self.check(clauses, wide)
    }

    /// Simplifies clauses for the width of arguments.
    fn check(&mut self, clauses: impl Iterator<Item = Clause>, wide: bool) -> Decision {
        let mut check =
            Check { wide, clauses: Vec::with_capacity(clauses.size_hint().0), otherwise: self.default };
        for mut clause in clauses {
            if !fold(&mut clause.conditions, wide) {
                continue;
            }
            if clause.conditions.is_empty() {
                check.otherwise = clause.action;
                break;
            }
            check.clauses.push(clause);
        }
        while check.clauses.last().is_some_and(|last| last.action == check.otherwise) {
            check.clauses.pop();
        }
        if check.clauses.is_empty() {
            return Decision::Act(check.otherwise);
        }
        let index = self.checks.iter().position(|known| *known == check).unwrap_or_else(|| {
            self.checks.push(check);
            self.checks.len() - 1
        });
        Decision::Check(index as u16)
    }

    /// Adds what the profile says of the calls behind a multiplexer to the entry of the multiplexer.
    fn add_multiplexer(
        &mut self,
        multiplexer: Multiplexer,
        arch: Arch,
        behind: &[(u32, Decision)],
        entries: &mut Vec<(u32, Decision)>,
    ) {
        let Some(nr) = multiplexer.nr(arch) else { return };
        let mut clauses = Vec::new();
        let place = entries.binary_search_by_key(&nr, |entry| entry.0);
        if let Ok(i) = place {
            match entries[i].1 {
                // What is left of conditions that never hold; rules with the default action are dropped before.
                Decision::Act(action) if action == self.default => (),
                Decision::Act(_) => return,
                Decision::Check(check) => {
                    let check = &self.checks[usize::from(check)];
                    if check.otherwise != self.default {
                        return;
                    }
                    clauses.extend_from_slice(&check.clauses);
                }
            }
        }
        for &(key, decision) in behind.iter().filter(|(key, _)| key & 0xff00 == tag(multiplexer) & 0xff00) {
            let condition = Condition { arg: 0, test: call_is(multiplexer, key & 0xff) };
            match decision {
                Decision::Act(action) => clauses.push(Clause { conditions: vec![condition], action }),
                Decision::Check(check) => {
                    // Their arguments are in memory, out of a filter's sight: what cannot be told from something
                    // forbidden is forbidden.
                    let check = &self.checks[usize::from(check)];
                    let mut actions = check.clauses.iter().map(|clause| clause.action);
                    let action = actions.find(|action| !action.permits()).unwrap_or(check.otherwise);
                    clauses.push(Clause { conditions: vec![condition], action });
                }
            }
        }
        if clauses.is_empty() {
            return;
        }
        let decision = self.check(clauses.into_iter(), arch.wide());
        match place {
            Ok(i) => entries[i].1 = decision,
            Err(i) => entries.insert(i, (nr, decision)),
        }
    }
}

/// Number of a system call and index of a rule that names it, ascending, none twice.
fn keys(rules: &Rules, arch: Arch) -> Vec<u64> {
    let multiplexes = Multiplexer::Socketcall.nr(arch).is_some();
    let names = rules.rules.iter().map(|rule| rule.calls.len()).sum::<usize>();
    let mut keys = Vec::with_capacity(names + if multiplexes { 32 } else { 0 });
    for (index, rule) in rules.rules.iter().enumerate().filter(|(_, rule)| !rule.redundant) {
        let key = |nr: u32| u64::from(nr) << 32 | index as u64;
        for call in &rule.calls {
            keys.extend(call.nr(arch).map(key));
            if multiplexes && let Some((multiplexer, number)) = call.multiplexed() {
                keys.push(key(tag(multiplexer) | u32::from(number)));
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn nr_of(key: u64) -> u32 {
    (key >> 32) as u32
}

fn tag(multiplexer: Multiplexer) -> u32 {
    BEHIND | (multiplexer as u32) << 8
}

/// The kernel takes an `int` for `socketcall`, and the low 16 bits of it for `ipc`: the upper ones are a version.
pub(super) fn call_is(multiplexer: Multiplexer, number: u32) -> Test {
    let mask = match multiplexer {
        Multiplexer::Socketcall => 0xffff_ffff,
        Multiplexer::Ipc => 0xffff,
    };
    Test::Masked { mask, value: number.into() }
}

fn clause(rule: &Rule) -> Clause {
    Clause { conditions: rule.conditions.clone(), action: rule.action }
}

/// Removes conditions that always hold; false if one never does.
pub(super) fn fold(conditions: &mut Vec<Condition>, wide: bool) -> bool {
    let mut possible = true;
    conditions.retain_mut(|condition| match simplify(condition.test, wide) {
        Outcome::Always => false,
        Outcome::Never => {
            possible = false;
            false
        }
        Outcome::Depends(test) => {
            condition.test = test;
            true
        }
    });
    possible
}

/// What is left of a test.
pub(super) enum Outcome {
    Always,
    Never,
    Depends(Test),
}

/// What remains to be tested, given that a narrow argument is at most 32 bits long.
pub(super) fn simplify(test: Test, wide: bool) -> Outcome {
    let max = if wide { u64::MAX } else { u32::MAX.into() };
    match test {
        Test::Eq(v) if v > max => Outcome::Never,
        Test::Ne(v) if v > max => Outcome::Always,
        Test::Lt(0) => Outcome::Never,
        Test::Lt(v) if v > max => Outcome::Always,
        Test::Le(v) if v >= max => Outcome::Always,
        Test::Ge(0) => Outcome::Always,
        Test::Ge(v) if v > max => Outcome::Never,
        Test::Gt(v) if v >= max => Outcome::Never,
        Test::Masked { mask, value } if value & !mask != 0 || value > max => Outcome::Never,
        Test::Masked { mask, value } => match mask & max {
            0 => Outcome::Always,
            mask if mask == max => Outcome::Depends(Test::Eq(value)),
            mask => Outcome::Depends(Test::Masked { mask, value }),
        },
        test => Outcome::Depends(test),
    }
}
