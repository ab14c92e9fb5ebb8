//! Which rule decides, told from the rules as they are written; a test compares the answers with what the program does.

use std::fmt;

use crate::error::FieldPath;
use crate::seccomp::ir::{Outcome, call_is, not_implemented, simplify};
use crate::seccomp::rules::Rule;
use crate::seccomp::tables::{Multiplexer, X32_BIT};
use crate::seccomp::{Action, Arch, Condition, name_of};

use super::{Analysis, BAD_ARCH, is_newer};

/// What becomes of one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its architecture; an x86_64 number with bit 30 is x32's.
    pub arch: Arch,
    /// Its number.
    pub nr: u32,
    /// Its name, if the architecture has such a call.
    pub name: Option<&'static str>,
    /// What can happen, in the order in which it is tried, and why. More than one if it depends on an argument that is
    /// not known.
    pub outcomes: Vec<(Action, Reason)>,
    /// Every element of `syscalls` that names the call, in the order of the profile.
    pub rules: Vec<Considered>,
    /// The kernel's bitmap can let it through without running the filter.
    pub cached: bool,
}

/// Why an action is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An element of `syscalls` says so.
    Rule(FieldPath),
    /// An element says so of a call behind `socketcall` or `ipc`.
    Behind(FieldPath),
    /// No rule applies: `defaultAction`.
    Default(FieldPath),
    /// The number is greater than all that the profile mentions, so programs are told to fall back.
    NewerThanProfile {
        /// The greatest number that is mentioned.
        newest: u32,
    },
    /// Number 0 of s390 stands for one that the kernel does not know.
    NoNumber,
    /// The profile does not list the architecture.
    ArchNotListed,
}

/// A rule that names the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Which element of `syscalls`.
    pub path: FieldPath,
    /// Its action.
    pub action: Action,
    /// Its conditions, and whether they hold; `None` if that depends on an argument that is not known.
    pub conditions: Vec<(Condition, Option<bool>)>,
    /// Its action is the default one: it decides nothing.
    pub redundant: bool,
    /// It names a call behind the one in question.
    pub behind: Option<&'static str>,
}

impl Considered {
    /// Whether all conditions hold, as far as that is known.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        all(self.conditions.iter().map(|(_, holds)| *holds))
    }
}

/// Whether all are true: one that is false decides, one that is not known leaves it open.
fn all(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for verdict in verdicts {
        match verdict {
            Some(true) => {}
            Some(false) => return Some(false),
            None => result = None,
        }
    }
    result
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule(path) => write!(f, "{path} decides"),
            Reason::Behind(path) => write!(f, "{path} decides, for the call behind this one"),
            Reason::Default(path) => write!(f, "no rule applies: {path} decides"),
            Reason::NewerThanProfile { newest } => {
                let newest = newest & !X32_BIT;
                write!(
                    f,
                    "it is newer than the profile, which mentions none above {newest}: programs shall fall back"
                )
            }
            Reason::NoNumber => f.write_str("number 0 stands for a call that the kernel does not know"),
            Reason::ArchNotListed => f.write_str("the profile does not list this architecture"),
        }
    }
}

impl Analysis<'_> {
    /// Says what becomes of a system call, and by which rule. Arguments that are not given are not known.
    #[must_use]
    pub fn explain(&self, arch: Arch, nr: u32, args: &[Option<u64>; 6]) -> Explanation {
        let is_x32 = arch == Arch::X86_64 && nr & X32_BIT != 0 && nr >> 31 == 0;
        let arch = if is_x32 { Arch::X32 } else { arch };
        let question = Question { analysis: self, arch, nr, args };
        let rules = question.considered();
        let mut outcomes = question.outcomes(&rules);
        // The same action for the same reason is one outcome.
        let mut seen: Vec<(Action, Reason)> = Vec::new();
        outcomes.retain(|outcome| {
            let new = !seen.contains(outcome);
            seen.push(outcome.clone());
            new
        });
        let cached = self.is_cached(arch, nr);
        Explanation { arch, nr, name: name_of(arch, nr), outcomes, rules, cached }
    }
}

struct Question<'q> {
    analysis: &'q Analysis<'q>,
    arch: Arch,
    nr: u32,
    args: &'q [Option<u64>; 6],
}

