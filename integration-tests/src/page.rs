//! `docs/spec-conformance.md`: clause by clause, what each runtime does, made of records.

use crate::clauses::{self, Clause};
use crate::driver::Outcome;
use crate::record::Record;
use crate::registry::Case;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The outcomes of one runtime on several machines, taken together.
struct Column {
    runtime: String,
    records: Vec<Record>,
}

/// What several outcomes amount to, worst first; what was skipped everywhere comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sum {
    Fail,
    Differs,
    Pass,
    Skip,
}

impl Sum {
    fn of(outcome: &Outcome) -> Sum {
        match outcome {
            Outcome::Fail(_) => Sum::Fail,
            Outcome::Deviates(_) => Sum::Differs,
            Outcome::Pass => Sum::Pass,
            Outcome::Skip(_) => Sum::Skip,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Sum::Fail => "**fails**",
            Sum::Differs => "differs",
            Sum::Pass => "pass",
            Sum::Skip => "skipped",
        }
    }
}

impl Column {
    fn outcomes<'s>(&'s self, case: &'s str) -> impl Iterator<Item = &'s Outcome> {
        self.records.iter().filter_map(move |record| record.cases.get(case))
    }

    fn sum(&self, case: &str) -> Option<Sum> {
        self.outcomes(case).map(Sum::of).min()
    }

    fn cell(&self, cases: &[&Case]) -> &'static str {
        cases.iter().filter_map(|case| self.sum(&case.name)).min().map_or("", Sum::word)
    }
}

/// The page, from records of any number of runtimes.
pub fn markdown(cases: &[Case], records: Vec<Record>) -> String {
    let columns = columns(records);
    let of = clauses::cases_of(cases);
    let mut page = String::from(HEAD);
    push_runs(&mut page, &columns, cases);
    let names: String = columns.iter().map(|column| format!(" {} |", column.runtime)).collect();
    let lines: String = columns.iter().map(|_| "---|").collect();
    page += &format!(
        "\n## Clauses\n\n| clause | level | requirement |{names} cases |\n|---|---|---|{lines}---|\n"
    );
    for clause in clauses::all() {
        push_clause(&mut page, &clause, of.get(clause.id).map_or(&[], Vec::as_slice), &columns);
    }
    push_not_shown(&mut page, &of);
    for column in &columns {
        push_differences(&mut page, column);
    }
    push_skips(&mut page, &columns);
    page
}

const HEAD: &str = "\
# Conformance, clause by clause

Ids stand for clauses of the OCI runtime specification 1.3, and, on the level `practice`, for what engines depend on where
the specification is silent. The requirement is in our words; the specification is the authority. *pass*: every case
that was judged passed, on every machine. *differs*: a case fails for a reason that was looked into; the reasons are below.
*skipped*: the machines cannot show it.

Written by `corten-conformance --page RECORD…` from records (`--record`); `integration-tests/README.md` says how to run.

";

fn columns(records: Vec<Record>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for record in records {
        match columns.iter_mut().find(|column| column.runtime == record.runtime) {
            Some(column) => column.records.push(record),
            None => columns.push(Column { runtime: record.runtime.clone(), records: vec![record] }),
        }
    }
    columns
}

fn push_runs(page: &mut String, columns: &[Column], cases: &[Case]) {
    page.push_str(
        "## Runs\n\n| runtime | version | machine | date | passed | differs | failed | skipped |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|---|\n");
    for record in columns.iter().flat_map(|column| &column.records) {
        let count = |sum| record.cases.values().filter(|outcome| Sum::of(outcome) == sum).count();
        let [pass, differs, fail, skip] = [Sum::Pass, Sum::Differs, Sum::Fail, Sum::Skip].map(count);
        let Record { runtime, version, machine, date, .. } = record;
        let _ = writeln!(
            page,
            "| {runtime} | {version} | {machine} | {date} | {pass} | {differs} | {fail} | {skip} |"
        );
    }
    let count = clauses::all().len();
    let _ = writeln!(page, "\n{count} clauses, {} cases.", cases.len());
}

fn push_clause(page: &mut String, clause: &Clause, cases: &[&Case], columns: &[Column]) {
    const SHOWN: usize = 4;
    let cases = &clause.judged_by(cases)[..];
    let cells: String = columns.iter().map(|column| format!(" {} |", column.cell(cases))).collect();
    let names: Vec<String> = cases.iter().take(SHOWN).map(|case| format!("`{}`", case.name)).collect();
    let more = cases.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let requirement = cell_text(clause.requirement);
    let (id, level) = (clause.id, clause.level);
    let _ = writeln!(page, "| {id} | {level} | {requirement} |{cells} {}{more} |", names.join(", "));
}

