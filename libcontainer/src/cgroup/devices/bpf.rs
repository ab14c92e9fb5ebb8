//! The device rules as an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE` (Linux 4.15).
//!
//! The kernel asks with `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, where `access_type` has the
//! type of the device in its low and the wanted accesses in its high half. The answer 1 allows, 0 is EPERM.
//!
//! The list of rules is resolved here: which accesses are allowed is known for every device that a rule names, and
//! for all others. The program only looks that up: type, then major, then minor, one comparison each.
//!
//! ```text
//!     if type == block goto B          C10: if minor == 200 goto rwm
//!     if major == 10 goto C10               goto m
//!     if major == 136 goto rwm         rwm: return 1
//!     goto m                           m:   return !(wanted & (r|w))
//! B:  goto m
//! ```
//!
//! A program that tests rule after rule, as in runc and crun, costs its verifier a state per test that it has to
//! compare with all before: 320 us for the defaults alone and 1 ms for 30 rules, in each container start (Linux 6.18).
//! This form is linear, 90 us for the defaults. And each access is decided by itself: with `w` denied last, a request for `rw`
//! fails, which those let pass.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL, MKNOD, READ, Rule, Type, WRITE};
use crate::cgroup::sys::Insn;

/// Answer, context, type, wanted accesses, major, minor.
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Instruction classes and operations (linux/bpf_common.h, linux/bpf.h). All are of the first eBPF instruction set.
const LDX_MEM_W: u8 = 0x61;
const ALU_MOV_K: u8 = 0xb4;
const ALU_MOV_X: u8 = 0xbc;
const ALU_AND_K: u8 = 0x54;
const ALU_RSH_K: u8 = 0x74;
const JMP_JEQ_K: u8 = 0x15;
const JMP_JSET_K: u8 = 0x45;
const JMP_JA: u8 = 0x05;
const JMP_EXIT: u8 = 0x95;

/// `BPF_DEVCG_DEV_BLOCK`; the other one is a character device.
const DEV_BLOCK: i32 = 1;

/// A place to jump to, always forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Block,
    Major(Type, i32),
    /// The answer, if these accesses are allowed.
    Allowed(u8),
}

/// What is allowed for the devices of one type and major number.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    minors: BTreeMap<i32, u8>,
    others: u8,
}

impl Section {
    /// `major` is none for all those that no rule names.
    fn resolve(rules: &[Rule], kind: Type, major: Option<i32>) -> Section {
        let applies = |r: &&Rule| r.kind.is_none_or(|k| k == kind) && (r.major.is_none() || r.major == major);
        let rules: Vec<&Rule> = rules.iter().filter(applies).collect();
        let allowed = |minor: Option<i32>| {
            let decides =
                |r: &&&Rule, bit: u8| r.access & bit != 0 && (r.minor.is_none() || r.minor == minor);
            let is_allowed = |bit: u8| rules.iter().rfind(|r| decides(r, bit)).is_some_and(|r| r.allow);
            [MKNOD, READ, WRITE].into_iter().filter(|b| is_allowed(*b)).fold(0, |mask, bit| mask | bit)
        };
        let others = allowed(None);
        let named = rules.iter().filter_map(|r| r.minor).map(|m| (m, allowed(Some(m))));
        Section { minors: named.filter(|(_, mask)| *mask != others).collect(), others }
    }
}

/// The program for `rules`.
pub(super) fn compile(rules: &[Rule]) -> Vec<Insn> {
    let mut p = Program::default();
    p.add(LDX_MEM_W, TYPE, CONTEXT, 0, 0);
    p.add(ALU_MOV_X, WANTED, TYPE, 0, 0);
    p.add(ALU_RSH_K, WANTED, 0, 0, 16);
    p.add(ALU_AND_K, TYPE, 0, 0, 0xffff);
    p.add(LDX_MEM_W, MAJOR, CONTEXT, 4, 0);
    p.add(LDX_MEM_W, MINOR, CONTEXT, 8, 0);
    p.jump(JMP_JEQ_K, TYPE, DEV_BLOCK, Label::Block);
    let mut sections = p.majors(rules, Type::Char);
    p.place(Label::Block);
    sections.extend(p.majors(rules, Type::Block));
    for (label, section) in &sections {
        p.place(*label);
        p.minors(section);
    }
    p.answers();
    p.finish()
}

