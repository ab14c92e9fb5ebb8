//! The same random configurations under two runtimes, everything observable compared.
//!
//! A configuration is a list of [changes](change::Change) that follows from a seed and its number alone. A
//! difference that no [rule](rules) explains is reported with the fewest changes that show it.

pub mod change;
pub mod compare;
mod generate;
pub mod observe;
mod random;
pub mod rules;

use crate::failure::Failure;
use crate::runtime::Settings;
use crate::{cgroup, sys};
use change::Change;
use compare::Difference;
use observe::{Place, observe};
use random::Random;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is to be compared.
#[derive(Debug)]
pub struct Plan {
    /// The runtime under test.
    pub ours: PathBuf,
    /// The other runtime.
    pub theirs: PathBuf,
    /// The other runtime's name, for the rules.
    pub peer: String,
    /// The probe on the host.
    pub probe: PathBuf,
    /// A directory for bundles and state.
    pub scratch: PathBuf,
    /// Where the random numbers start.
    pub seed: u64,
    /// The first configuration's number.
    pub first: u64,
    /// How many configurations.
    pub count: u64,
    /// The id of the containers.
    pub id: String,
    /// Say of every configuration what the two answered to `create`.
    pub verbose: bool,
}

/// A configuration that shows something unexplained.
pub struct Finding {
    /// The configuration's number.
    pub index: u64,
    /// The fewest changes that still show the first difference.
    pub changes: Vec<Change>,
    /// What they show.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}", self.index)?;
        for change in &self.changes {
            write!(f, "\n  {}", change.about)?;
            change.edits.iter().try_for_each(|edit| write!(f, "\n    {edit:?}"))?;
        }
        self.differences.iter().take(12).try_for_each(|d| write!(f, "\n    {d}"))
    }
}

/// What a comparison found.
#[derive(Default)]
pub struct Summary {
    /// Configurations compared.
    pub compared: u64,
    /// Of these, created by both.
    pub created: u64,
    /// Of these, refused by both.
    pub refused: u64,
    /// How many configurations each rule explained something of, by its reason.
    pub explained: BTreeMap<&'static str, u64>,
    /// What nothing explains.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// A plan for two runtimes of which one is described by the harness's settings.
    ///
    /// # Errors
    /// If the other runtime cannot be found or executed.
    pub fn new(settings: &Settings, other: &Path, scratch: PathBuf, id: String) -> Result<Self, Failure> {
        let peer = Settings::new(other, &settings.probe, None).map_err(Failure::new)?;
        Ok(Plan {
            ours: settings.runtime.clone(),
            theirs: peer.runtime,
            peer: peer.name,
            probe: settings.probe.clone(),
            scratch,
            seed: 1,
            first: 0,
            count: 2000,
            id,
            verbose: false,
        })
    }

    /// Compares all configurations; `say` gets a finding as soon as there is one.
    ///
    /// # Errors
    /// If the harness itself cannot do its work.
    pub fn run(&self, mut say: impl FnMut(&Finding, &Plan)) -> Result<Summary, Failure> {
        let mut summary = Summary::default();
        fs::create_dir_all(&self.scratch)?;
        fs::set_permissions(&self.scratch, fs::Permissions::from_mode(0o755))?;
        // A copy of the run's own: containers get it as a hard link.
        fs::copy(&self.probe, self.scratch.join("probe"))?;
        for index in self.first..self.first + self.count {
            let mut random = Random::of(self.seed, index);
            let changes = generate::configuration(&mut random, !cgroup::is_unified());
            let found = self.compare(&changes, &mut summary)?;
            if found.is_empty() {
                continue;
            }
            // The same again need not be made small again.
            let again = summary.findings.iter().any(|f| f.differences[0].kind() == found[0].kind());
            let finding = match again {
                true => Finding { index, changes, differences: found },
                false => self.minimise(index, changes, found)?,
            };
            say(&finding, self);
            summary.findings.push(finding);
        }
        fs::remove_dir_all(&self.scratch)?;
        Ok(summary)
    }

    fn place(&self) -> Place<'_> {
        Place { scratch: &self.scratch, id: &self.id }
    }

    /// What the two show differently and nothing explains.
    fn compare(&self, changes: &[Change], summary: &mut Summary) -> Result<Vec<Difference>, Failure> {
        let ours = observe(&self.place(), &self.ours, changes)?;
        let theirs = observe(&self.place(), &self.theirs, changes)?;
        summary.compared += 1;
        if self.verbose {
            let about: Vec<&str> = changes.iter().map(|c| c.about).collect();
            println!("{}\n  ours:   {}\n  theirs: {}", about.join(", "), ours["create"], theirs["create"]);
        }
        match (ours["create"] == "ok", theirs["create"] == "ok") {
            (true, true) => summary.created += 1,
            (false, false) => summary.refused += 1,
            _ => {}
        }
        let mut reasons: Vec<&'static str> = Vec::new();
        let mut found = compare::differences(&ours, &theirs);
        found.retain(|d| match d.explained(rules::RULES, &self.peer) {
            Some(rule) => {
                reasons.push(rule.reason);
                false
            }
            None => true,
        });
        reasons.sort_unstable();
        reasons.dedup();
        for reason in reasons {
            *summary.explained.entry(reason).or_default() += 1;
        }
        Ok(found)
    }

    /// Leaves out changes, and then edits of the changes, as long as the first difference stays.
    fn minimise(&self, index: u64, changes: Vec<Change>, found: Vec<Difference>) -> Result<Finding, Failure> {
        let wanted = found[0].kind();
        let (mut changes, mut differences) = (changes, found);
        for whole in [true, false] {
            let mut at = 0;
            while let Some(smaller) = without(&changes, at, whole) {
                let found = self.compare(&smaller, &mut Summary::default())?;
                if found.iter().any(|d| d.kind() == wanted) {
                    (changes, differences) = (smaller, found);
                } else {
                    at += 1;
                }
            }
        }
        Ok(Finding { index, changes, differences })
    }
}

/// The changes without one of them, or without one of their edits; nothing when there is no such one.
fn without(changes: &[Change], at: usize, whole: bool) -> Option<Vec<Change>> {
    let mut smaller = changes.to_vec();
    if whole {
        (at < smaller.len()).then(|| smaller.remove(at))?;
        return Some(smaller);
    }
    let mut left = at;
    for change in &mut smaller {
        if left < change.edits.len() {
            change.edits.remove(left);
            return Some(smaller);
        }
        left -= change.edits.len();
    }
    None
}

/// Prepares this process: subreaper, and namespaces of its own, so that what a configuration changes in the
/// host's network, names, queues or mounts changes nothing of the machine.
///
/// # Errors
/// If the caller is not root.
pub fn enter() -> Result<(), Failure> {
    sys::become_subreaper()?;
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET)?;
    sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    Ok(())
}
