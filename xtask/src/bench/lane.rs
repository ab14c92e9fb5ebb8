//! One subject in one scenario: the command lines, and how long they took.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::places::{Places, prepare};
use super::scenario::Scenario;
use super::subject::Subject;
use super::target::Target;
use crate::error::{Doing, Result};
use crate::sys::{self, Prepared};

/// The container that `run` and `create` of a subject make, again and again.
pub fn container_id(subject: &Subject) -> String {
    format!("xtask-bench-{}", subject.name)
}

/// What a subject is told, in order.
#[derive(Default)]
struct Lines {
    before: Vec<Vec<OsString>>,
    timed: Vec<Vec<OsString>>,
    after: Vec<Vec<OsString>>,
    /// The timed ones are started at once.
    together: bool,
}

impl Lines {
    fn timed(lines: impl IntoIterator<Item = Vec<OsString>>) -> Self {
        Self { timed: lines.into_iter().collect(), ..Self::default() }
    }
}

/// What a subject has to be told for a scenario: nothing, if it does not do that; or why it cannot.
fn lines(
    scenario: Scenario,
    subject: &Subject,
    targets: &[Target],
    places: &Places,
) -> Result<std::result::Result<Lines, String>> {
    let id = container_id(subject);
    let line = |words: &[&str]| places.line(subject, words);
    if subject.is_hello() {
        return Ok(Ok(match scenario {
            Scenario::Version => Lines::timed([vec![subject.path.clone().into()]]),
            _ => Lines::default(),
        }));
    }
    if subject.is_floor() {
        return floor_lines(scenario, subject, targets, places);
    }
    let run = |bundle: &str, id: &str| line(&["run", "--bundle", bundle, id]);
    let sleep = places.bundle_sleep()?;
    let create = || line(&["create", "--bundle", &sleep, &id]);
    let (start, delete) = (|| line(&["start", &id]), || line(&["delete", "--force", &id]));
    let running = || {
        let own = targets.iter().find(|target| target.subject == subject.name);
        let target = own.ok_or("there is no running container")?;
        target.pid.clone().map(|_| target)
    };
    let engine = |name: &str, seccomp: bool| {
        places.bundle(name, "docker-like", &["true"], |config| {
            let Some(linux) = config["linux"].as_object_mut() else { return };
            if !seccomp {
                linux.remove("seccomp");
            }
            // Not every hierarchy has a controller for each of the limits.
            if let Some(resources) = linux.get_mut("resources").and_then(|member| member.as_object_mut()) {
                resources.retain(|name, _| name == "devices");
            }
        })
    };
    Ok(Ok(match scenario {
        Scenario::Run => Lines::timed([run(&places.bundle_true()?, &id)]),
        Scenario::Create => Lines { timed: vec![create()], after: vec![delete()], ..Lines::default() },
        Scenario::Start => {
            Lines { before: vec![create()], timed: vec![start()], after: vec![delete()], ..Lines::default() }
        }
        Scenario::Delete => Lines { before: vec![create(), start()], ..Lines::timed([delete()]) },
        Scenario::Cycle => Lines::timed([create(), start(), delete()]),
        Scenario::Exec => match running() {
            Ok(target) => Lines::timed([line(&["exec", &target.id, "true"])]),
            Err(reason) => return Ok(Err(reason)),
        },
        Scenario::State => match running() {
            Ok(target) => Lines::timed([line(&["state", &target.id])]),
            Err(reason) => return Ok(Err(reason)),
        },
        Scenario::Engine => Lines::timed([run(&engine("engine", true)?, &id)]),
        Scenario::EngineWithoutSeccomp => Lines::timed([run(&engine("engine-open", false)?, &id)]),
        Scenario::Mounts(count) => Lines::timed([run(&places.bundle_mounts(count)?, &id)]),
        Scenario::Parallel(count) => {
            let bundle = places.bundle_true()?;
            let lines = (0..count).map(|i| run(&bundle, &format!("{id}-{i}")));
            Lines { together: true, ..Lines::timed(lines) }
        }
        Scenario::Version => Lines::timed([vec![subject.path.clone().into(), "--version".into()]]),
        Scenario::Alive | Scenario::Memory | Scenario::Limit | Scenario::Size => Lines::default(),
    }))
}

