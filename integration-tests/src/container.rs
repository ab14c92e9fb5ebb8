//! A container that is deleted when the case is done with it.

use crate::context::Ctx;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::process::{Cmd, Out};
use crate::{cgroup, ensure, sys};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A container of the case. Dropping it runs `delete --force`; what even that leaves is found by the leak
/// check after the case.
pub struct Container<'c> {
    ctx: &'c Ctx,
    /// Its id.
    pub id: String,
    /// Its init, from the pid file.
    pub pid: i32,
    /// The file that its stdout goes to.
    pub output: PathBuf,
    deleted: Cell<bool>,
}

impl<'c> Container<'c> {
    /// A guard for an id.
    pub fn new(ctx: &'c Ctx, id: &str) -> Self {
        Container { ctx, id: id.to_owned(), pid: 0, output: PathBuf::new(), deleted: Cell::new(false) }
    }

    /// A command of the runtime: its verb, options, then this container's id.
    pub fn cmd(&self, verb_and_options: &[&str]) -> Cmd {
        self.ctx.rt(verb_and_options).arg(&self.id)
    }

    /// `start`, which has to succeed.
    #[track_caller]
    pub fn start(&self) -> Result<Out, Failure> {
        self.cmd(&["start"]).ok()
    }

    /// `state`, parsed.
    #[track_caller]
    pub fn state(&self) -> Result<Value, Failure> {
        self.cmd(&["state"]).ok()?.json()
    }

    /// The status that `state` reports.
    pub fn status(&self) -> Result<String, Failure> {
        Ok(self.state()?["status"].as_str().unwrap_or("(none)").to_owned())
    }

    /// `kill` with a signal.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Result<Out, Failure> {
        self.cmd(&["kill"]).arg(signal).ok()
    }

    /// `delete`, which has to succeed.
    #[track_caller]
    pub fn delete(&self) -> Result<Out, Failure> {
        let out = self.cmd(&["delete"]).ok()?;
        self.deleted.set(true);
        Ok(out)
    }

    /// `delete --force`, which has to succeed.
    #[track_caller]
    pub fn delete_force(&self) -> Result<Out, Failure> {
        let out = self.cmd(&["delete", "--force"]).spawn()?.finish_reaping()?.ok()?;
        self.deleted.set(true);
        Ok(out)
    }

    /// `exec`: options, the id, then the probe's steps.
    pub fn exec(&self, options: &[&str], steps: &[&[&str]]) -> Cmd {
        let mut verb = vec!["exec"];
        verb.extend_from_slice(options);
        self.cmd(&verb).args(crate::bundle::steps_to_args(steps))
    }

    /// Attached `exec` of the probe, which has to succeed; what its first step printed.
    #[track_caller]
    pub fn exec_facts(&self, options: &[&str]) -> Result<Facts, Failure> {
        let out = self.exec(options, &[&["facts"]]).ok()?;
        let mut lines = Facts::lines(&out.stdout)?;
        ensure!(!lines.is_empty(), "exec printed nothing");
        Ok(lines.remove(0))
    }

    /// Waits until the program printed this many lines and gives them.
    #[track_caller]
    pub fn lines(&self, count: usize) -> Result<Vec<Facts>, Failure> {
        let text = || fs::read_to_string(&self.output).unwrap_or_default();
        let enough = || text().matches('\n').count() >= count;
        let there = self.ctx.wait_for(Duration::from_secs(10), enough);
        ensure!(there, "the program printed only: {:?}", text());
        Facts::lines(&text())
    }

    /// Waits until init has ended and reaps it. Gives its raw wait status.
    #[track_caller]
    pub fn wait_exit(&self) -> Result<i32, Failure> {
        let mut status = None;
        let ended = self.ctx.wait_for(Duration::from_secs(10), || {
            status = status.or_else(|| sys::reap(self.pid).map(|(_, s)| s));
            status.is_some()
        });
        ensure!(ended, "init {} did not end", self.pid);
        Ok(status.unwrap_or_default())
    }

    /// Waits until `state` says this status.
    #[track_caller]
    pub fn wait_status(&self, want: &str) -> Result<(), Failure> {
        let mut seen = String::new();
        let reached = self.ctx.wait_for(Duration::from_secs(10), || {
            seen = self.status().unwrap_or_else(|e| e.to_string());
            seen == want
        });
        ensure!(reached, "status is {seen}, want {want}");
        Ok(())
    }

    /// Demands this status now.
    #[track_caller]
    pub fn expect_status(&self, want: &str) -> Result<(), Failure> {
        let got = self.status()?;
        if got == want { Ok(()) } else { Err(Failure::new(format!("status is {got}, want {want}"))) }
    }

    /// The directory of its cgroup: v1 with a controller's name, unified with `""`.
    pub fn cgroup(&self, controller: &str) -> Result<PathBuf, Failure> {
        cgroup::dir_of(self.pid, controller)
    }

    /// A file of `/proc/PID` of its init.
    pub fn proc_file(&self, name: &str) -> Result<String, Failure> {
        Ok(fs::read_to_string(format!("/proc/{}/{name}", self.pid))?)
    }

    /// Whether its init is alive (a zombie is not).
    pub fn alive(&self) -> bool {
        self.proc_file("stat")
            .is_ok_and(|s| !s.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.deleted.get() {
            // The container may never have come into being; the leak check has the last word.
            let _ = self.cmd(&["delete", "--force"]).spawn().and_then(|r| r.finish_reaping());
        }
    }
}
