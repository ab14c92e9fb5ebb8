//! The clauses: what the specification demands and what engines depend on, as data (`clauses.tsv`).

use crate::registry::{Case, Level};
use std::collections::BTreeMap;

const TABLE: &str = include_str!("../clauses.tsv");

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    /// `LNX-01` and the like.
    pub id: &'static str,
    /// `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT`, `MAY`, or `practice` where the specification is silent.
    pub level: &'static str,
    /// What is required, in our words.
    pub requirement: &'static str,
    /// Why no case shows it, where none does.
    pub not_shown: Option<&'static str>,
}

impl Clause {
    /// Whether a runtime that fails it does not conform.
    pub fn is_must(&self) -> bool {
        self.level.starts_with("MUST")
    }

    /// Whether the specification at least recommends it.
    pub fn is_wanted(&self) -> bool {
        self.is_must() || self.level.starts_with("SHOULD")
    }
}

/// All of them, in the order of the specification.
pub fn all() -> Vec<Clause> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let (id, level, requirement) = (cell(), cell(), cell());
        Clause { id, level, requirement, not_shown: Some(cell()).filter(|reason| !reason.is_empty()) }
    };
    rows.map(row).collect()
}

impl Clause {
    /// Of the cases that name the clause, those that count: for what is demanded, those that demand it. What is only
    /// practice is often said of the same clause.
    pub fn judged_by<'c>(&self, cases: &[&'c Case]) -> Vec<&'c Case> {
        let demanding = || cases.iter().copied().filter(|case| case.level == Level::Must);
        if self.is_must() && demanding().next().is_some() { demanding().collect() } else { cases.to_vec() }
    }
}

/// The cases that judge each clause.
pub fn cases_of(cases: &[Case]) -> BTreeMap<&'static str, Vec<&Case>> {
    let mut clauses: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        for clause in case.clauses {
            clauses.entry(clause).or_default().push(case);
        }
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_complete_and_stands_once() {
        let levels = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "practice"];
        let mut ids = BTreeSet::new();
        for clause in all() {
            assert!(levels.contains(&clause.level) && !clause.requirement.is_empty(), "{clause:?}");
            assert!(ids.insert(clause.id), "{} stands twice", clause.id);
        }
    }

    #[test]
    fn every_clause_of_a_case_is_in_the_table() {
        let known: BTreeSet<&str> = all().iter().map(|clause| clause.id).collect();
        for case in crate::cases::all() {
            for clause in case.clauses {
                assert!(known.contains(clause), "{}: there is no clause {clause}", case.name);
            }
        }
    }

    #[test]
    fn every_must_and_should_has_a_case_or_says_why_not() {
        let cases = crate::cases::all();
        let shown = cases_of(&cases);
        for clause in all().into_iter().filter(Clause::is_wanted) {
            let has_case = shown.contains_key(clause.id);
            assert!(has_case != clause.not_shown.is_some(), "{}: either cases or a reason", clause.id);
        }
    }
}
