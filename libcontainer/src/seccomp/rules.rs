//! The front end: `linux.seccomp` as written, to rules without strings. Everything that can be wrong with a profile is
//! found here, with its path.

use crate::config;
use crate::error::{ConfigError, FieldPath, Problem};

use super::action::{Action, MAX_ERRNO};
use super::arch::Arch;
use super::tables::{self, Call};
use super::{FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, Warning};

/// A profile whose every name is known to mean something.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) default: Action,
    /// The native one first, none twice, only such as can run.
    pub(super) arches: Vec<Arch>,
    /// In the order of the profile.
    pub(super) rules: Vec<Rule>,
    pub(super) flags: u32,
    pub(super) notifies: bool,
}

/// An action for some calls, if all the conditions hold.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Index in `linux.seccomp.syscalls`; an element can make several rules.
    pub(super) element: usize,
    pub(super) action: Action,
    pub(super) calls: Vec<Call>,
    /// On different arguments; empty: always.
    pub(super) conditions: Vec<Condition>,
    /// The action is the default one: the rule decides nothing, but its names count as known to the profile.
    pub(super) redundant: bool,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument: 0 to 5.
    pub arg: u8,
    /// What has to be true of it.
    pub test: Test,
}

/// An unsigned comparison of an argument with numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Test {
    /// `arg != n`
    Ne(u64),
    /// `arg < n`
    Lt(u64),
    /// `arg <= n`
    Le(u64),
    /// `arg == n`
    Eq(u64),
    /// `arg >= n`
    Ge(u64),
    /// `arg > n`
    Gt(u64),
    /// `arg & mask == value`
    Masked {
        /// Bits that count.
        mask: u64,
        /// What they have to be.
        value: u64,
    },
}

impl Test {
    /// Whether the test holds for this argument.
    #[must_use]
    pub fn holds(self, arg: u64) -> bool {
        match self {
            Test::Ne(value) => arg != value,
            Test::Lt(value) => arg < value,
            Test::Le(value) => arg <= value,
            Test::Eq(value) => arg == value,
            Test::Ge(value) => arg >= value,
            Test::Gt(value) => arg > value,
            Test::Masked { mask, value } => arg & mask == value,
        }
    }
}

/// Checks a profile, and takes the strings out of it.
pub(super) fn parse(
    profile: &config::Seccomp,
    at: &FieldPath,
    native: Arch,
) -> Result<(Rules, Vec<Warning>), ConfigError> {
    let default = action(
        &profile.default_action,
        profile.default_errno_ret,
        || at.field("defaultAction"),
        || at.field("defaultErrnoRet"),
    )?;
    let mut parsed = Rules {
        default,
        arches: arches(&profile.architectures, at, native)?,
        rules: Vec::with_capacity(profile.syscalls.len()),
        flags: 0,
        notifies: default == Action::Notify,
    };
    let mut warnings = Vec::new();
    for element in 0..profile.syscalls.len() {
        parsed.add(profile, element, at, &mut warnings)?;
    }
    check_listener(profile, parsed.notifies, at)?;
    parsed.flags = flags(profile.flags.as_deref(), parsed.notifies, at)?;
    Ok((parsed, warnings))
}

impl Rules {
    fn add(
        &mut self,
        profile: &config::Seccomp,
        element: usize,
        at: &FieldPath,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        let written = &profile.syscalls[element];
        let here = || at.field("syscalls").index(element);
        let action = action(
            &written.action,
            written.errno_ret,
            || here().field("action"),
            || here().field("errnoRet"),
        )?;
        let calls = calls(written, here, warnings)?;
        let conditions = conditions(&written.args, here, warnings)?;
        let redundant = action == self.default;
        self.notifies |= action == Action::Notify;
        let mut push = |calls, conditions| {
            self.rules.push(Rule { element, action, calls, conditions, redundant });
        };
        if repeats_argument(&conditions) {
            // As libseccomp, and so runc, has it: each condition is then a rule of its own.
            for condition in conditions {
                push(calls.clone(), vec![condition]);
            }
        } else {
            push(calls, conditions);
        }
        Ok(())
    }
}

const ACTIONS: &str = "SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, \
                       SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE or SCMP_ACT_TRAP";

fn action(
    name: &str,
    errno: Option<u32>,
    at: impl Fn() -> FieldPath,
    errno_at: impl Fn() -> FieldPath,
) -> Result<Action, ConfigError> {
    let data = |max: u32, range| match errno {
        None => Ok(libc::EPERM as u16),
        Some(errno) if errno <= max => Ok(errno as u16),
        Some(errno) => Err(ConfigError::new(errno_at(), Problem::OutOfRange { value: errno.into(), range })),
    };
    let action = match name {
        "SCMP_ACT_ERRNO" => return data(MAX_ERRNO, "between 0 and 4095").map(Action::Errno),
        "SCMP_ACT_TRACE" => return data(u16::MAX.into(), "between 0 and 65535").map(Action::Trace),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_TRAP" => Action::Trap,
        _ => {
            let problem = Problem::Unknown { value: name.to_string(), expected: ACTIONS };
            return Err(ConfigError::new(at(), problem));
        }
    };
    if errno.is_some() {
        let why = "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have an errno";
        return Err(ConfigError::new(errno_at(), Problem::Conflict { with: at(), why }));
    }
    Ok(action)
}

