//! Which devices a container may use: rules from `config.json`, and the two ways to give them to the kernel.

mod bpf;
mod v1;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;

use super::create::missing;
use super::error::Error;
use super::layout::Kind;
use super::{Cgroup, Member, Result, sys};
use crate::config::DeviceRule;
use crate::error::{ConfigError, FieldPath, Problem};

/// mknod(2), in the numbers of `struct bpf_cgroup_dev_ctx`.
pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Block,
    Char,
}

/// One rule. `None` matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub kind: Option<Type>,
    pub major: Option<i32>,
    pub minor: Option<i32>,
    pub access: u8,
    /// One of [`DEFAULTS`].
    builtin: bool,
}

impl Rule {
    /// Whether every device that `other` matches is matched by this one too, for every access of `other`.
    pub fn covers(&self, other: &Rule) -> bool {
        fn wider<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || a == b
        }
        wider(self.kind, other.kind)
            && wider(self.major, other.major)
            && wider(self.minor, other.minor)
            && self.access & other.access == other.access
    }

    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

const fn default(major: Option<i32>, minor: Option<i32>) -> Rule {
    Rule { allow: true, kind: Some(Type::Char), major, minor, access: ALL, builtin: true }
}

/// Allowed after all rules of the configuration, as in runc: no program works without these, and a node that nobody
/// may open does no harm.
const DEFAULTS: [Rule; 11] = [
    Rule { access: MKNOD, ..default(None, None) },
    Rule { access: MKNOD, kind: Some(Type::Block), ..default(None, None) },
    default(Some(1), Some(3)),    // null
    default(Some(1), Some(5)),    // zero
    default(Some(1), Some(7)),    // full
    default(Some(1), Some(8)),    // random
    default(Some(1), Some(9)),    // urandom
    default(Some(5), Some(0)),    // tty
    default(Some(5), Some(2)),    // ptmx
    default(Some(136), None),     // pts/*
    default(Some(10), Some(200)), // net/tun
];

/// `linux.resources.devices`, checked, with the defaults of every container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePolicy {
    /// In their order; the last match wins. What no rule matches is denied.
    rules: Vec<Rule>,
    /// Whether the configuration has rules of its own.
    asked: bool,
    at: FieldPath,
}

impl DevicePolicy {
    /// Checks `rules`, whose place in the document is `at`. An empty list denies everything but the defaults.
    ///
    /// # Errors
    /// An unknown type, letters other than `rwm`, numbers that no device has.
    pub fn new(rules: &[DeviceRule], at: &FieldPath) -> std::result::Result<DevicePolicy, ConfigError> {
        let checked = rules.iter().enumerate().map(|(i, r)| parse(r, &at.index(i)));
        let asked = !rules.is_empty();
        let mut rules = checked.collect::<std::result::Result<Vec<Rule>, ConfigError>>()?;
        rules.extend(DEFAULTS);
        Ok(DevicePolicy { rules: without_shadowed(&rules), asked, at: at.clone() })
    }

    /// In their order; the last match wins.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether nothing is denied, so that there is nothing to load or write.
    #[must_use]
    pub fn allows_everything(&self) -> bool {
        self.rules.iter().all(|r| r.allow) && self.rules.first().is_some_and(Rule::is_everything)
    }
}

/// Without the rules that a later one makes meaningless: version 1 might not be able to express them.
fn without_shadowed(rules: &[Rule]) -> Vec<Rule> {
    let shadowed = |i: usize| rules[i + 1..].iter().any(|later| later.covers(&rules[i]));
    (0..rules.len()).filter(|i| !shadowed(*i)).map(|i| rules[i]).collect()
}

