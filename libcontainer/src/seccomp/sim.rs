//! Runs filters without the kernel.
//!
//! [`run`] is the kernel's interpreter for the instructions that seccomp(2) accepts (`seccomp_check_filter`).
//! [`outcomes`] does the same with numbers that are not known, and finds everything that could be returned.
//! [`check_init`] uses it to prove that a filter lets the runtime's own system calls pass.

use std::collections::BTreeSet;

use crate::error::{ConfigError, FieldPath, Problem};

use super::action::Action;
use super::arch::{Arch, low_half};
use super::rules::Rule;
use super::{Filter, SockFilter, tables};

/// `struct seccomp_data`, what a filter sees of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeccompData {
    /// Number of the system call.
    pub nr: u32,
    /// `AUDIT_ARCH_…`; it also tells the byte order.
    pub arch: u32,
    /// Address of the instruction.
    pub instruction_pointer: u64,
    /// Arguments.
    pub args: [u64; 6],
}

impl SeccompData {
    /// A system call of an architecture. The number is the one in the filter's data: x32 numbers have bit 30 set.
    #[must_use]
    pub fn new(arch: Arch, nr: u32, args: [u64; 6]) -> SeccompData {
        SeccompData { nr, arch: arch.token(), instruction_pointer: 0, args }
    }
}

/// A program that the kernel would not have accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// An instruction that is not allowed in a filter.
    #[error("instruction {at}: operation {code:#06x} is not allowed")]
    Operation {
        /// Index of the instruction.
        at: usize,
        /// Its code.
        code: u16,
    },
    /// A load from outside `struct seccomp_data` or across its words, or a memory cell above 15.
    #[error("instruction {at}: nothing at {k}")]
    Address {
        /// Index of the instruction.
        at: usize,
        /// Its operand.
        k: u32,
    },
    /// What it returns is computed from something that is not known. Only [`outcomes`] says so.
    #[error("instruction {at}: the result depends on what is not known")]
    Unknown {
        /// Index of the instruction.
        at: usize,
    },
    /// Too many ways through the program to follow them all: no compiler writes such filters.
    #[error("the program has too many ways to be followed")]
    Ways,
    /// A jump, or the last instruction, leads out of the program.
    #[error("instruction {at} is outside the program")]
    End {
        /// The index that was reached.
        at: usize,
    },
}

/// Runs a program on a system call, and answers with what it returns; [`Action::from_ret`] explains it.
///
/// # Errors
/// If the program comes to an instruction that the kernel would not have accepted.
pub fn run(program: &[SockFilter], data: &SeccompData) -> Result<u32, SimError> {
    let word = |offset| Some(word(data, offset));
    let mut machine = Machine::default();
    loop {
        match machine.step(program, &word)? {
            Step::Next => (),
            // A division by zero ends a classic program with 0.
            Step::Return(value) => return Ok(value.unwrap_or_default()),
            Step::Fork { taken, .. } => machine.at = taken,
        }
    }
}

/// So many states of the machine are followed at most. A compiled profile has a few thousand; what somebody hands over
/// could have any power of two.
const WAYS: usize = 1 << 17;

/// Everything that a program can return for a system call of which some arguments are not known.
///
/// It may find more than is possible: it does not remember what a comparison has told about an unknown argument.
///
/// # Errors
/// If the program comes to an instruction that the kernel would not have accepted, or has too many ways to be followed.
pub fn outcomes(
    program: &[SockFilter],
    arch: Arch,
    nr: u32,
    args: &[Option<u64>; 6],
) -> Result<BTreeSet<u32>, SimError> {
    let known = SeccompData::new(arch, nr, args.map(Option::unwrap_or_default));
    let word = |offset: u32| match offset {
        8..16 => None,
        16.. if args[(offset as usize - 16) / 8].is_none() => None,
        _ => Some(word(&known, offset)),
    };
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut machines = vec![Machine::default()];
    while let Some(mut machine) = machines.pop() {
        while seen.insert(machine.clone()) {
            if seen.len() > WAYS {
                return Err(SimError::Ways);
            }
            match machine.step(program, &word)? {
                Step::Next => (),
                Step::Return(value) => {
                    found.insert(value.ok_or(SimError::Unknown { at: machine.at - 1 })?);
                    break;
                }
                Step::Fork { taken, other } => {
                    machines.push(Machine { at: other, ..machine.clone() });
                    machine.at = taken;
                }
            }
        }
    }
    Ok(found)
}

