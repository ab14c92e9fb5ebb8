//! Programs that an embedder hands over instead of a profile, checked as the kernel will check them.

use serde::{Deserialize, Serialize};

use super::codegen::MAX_INSTRUCTIONS;
use super::rules::Rules;
use super::{Action, Arch, FLAG_LOG, FLAG_SPEC_ALLOW, Filter, SockFilter};
use crate::error::FieldPath;

/// A filter program from elsewhere, such as seccompiler's `BpfProgram` (feature `seccompiler`), that the kernel would take.
///
/// ```
/// use libcontainer::seccomp::{Program, ProgramError, SockFilter};
///
/// // SECCOMP_RET_ALLOW, whatever the call
/// let allow = SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
/// let program = Program::new(vec![allow], 0)?;
/// assert_eq!(program.instructions(), [allow]);
/// assert_eq!(Program::new(vec![], 0), Err(ProgramError::Length { instructions: 0 }));
/// # Ok::<(), ProgramError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Program {
    code: Vec<SockFilter>,
    flags: u32,
}

/// Why a program cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// `BPF_MAXINSNS`
    #[error("a filter has 1 to 4096 instructions, not {instructions}")]
    Length {
        /// How many it has.
        instructions: usize,
    },
    /// An operation that seccomp(2) does not allow, or an operand that it cannot have.
    #[error("instruction {at}: {code:#06x} with {k:#x} is not allowed in a filter")]
    Instruction {
        /// Its index.
        at: usize,
        /// Its code.
        code: u16,
        /// Its operand.
        k: u32,
    },
    /// A jump over the end, or an end that is no return.
    #[error("instruction {at} leads out of the program")]
    End {
        /// Its index.
        at: usize,
    },
    /// A memory cell that no way to this instruction has filled.
    #[error("instruction {at} reads a memory cell that may be empty")]
    Uninitialised {
        /// Its index.
        at: usize,
    },
    /// A flag other than `LOG` and `SPEC_ALLOW`: a listener would have no agent, and there is one thread.
    #[error("flags {flags:#x}: only SECCOMP_FILTER_FLAG_LOG and _SPEC_ALLOW go with a program")]
    Flags {
        /// As given.
        flags: u32,
    },
}

impl Program {
    /// Takes a program that the kernel's own checks (`bpf_check_classic`, `seccomp_check_filter`) would pass.
    ///
    /// `flags` is [`FLAG_LOG`] and [`FLAG_SPEC_ALLOW`], or 0.
    ///
    /// # Errors
    /// What the kernel would refuse with `EINVAL`, by the instruction.
    pub fn new(code: Vec<SockFilter>, flags: u32) -> Result<Program, ProgramError> {
        if flags & !(FLAG_LOG | FLAG_SPEC_ALLOW) != 0 {
            return Err(ProgramError::Flags { flags });
        }
        check(&code)?;
        Ok(Program { code, flags })
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[SockFilter] {
        &self.code
    }

    /// In the place of a compiled profile.
    pub(crate) fn to_filter(&self, native: Arch) -> Filter {
        let rules = Rules {
            default: Action::Allow,
            arches: vec![native],
            rules: Vec::new(),
            flags: 0,
            notifies: false,
        };
        Filter {
            program: self.code.clone(),
            flags: self.flags,
            notifies: false,
            warnings: Vec::new(),
            rules,
            at: FieldPath::new("the seccomp program that was handed over"),
            supplied: true,
        }
    }
}

fn check(code: &[SockFilter]) -> Result<(), ProgramError> {
    if code.is_empty() || code.len() > MAX_INSTRUCTIONS {
        return Err(ProgramError::Length { instructions: code.len() });
    }
    for (at, instruction) in code.iter().enumerate() {
        check_one(at, *instruction, code.len() - at - 1)?;
    }
    match code[code.len() - 1].code {
        0x06 | 0x16 => check_cells(code),
        _ => Err(ProgramError::End { at: code.len() - 1 }),
    }
}

/// `left` is the number of instructions behind this one.
fn check_one(at: usize, SockFilter { code, jt, jf, k }: SockFilter, left: usize) -> Result<(), ProgramError> {
    let allowed = match code {
        // A word of seccomp_data; its size; constants; registers; returns.
        0x20 => k < 64 && k.is_multiple_of(4),
        0x80 | 0x81 | 0x00 | 0x01 | 0x07 | 0x87 | 0x06 | 0x16 => true,
        // Memory.
        0x60 | 0x61 | 0x02 | 0x03 => k < 16,
        // Arithmetic. A constant may not divide by zero, nor shift by more than a word.
        0x34 => k != 0,
        0x64 | 0x74 => k < 32,
        0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c | 0x3c | 0x44 | 0x4c | 0x54 | 0x5c | 0xa4 | 0xac => true,
        0x6c | 0x7c | 0x84 => true,
        // Jumps.
        0x05 if (k as usize) < left => true,
        0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d if usize::from(jt.max(jf)) < left => true,
        0x05 | 0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => return Err(ProgramError::End { at }),
        _ => false,
    };
    if allowed { Ok(()) } else { Err(ProgramError::Instruction { at, code, k }) }
}

/// Every way to a load from memory has stored there (`check_load_and_stores`). Jumps only go forward.
fn check_cells(code: &[SockFilter]) -> Result<(), ProgramError> {
    let mut filled = vec![u16::MAX; code.len() + 1];
    let mut now = 0;
    for (at, &SockFilter { code, jt, jf, k }) in code.iter().enumerate() {
        now &= filled[at];
        let mut reach = |distance: usize| filled[at + 1 + distance] &= now;
        match code {
            0x02 | 0x03 => now |= 1 << k,
            0x60 | 0x61 if now & (1 << k) == 0 => return Err(ProgramError::Uninitialised { at }),
            0x05 => reach(k as usize),
            _ if code & 0x07 == 0x05 => {
                reach(usize::from(jt));
                reach(usize::from(jf));
            }
            _ => (),
        }
        if code & 0x07 == 0x05 {
            // What follows is only reached by jumps, which have said what is filled.
            now = u16::MAX;
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Wire {
    code: Vec<(u16, u8, u8, u32)>,
    flags: u32,
}

impl From<Program> for Wire {
    fn from(program: Program) -> Wire {
        let code = program.code.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        Wire { code, flags: program.flags }
    }
}

impl TryFrom<Wire> for Program {
    type Error = ProgramError;

    fn try_from(wire: Wire) -> Result<Program, ProgramError> {
        let code = wire.code.into_iter().map(|(code, jt, jf, k)| SockFilter { code, jt, jf, k }).collect();
        Program::new(code, wire.flags)
    }
}

#[cfg(feature = "seccompiler")]
impl TryFrom<seccompiler::BpfProgram> for Program {
    type Error = ProgramError;

    fn try_from(program: seccompiler::BpfProgram) -> Result<Program, ProgramError> {
        let own = |i: seccompiler::sock_filter| SockFilter { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
        Program::new(program.into_iter().map(own).collect(), 0)
    }
}
