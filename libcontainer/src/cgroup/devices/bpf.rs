//! The device rules as an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE` (Linux 4.15).
//!
//! The kernel asks with `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, where `access_type` has the
//! type of the device in its low and the wanted accesses in its high half. The answer 1 allows, 0 is EPERM.
//!
//! The rules are tried from the last to the first. Each decides about its own accesses only: one that allows takes
//! them off what is still wanted, and the request passes when nothing is; one that denies ends it if any is left. So
//! opening for reading *and* writing needs both, wherever they come from. runc lets a denial of `w` alone pass a
//! request for `rw`.

use super::{ALL, Rule, Type};
use crate::cgroup::sys::Insn;

/// Answer, context, type, accesses still wanted, major, minor.
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
const JMP_JNE_K: u8 = 0x55;
const JMP_JSET_K: u8 = 0x45;
const JMP_JA: u8 = 0x05;
const JMP_EXIT: u8 = 0x95;

fn insn(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Insn {
    Insn { code, registers: src << 4 | dst, offset, imm }
}

/// The program for `rules`.
pub(super) fn compile(rules: &[Rule]) -> Vec<Insn> {
    let mut p = vec![
        insn(LDX_MEM_W, TYPE, CONTEXT, 0, 0),
        insn(ALU_MOV_X, WANTED, TYPE, 0, 0),
        insn(ALU_RSH_K, WANTED, 0, 0, 16),
        insn(ALU_AND_K, TYPE, 0, 0, 0xffff),
        insn(LDX_MEM_W, MAJOR, CONTEXT, 4, 0),
        insn(LDX_MEM_W, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        if rule.is_everything() {
            // Whatever comes before it does not matter, and the verifier refuses code that cannot be reached.
            answer(&mut p, rule.allow);
            return p;
        }
        block(&mut p, rule);
    }
    answer(&mut p, false);
    p
}

fn answer(p: &mut Vec<Insn>, allow: bool) {
    p.push(insn(ALU_MOV_K, R0, 0, 0, i32::from(allow)));
    p.push(insn(JMP_EXIT, 0, 0, 0, 0));
}

/// One rule: tests that jump past the block if the rule is about another device, then what it says.
fn block(p: &mut Vec<Insn>, rule: &Rule) {
    let access = i32::from(rule.access);
    let mut body = Vec::new();
    if rule.allow {
        body.push(insn(ALU_AND_K, WANTED, 0, 0, !access & i32::from(ALL)));
        body.push(insn(JMP_JNE_K, WANTED, 0, 2, 0));
    } else {
        body.push(insn(JMP_JSET_K, WANTED, 0, 1, access));
        body.push(insn(JMP_JA, 0, 0, 2, 0));
    }
    answer(&mut body, rule.allow);
    let kind = rule.kind.map(|k| if k == Type::Block { 1 } else { 2 });
    let tests = [(TYPE, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
    let tests: Vec<_> = tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut after = tests.len() + body.len();
    for (register, value) in tests {
        after -= 1;
        // At most 3 + 4 instructions.
        p.push(insn(JMP_JNE_K, register, 0, after as i16, value));
    }
    p.append(&mut body);
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
                JMP_JNE_K => r[dst] != imm,
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