/// Whether the kernel would find out, without a call, that this one is always allowed: `seccomp_is_const_allow` of
/// kernel/seccomp.c, which follows a program as long as number and architecture decide and only knows these instructions.
#[must_use]
pub(super) fn is_constant_allow(program: &[SockFilter], arch: Arch, nr: u32) -> bool {
    let known = |offset| match offset {
        0 => Some(nr),
        4 => Some(arch.token()),
        _ => None,
    };
    let mut machine = Machine::default();
    loop {
        match program.get(machine.at).map(|instruction| (instruction.code, instruction.k)) {
            Some((0x20, 0 | 4) | (0x05 | 0x15 | 0x25 | 0x35 | 0x45 | 0x54, _)) => (),
            Some((0x06, value)) => return Action::from_ret(value) == Action::Allow,
            _ => return false,
        }
        if !matches!(machine.step(program, &known), Ok(Step::Next)) {
            return false;
        }
    }
}

/// The word at an aligned offset below 64.
fn word(data: &SeccompData, offset: u32) -> u32 {
    let pair = match offset {
        0 => return data.nr,
        4 => return data.arch,
        8 | 12 => data.instruction_pointer,
        _ => data.args[(offset as usize - 16) / 8],
    };
    let low = low_half(data.arch, 0) % 8;
    if offset % 8 == low { pair as u32 } else { (pair >> 32) as u32 }
}

/// Registers; `None` is a number that is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Machine {
    at: usize,
    a: Option<u32>,
    x: Option<u32>,
    memory: [Option<u32>; 16],
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { at: 0, a: Some(0), x: Some(0), memory: [Some(0); 16] }
    }
}

enum Step {
    Next,
    Return(Option<u32>),
    /// A jump on a number that is not known.
    Fork {
        taken: usize,
        other: usize,
    },
}

impl Machine {
    fn step(&mut self, program: &[SockFilter], word: &impl Fn(u32) -> Option<u32>) -> Result<Step, SimError> {
        let at = self.at;
        let &SockFilter { code, jt, jf, k } = program.get(at).ok_or(SimError::End { at })?;
        let cell = || (k < 16).then_some(k as usize).ok_or(SimError::Address { at, k });
        self.at += 1;
        match code {
            0x20 if k < 64 && k % 4 == 0 => self.a = word(k),
            0x20 => return Err(SimError::Address { at, k }),
            0x00 => self.a = Some(k),
            0x01 => self.x = Some(k),
            0x80 => self.a = Some(64),
            0x81 => self.x = Some(64),
            0x60 => self.a = self.memory[cell()?],
            0x61 => self.x = self.memory[cell()?],
            0x02 => self.memory[cell()?] = self.a,
            0x03 => self.memory[cell()?] = self.x,
            0x07 => self.x = self.a,
            0x87 => self.a = self.x,
            0x06 => return Ok(Step::Return(Some(k))),
            0x16 => return Ok(Step::Return(self.a)),
            0x05 => self.at += k as usize,
            0x84 => self.a = self.a.map(u32::wrapping_neg),
            _ if code & 0x07 == 0x05 => return self.jump(at, code, k, (jt, jf)),
            _ if code & 0x07 == 0x04 => return self.compute(at, code, k),
            _ => return Err(SimError::Operation { at, code }),
        }
        Ok(Step::Next)
    }

    fn jump(&mut self, at: usize, code: u16, k: u32, (jt, jf): (u8, u8)) -> Result<Step, SimError> {
        let operand = if code & 0x08 == 0 { Some(k) } else { self.x };
        let holds: fn(u32, u32) -> bool = match code & !0x08 {
            0x15 => |a, b| a == b,
            0x25 => |a, b| a > b,
            0x35 => |a, b| a >= b,
            0x45 => |a, b| a & b != 0,
            _ => return Err(SimError::Operation { at, code }),
        };
        let (yes, no) = (self.at + usize::from(jt), self.at + usize::from(jf));
        match (self.a, operand) {
            (Some(a), Some(b)) => self.at = if holds(a, b) { yes } else { no },
            _ => return Ok(Step::Fork { taken: yes, other: no }),
        }
        Ok(Step::Next)
    }

