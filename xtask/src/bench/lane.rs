//! One subject in one scenario: the command lines, and how long they took.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::subject::Subject;
use crate::bundle;
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::sys::{self, Prepared};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// `run` of a busybox container whose program is `true`.
    Run,
    /// `create`, `start` and `delete --force` of a container that sleeps.
    Cycle,
    /// `exec ID true` in a running container.
    Exec,
    /// `state` of a running container.
    State,
}

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Run, Self::Cycle, Self::Exec, Self::State];

    /// How the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Cycle => "create+start+delete",
            Self::Exec => "exec",
            Self::State => "state",
        }
    }
}

/// The files and directories that all lanes share.
pub struct Places {
    /// Where the subjects keep their state.
    directory: PathBuf,
    /// The container that ends at once.
    pub bundle_true: PathBuf,
    /// The container that stays.
    pub bundle_sleep: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
    /// The floor program, which also tells the peak memory of what it starts.
    meter: PathBuf,
    floor_cgroups: Vec<OsString>,
}

impl Places {
    /// Names everything below `directory`.
    pub fn new(directory: &Path, view: CgroupView, meter: PathBuf) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            bundle_true: directory.join("true"),
            bundle_sleep: directory.join("sleep"),
            stdout: directory.join("stdout"),
            stderr: directory.join("stderr"),
            meter,
            floor_cgroups: view.floor_arguments()?.into_iter().map(OsString::from).collect(),
        })
    }

    fn state(&self, subject: &Subject) -> PathBuf {
        self.directory.join(format!("state-{}", subject.name))
    }

    /// Runs a command to its end; a bad one answers with the last line on its standard error.
    fn complete(&self, command: &Prepared) -> Result<std::result::Result<(), String>> {
        let path = |path: &Path| CString::new(OsString::from(path).into_vec()).unwrap_or_default();
        let pid =
            command.spawn(&path(&self.stdout), &path(&self.stderr)).doing(|| "start a subject".to_owned())?;
        let status = sys::wait_reaping(pid).doing(|| "wait for a subject".to_owned())?;
        if status == 0 {
            return Ok(Ok(()));
        }
        let text = fs::read_to_string(&self.stderr).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        Ok(Err(format!("exit status {status}: {}", last.unwrap_or("(silent)").trim())))
    }
}

fn command_line(subject: &Subject, places: &Places, words: &[&str]) -> Vec<OsString> {
    let mut line = vec![OsString::from(&subject.path)];
    if !subject.is_floor() {
        line.extend(["--root".into(), places.state(subject).into()]);
    }
    line.extend(words.iter().map(OsString::from));
    line
}

/// A running container of one subject.
pub struct Target {
    subject_name: String,
    id: String,
    /// The host's number of its first process, or why there is none.
    pid: std::result::Result<String, String>,
    delete: Vec<OsString>,
}

impl Target {
    /// Creates and starts the container, in a cgroup that is known by name.
    pub fn start(subject: &Subject, places: &Places) -> Result<Self> {
        let id = format!("xtask-bench-{}-{}", std::process::id(), subject.name);
        let directory = places.directory.join(format!("target-{}", subject.name));
        bundle::write("busybox", &directory, &["sleep".to_owned(), "100000".to_owned()])?;
        set_cgroup(&directory.join("config.json"), &id)?;
        let bundle = directory.to_string_lossy();
        let steps: [&[&str]; 2] = [&["create", "--bundle", &bundle, &id], &["start", &id]];
        let mut pid = Ok(String::new());
        for words in steps {
            let prepared =
                Prepared::new(command_line(subject, places, words)).doing(|| "prepare".to_owned())?;
            if let Err(reason) = places.complete(&prepared)? {
                pid = Err(reason);
                break;
            }
        }
        if pid.is_ok() {
            pid = init_pid(&command_line(subject, places, &["state", &id]))?;
        }
        let delete = command_line(subject, places, &["delete", "--force", &id]);
        Ok(Self { subject_name: subject.name.clone(), id, pid, delete })
    }

