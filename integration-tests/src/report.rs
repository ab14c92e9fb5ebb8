//! What a run prints: a line for each case as it ends, and a summary.

use crate::clauses;
use crate::driver::{Outcome, Report};
use crate::registry::Case;
use std::collections::BTreeMap;

/// One line of the table.
pub fn print_row(case: &Case, r: &Report) {
    let (word, text) = words(&r.outcome);
    let clauses = case.clauses.join(" ");
    println!(
        "{word:5} {:48} {:>6} ms  {:8} {clauses:18} {text}",
        r.name,
        r.elapsed.as_millis(),
        case.level.word()
    );
}

/// One line of the Test Anything Protocol.
pub fn print_tap(number: usize, r: &Report) {
    match &r.outcome {
        Outcome::Pass => println!("ok {number} - {}", r.name),
        Outcome::Skip(reason) => println!("ok {number} - {} # SKIP {reason}", r.name),
        Outcome::Deviates(reason) => {
            println!("not ok {number} - {} # TODO known deviation: {reason}", r.name)
        }
        Outcome::Fail(reason) => println!("not ok {number} - {}\n# {reason}", r.name),
    }
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Pass => ("pass", ""),
        Outcome::Fail(m) => ("FAIL", m),
        Outcome::Skip(m) => ("skip", m),
        Outcome::Deviates(m) => ("known", m),
    }
}

/// Clauses, reasons for skipping, failures, and the counts. Whether nothing has failed.
pub fn summarise(cases: &[Case], reports: &[Report]) -> bool {
    print_clauses(cases, reports);
    print_skips(reports);
    for r in reports.iter().filter(|r| matches!(r.outcome, Outcome::Fail(_))) {
        println!("# FAIL {}: {}", r.name, words(&r.outcome).1);
    }
    let count = |word: &str| reports.iter().filter(|r| words(&r.outcome).0 == word).count();
    println!(
        "# {} cases: {} passed, {} failed, {} skipped, {} known deviations",
        reports.len(),
        count("pass"),
        count("FAIL"),
        count("skip"),
        count("known")
    );
    count("FAIL") == 0
}

/// How many clauses of each level are met, and the ids of those that are not.
fn print_clauses(cases: &[Case], reports: &[Report]) {
    let outcomes: BTreeMap<&str, &Outcome> = reports.iter().map(|r| (r.name.as_str(), &r.outcome)).collect();
    let of = clauses::cases_of(cases);
    for level in ["MUST", "SHOULD", "MAY", "practice"] {
        let (mut met, mut unmet) = (0, Vec::new());
        for clause in clauses::all().iter().filter(|clause| clause.level.starts_with(level)) {
            let judged =
                of.get(clause.id).into_iter().flatten().filter_map(|c| outcomes.get(c.name.as_str()));
            let judged: Vec<_> = judged.filter(|outcome| !matches!(outcome, Outcome::Skip(_))).collect();
            match judged.iter().all(|outcome| matches!(outcome, Outcome::Pass)) {
                _ if judged.is_empty() => {}
                true => met += 1,
                false => unmet.push(clause.id),
            }
        }
        let list = if unmet.is_empty() { String::new() } else { format!(": {}", unmet.join(" ")) };
        println!("# clauses, {level}: {met} met, {} not{list}", unmet.len());
    }
}

fn print_skips(reports: &[Report]) {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports {
        if let Outcome::Skip(reason) = &report.outcome {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in reasons {
        println!("# skipped {count}: {reason}");
    }
}
