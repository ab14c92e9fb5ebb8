//! What was tried, in numbers.

use super::FAULTS;
use super::tracer::{Fault, Injection, Trace};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What became of the attempts with one kind of fault.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The call was reached, and hit.
    pub hit: usize,
    /// It was not reached this time.
    pub missed: usize,
    /// Of those that were hit: the command succeeded nevertheless.
    pub succeeded: usize,
}

/// What became of one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// Its name.
    pub scenario: String,
    /// How many system calls each process makes.
    pub calls: Vec<usize>,
    /// The numbers of all system calls that were hit.
    pub kinds: BTreeSet<u64>,
    /// By the name of the fault.
    pub faults: BTreeMap<String, Counts>,
    /// What was wrong, in words.
    pub wrong: Vec<String>,
}

impl Tally {
    pub(super) fn new(scenario: &str, calls: &[Vec<u64>]) -> Tally {
        let names = FAULTS.iter().map(|(_, name)| ((*name).to_owned(), Counts::default()));
        Tally {
            scenario: scenario.to_owned(),
            calls: calls.iter().map(Vec::len).collect(),
            kinds: BTreeSet::new(),
            faults: names.collect(),
            wrong: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, at: Injection, trace: &Trace) {
        let counts = self.faults.entry(name(at.fault).to_owned()).or_default();
        match trace.hit {
            Some(call) => {
                self.kinds.insert(call);
                counts.hit += 1;
                counts.succeeded += usize::from(trace.status == 0);
            }
            None => counts.missed += 1,
        }
    }

    pub(super) fn wrong(&mut self, at: Injection, hit: Option<u64>, text: String) {
        let call = hit.map_or_else(|| "a call that was not reached".to_owned(), call_name);
        let text: String = text.chars().take(600).collect();
        self.wrong.push(format!("{}: {at} ({call}): {text}", self.scenario));
    }

    /// All that were hit.
    pub fn hit(&self) -> usize {
        self.faults.values().map(|c| c.hit).sum()
    }
}

impl fmt::Display for Injection {
    /// As `CORTEN_FAULT` takes it: `EINTR@0.17` is the 18th call of the command itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", name(self.fault), self.process, self.call)
    }
}

fn name(fault: Fault) -> &'static str {
    FAULTS.iter().find(|(f, _)| *f == fault).map_or("?", |(_, name)| name)
}

/// The name of a system call of this architecture.
pub(super) fn call_name(number: u64) -> String {
    let known = usize::try_from(number).ok().and_then(syscalls::Sysno::new);
    known.map_or_else(|| number.to_string(), |call| call.name().to_owned())
}
