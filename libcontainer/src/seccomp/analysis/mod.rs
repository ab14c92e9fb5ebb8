//! What a filter does, and why: for people who read profiles.
//!
//! [`Filter::analyse`] keeps the rules and their maps at hand. [`Analysis::verdict`] says what becomes of a system call as
//! far as its number decides it; [`Analysis::explain`] names the rules; [`Analysis::annotate`] writes both beside the
//! program.

mod annotate;
mod diff;
mod explain;
mod written;

pub use annotate::Annotated;
pub use diff::Change;
pub use explain::{Considered, Explanation, Reason};
pub use written::{Named, errno_by_name, errno_name};

use super::action::Action;
use super::arch::Arch;
use super::codegen::BAD_ARCH;
use super::ir::{self, ArchMap, Decision, Ir, not_implemented};
use super::rules::Condition;
use super::tables::{ARM_PRIVATE, X32_BIT};
use super::{Filter, SockFilter, sim};

/// A filter, with what it was made of.
#[derive(Debug)]
pub struct Analysis<'f> {
    filter: &'f Filter,
    ir: Ir,
}

/// What becomes of a system call: the first case whose conditions all hold decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Conditions on the arguments, and the action then.
    pub cases: Vec<Case>,
    /// The action if no case applies.
    pub otherwise: Action,
}

/// An action under conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// All have to hold; at least one.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub action: Action,
}

impl Verdict {
    fn always(action: Action) -> Verdict {
        Verdict { cases: Vec::new(), otherwise: action }
    }
}

impl Filter {
    /// Prepares for questions about the filter.
    #[must_use]
    pub fn analyse(&self) -> Analysis<'_> {
        Analysis { filter: self, ir: ir::lower(&self.rules) }
    }

    /// Tells rules by other places than their own: `origins` has, for each element of `syscalls`, its place in the document
    /// that the profile was made from.
    #[must_use]
    pub fn with_origins(mut self, origins: &[usize]) -> Filter {
        for rule in &mut self.rules.rules {
            rule.element = origins.get(rule.element).copied().unwrap_or(rule.element);
        }
        self
    }

    /// The architectures that the filter has code for, the native one first.
    #[must_use]
    pub fn arches(&self) -> &[Arch] {
        &self.rules.arches
    }
}

impl Analysis<'_> {
    /// What becomes of a system call. x32 numbers have bit 30 set.
    #[must_use]
    pub fn verdict(&self, arch: Arch, nr: u32) -> Verdict {
        let Some(map) = self.map(arch, nr) else { return Verdict::always(BAD_ARCH) };
        match map.entries.binary_search_by_key(&nr, |entry| entry.0) {
            Ok(i) => match map.entries[i].1 {
                Decision::Act(action) => Verdict::always(action),
                Decision::Check(index) => {
                    let check = &self.ir.checks[usize::from(index)];
                    let case = |clause: &ir::Clause| Case {
                        conditions: clause.conditions.clone(),
                        action: clause.action,
                    };
                    Verdict { cases: check.clauses.iter().map(case).collect(), otherwise: check.otherwise }
                }
            },
            Err(_) if is_newer(map, nr) => Verdict::always(not_implemented(map.arch)),
            Err(_) => Verdict::always(self.ir.default),
        }
    }

    /// What becomes of calls that no rule names: the default action.
    #[must_use]
    pub fn default_action(&self) -> Action {
        self.ir.default
    }

    /// The greatest number of the architecture that the profile mentions, if calls above it meet ENOSYS.
    #[must_use]
    pub fn newest(&self, arch: Arch) -> Option<u32> {
        self.ir.maps.iter().find(|map| map.arch == arch)?.newest
    }

    /// Whether the kernel's bitmap (`seccomp_is_const_allow`, Linux 5.11) lets the call through without running the
    /// filter. There is one for the native architecture and one for its 32-bit relative; x32 has none, nor has MIPS.
    #[must_use]
    pub fn is_cached(&self, arch: Arch, nr: u32) -> bool {
        let native = self.filter.rules.arches[0];
        let has_bitmap = match native {
            Arch::X86_64 => matches!(arch, Arch::X86_64 | Arch::X86),
            Arch::Aarch64 => matches!(arch, Arch::Aarch64 | Arch::Arm),
            Arch::Mips | Arch::Mips64 | Arch::Mips64N32 => false,
            Arch::Mipsel | Arch::Mipsel64 | Arch::Mipsel64N32 => false,
            native => arch == native,
        };
        has_bitmap && nr < X32_BIT && sim::is_constant_allow(&self.filter.program, arch, nr)
    }

    /// The map that decides a number of an architecture.
    fn map(&self, arch: Arch, nr: u32) -> Option<&ArchMap> {
        let find = |arch| self.ir.maps.iter().find(|map| map.arch == arch);
        if arch.token() != Arch::X86_64.token() {
            return find(arch);
        }
        match find(Arch::X32) {
            Some(map) if nr & X32_BIT != 0 => Some(map),
            Some(_) => find(Arch::X86_64),
            // -1 is what a tracer sets to have a call skipped.
            None if nr < X32_BIT || nr == u32::MAX => find(Arch::X86_64),
            None => None,
        }
    }

    fn program(&self) -> &[SockFilter] {
        &self.filter.program
    }
}

/// Whether a number that no rule names is newer than the profile.
fn is_newer(map: &ArchMap, nr: u32) -> bool {
    let Some(newest) = map.newest else { return false };
    let skipped = nr == u32::MAX && map.arch == Arch::X86_64;
    let private = map.arch == Arch::Arm && nr >= ARM_PRIVATE;
    let x32 = if map.arch == Arch::X32 { X32_BIT } else { 0 };
    !skipped && !private && nr & !x32 > newest & !x32
}
