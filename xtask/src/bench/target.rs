//! A running container of one subject, for `exec` and `state` to look at.

use std::ffi::OsString;
use std::process::Command;

use serde_json::{Value, json};

use super::places::{Places, prepare};
use super::subject::Subject;
use crate::error::{Doing, Result};
use crate::sys;

/// The container.
pub struct Target {
    /// Whose it is.
    pub subject: String,
    /// Its name, and that of its cgroup.
    pub id: String,
    /// The host's number of its first process, or why there is none.
    pub pid: std::result::Result<String, String>,
    delete: Vec<OsString>,
}

impl Target {
    /// Creates and starts the container, in a cgroup that is known by name.
    pub fn start(subject: &Subject, places: &Places) -> Result<Self> {
        let id = format!("xtask-bench-{}-{}", std::process::id(), subject.name);
        let name = format!("target-{}", subject.name);
        let bundle = places.bundle(&name, "busybox", &["sleep", "100000"], |config| {
            config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        })?;
        let steps: [&[&str]; 2] = [&["create", "--bundle", &bundle, &id], &["start", &id]];
        let mut pid = Ok(String::new());
        for words in steps {
            if let Err(reason) = places.complete(&prepare(places.line(subject, words))?)? {
                pid = Err(reason);
                break;
            }
        }
        if pid.is_ok() {
            pid = init_pid(&places.line(subject, &["state", &id]))?;
        }
        let delete = places.line(subject, &["delete", "--force", &id]);
        Ok(Self { subject: subject.name.clone(), id, pid, delete })
    }

    /// Ends the container.
    pub fn stop(&self, places: &Places) {
        if let Some(pid) = self.pid.as_ref().ok().and_then(|pid| pid.parse().ok()) {
            // A failure means that it has ended already, which is what is wanted.
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        let deleted = prepare(self.delete.clone()).and_then(|delete| places.complete(&delete));
        if let (Err(error), Ok(_)) = (deleted, &self.pid) {
            eprintln!("xtask: container {} of {} stays behind: {error}", self.id, self.subject);
        }
    }
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