#[derive(Default)]
struct Program {
    code: Vec<Insn>,
    jumps: Vec<(usize, Label)>,
    places: BTreeMap<Label, usize>,
}

impl Program {
    fn add(&mut self, code: u8, dst: u8, src: u8, offset: i16, imm: i32) {
        self.code.push(Insn { code, registers: src << 4 | dst, offset, imm });
    }

    fn jump(&mut self, code: u8, register: u8, imm: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.add(code, register, 0, 0, imm);
    }

    fn place(&mut self, label: Label) {
        self.places.insert(label, self.code.len());
    }

    /// Finds the section of the major number; returns those that are still to be written.
    fn majors(&mut self, rules: &[Rule], kind: Type) -> Vec<(Label, Section)> {
        let others = Section::resolve(rules, kind, None);
        let of_kind = rules.iter().filter(|r| r.kind.is_none_or(|k| k == kind));
        let named: BTreeSet<i32> = of_kind.filter_map(|r| r.major).collect();
        let mut sections = Vec::new();
        for major in named {
            let section = Section::resolve(rules, kind, Some(major));
            if section == others {
                continue;
            }
            let label = match section.minors.is_empty() {
                true => Label::Allowed(section.others),
                false => Label::Major(kind, major),
            };
            self.jump(JMP_JEQ_K, MAJOR, major, label);
            if label == Label::Major(kind, major) {
                sections.push((label, section));
            }
        }
        self.minors(&others);
        sections
    }

    fn minors(&mut self, section: &Section) {
        for (minor, mask) in &section.minors {
            self.jump(JMP_JEQ_K, MINOR, *minor, Label::Allowed(*mask));
        }
        self.jump(JMP_JA, 0, 0, Label::Allowed(section.others));
    }

    /// The verifier refuses code that is never reached, so only the answers that are in use.
    fn answers(&mut self) {
        let used: BTreeSet<Label> = self.jumps.iter().map(|(_, label)| *label).collect();
        for mask in 0..=ALL {
            let label = Label::Allowed(mask);
            if !used.contains(&label) {
                continue;
            }
            self.place(label);
            if mask != 0 && mask != ALL {
                // Past the answer, to the other one, if more is wanted than that.
                self.add(JMP_JSET_K, WANTED, 0, 2, i32::from(ALL & !mask));
                self.answer(true);
            }
            self.answer(mask == ALL);
        }
    }

    fn answer(&mut self, allow: bool) {
        self.add(ALU_MOV_K, R0, 0, 0, i32::from(allow));
        self.add(JMP_EXIT, 0, 0, 0, 0);
    }

    /// Fills in the distances. A program of more than 32767 instructions is beyond what the kernel takes from those
    /// without CAP_BPF (4096), and gets nonsense that the verifier refuses.
    fn finish(mut self) -> Vec<Insn> {
        for (at, label) in self.jumps {
            let distance = self.places[&label] - at - 1;
            self.code[at].offset = i16::try_from(distance).unwrap_or(i16::MAX);
        }
        self.code
    }
}

#[cfg(test)]
pub(super) mod interpreter {
    use super::*;

    /// What the kernel would answer.
    pub fn run(program: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let mut r = [0_u64; 11];
        let mut pc = 0;
        loop {
            let i = program[pc];
            let (dst, src) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            // Immediates are sign-extended for 64-bit jumps.
            let imm = i64::from(i.imm).cast_unsigned();
            pc += 1;
            let jump = match i.code {
                LDX_MEM_W => {
                    r[dst] = context[i.offset.cast_unsigned() as usize / 4].into();
                    false
                }
                ALU_MOV_K => {
                    r[dst] = imm & 0xffff_ffff;
                    false
                }
                ALU_MOV_X => {
                    r[dst] = r[src] & 0xffff_ffff;
                    false
                }
                ALU_AND_K => {
                    r[dst] &= imm & 0xffff_ffff;
                    false
                }
                ALU_RSH_K => {
                    r[dst] = (r[dst] & 0xffff_ffff) >> imm;
                    false
                }
                JMP_JEQ_K => r[dst] == imm,
                JMP_JSET_K => r[dst] & imm != 0,
                JMP_JA => true,
                JMP_EXIT => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            };
            if jump {
                pc = pc.wrapping_add_signed(isize::from(i.offset));
            }
        }
    }
}