fn parse(rule: &DeviceRule, at: &FieldPath) -> std::result::Result<Rule, ConfigError> {
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => None,
        Some("b") => Some(Type::Block),
        Some("c") => Some(Type::Char),
        Some(other) => {
            let problem = Problem::Unknown { value: other.to_owned(), expected: "a, b or c" };
            return Err(ConfigError::new(at.field("type"), problem));
        }
    };
    let number = |name: &str, n: Option<i64>| match n.filter(|n| *n >= 0) {
        None => Ok(None),
        Some(n) => i32::try_from(n).map(Some).map_err(|_| {
            let problem = Problem::OutOfRange { value: n.into(), range: "a device number" };
            ConfigError::new(at.field(name), problem)
        }),
    };
    Ok(Rule {
        allow: rule.allow,
        kind,
        major: number("major", rule.major)?,
        minor: number("minor", rule.minor)?,
        access: access(rule.access.as_deref(), at)?,
        builtin: false,
    })
}

/// Absent is every access; nothing at all would be a rule without effect, which nobody means.
fn access(letters: Option<&str>, at: &FieldPath) -> std::result::Result<u8, ConfigError> {
    let Some(letters) = letters else { return Ok(ALL) };
    let bits = letters.chars().try_fold(0, |bits, c| match c {
        'r' => Some(bits | READ),
        'w' => Some(bits | WRITE),
        'm' => Some(bits | MKNOD),
        _ => None,
    });
    bits.filter(|b| *b != 0).ok_or_else(|| {
        let problem =
            Problem::Malformed { value: letters.to_owned(), expected: "one or more letters of \"rwm\"" };
        ConfigError::new(at.field("access"), problem)
    })
}

impl Cgroup {
    /// Puts the device rules into force. On version 2 a program that was attached earlier is replaced, in one step if
    /// it was one. Nothing happens with [`Cgroup::none`].
    ///
    /// `may_fail`: the runtime is in a user namespace, where this is not permitted and the kernel keeps the container
    /// away from devices anyhow.
    ///
    /// # Errors
    /// What the kernel said; rules that version 1 cannot express.
    pub fn apply_devices(&self, policy: &DevicePolicy, may_fail: bool) -> Result<()> {
        if self.disabled || (policy.allows_everything() && self.members.iter().all(|m| m.made > 0)) {
            return Ok(());
        }
        let Some(member) = self.member_of("devices") else {
            return if may_fail || !policy.asked {
                Ok(())
            } else {
                Err(missing(self, "devices", &policy.at))
            };
        };
        let result = match self.kind {
            Kind::Unified => attach(member, policy),
            Kind::Legacy => v1::write(member, policy),
        };
        match result {
            Err(e) if may_fail => {
                log::debug!("{e}");
                Ok(())
            }
            other => other,
        }
    }
}

fn attach(member: &Member, policy: &DevicePolicy) -> Result<()> {
    let failed = |call: &'static str| {
        let path = member.dir.path().to_path_buf();
        move |source| Error::DeviceProgram { call, path, source }
    };
    let cgroup = member.dir.fd().map_err(failed("open"))?;
    let old = sys::device_programs(cgroup).map_err(failed("BPF_PROG_QUERY"))?;
    let old = old.into_iter().map(sys::program_by_id).collect::<io::Result<Vec<_>>>();
    let old = old.map_err(failed("BPF_PROG_GET_FD_BY_ID"))?;
    let program = load(policy).map_err(failed("BPF_PROG_LOAD"))?;
    if let [only] = &old[..] {
        return sys::attach_device_program(cgroup, program.as_fd(), Some(only.as_fd()))
            .map_err(failed("BPF_PROG_ATTACH"));
    }
    // Every attached program has to agree, so with both for a moment, nothing opens that should not.
    sys::attach_device_program(cgroup, program.as_fd(), None).map_err(failed("BPF_PROG_ATTACH"))?;
    for program in &old {
        sys::detach_device_program(cgroup, program.as_fd()).map_err(failed("BPF_PROG_DETACH"))?;
    }
    Ok(())
}

fn load(policy: &DevicePolicy) -> io::Result<std::os::fd::OwnedFd> {
    let program = bpf::compile(&policy.rules);
    match sys::load_device_program(&program) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) && sys::lift_memlock_limit().is_ok() => {
            sys::load_device_program(&program)
        }
        other => other,
    }
}
