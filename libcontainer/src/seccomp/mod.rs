//! Seccomp filters: `linux.seccomp` of config.json compiled to classic BPF, without a C library.
//!
//! ```
//! use libcontainer::error::FieldPath;
//! use libcontainer::seccomp::{self, Action, Arch, sim};
//!
//! let profile = serde_json::from_str(
//!     r#"{
//!         "defaultAction": "SCMP_ACT_ERRNO",
//!         "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
//!         "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]
//!     }"#,
//! )?;
//! let filter = seccomp::compile(&profile, &FieldPath::new("linux.seccomp"), Arch::X86_64)?;
//! let mkdir = sim::SeccompData::new(Arch::X86_64, 83, [0; 6]);
//! assert_eq!(sim::run(&filter.program, &mkdir).map(Action::from_ret), Ok(Action::Errno(1)));
//! println!("{filter}"); // the program, disassembled
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How
//!
//! Three pure conversions: names to rules (every mistake in the profile is an error there, with its JSON path), rules to
//! a map from system call number to decision for each architecture, and maps to code: a binary search over ranges of
//! numbers that meet the same decision. [`sim`] runs programs, and proves before a container is made that its filter
//! lets the runtime's own last system calls pass.
//!
//! # Which rule decides
//!
//! The specification does not say it; this is what runc and libseccomp do where they are consistent.
//!
//! 1. A call of an architecture that is neither native nor listed kills the thread. So does an x32 call (bit 30 of the
//!    number) when only x86_64 is listed.
//! 2. A rule whose action, errno included, is the default one is dropped.
//! 3. A rule without conditions beats those with conditions; of several, the first in the profile counts.
//! 4. Of rules with conditions the first in the profile counts whose conditions all hold. A rule that has several
//!    conditions on the same argument stands for one rule for each of its conditions.
//! 5. A number above the greatest one that the profile mentions for the architecture answers ENOSYS, so that programs
//!    fall back to an older call. Not if the default action is ALLOW, LOG, TRACE or NOTIFY.
//! 6. Everything else meets the default action.
//!
//! Names that no architecture knows are skipped with a [`Warning`].
//!
//! # Where this differs from libseccomp
//!
//! | case | libseccomp | here |
//! |---|---|---|
//! | `SCMP_CMP_MASKED_EQ` with bits in `valueTwo` that are not in the mask | ignores these bits | never true, as the specification has it, with a warning |
//! | a value that needs more than 32 bits, on a 32-bit architecture | drops the high bits | compares the number: `EQ` is never true, `LT` always |
//! | x32 | compares low halves only | compares 64 bits: the kernel uses whole registers |
//! | several conditional rules with different actions hold for one call | an order of its own, or an error | the first in the profile |
//! | rules with conditions on calls that i386, s390, ppc and mips can also make through `socketcall` or `ipc`, where the arguments are in memory | drops the condition on the first argument, compares pointers for the others | permitting rules do not apply to that way; all others apply without their conditions |
//! | `ipc` with a version in the upper half of the call number | not recognised | recognised |
//! | ENOSYS on ARM, if the profile names one of ARM's private calls (`cacheflush`, `set_tls`) | never, as these have the greatest numbers (runc) | above the greatest of the other numbers |
//! | nr 2³¹ and above with x86_64 alone | ENOSYS by runc's stub | kills the thread, as x32 numbers do |

mod action;
pub mod analysis;
mod arch;
mod codegen;
mod disasm;
mod ir;
mod numbers;
pub mod record;
mod rules;
pub mod sim;
mod supplied;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;

pub use action::{Action, MAX_ERRNO};
pub use analysis::{errno_by_name, errno_name};
pub use arch::Arch;
pub use corten_init::bpf::SockFilter;
pub use disasm::Disassembly;
pub use rules::{Condition, Test};
pub use sim::{InitCall, check_init};
pub use supplied::{Program, ProgramError};
pub use tables::{calls_of, name_of, names, number_of};

use crate::config;
use crate::error::{ConfigError, FieldPath, Problem};

/// `SECCOMP_FILTER_FLAG_LOG`: actions other than ALLOW are written to the audit log.
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation of speculative store bypass.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: seccomp(2) returns a file descriptor for the agent.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: only a fatal signal interrupts a call that the agent works on (Linux 5.19).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A compiled profile. It displays as its disassembly.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The program, as seccomp(2) takes it: 1 to 4096 instructions.
    pub program: Vec<SockFilter>,
    /// `SECCOMP_FILTER_FLAG_…` for seccomp(2).
    ///
    /// Without `flags` in the profile it is `SPEC_ALLOW`, as with runc. `TSYNC` is accepted and not set: a container's
    /// init has one thread.
    pub flags: u32,
    /// A rule notifies an agent: seccomp(2) returns a listener, and the profile has a `listenerPath`.
    pub notifies: bool,
    /// What in the profile has no effect.
    pub warnings: Vec<Warning>,
    rules: rules::Rules,
    at: FieldPath,
    /// There is no profile.
    supplied: bool,
}

/// Something in a profile that is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// No architecture has a system call of this name.
    UnknownSyscall {
        /// The name's place.
        path: FieldPath,
        /// The name.
        name: String,
    },
    /// A masked comparison with bits that the mask clears.
    NeverMatches {
        /// The condition's place.
        path: FieldPath,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnknownSyscall { path, name } => {
                write!(f, "{path}: unknown system call {name:?} ignored")
            }
            Warning::NeverMatches { path } => {
                write!(f, "{path}: never true, valueTwo has bits that value masks out")
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Disassembly(&self.program).fmt(f)
    }
}

/// Compiles a profile for a machine.
///
/// `at` is where the profile stands in the document, `linux.seccomp`. The `native` architecture is always part of the
/// filter, listed or not; see [`Arch::native`]. Listed ones that cannot run on it make no code.
///
/// # Errors
/// Whatever in the profile does not mean anything, or does not go together, with its path; and a profile that does not
/// fit the kernel's 4096 instructions.
pub fn compile(profile: &config::Seccomp, at: &FieldPath, native: Arch) -> Result<Filter, ConfigError> {
    let (rules, warnings) = rules::parse(profile, at, native)?;
    let program = codegen::generate(&ir::lower(&rules));
    if program.len() > codegen::MAX_INSTRUCTIONS {
        let why = "it makes a filter of more instructions than the kernel's 4096";
        return Err(ConfigError::new(at.field("syscalls"), Problem::Unsupported { why }));
    }
    Ok(Filter {
        program,
        flags: rules.flags,
        notifies: rules.notifies,
        warnings,
        rules,
        at: at.clone(),
        supplied: false,
    })
}