fn arches(names: &[String], at: &FieldPath, native: Arch) -> Result<Vec<Arch>, ConfigError> {
    let mut arches = vec![native];
    for (i, name) in names.iter().enumerate() {
        let arch = Arch::parse(name, &at.field("architectures").index(i))?;
        if arch.runs_on(native) && !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    Ok(arches)
}

fn calls(
    written: &config::SyscallRule,
    here: impl Fn() -> FieldPath,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Call>, ConfigError> {
    if written.names.is_empty() {
        return Err(ConfigError::new(here().field("names"), Problem::Empty));
    }
    let mut calls = Vec::with_capacity(written.names.len());
    for (i, name) in written.names.iter().enumerate() {
        let path = || here().field("names").index(i);
        if name.is_empty() {
            return Err(ConfigError::new(path(), Problem::Empty));
        }
        match tables::lookup(name) {
            Some(call) => calls.push(call),
            None => warnings.push(Warning::UnknownSyscall { path: path(), name: name.clone() }),
        }
    }
    Ok(calls)
}

fn conditions(
    args: &[config::SyscallArg],
    here: impl Fn() -> FieldPath,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Condition>, ConfigError> {
    let mut conditions = Vec::with_capacity(args.len());
    for (i, arg) in args.iter().enumerate() {
        let path = || here().field("args").index(i);
        if arg.index > 5 {
            let problem = Problem::OutOfRange { value: arg.index.into(), range: "between 0 and 5" };
            return Err(ConfigError::new(path().field("index"), problem));
        }
        let test = test(arg, path)?;
        if let Test::Masked { mask, value } = test
            && value & !mask != 0
        {
            warnings.push(Warning::NeverMatches { path: path() });
        }
        conditions.push(Condition { arg: arg.index as u8, test });
    }
    Ok(conditions)
}

fn test(arg: &config::SyscallArg, path: impl Fn() -> FieldPath) -> Result<Test, ConfigError> {
    Ok(match arg.op.as_str() {
        "SCMP_CMP_NE" => Test::Ne(arg.value),
        "SCMP_CMP_LT" => Test::Lt(arg.value),
        "SCMP_CMP_LE" => Test::Le(arg.value),
        "SCMP_CMP_EQ" => Test::Eq(arg.value),
        "SCMP_CMP_GE" => Test::Ge(arg.value),
        "SCMP_CMP_GT" => Test::Gt(arg.value),
        "SCMP_CMP_MASKED_EQ" => Test::Masked { mask: arg.value, value: arg.value_two },
        _ => {
            let expected = "SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT or \
                            SCMP_CMP_MASKED_EQ";
            let problem = Problem::Unknown { value: arg.op.clone(), expected };
            return Err(ConfigError::new(path().field("op"), problem));
        }
    })
}

fn repeats_argument(conditions: &[Condition]) -> bool {
    conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|earlier| earlier.arg == c.arg))
}

fn check_listener(profile: &config::Seccomp, notifies: bool, at: &FieldPath) -> Result<(), ConfigError> {
    let missing = |why| Err(ConfigError::new(at.field("listenerPath"), Problem::Missing { why }));
    let given = |member: &Option<String>| member.as_ref().is_some_and(|text| !text.is_empty());
    if given(&profile.listener_path) {
        Ok(())
    } else if notifies {
        missing("with SCMP_ACT_NOTIFY")
    } else if given(&profile.listener_metadata) {
        missing("when there is listenerMetadata")
    } else {
        Ok(())
    }
}

fn flags(names: Option<&[String]>, notifies: bool, at: &FieldPath) -> Result<u32, ConfigError> {
    let mut flags = if notifies { FLAG_NEW_LISTENER } else { 0 };
    let Some(names) = names else { return Ok(flags | FLAG_SPEC_ALLOW) };
    for (i, name) in names.iter().enumerate() {
        let path = || at.field("flags").index(i);
        match name.as_str() {
            // A container's init has one thread: there is nothing to synchronise.
            "SECCOMP_FILTER_FLAG_TSYNC" => (),
            "SECCOMP_FILTER_FLAG_LOG" => flags |= FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags |= FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if notifies => flags |= FLAG_WAIT_KILLABLE_RECV,
            // seccomp(2) answers EINVAL to it without a listener.
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                let why =
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is about SCMP_ACT_NOTIFY, which no rule has";
                return Err(ConfigError::new(path(), Problem::Conflict { with: at.field("syscalls"), why }));
            }
            _ => {
                let expected = "SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, \
                                SECCOMP_FILTER_FLAG_SPEC_ALLOW or SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
                let problem = Problem::Unknown { value: name.clone(), expected };
                return Err(ConfigError::new(path(), problem));
            }
        }
    }
    Ok(flags)
}
