//! Decisions against libseccomp's.
//!
//! ```text
//! LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH="$(pkg-config --variable=libdir libseccomp)" \
//!     cargo test -p corten-libcontainer --features libseccomp-oracle seccomp::tests::oracle
//! ```
//!
//! Profiles go into libseccomp the way that runc puts them there. Both programs then run in the simulator. The profiles
//! and calls are chosen so that the differences listed in the documentation of [`crate::seccomp`] do not show.

use std::cell::Cell;
use std::str::FromStr;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;

use super::random::{NAMES, argument, probes};
use super::{cases, compile, naive};
use crate::config::{Seccomp, SyscallArg, SyscallRule};
use crate::seccomp::sim::{SeccompData, run};
use crate::seccomp::{Action, Arch, Disassembly, SockFilter, number_of, tables};

/// Architectures of one byte order: libseccomp does not mix them. It has loongarch64, m68k
/// and sh from 2.6 on.
const LITTLE: [Arch; 10] = [
    Arch::X86_64,
    Arch::X86,
    Arch::X32,
    Arch::Aarch64,
    Arch::Arm,
    Arch::Riscv64,
    Arch::Mipsel,
    Arch::Mipsel64,
    Arch::Mipsel64N32,
    Arch::Ppc64Le,
];
const BIG: [Arch; 9] = [
    Arch::S390x,
    Arch::S390,
    Arch::Mips,
    Arch::Mips64,
    Arch::Mips64N32,
    Arch::Ppc,
    Arch::Ppc64,
    Arch::Parisc,
    Arch::Parisc64,
];

fn scmp(arch: Arch) -> ScmpArch {
    ScmpArch::from_str(arch.name()).expect("libseccomp knows the architecture")
}

fn known(name: &str) -> Option<ScmpSyscall> {
    ScmpSyscall::from_name(name).ok()
}

/// What runc does with a profile; `None` if libseccomp does not take one of the rules.
fn reference(profile: &Seccomp, arches: &[Arch]) -> Option<Vec<SockFilter>> {
    let default = scmp_action(&profile.default_action, profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default).expect("a context");
    filter.remove_arch(ScmpArch::Native).expect("the host's architecture is there");
    for arch in arches {
        filter.add_arch(scmp(*arch)).expect("libseccomp has the architecture");
    }
    for rule in &profile.syscalls {
        let action = scmp_action(&rule.action, rule.errno_ret);
        for call in rule.names.iter().filter_map(|name| known(name)).filter(|_| action != default) {
            let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(comparison).collect();
            let repeats = (0..6).any(|i| rule.args.iter().filter(|arg| arg.index == i).count() > 1);
            if conditions.is_empty() {
                filter.add_rule(action, call).ok()?;
            } else if repeats {
                for condition in conditions {
                    filter.add_rule_conditional(action, call, &[condition]).ok()?;
                }
            } else {
                filter.add_rule_conditional(action, call, &conditions).ok()?;
            }
        }
    }
    let program = export(&filter, arches[0]);
    arches.iter().all(|arch| loads_number(&program, arch.token())).then_some(program)
}

/// libseccomp 2.5 sometimes forgets to load the number before the first comparison with it, when a call was looked for
/// behind a multiplexer or x32 and x86_64 share a section: then it compares the architecture.
fn loads_number(program: &[SockFilter], token: u32) -> bool {
    let mut at = 1;
    loop {
        let SockFilter { code, jt, jf, k } = program[at];
        at += 1 + match code {
            0x05 => k as usize,
            0x15 if k == token => {
                let first = program[at + 1 + usize::from(jt)];
                return first.code == 0x20 || first.code == 0x06;
            }
            0x15 => usize::from(jf),
            _ => return true,
        };
    }
}

