//! Removing what was made.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::dir::{Dir, is_gone, keyed, read_at};
use super::freeze::wait_for_event;
use super::kill::children;
use super::{Cgroup, Member, Result};
use crate::error::PathError;

/// Killed processes need a moment to be gone.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often to look again before killing whoever is left.
const PATIENT_ROUNDS: u32 = 3;

impl Cgroup {
    /// Removes the directories that were made for this cgroup, those that the container made inside first. Processes
    /// that do not leave by themselves within a moment are killed. A cgroup that existed before stays. What is gone
    /// already is fine. Parents that were made along with it go too when nobody else uses them.
    ///
    /// # Errors
    /// The first directory that could not be removed within 5 seconds (`EBUSY`: it still has processes). The others
    /// have been removed nevertheless.
    pub fn destroy(&self) -> Result<()> {
        self.end_unit()?;
        let end = Instant::now() + TIMEOUT;
        let mut result = Ok(());
        // The unified one first: when it is free of processes, which it tells, the others are as well.
        let (unified, others): (Vec<_>, Vec<_>) = self.members.iter().partition(|m| m.is_unified());
        for m in unified.into_iter().chain(others).filter(|m| m.made > 0) {
            let removed = self.remove(&m.dir, end).map(|()| remove_parents(m));
            result = result.and(removed);
        }
        result
    }

    /// Has systemd end the unit, and remove its cgroup. Whoever is left inside is killed before: a scope would give
    /// them a minute and a half.
    ///
    /// If there is no reaching systemd, its cgroup is removed like any other: it notices, and the unit is gone.
    fn end_unit(&self) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        if !self.procs(true)?.is_empty() {
            self.kill_all(libc::SIGKILL)?;
        }
        if let Err(e) = unit.stop() {
            log::warn!("{e}");
        }
        Ok(())
    }

    /// One system call if it is empty; otherwise its children, then patience, then force: what was joining or being
    /// frozen while everybody else was killed is still there.
    fn remove(&self, dir: &Dir, end: Instant) -> Result<()> {
        let mut pause = Duration::from_micros(100);
        for round in 0.. {
            let error = match rmdir(dir.path()) {
                Ok(()) => return Ok(()),
                // Newer kernels say ENOTEMPTY if there are children, older ones EBUSY for both reasons.
                Err(e @ (Errno::BUSY | Errno::NOTEMPTY)) => e,
                Err(e) => return Err(failed(dir, e.into())),
            };
            match children(dir) {
                Ok(names) if !names.is_empty() => {
                    for name in names {
                        self.remove(&Dir::new(dir.path().join(name)), end)?;
                    }
                    continue;
                }
                Err(e) if is_gone(&e) => return Ok(()),
                Ok(_) | Err(_) => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(failed(dir, error.into()));
            }
            if round >= PATIENT_ROUNDS {
                self.kill_all(libc::SIGKILL)?;
            }
            wait(dir, left.min(pause * 5), pause)?;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn rmdir(path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        other => other,
    }
}

/// Version 2 tells when the last process is gone; version 1 has nothing to wait for.
fn wait(dir: &Dir, left: Duration, pause: Duration) -> Result<()> {
    let is_empty = |events: &str| keyed(events, "populated") != Some(1);
    match read_at(dir.path(), "cgroup.events") {
        Ok(events) if !is_empty(&events) => _ = wait_for_event(dir, left, is_empty)?,
        Ok(_) | Err(_) => std::thread::sleep(pause.min(left)),
    }
    Ok(())
}

fn failed(dir: &Dir, source: io::Error) -> super::Error {
    PathError { doing: "rmdir", path: dir.path().to_path_buf(), source }.into()
}

/// Another container may be using a parent by now, so a refusal is nobody's problem.
fn remove_parents(m: &Member) {
    let parents = m.dir.path().ancestors().skip(1).take(m.made - 1);
    for parent in parents {
        if let Err(e) = rmdir(parent) {
            log::debug!("rmdir {}: {e}", parent.display());
            return;
        }
    }
}
