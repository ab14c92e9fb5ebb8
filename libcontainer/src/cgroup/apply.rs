//! Writing limits.

use std::io;

use super::create::missing;
use super::dir::is_gone;
use super::error::Error;
use super::lower::{Policy, Write};
use super::{Cgroup, Member, Result};

impl Cgroup {
    /// Writes limits, in their order; see [`Policy`] for what may be retried or left out.
    ///
    /// # Errors
    /// The first value that the kernel refuses, with its place in `config.json`; a controller that is not there.
    /// Earlier writes have been done by then.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        let mut deferred: Vec<(&Write, io::Error)> = Vec::new();
        for w in writes {
            self.write_or(w, &mut deferred)?;
        }
        // Each round settles at least one, or the kernel means it.
        while !deferred.is_empty() {
            let mut again = Vec::new();
            let before = deferred.len();
            for (w, _) in deferred {
                self.write_or(w, &mut again)?;
            }
            if again.len() == before {
                let (w, e) = again.swap_remove(0);
                return Err(self.refused(w, e));
            }
            deferred = again;
        }
        Ok(())
    }

    fn write_or<'a>(&self, w: &'a Write, deferred: &mut Vec<(&'a Write, io::Error)>) -> Result<()> {
        let Some(member) = self.target(w) else {
            return if w.policy == Policy::IfPresent {
                Ok(())
            } else {
                Err(missing(self, &w.controller, &w.field))
            };
        };
        if let Policy::NotBelow(usage) = w.policy {
            check_usage(member, w, usage)?;
        }
        let Err(e) = member.dir.write(&w.file, &w.value) else { return Ok(()) };
        match &w.policy {
            Policy::IfPresent if is_gone(&e) => Ok(()),
            Policy::OrElse(other) if is_gone(&e) => self.write_or_fail(other),
            Policy::Reorder if e.raw_os_error() == Some(libc::EINVAL) => {
                deferred.push((w, e));
                Ok(())
            }
            _ => Err(self.refused(w, e)),
        }
    }

    fn write_or_fail(&self, w: &Write) -> Result<()> {
        let member = self.target(w).ok_or_else(|| missing(self, &w.controller, &w.field))?;
        member.dir.write(&w.file, &w.value).map_err(|e| self.refused(w, e))
    }

    fn target(&self, w: &Write) -> Option<&Member> {
        self.member_of(&w.controller)
    }

    /// A missing file means a missing controller, unless the controller's other files are there.
    fn refused(&self, w: &Write, source: io::Error) -> Error {
        let Some(member) = self.target(w) else { return missing(self, &w.controller, &w.field) };
        if source.raw_os_error() == Some(libc::ENOENT) && member.is_unified() && w.controller != "cgroup" {
            let on = member.dir.read("cgroup.controllers").unwrap_or_default();
            if !on.split_whitespace().any(|c| c == w.controller) {
                return missing(self, &w.controller, &w.field);
            }
        }
        let path = member.dir.path().join(&*w.file);
        Error::Write { field: w.field.clone(), path, value: w.value.clone(), source }
    }
}

fn check_usage(member: &Member, w: &Write, file: &'static str) -> Result<()> {
    let Ok(text) = member.dir.read(file) else { return Ok(()) };
    match (text.trim().parse::<u64>(), w.value.parse::<u64>()) {
        (Ok(usage), Ok(limit)) if limit < usage => {
            Err(Error::BelowUsage { field: w.field.clone(), limit, usage })
        }
        _ => Ok(()),
    }
}