fn scmp_action(name: &str, errno: Option<u32>) -> ScmpAction {
    match naive::action(name, errno) {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(errno.into()),
        Action::Trace(data) => ScmpAction::Trace(data),
        Action::Notify => ScmpAction::Notify,
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

fn comparison(arg: &SyscallArg) -> ScmpArgCompare {
    match arg.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => {
            ScmpArgCompare::new(arg.index, ScmpCompareOp::MaskedEqual(arg.value), arg.value_two)
        }
        op => ScmpArgCompare::new(arg.index, ScmpCompareOp::from_str(op).expect("an operator"), arg.value),
    }
}

/// The program in the byte order of this machine; libseccomp exports it in the order of its architecture.
fn export(filter: &ScmpFilterContext, arch: Arch) -> Vec<SockFilter> {
    use std::io::{Read, Seek};
    let fd = rustix::fs::memfd_create("bpf", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd_create");
    let mut file = std::fs::File::from(fd);
    filter.export_bpf(&file).expect("export");
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read a memfd");
    let swap = BIG.contains(&arch) != cfg!(target_endian = "big");
    let instruction = |b: &[u8]| {
        let (code, k) = (u16::from_ne_bytes([b[0], b[1]]), u32::from_ne_bytes([b[4], b[5], b[6], b[7]]));
        let (code, k) = if swap { (code.swap_bytes(), k.swap_bytes()) } else { (code, k) };
        SockFilter { code, jt: b[2], jf: b[3], k }
    };
    bytes.chunks_exact(8).map(instruction).collect()
}

/// Whether arguments have 32 bits for libseccomp.
fn is_narrow(arch: Arch) -> bool {
    !arch.wide() || arch == Arch::X32
}

fn arches() -> impl Strategy<Value = Vec<Arch>> {
    let families: Vec<Vec<Arch>> = LITTLE
        .into_iter()
        .chain(BIG)
        .filter(|native| *native != Arch::X32)
        .map(|native| {
            let others = LITTLE.into_iter().chain(BIG).filter(|arch| *arch != native && arch.runs_on(native));
            [native]
                .into_iter()
                .chain(others.filter(|arch| native != Arch::X86 || *arch != Arch::X32))
                .collect()
        })
        .collect();
    let some = |family: Vec<Arch>| {
        let others = family[1..].to_vec();
        let count = 0..=others.len();
        subsequence(others, count).prop_map(move |others| [family[0]].into_iter().chain(others).collect())
    };
    // What most users have, as often as all others together.
    let host = Just(vec![Arch::X86_64, Arch::X86, Arch::X32]);
    prop_oneof![host, select(families).prop_flat_map(some)]
}

const ACTIONS: [&str; 5] =
    ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];

/// Rules with one name each, and one action for each name: overlapping rules with different actions have no defined order
/// in libseccomp.
fn rules(arches: &[Arch]) -> impl Strategy<Value = Vec<SyscallRule>> + use<> {
    let narrow = arches.iter().any(|arch| is_narrow(*arch));
    let multiplexes = arches.iter().any(|arch| number_of(*arch, "socketcall").is_some());
    let rule = move |index: usize, shift: usize, args: Vec<SyscallArg>, conditional: bool| {
        let name = NAMES[index];
        let behind = tables::lookup(name).is_some_and(|call| call.multiplexed().is_some());
        let multiplexer = matches!(name, "socketcall" | "ipc");
        let conditional = conditional && !(multiplexes && (behind || multiplexer));
        SyscallRule {
            names: vec![name.to_string()],
            action: ACTIONS[(index + shift) % ACTIONS.len()].to_string(),
            errno_ret: None,
            args: if conditional { args } else { Vec::new() },
        }
    };
    let args = vec(argument(!narrow), 1..4).prop_map(|mut args| {
        for arg in &mut args {
            arg.value_two &= arg.value;
        }
        args
    });
    let known_names: Vec<usize> = (0..NAMES.len()).filter(|i| known(NAMES[*i]).is_some()).collect();
    let one = (select(known_names), args, any::<bool>());
    (0..ACTIONS.len(), vec(one, 0..14)).prop_map(move |(shift, list)| {
        let all = list.into_iter().map(|(index, args, conditional)| rule(index, shift, args, conditional));
        all.fold(Vec::new(), with_compatible)
    })
}

/// Adds a rule, unless libseccomp 2.5 mixes it up with others: of several comparisons of one call, other than for
/// equality of one argument, it can compare one word of the arguments with what another word has to be.
fn with_compatible(mut rules: Vec<SyscallRule>, rule: SyscallRule) -> Vec<SyscallRule> {
    let conditional = |rule: &&SyscallRule| !rule.args.is_empty();
    let others = rules.iter().filter(|other| other.names == rule.names).filter(conditional);
    let args: Vec<&SyscallArg> =
        others.chain([&rule].into_iter().filter(conditional)).flat_map(|r| &r.args).collect();
    let alone =
        args.len() == rule.args.len() && (0..6).all(|i| args.iter().filter(|a| a.index == i).count() < 2);
    let equalities = args.iter().all(|arg| arg.op == "SCMP_CMP_EQ" && arg.index == args[0].index);
    if rule.args.is_empty() || alone || equalities {
        rules.push(rule);
    }
    rules
}

fn profiles() -> impl Strategy<Value = (Seccomp, Vec<Arch>)> {
    const DEFAULTS: [&str; 5] =
        ["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"];
    let parts =
        |arches: Vec<Arch>| (select(&DEFAULTS[..]), option::of(0_u32..4096), rules(&arches), Just(arches));
    arches().prop_flat_map(parts).prop_map(|(default, errno, syscalls, arches)| {
        let profile = Seccomp {
            default_action: default.to_string(),
            default_errno_ret: errno.filter(|_| default == "SCMP_ACT_ERRNO"),
            architectures: arches.iter().map(|arch| arch.name().to_string()).collect(),
            syscalls,
            ..Seccomp::default()
        };
        (profile, arches)
    })
}

#[test]
fn decisions_are_libseccomps() {
    let decisions = Cell::new(0_usize);
    let compare = |(profile, arches): (Seccomp, Vec<Arch>)| {
        let Some(theirs) = reference(&profile, &arches) else {
            return Err(TestCaseError::reject("libseccomp refuses a rule, or gets it wrong"));
        };
        let ours = compile(&profile, arches[0]);
        for data in probes(&profile, arches[0]) {
            let data = without_differences(data);
            let decided = run(&ours.program, &data).map(Action::from_ret);
            // runc puts a stub in front of libseccomp's program.
            let stub = naive::newer(&profile, arches[0], &data);
            let expected = stub.map_or_else(|| run(&theirs, &data).map(Action::from_ret), Ok);
            prop_assert_eq!(decided, expected, "{:x?}\n{}\n{}", data, ours, Disassembly(&theirs));
            decisions.set(decisions.get() + 1);
        }
        Ok(())
    };
    let result = TestRunner::new(cases(400)).run(&profiles(), compare);
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} decisions compared", decisions.get());
    assert!(decisions.get() > 1_000_000, "{} decisions", decisions.get());
}