impl Question<'_> {
    fn path(&self, rule: &Rule) -> FieldPath {
        self.analysis.filter.at.field("syscalls").index(rule.element)
    }

    /// The rules that name the call, then those that name calls behind it.
    fn considered(&self) -> Vec<Considered> {
        let rules = &self.analysis.filter.rules.rules;
        let consider = |rule: &Rule, behind| Considered {
            path: self.path(rule),
            action: rule.action,
            conditions: rule.conditions.iter().map(|c| (*c, self.holds(c))).collect(),
            redundant: rule.redundant,
            behind,
        };
        let direct = rules.iter().filter(|rule| rule.calls.iter().any(|c| c.nr(self.arch) == Some(self.nr)));
        let mut considered: Vec<Considered> = direct.map(|rule| consider(rule, None)).collect();
        if let Some(multiplexer) = self.multiplexer() {
            for rule in rules {
                for call in &rule.calls {
                    let behind = call.multiplexed().filter(|(m, _)| *m == multiplexer);
                    if behind.is_some_and(|(_, number)| self.reaches(multiplexer, number) != Some(false)) {
                        considered.push(consider(rule, Some(call.name())));
                    }
                }
            }
        }
        considered
    }

    fn outcomes(&self, considered: &[Considered]) -> Vec<(Action, Reason)> {
        let Some(map) = self.analysis.map(self.arch, self.nr) else {
            return vec![(BAD_ARCH, Reason::ArchNotListed)];
        };
        let direct = || considered.iter().filter(|rule| rule.behind.is_none() && !rule.redundant);
        let because = |rule: &Considered| (rule.action, Reason::Rule(rule.path.clone()));
        if let Some(rule) = direct().find(|rule| rule.conditions.is_empty()) {
            return vec![because(rule)];
        }
        let mut outcomes = Vec::new();
        for rule in direct() {
            match rule.holds() {
                Some(true) => {
                    outcomes.push(because(rule));
                    return outcomes;
                }
                None => outcomes.push(because(rule)),
                Some(false) => {}
            }
        }
        if self.behind(considered, &mut outcomes) {
            return outcomes;
        }
        let at = &self.analysis.filter.at;
        outcomes.push(if map.entries.first() == Some(&self.no_number()) && self.nr == 0 {
            (not_implemented(self.arch), Reason::NoNumber)
        } else if is_newer(map, self.nr) {
            let newest = map.newest.unwrap_or_default();
            (not_implemented(self.arch), Reason::NewerThanProfile { newest })
        } else {
            (self.analysis.ir.default, Reason::Default(at.field("defaultAction")))
        });
        outcomes
    }

    fn no_number(&self) -> (u32, super::Decision) {
        (0, super::Decision::Act(not_implemented(self.arch)))
    }

    /// Adds what the rules say of calls behind this one; true if that decides.
    fn behind(&self, considered: &[Considered], outcomes: &mut Vec<(Action, Reason)>) -> bool {
        let Some(multiplexer) = self.multiplexer() else { return false };
        let mut numbers: Vec<u8> = (0..=u8::MAX).collect();
        numbers.retain(|number| self.reaches(multiplexer, *number) != Some(false));
        for number in numbers {
            let names = |rule: &&Considered| {
                let call = rule.behind.and_then(crate::seccomp::tables::lookup);
                !rule.redundant && call.and_then(|c| c.multiplexed()) == Some((multiplexer, number))
            };
            let rules: Vec<&Considered> = considered.iter().filter(names).collect();
            let Some((action, rule)) = self.behind_one(&rules) else { continue };
            let reason = match rule {
                Some(rule) => Reason::Behind(rule.path.clone()),
                None => Reason::Default(self.analysis.filter.at.field("defaultAction")),
            };
            outcomes.push((action, reason));
            if self.reaches(multiplexer, number) == Some(true) {
                return true;
            }
        }
        false
    }

    /// What the rules say of one call behind this one, whose arguments are in memory; see `Ir::add_multiplexer`.
    fn behind_one<'r>(&self, rules: &[&'r Considered]) -> Option<(Action, Option<&'r Considered>)> {
        rules.first()?;
        if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
            return Some((rule.action, Some(rule)));
        }
        let mut otherwise = (self.analysis.ir.default, None);
        let mut clauses = Vec::new();
        for rule in rules {
            let left = rule.conditions.iter().map(|(c, _)| match simplify(c.test, self.arch.wide()) {
                Outcome::Always => Some(true),
                Outcome::Never => Some(false),
                Outcome::Depends(_) => None,
            });
            match all(left) {
                Some(false) => {}
                Some(true) => {
                    otherwise = (rule.action, Some(*rule));
                    break;
                }
                None => clauses.push(*rule),
            }
        }
        while clauses.last().is_some_and(|last| last.action == otherwise.0) {
            clauses.pop();
        }
        let forbids = clauses.into_iter().find(|rule| !rule.action.permits());
        Some(forbids.map_or(otherwise, |rule| (rule.action, Some(rule))))
    }

    fn multiplexer(&self) -> Option<Multiplexer> {
        [Multiplexer::Socketcall, Multiplexer::Ipc].into_iter().find(|m| m.nr(self.arch) == Some(self.nr))
    }

    /// Whether the first argument selects this call.
    fn reaches(&self, multiplexer: Multiplexer, number: u8) -> Option<bool> {
        self.holds(&Condition { arg: 0, test: call_is(multiplexer, number.into()) })
    }

    fn holds(&self, condition: &Condition) -> Option<bool> {
        match (simplify(condition.test, self.arch.wide()), self.args[usize::from(condition.arg)]) {
            (Outcome::Always, _) => Some(true),
            (Outcome::Never, _) => Some(false),
            (Outcome::Depends(_), None) => None,
            (Outcome::Depends(test), Some(arg)) => {
                Some(test.holds(if self.arch.wide() { arg } else { u64::from(arg as u32) }))
            }
        }
    }
}
