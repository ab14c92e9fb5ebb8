//! The device rules as `devices.allow` and `devices.deny` of version 1.
//!
//! The kernel knows a default and a flat set of exceptions to it, not a list of rules, and it forgets silently what it
//! cannot express: denying part of an exception does nothing at all. So the final set is worked out here, and a rule
//! that has no effect in it is an error.

use super::{ALL, DevicePolicy, MKNOD, READ, Rule, Type, WRITE};
use crate::cgroup::dir::write_whole;
use crate::cgroup::{Error, Member, Result};
use crate::error::{ConfigError, FieldPath, Problem};

/// Devices for which the answer is not the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub allow: bool,
    pub exceptions: Vec<Exception>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exception {
    kind: Type,
    major: Option<i32>,
    minor: Option<i32>,
    access: u8,
    /// Not asked for, and so not an error if a parent cgroup does not have it.
    builtin: bool,
}

impl Exception {
    fn covers(&self, o: &Exception) -> bool {
        self.kind == o.kind
            && (self.major.is_none() || self.major == o.major)
            && (self.minor.is_none() || self.minor == o.minor)
    }

    fn overlaps(&self, o: &Exception) -> bool {
        let meet = |a: Option<i32>, b: Option<i32>| a.is_none() || b.is_none() || a == b;
        self.kind == o.kind
            && meet(self.major, o.major)
            && meet(self.minor, o.minor)
            && self.access & o.access != 0
    }

    /// As the kernel reads it: `c 1:3 rwm`.
    pub fn line(&self) -> String {
        let kind = if self.kind == Type::Block { 'b' } else { 'c' };
        let number = |n: Option<i32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, c)| c).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

impl Table {
    pub fn of(policy: &DevicePolicy) -> std::result::Result<Table, ConfigError> {
        let mut table = Table { allow: false, exceptions: Vec::new() };
        for rule in &policy.rules {
            if rule.is_everything() {
                table = Table { allow: rule.allow, exceptions: Vec::new() };
                continue;
            }
            let kinds = rule.kind.map_or_else(|| vec![Type::Block, Type::Char], |k| vec![k]);
            for kind in kinds {
                let Rule { major, minor, access, builtin, .. } = *rule;
                let e = Exception { kind, major, minor, access, builtin };
                if rule.allow == table.allow { table.remove(&e, &policy.at)? } else { table.add(e) }
            }
        }
        table.exceptions.retain(|e| e.access & ALL != 0);
        Ok(table)
    }

    /// The kernel merges exceptions of the same numbers likewise.
    fn add(&mut self, new: Exception) {
        let same = |e: &&mut Exception| (e.kind, e.major, e.minor) == (new.kind, new.major, new.minor);
        match self.exceptions.iter_mut().find(same) {
            Some(old) => {
                old.access |= new.access;
                old.builtin &= new.builtin;
            }
            None => self.exceptions.push(new),
        }
    }

    /// Back to the default for these devices.
    fn remove(&mut self, gone: &Exception, at: &FieldPath) -> std::result::Result<(), ConfigError> {
        for e in &mut self.exceptions {
            if gone.covers(e) {
                e.access &= !gone.access;
            }
        }
        if self.exceptions.iter().any(|e| e.overlaps(gone)) && self.turn_to_deny() {
            self.add(*gone);
            return Ok(());
        }
        if !gone.builtin && self.exceptions.iter().any(|e| e.overlaps(gone)) {
            let why = "cgroup version 1 cannot make an exception from a wildcard rule";
            return Err(ConfigError::new(at.clone(), Problem::Unsupported { why }));
        }
        Ok(())
    }

    /// A default of "allow" whose exceptions are whole types says the same as a default of "deny" with what is left
    /// of the types as exceptions, and to those single devices can be added.
    fn turn_to_deny(&mut self) -> bool {
        if !self.allow || self.exceptions.iter().any(|e| e.major.is_some() || e.minor.is_some()) {
            return false;
        }
        let left = |kind| {
            let denied = self.exceptions.iter().filter(|e| e.kind == kind).fold(0, |all, e| all | e.access);
            Exception { kind, major: None, minor: None, access: ALL & !denied, builtin: false }
        };
        let exceptions = [Type::Block, Type::Char].map(left).into_iter().filter(|e| e.access != 0).collect();
        *self = Table { allow: false, exceptions };
        true
    }
}

/// Writes the table: first the default, which clears all exceptions, then these.
pub(super) fn write(member: &Member, policy: &DevicePolicy) -> Result<()> {
    let table = Table::of(policy)?;
    let dir = &member.dir;
    let refused = |file: &str, value: &str, source| Error::Write {
        field: policy.at.clone(),
        path: dir.path().join(file),
        value: value.to_owned(),
        source,
    };
    let (reset, file) =
        if table.allow { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    // A new cgroup has what its parent has. If that is not everything, everything cannot be had.
    if !(table.allow && member.made > 0) {
        dir.write(reset, "a").map_err(|e| refused(reset, "a", e))?;
    }
    if table.exceptions.is_empty() {
        return Ok(());
    }
    let fd = dir.open_write(file).map_err(|e| refused(file, "", e))?;
    for e in &table.exceptions {
        let line = e.line();
        match write_whole(std::os::fd::AsFd::as_fd(&fd), &line) {
            Err(error) if e.builtin && error.raw_os_error() == Some(libc::EPERM) => {
                log::debug!("{line}: not allowed by the parent cgroup");
            }
            Err(error) => return Err(refused(file, &line, error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
impl Table {
    /// What the kernel makes of the table (security/device_cgroup.c).
    pub fn answer(&self, (kind, major, minor, access): (Type, i32, i32, u8)) -> bool {
        let meets = |e: &Exception| {
            e.kind == kind && e.major.is_none_or(|n| n == major) && e.minor.is_none_or(|n| n == minor)
        };
        let mut met = self.exceptions.iter().filter(|e| meets(e));
        if self.allow {
            !met.any(|e| e.access & access != 0)
        } else {
            met.any(|e| e.access & access == access)
        }
    }
}
