//! Faults at every step (see [`crate::faults`]); here a sample of them, all with `CORTEN_FAULTS=1`.

use crate::failure::{Failure, Verdict};
use crate::faults::{SCENARIOS, Scenario, try_all};
use crate::registry::{Case, Need};
use crate::{Ctx, ensure};
use std::path::PathBuf;

/// Every how many-eth fault is tried; not a multiple of the number of kinds, so that all kinds are.
const SAMPLE: usize = 103;

pub fn cases() -> Vec<Case> {
    let limit = if every() == SAMPLE { 240 } else { 4 * 3600 };
    let case = |s: &'static Scenario| {
        let body = move |ctx: &Ctx| faults(ctx, s);
        let case = Case::new(format!("fault/{}", s.name), &["LIF-13"], body).practice();
        case.limit(limit).needs(&[Need::UserNs, Need::X86_64])
    };
    SCENARIOS.iter().map(case).collect()
}

fn every() -> usize {
    let number = std::env::var("CORTEN_FAULTS").ok().and_then(|n| n.parse().ok());
    number.map_or(SAMPLE, |n: usize| n.max(1))
}

fn faults(ctx: &Ctx, scenario: &'static Scenario) -> Verdict {
    let tally = try_all(ctx, scenario, every())?;
    if let Some(dir) = std::env::var_os("CORTEN_FAULTS_REPORT") {
        let file = PathBuf::from(dir).join(format!("{}.json", scenario.name));
        std::fs::write(file, serde_json::to_vec_pretty(&tally)?)?;
    }
    ensure!(tally.hit() > 0, "no call was hit");
    if tally.wrong.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = tally.wrong.iter().take(5).map(String::as_str).collect();
    Err(Failure::new(format!("{} of {} wrong: {}", tally.wrong.len(), tally.hit(), shown.join("\n"))))
}