    /// Ends the container.
    pub fn stop(&self) {
        if let Some(pid) = self.pid.as_ref().ok().and_then(|pid| pid.parse().ok()) {
            // A failure means that it has ended already, which is what is wanted.
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        let deleted = Prepared::new(&self.delete)
            .and_then(|delete| delete.spawn(c"/dev/null", c"/dev/null"))
            .and_then(sys::wait_reaping);
        if let (Err(error), Ok(_)) = (deleted, &self.pid) {
            eprintln!("xtask: container {} of {} stays behind: {error}", self.id, self.subject_name);
        }
    }
}

fn set_cgroup(path: &Path, id: &str) -> Result<()> {
    let text = fs::read(path).doing(|| format!("read {}", path.display()))?;
    let parsed = serde_json::from_slice(&text);
    let mut config: Value = parsed.map_err(|source| Error::Json { path: path.to_owned(), source })?;
    config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    fs::write(path, config.to_string()).doing(|| format!("write {}", path.display()))
}

fn init_pid(state: &[OsString]) -> Result<std::result::Result<String, String>> {
    let output =
        Command::new(&state[0]).args(&state[1..]).output().doing(|| "ask for the state".to_owned())?;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(match document["pid"].as_i64() {
        Some(pid) if pid > 0 => Ok(pid.to_string()),
        _ => Err("its state names no pid".to_owned()),
    })
}

/// The container that `run` and `create` of a subject make, again and again.
fn container_id(subject: &Subject) -> String {
    format!("xtask-bench-{}", subject.name)
}

/// What a subject has to be told for a scenario: nothing, if it does not do that; or why it cannot.
fn command_lines(
    scenario: Scenario,
    subject: &Subject,
    target: Option<&Target>,
    places: &Places,
) -> std::result::Result<Vec<Vec<OsString>>, String> {
    let id = container_id(subject);
    let (run, sleep) = (places.bundle_true.to_string_lossy(), places.bundle_sleep.to_string_lossy());
    let line = |words: &[&str]| command_line(subject, places, words);
    let running = || {
        let target = target.ok_or("there is no running container")?;
        Ok::<_, String>((target, target.pid.clone()?))
    };
    if subject.is_floor() {
        let with_cgroups = |words: &[&str]| [line(words), places.floor_cgroups.clone()].concat();
        return match scenario {
            Scenario::Run => Ok(vec![with_cgroups(&["run", &format!("{run}/rootfs"), &id])]),
            Scenario::Exec => running().map(|(target, pid)| vec![with_cgroups(&["exec", &pid, &target.id])]),
            Scenario::Cycle | Scenario::State => Ok(Vec::new()),
        };
    }
    match scenario {
        Scenario::Run => Ok(vec![line(&["run", "--bundle", &run, &id])]),
        Scenario::Cycle => Ok(vec![
            line(&["create", "--bundle", &sleep, &id]),
            line(&["start", &id]),
            line(&["delete", "--force", &id]),
        ]),
        Scenario::Exec => running().map(|(target, _)| vec![line(&["exec", &target.id, "true"])]),
        Scenario::State => running().map(|(target, _)| vec![line(&["state", &target.id])]),
    }
}

/// One subject in one scenario.
pub struct Lane {
    /// Which scenario.
    pub scenario: Scenario,
    /// Which subject.
    pub subject: String,
    /// The durations, in microseconds.
    pub samples: Vec<f64>,
    /// Peak resident memory of the largest process, in KiB, one for each time that it was looked at.
    pub memory: Vec<f64>,
    /// Why it is not measured.
    pub failure: Option<String>,
    steps: Vec<Prepared>,
    memory_steps: Vec<Prepared>,
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
        let own = targets.iter().find(|target| target.subject_name == subject.name);
        let target = own.or_else(|| targets.iter().find(|target| target.pid.is_ok()));
        let (lines, failure) = match command_lines(scenario, subject, target, places) {
            Ok(lines) if lines.is_empty() => return Ok(None),
            Ok(lines) => (lines, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let prepare = |line: Vec<OsString>| Prepared::new(line).doing(|| "prepare a command line".to_owned());
        let meter =
            |line: &Vec<OsString>| [vec![places.meter.clone().into(), "rss".into()], line.clone()].concat();
        let memory_steps = lines.iter().map(|line| prepare(meter(line))).collect::<Result<_>>()?;
        let id = container_id(subject);
        let clean_up = (!subject.is_floor())
            .then(|| prepare(command_line(subject, places, &["delete", "--force", &id])))
            .transpose()?;
        Ok(Some(Self {
            scenario,
            subject: subject.name.clone(),
            samples: Vec::new(),
            memory: Vec::new(),
            failure,
            steps: lines.into_iter().map(prepare).collect::<Result<_>>()?,
            memory_steps,
            clean_up,
        }))
    }

    /// Takes the time once; the figure is kept unless this is for warming up.
    pub fn sample(&mut self, places: &Places, keep: bool) -> Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        let mut elapsed = Duration::ZERO;
        for index in 0..self.steps.len() {
            let begin = Instant::now();
            let outcome = places.complete(&self.steps[index])?;
            elapsed += begin.elapsed();
            if let Err(reason) = outcome {
                return self.fail(reason, places);
            }
        }
        sys::reap_ended();
        if keep {
            self.samples.push(elapsed.as_secs_f64() * 1e6);
        }
        Ok(())
    }

    /// Takes the peak memory once, over all steps, by way of a starter smaller than any subject.
    pub fn measure_memory(&mut self, places: &Places) -> Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        let mut peak: f64 = 0.0;
        for index in 0..self.memory_steps.len() {
            if let Err(reason) = places.complete(&self.memory_steps[index])? {
                return self.fail(reason, places);
            }
            let text = fs::read_to_string(&places.stdout).doing(|| "read the meter".to_owned())?;
            peak = peak.max(text.trim().parse().unwrap_or_default());
        }
        self.memory.push(peak);
        Ok(())
    }

    fn fail(&mut self, reason: String, places: &Places) -> Result<()> {
        self.failure = Some(reason);
        if let Some(delete) = &self.clean_up {
            // Whether there was something to delete depends on where it failed.
            let _ = places.complete(delete)?;
        }
        Ok(())
    }
}