/// Takes the bits out of arguments that libseccomp looks at and the kernel does not, or the other way round.
fn without_differences(mut data: SeccompData) -> SeccompData {
    let x32 = data.arch == Arch::X32.token() && data.nr & 0x4000_0000 != 0;
    let arches: Vec<Arch> = Arch::all().filter(|a| a.token() == data.arch && *a != Arch::X32).collect();
    if x32 || arches.iter().any(|arch| is_narrow(*arch)) {
        data.args = data.args.map(|arg| arg & 0xffff_ffff);
    }
    if arches
        .iter()
        .any(|&arch| ["ipc", "socketcall"].iter().any(|name| number_of(arch, name) == Some(data.nr)))
    {
        data.args[0] &= 0xffff;
    }
    data
}

#[test]
fn numbers_are_libseccomps() {
    let mut different = Vec::new();
    for arch in LITTLE.into_iter().chain(BIG) {
        let multiplexes = number_of(arch, "socketcall").is_some();
        for name in tables::names() {
            let behind = tables::lookup(name).is_some_and(|call| call.multiplexed().is_some());
            // Names that this libseccomp is too old for are an error, those of other architectures are negative, and so
            // are those that can be multiplexed.
            let Ok(theirs) = ScmpSyscall::from_name_by_arch(name, scmp(arch)) else { continue };
            let theirs = u32::try_from(theirs.as_raw_syscall()).ok();
            if number_of(arch, name) != theirs && !(multiplexes && behind) {
                different.push((arch, name, number_of(arch, name), theirs));
            }
        }
    }
    // Newer kernels have it for x32 too.
    different.retain(|(arch, name, ..)| (*arch, *name) != (Arch::X32, "map_shadow_stack"));
    assert_eq!(different, []);
}