/// A bar would end the cell.
fn cell_text(text: &str) -> String {
    text.replace('|', "\\|")
}

fn push_not_shown(page: &mut String, of: &BTreeMap<&str, Vec<&Case>>) {
    page.push_str("\n## Demanded or recommended, and without a case\n\n");
    page.push_str("| clause | level | requirement | why |\n|---|---|---|---|\n");
    for clause in clauses::all().iter().filter(|clause| clause.is_wanted() && !of.contains_key(clause.id)) {
        let (why, requirement) = (clause.not_shown.unwrap_or_default(), cell_text(clause.requirement));
        let _ = writeln!(page, "| {} | {} | {requirement} | {why} |", clause.id, clause.level);
    }
}

/// The reasons for which a runtime differs or fails, each with its cases.
fn push_differences(page: &mut String, column: &Column) {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, outcome) in column.records.iter().flat_map(|record| &record.cases) {
        let reason = match outcome {
            // What was seen stands in brackets after the reason; it differs from case to case.
            Outcome::Deviates(reason) => reason.split(" (seen: ").next().unwrap_or(reason),
            Outcome::Fail(_) => "fails",
            _ => continue,
        };
        reasons.entry(reason).or_default().insert(name);
    }
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n## Where {} differs\n\n| reason | cases |\n|---|---|", column.runtime);
    for (reason, cases) in reasons {
        let cases: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
        let _ = writeln!(page, "| {} | {} |", cell_text(reason), cases.join(", "));
    }
}

/// Cases that no run of a runtime has judged, by reason.
fn push_skips(page: &mut String, columns: &[Column]) {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for column in columns {
        for (name, outcome) in column.records.iter().flat_map(|record| &record.cases) {
            if let (Outcome::Skip(reason), Some(Sum::Skip)) = (outcome, column.sum(name)) {
                reasons.entry(reason).or_default().insert(name);
            }
        }
    }
    page.push_str("\n## Skipped by every run of a runtime\n\n| reason | cases |\n|---|---|\n");
    for (reason, cases) in reasons {
        let cases: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
        let _ = writeln!(page, "| {} | {} |", cell_text(reason), cases.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(machine: &str, outcome: Outcome) -> Record {
        Record {
            runtime: "x".into(),
            version: "1".into(),
            date: "2026-01-31".into(),
            machine: machine.into(),
            cases: [("a/b".to_owned(), outcome)].into(),
        }
    }

    #[test]
    fn machines_are_taken_together() {
        let sum = |a, b| columns(vec![record("one", a), record("two", b)])[0].sum("a/b").map(Sum::word);
        let skip = || Outcome::Skip("not here".into());
        assert_eq!(sum(skip(), Outcome::Pass), Some("pass"));
        assert_eq!(sum(Outcome::Pass, Outcome::Deviates("why".into())), Some("differs"));
        assert_eq!(sum(Outcome::Fail("why".into()), Outcome::Pass), Some("**fails**"));
        assert_eq!(sum(skip(), skip()), Some("skipped"));
    }

    #[test]
    fn a_clause_shows_what_each_runtime_does() {
        let cases = [Case::new("a/b", &["GEN-01"], |_| Ok(()))];
        let page = markdown(&cases, vec![record("m", Outcome::Deviates("too old (seen: this)".into()))]);
        assert!(page.contains("| GEN-01 | MUST | config.json is UTF-8 JSON | differs | `a/b` |"), "{page}");
        assert!(page.contains("| too old | `a/b` |"), "{page}");
        assert!(page.contains("| x | 1 | m | 2026-01-31 | 0 | 1 | 0 | 0 |"), "{page}");
    }

    /// The page in `docs/` is made by hand (see the README): here is what would show that it was forgotten.
    #[test]
    fn the_page_names_the_clauses_and_cases_that_there_are() {
        let page = include_str!("../../docs/spec-conformance.md");
        for clause in clauses::all() {
            let row = format!("| {} | {} | {} |", clause.id, clause.level, cell_text(clause.requirement));
            assert!(page.contains(&row), "make docs/spec-conformance.md again: it lacks {row}");
        }
        let cases = crate::cases::all();
        let known: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        let rows = page
            .lines()
            .filter(|line| clauses::all().iter().any(|c| line.starts_with(&format!("| {} |", c.id))));
        let named = rows
            .filter_map(|row| row.rsplit(" | ").next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2));
        for name in named.filter(|name| name.contains('/')) {
            assert!(known.contains(name), "make docs/spec-conformance.md again: there is no case {name}");
        }
    }
}
