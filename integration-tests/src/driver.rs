//! Running cases: one process for each, and what is checked around it.

use crate::context::Ctx;
use crate::failure::{Failure, Verdict};
use crate::leaks::{self, Snapshot};
use crate::process::wait_child;
use crate::registry::{Case, Need};
use crate::runtime::Settings;
use crate::{cases, cgroup, sys};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// First argument of the process of one case.
pub const CASE_ARGUMENT: &str = "--run-case";
/// What lines of a case's standard error begin with that are to be shown.
pub(crate) const FIGURES: &str = "figures: ";
/// Carries the settings to the process of a case; commands started there do not see it.
pub(crate) const SETTINGS_VARIABLE: &str = "CORTEN_HARNESS_SETTINGS";

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// As demanded.
    Pass,
    /// Not as demanded.
    Fail(String),
    /// Not judged, and why.
    Skip(String),
    /// A peer failed it for a known reason.
    Deviates(String),
}

/// How a case ended, and how long it took.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Wall-clock time.
    pub elapsed: Duration,
}

/// How often a case that has failed is tried again, in `CORTEN_RETRIES`. Unset, it is not.
pub const RETRIES_VARIABLE: &str = "CORTEN_RETRIES";

/// A run of the harness: its scratch directory lives as long as this value.
pub struct Run {
    /// What it is about.
    pub settings: Settings,
    retries: u32,
    flaky: Mutex<Vec<String>>,
}

