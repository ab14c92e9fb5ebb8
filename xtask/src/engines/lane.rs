//! What happens inside the lane's namespaces: engine by engine, check by check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::OR;
use super::check::{Check, Engine, Outcome, Place, Verdict};
use super::daemon::Daemon;
use super::manager::Manager;
use super::{buildah_checks, cgroup_name, common_checks, conmon_checks, containerd_checks, docker_checks};
use super::{podman, podman_checks, rootless_checks, timing};
use crate::error::{Doing, Result};
use crate::{bundle, host};

/// Who is asked what, in the order of the report.
const SUITES: [(Engine, &[&[Check]]); 6] = [
    (Engine::Docker, &[common_checks::CHECKS, docker_checks::CHECKS]),
    (Engine::Containerd, &[containerd_checks::CHECKS]),
    (Engine::Podman, &[common_checks::CHECKS, podman_checks::CHECKS]),
    (Engine::Buildah, &[buildah_checks::CHECKS]),
    (Engine::Conmon, &[conmon_checks::CHECKS]),
    // The last, because what it hides in /etc stays hidden.
    (Engine::Rootless, &[rootless_checks::CHECKS]),
];

/// The two runtimes, and what all engines share.
pub struct Lane<'l> {
    directory: &'l Path,
    archive: PathBuf,
    reference: PathBuf,
    subject: PathBuf,
    manager: Manager,
}

/// How many checks ended how.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    /// How many failed.
    pub failed: usize,
    skipped: usize,
}

impl<'l> Lane<'l> {
    /// Copies the runtimes to where an ordinary user finds them, and makes the root filesystem of the image.
    pub fn prepare(directory: &'l Path, reference: &Path, subject: &Path, manager: Manager) -> Result<Self> {
        println!("reference {}\nsubject   {}", reference.display(), subject.display());
        let copy = |role: &str, path: &Path| {
            let copy = directory.join(role).join(path.file_name().unwrap_or_default());
            fs::create_dir(directory.join(role)).doing(|| format!("create a directory for the {role}"))?;
            fs::copy(path, &copy).doing(|| format!("copy {}", path.display()))?;
            Ok(copy)
        };
        let (reference, subject) = (copy("reference", reference)?, copy("subject", subject)?);
        let (archive, rootfs) = (directory.join("rootfs.tar"), directory.join("rootfs"));
        bundle::populate(&rootfs)?;
        host::run(Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&archive).arg("."))?;
        Ok(Self { directory, archive, reference, subject, manager })
    }

    /// Runs the checks that the filter leaves.
    pub fn check(&self, filter: Option<&str>) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut daemon = None;
        for (engine, checks) in SUITES {
            let wanted = |check: &&Check| {
                let name = format!("{engine} {}", check.name);
                filter.is_none_or(|words| words.split(OR).any(|word| name.contains(word)))
            };
            let checks: Vec<&'static Check> = checks.iter().copied().flatten().filter(wanted).collect();
            if checks.is_empty() {
                continue;
            }
            if let Some(absent) = engine.programs().iter().find(|program| host::on_path(program).is_none()) {
                tally.skipped += checks.len();
                let count = checks.len();
                println!(
                    "{engine:9} {count} checks skipped: {absent} is absent (`cargo xtask setup engines` installs it)"
                );
                continue;
            }
            let place = match engine {
                Engine::Docker | Engine::Containerd => match &daemon {
                    Some(running) => Daemon::place(running),
                    None => daemon.insert(self.daemon()?).place(),
                },
                Engine::Rootless => podman::rootless(self.directory, &self.archive)?,
                _ => podman::root(self.directory, &cgroup_name(self.directory), self.manager, &self.archive)?,
            };
            for check in checks {
                tally.count(self.check_both(engine, check, &place)?.verdict());
            }
        }
        daemon.map_or(Ok(()), Daemon::stop)?;
        println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
        Ok(tally)
    }

    /// Times so many containers with each engine that has a daemon.
    pub fn time(&self, runs: usize) -> Result<()> {
        let runtimes = [&self.reference, &self.subject].map(PathBuf::as_path);
        let scales = timing::Scales::set_up(self.directory, runtimes)?;
        let daemon = self.daemon()?;
        timing::measure(&daemon, runtimes, runs)?;
        scales.weigh(&daemon)?;
        daemon.stop()
    }

    fn daemon(&self) -> Result<Daemon> {
        let cgroup = cgroup_name(self.directory);
        let daemon = Daemon::start(self.directory, &self.subject, &self.reference, &cgroup, self.manager)?;
        daemon.import_image(&self.archive)?;
        println!("{}", daemon.versions()?);
        Ok(daemon)
    }

    fn check_both(&self, engine: Engine, check: &'static Check, place: &Place) -> Result<Outcome> {
        let begin = Instant::now();
        let reference = check.run(engine, place, ("reference", &self.reference))?;
        let subject = check.run(engine, place, ("subject", &self.subject))?;
        let outcome = Outcome { engine, check, reference, subject, elapsed: begin.elapsed() };
        print!("{outcome}");
        Ok(outcome)
    }
}

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Skipped => self.skipped += 1,
        }
    }
}