    fn compute(&mut self, at: usize, code: u16, k: u32) -> Result<Step, SimError> {
        let operand = if code & 0x08 == 0 { Some(k) } else { self.x };
        let operation: fn(u32, u32) -> u32 = match code & !0x08 {
            0x04 => u32::wrapping_add,
            0x14 => u32::wrapping_sub,
            0x24 => u32::wrapping_mul,
            0x34 => |a, b| a.checked_div(b).unwrap_or_default(),
            0x44 => |a, b| a | b,
            0x54 => |a, b| a & b,
            0x64 => u32::wrapping_shl,
            0x74 => u32::wrapping_shr,
            0xa4 => |a, b| a ^ b,
            _ => return Err(SimError::Operation { at, code }),
        };
        match operand {
            Some(0) if code & !0x08 == 0x34 => return Ok(Step::Return(Some(0))),
            // Zero or not: there is no telling whether the program ends here.
            None if code & !0x08 == 0x34 => return Err(SimError::Unknown { at }),
            _ => {}
        }
        self.a = self.a.zip(operand).map(|(a, b)| operation(a, b));
        Ok(Step::Next)
    }
}

/// A system call that a container's init makes under its filter, before the program of the container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitCall {
    /// Its number on the native architecture.
    pub nr: u32,
    /// Its arguments, where they are known in advance.
    pub args: [Option<u64>; 6],
    /// It happens before the agent has the listener: nobody could answer a notification.
    pub before_agent: bool,
}

/// Proves that a filter lets the calls pass that init still makes once the filter is in force.
///
/// # Errors
/// Names the rule, or the default action, that could stop one of them.
pub fn check_init(filter: &Filter, calls: &[InitCall]) -> Result<(), ConfigError> {
    let native = filter.rules.arches[0];
    for call in calls {
        let found = outcomes(&filter.program, native, call.nr, &call.args);
        // A program of ours that the kernel would not take is a mistake of the compiler: refuse it just the same.
        let found = found.unwrap_or_else(|_| BTreeSet::from([Action::KillProcess.to_ret()]));
        let stops = |action: &Action| match action {
            Action::Notify => call.before_agent,
            action => !action.permits(),
        };
        if let Some(action) = found.into_iter().map(Action::from_ret).find(stops) {
            let name = tables::name_of(native, call.nr).map_or_else(|| call.nr.to_string(), String::from);
            let problem = Problem::StopsInit { call: name, action: action.to_string() };
            return Err(ConfigError::new(filter.culprit(native, call, action), problem));
        }
    }
    Ok(())
}

impl Filter {
    /// Whether a system call of the native architecture goes through whatever its arguments are, with nobody asked.
    #[must_use]
    pub fn always_permits(&self, name: &str) -> bool {
        let native = self.rules.arches[0];
        let passes = |nr| check_init(self, &[InitCall { nr, args: [None; 6], before_agent: true }]).is_ok();
        tables::number_of(native, name).is_some_and(passes)
    }

    /// The member of the profile by which a call can meet an action.
    fn culprit(&self, arch: Arch, call: &InitCall, action: Action) -> FieldPath {
        let rules = || self.rules.rules.iter().filter(|rule| !rule.redundant && names(rule, arch, call.nr));
        let rule = rules()
            .find(|rule| rule.conditions.is_empty())
            .or_else(|| rules().find(|rule| rule.action == action && could_hold(rule, &call.args)));
        match rule {
            Some(rule) => self.at.field("syscalls").index(rule.element),
            None if self.supplied => self.at.clone(),
            None => self.at.field("defaultAction"),
        }
    }
}

fn names(rule: &Rule, arch: Arch, nr: u32) -> bool {
    rule.calls.iter().any(|call| {
        let behind = || call.multiplexed().is_some_and(|(multiplexer, _)| multiplexer.nr(arch) == Some(nr));
        call.nr(arch) == Some(nr) || behind()
    })
}

fn could_hold(rule: &Rule, args: &[Option<u64>; 6]) -> bool {
    rule.conditions
        .iter()
        .all(|condition| args[usize::from(condition.arg)].is_none_or(|arg| condition.test.holds(arg)))
}
