//! Calls that the kernel allows without running the filter.

use std::collections::HashSet;

use super::{compile, profile};
use crate::seccomp::codegen::{AND, ARCH, JA, JEQ, JGE, JGT, JSET, LD_ABS, NR, RET};
use crate::seccomp::{Action, Arch, SockFilter, number_of};

const DEFAULT: &str = include_str!("../../../../seccomp-profiles/profiles/default.json");

/// What `seccomp_is_const_allow` of kernel/seccomp.c finds out: a verdict, if number and architecture are enough for it
/// and no other instruction is met than those that it understands.
fn constant(program: &[SockFilter], arch: Arch, nr: u32) -> Option<Action> {
    let (mut at, mut a) = (0, 0);
    loop {
        let SockFilter { code, jt, jf, k } = program[at];
        at += 1;
        match code {
            LD_ABS if k == NR => a = nr,
            LD_ABS if k == ARCH => a = arch.token(),
            RET => return Some(Action::from_ret(k)),
            JA => at += k as usize,
            AND => a &= k,
            JEQ | JGE | JGT | JSET => {
                let holds = match code {
                    JEQ => a == k,
                    JGE => a >= k,
                    JGT => a > k,
                    _ => a & k != 0,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            _ => return None,
        }
    }
}

#[test]
fn unconditionally_allowed_calls_need_no_filter_run() {
    let profile = profile(DEFAULT);
    let always =
        profile.syscalls.iter().filter(|rule| rule.action == "SCMP_ACT_ALLOW" && rule.args.is_empty());
    let allowed: HashSet<&String> = always.flat_map(|rule| &rule.names).collect();
    for native in Arch::all().filter(|arch| *arch != Arch::X32) {
        let filter = compile(&profile, native);
        for arch in Arch::all().filter(|arch| arch.runs_on(native)) {
            let names = profile.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str);
            for name in names.chain(["mount", "bpf", "setns", "kexec_load"]) {
                let Some(nr) = number_of(arch, name) else { continue };
                let listed = profile.architectures.iter().any(|listed| listed == arch.name());
                let expected = (listed || arch == native) && allowed.contains(&name.to_string());
                let found = constant(&filter.program, arch, nr) == Some(Action::Allow);
                assert_eq!(found, expected, "{name} of {arch:?} on {native:?}");
                if filter.analyse().is_cached(arch, nr) {
                    assert!(found, "{name} of {arch:?} on {native:?}");
                } else if arch == native && !format!("{arch:?}").starts_with("Mips") {
                    assert!(!found, "{name} of {arch:?}");
                }
            }
        }
    }
}

#[test]
fn the_default_profile_is_short() {
    let filter = compile(&profile(DEFAULT), Arch::X86_64);
    assert!(filter.program.len() < 300, "{} instructions", filter.program.len());
}