/// The floor program has a command line of its own, and does little.
fn floor_lines(
    scenario: Scenario,
    subject: &Subject,
    targets: &[Target],
    places: &Places,
) -> Result<std::result::Result<Lines, String>> {
    let id = container_id(subject);
    let rootfs = format!("{}/rootfs", places.bundle_true()?);
    let run = |id: &str| places.line(subject, &["run", &rootfs, id]);
    Ok(match scenario {
        Scenario::Run => Ok(Lines::timed([run(&id)])),
        Scenario::Parallel(count) => {
            let lines = (0..count).map(|i| run(&format!("{id}-{i}")));
            Ok(Lines { together: true, ..Lines::timed(lines) })
        }
        Scenario::Exec => {
            let running = targets.iter().find_map(|target| Some((target, target.pid.as_ref().ok()?)));
            let running = running.ok_or_else(|| "there is no running container".to_owned());
            running.map(|(target, pid)| Lines::timed([places.line(subject, &["exec", pid, &target.id])]))
        }
        _ => Ok(Lines::default()),
    })
}

/// One subject in one scenario.
pub struct Lane {
    /// Which scenario.
    pub scenario: Scenario,
    /// Which subject.
    pub subject: String,
    /// In the scenario's unit.
    pub samples: Vec<f64>,
    /// The same before the thousand, for the scenario that makes them.
    pub alone: Vec<f64>,
    /// Why it is not measured.
    pub failure: Option<String>,
    before: Vec<Prepared>,
    timed: Vec<Prepared>,
    after: Vec<Prepared>,
    together: bool,
    clean_up: Option<Prepared>,
}

impl Lane {
    /// Prepares the command lines; none for what a subject does not do.
    pub fn new(
        scenario: Scenario,
        subject: &Subject,
        targets: &[Target],
        places: &Places,
    ) -> Result<Option<Self>> {
        let (lines, failure) = match lines(scenario, subject, targets, places)? {
            Ok(lines) if lines.timed.is_empty() => return Ok(None),
            Ok(lines) => (lines, None),
            Err(reason) => (Lines::default(), Some(reason)),
        };
        let all = |lines: Vec<Vec<OsString>>| lines.into_iter().map(prepare).collect::<Result<Vec<_>>>();
        let clean_up = (subject.is_runtime())
            .then(|| prepare(places.line(subject, &["delete", "--force", &container_id(subject)])))
            .transpose()?;
        Ok(Some(Self {
            before: all(lines.before)?,
            timed: all(lines.timed)?,
            after: all(lines.after)?,
            together: lines.together,
            clean_up,
            failure,
            ..Self::empty(scenario, subject)
        }))
    }

    /// One that has its figures from elsewhere.
    pub fn empty(scenario: Scenario, subject: &Subject) -> Self {
        Self {
            scenario,
            subject: subject.name.clone(),
            samples: Vec::new(),
            alone: Vec::new(),
            failure: None,
            before: Vec::new(),
            timed: Vec::new(),
            after: Vec::new(),
            together: false,
            clean_up: None,
        }
    }

    /// Takes the time once, in microseconds, unless it has failed before.
    pub fn sample(&mut self, places: &Places) -> Result<Option<f64>> {
        if self.failure.is_some() {
            return Ok(None);
        }
        let outcome = self.attempt(places)?;
        sys::reap_ended();
        match outcome {
            Ok(elapsed) => Ok(Some(elapsed.as_secs_f64() * 1e6)),
            Err(reason) => {
                self.failure = Some(reason);
                if let Some(delete) = &self.clean_up {
                    // Whether there was something to delete depends on where it failed.
                    let _ = places.complete(delete)?;
                }
                Ok(None)
            }
        }
    }

    fn attempt(&self, places: &Places) -> Result<std::result::Result<Duration, String>> {
        for command in &self.before {
            if let Err(reason) = places.complete(command)? {
                return Ok(Err(reason));
            }
        }
        let elapsed = if self.together { self.all_at_once(places)? } else { self.one_by_one(places)? };
        for command in &self.after {
            if let Err(reason) = places.complete(command)? {
                return Ok(Err(reason));
            }
        }
        Ok(elapsed)
    }

    fn one_by_one(&self, places: &Places) -> Result<std::result::Result<Duration, String>> {
        let mut elapsed = Duration::ZERO;
        for command in &self.timed {
            let begin = Instant::now();
            let outcome = places.complete(command)?;
            elapsed += begin.elapsed();
            if let Err(reason) = outcome {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(elapsed))
    }

    fn all_at_once(&self, places: &Places) -> Result<std::result::Result<Duration, String>> {
        let begin = Instant::now();
        let pids = self.timed.iter().map(|command| places.start(command)).collect::<Result<Vec<_>>>()?;
        let failed = sys::wait_for_all(&pids).doing(|| "wait for the subjects".to_owned())?;
        let elapsed = begin.elapsed() / u32::try_from(pids.len()).unwrap_or(1);
        Ok(if failed == 0 {
            Ok(elapsed)
        } else {
            Err(format!("{failed} of {} failed: {}", pids.len(), places.last_words()))
        })
    }
}