impl Run {
    /// Makes the scratch directory and puts the probe into it.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let root = &settings.scratch_root;
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
        let probe = root.join("probe");
        fs::copy(&settings.probe, &probe)?;
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o755))?;
        sys::default_signals();
        // Orphans of a case that had to be killed come here and not to the machine's init.
        sys::become_subreaper()?;
        let settings = match &settings.without {
            Some(calls) => settings.hiding(calls, settings.scratch_root.join("runtime"))?,
            None => settings,
        };
        let retries = std::env::var(RETRIES_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok(Run { settings, retries, flaky: Mutex::default() })
    }

    /// Runs one case in a process of its own; once more, if it fails and [`RETRIES_VARIABLE`] says so.
    pub fn case(&self, index: usize, case: &Case) -> Report {
        let mut report = self.attempt(index, 0, case);
        let Outcome::Fail(first) = report.outcome.clone() else { return report };
        for attempt in 1..=self.retries {
            report = self.attempt(index, attempt, case);
            if !matches!(report.outcome, Outcome::Fail(_)) {
                let line = format!("{}: {first}", case.name);
                self.flaky.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                break;
            }
        }
        report
    }

    /// The cases that have failed and then not: each is a defect, of the case or of the runtime. With their failures.
    pub fn flaky(&self) -> Vec<String> {
        self.flaky.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn attempt(&self, index: usize, attempt: u32, case: &Case) -> Report {
        let begin = Instant::now();
        let again = if attempt == 0 { String::new() } else { format!("r{attempt}") };
        let case_id = format!("h{:x}n{index}{again}z", std::process::id());
        let mut outcome = self.supervise(case, &case_id).unwrap_or_else(|e| Outcome::Fail(e.to_string()));
        self.show_figures(&case_id);
        let scratch = self.settings.scratch_root.join(&case_id);
        if let Err(e) = leaks::remove_scratch(&scratch) {
            eprintln!("note: {}: {e}", scratch.display());
        }
        if let Outcome::Fail(seen) = &outcome
            && let Some(reason) = case.deviation_of(&self.settings.name, &self.settings.version)
        {
            let seen: String = seen.chars().take(160).collect();
            outcome = Outcome::Deviates(format!("{reason} (seen: {seen})"));
        }
        Report { name: case.name.clone(), outcome, elapsed: begin.elapsed() }
    }

    /// What the case has measured.
    fn show_figures(&self, case_id: &str) {
        let log = fs::read_to_string(self.settings.scratch_root.join(format!("{case_id}.log")));
        for line in log.unwrap_or_default().lines().filter_map(|l| l.strip_prefix(FIGURES)) {
            eprintln!("# {line}");
        }
    }

    fn supervise(&self, case: &Case, case_id: &str) -> Result<Outcome, Failure> {
        let settings = serde_json::to_string(&self.settings)?;
        let log = fs::File::create(self.settings.scratch_root.join(format!("{case_id}.log")))?;
        let mut child = Command::new("/proc/self/exe")
            .args([CASE_ARGUMENT, &case.name, case_id])
            .env(SETTINGS_VARIABLE, settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let Some(status) = wait_child(&mut child, case.limit)? else {
            let below = leaks::descendants(child.id() as i32);
            child.kill()?;
            child.wait()?;
            leaks::thaw(case_id);
            leaks::kill_all(&below);
            for pid in &below {
                sys::reap(*pid);
            }
            leaks::cgroups_left(case_id);
            return Ok(Outcome::Fail(format!("did not end in {:?}", crate::process::patience(case.limit))));
        };
        let file = outcome_file(&self.settings, case_id);
        match fs::read(&file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(_) => Ok(Outcome::Fail(format!("the case's own process ended with {status}"))),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Err(e) = leaks::remove_scratch(&self.settings.scratch_root) {
            eprintln!("note: {}: {e}", self.settings.scratch_root.display());
        }
    }
}

fn outcome_file(settings: &Settings, case_id: &str) -> std::path::PathBuf {
    settings.scratch_root.join(format!("{case_id}.outcome"))
}

/// If this process was started for one case, runs it and does not return.
pub fn run_case_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(CASE_ARGUMENT) {
        return;
    }
    let (name, case_id) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let settings = std::env::var(SETTINGS_VARIABLE).expect("the settings come with the argument");
    let settings: Settings = serde_json::from_str(&settings).expect("the harness wrote them");
    let outcome = judge(&settings, &name, &case_id);
    let json = serde_json::to_vec(&outcome).expect("an outcome is JSON");
    fs::write(outcome_file(&settings, &case_id), json).expect("the scratch directory is writable");
    std::process::exit(0);
}

fn judge(settings: &Settings, name: &str, case_id: &str) -> Outcome {
    let Some(case) = cases::all().into_iter().find(|c| c.name == name) else {
        return Outcome::Fail(format!("there is no case {name}"));
    };
    let verdict = enter(settings, &case).and_then(|()| {
        let mut settings = settings.clone();
        // A case about systemd is about nothing else.
        settings.systemd |= case.needs.contains(&Need::Systemd);
        let ctx = Ctx::new(settings, case_id)?;
        if let Some(reason) = case.needs.iter().find_map(|n| ctx.host.lacks(*n)) {
            return Err(Failure::skip(reason));
        }
        // Whoever changed it, it was not this case.
        leaks::restore_null();
        let before = Snapshot::take();
        let options = cgroup::options();
        let verdict = catch_unwind(AssertUnwindSafe(|| (case.body)(&ctx)))
            .unwrap_or_else(|_| Err(Failure::new("the case panicked; see its log")));
        let leaks = find_leaks(&ctx, &before, case_id);
        if ctx.host.is_root() {
            cgroup::restore_options(&options)?;
        }
        with_leaks(verdict, leaks)
    });
    match verdict {
        Ok(()) => Outcome::Pass,
        Err(f) if f.skipped => Outcome::Skip(f.message),
        Err(f) => Outcome::Fail(shorten(&f.to_string(), settings)),
    }
}

/// Leaves out the parts of a message that say nothing, or something about this machine only: scratch paths, where the
/// runtime and the harness's own cgroups are, and very long words.
fn shorten(message: &str, settings: &Settings) -> String {
    let scratch = settings.scratch_root.to_string_lossy();
    let mut short = message.replace(&*scratch, "$SCRATCH").replace(&"x".repeat(100), "x...");
    if let Some(name) = settings.runtime.file_name() {
        short = short.replace(&*settings.runtime.to_string_lossy(), &name.to_string_lossy());
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for path in own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).filter(|path| path.len() > 1) {
        short = short.replace(path, "/$OWN");
    }
    short.replace("x...x...", "x...")
}

/// Prepares this process: subreaper, mounts of its own, and the unified hierarchy if the case wants to see it.
///
/// With its own mounts a case sees every mount that the runtime leaks and none that somebody else makes
/// meanwhile, and the machine is safe from a runtime that confuses it with a container.
fn enter(settings: &Settings, case: &Case) -> Verdict {
    sys::become_subreaper()?;
    if sys::geteuid() != 0 {
        return Ok(());
    }
    sys::unshare(libc::CLONE_NEWNS)?;
    sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    let wants = settings.unified || case.needs.iter().any(|n| matches!(n, Need::Unified | Need::V2(_)));
    // systemd makes cgroups where it has mounted them, and nowhere else.
    let systemd = settings.systemd || case.needs.contains(&Need::Systemd);
    if wants && !systemd && !cgroup::is_unified() {
        sys::mount("cgroup2", Path::new(cgroup::ROOT), "cgroup2", 0, "")?;
    }
    Ok(())
}

fn find_leaks(ctx: &Ctx, before: &Snapshot, case_id: &str) -> Vec<String> {
    leaks::thaw(case_id);
    let mut found = leaks::reap_descendants();
    found.extend(leaks::cgroups_left(case_id));
    found.extend(leaks::state_left(&ctx.state_root()));
    // Of a runtime that is known for it, the case process/stdio-owner tells.
    found.extend(leaks::restore_null().filter(|_| ctx.settings.name == "corten"));
    let changed = before.compare();
    found.extend(changed.into_iter().filter(|l| !ctx.changes_mounts() || !l.starts_with("mount")));
    found
}

fn with_leaks(verdict: Verdict, leaks: Vec<String>) -> Verdict {
    if leaks.is_empty() {
        return verdict;
    }
    let leaks = format!("leaked: {}", leaks.join("; "));
    match verdict {
        Err(mut f) if !f.skipped => {
            f.message = format!("{}; and {leaks}", f.message);
            Err(f)
        }
        _ => Err(Failure::new(leaks)),
    }
}
