//! Random profiles, and the system calls that are most likely to tell a wrong filter from a right one.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::config::{Seccomp, SyscallArg, SyscallRule};
use crate::seccomp::sim::SeccompData;
use crate::seccomp::{Arch, number_of};

/// Old and new calls, calls that only some architectures have, that are multiplexed, or that x32 numbers differently.
pub(super) const NAMES: [&str; 44] = [
    "read",
    "write",
    "open",
    "close",
    "stat",
    "fstat",
    "mmap",
    "mmap2",
    "rt_sigaction",
    "ioctl",
    "pread64",
    "readv",
    "socket",
    "socketcall",
    "connect",
    "send",
    "sendmsg",
    "accept4",
    "ipc",
    "semop",
    "shmat",
    "msgctl",
    "clone",
    "fork",
    "execve",
    "exit_group",
    "personality",
    "ptrace",
    "openat",
    "newfstatat",
    "unshare",
    "setns",
    "waitid",
    "execveat",
    "preadv2",
    "statx",
    "clock_gettime64",
    "clone3",
    "openat2",
    "futex_waitv",
    "cacheflush",
    "set_tls",
    "mseal",
    "file_setattr",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

fn with_errno(actions: &'static [&'static str]) -> impl Strategy<Value = (String, Option<u32>)> {
    (select(actions), option::of(0_u32..4096)).prop_map(|(action, errno)| {
        let has_errno = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
        (action.to_string(), errno.filter(|_| has_errno))
    })
}

const DEFAULTS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Without NOTIFY, which is not for every call.
const ACTIONS: [&str; 6] =
    ["SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];

/// Numbers of arguments; `wide` ones may need more than 32 bits.
pub(super) fn value(wide: bool) -> impl Strategy<Value = u64> {
    let max = if wide { u64::MAX } else { u32::MAX.into() };
    prop_oneof![
        0_u64..4,
        select(vec![40, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x7e02_0000]),
        select(vec![0x1_0000_0000, 0x1_0000_0001, 0x7_0000_0000, u64::MAX, u64::MAX - 1, 1 << 63]),
        any::<u64>(),
    ]
    .prop_map(move |value| if value > max { value & max } else { value })
}

pub(super) fn argument(wide: bool) -> impl Strategy<Value = SyscallArg> {
    (0_u32..6, value(wide), value(wide), select(&OPERATORS[..]), any::<bool>()).prop_map(
        |(index, value, second, op, sensible)| {
            // A masked comparison with bits outside the mask is never true; do not test only that.
            let masked = op == "SCMP_CMP_MASKED_EQ";
            let value_two = if !masked {
                0
            } else if sensible {
                second & value
            } else {
                second
            };
            SyscallArg {
                index: if second & 3 == 0 { index } else { 0 },
                value,
                value_two,
                op: op.to_string(),
            }
        },
    )
}

fn rule() -> impl Strategy<Value = SyscallRule> {
    let args = prop_oneof![2 => Just(Vec::new()), 3 => vec(argument(true), 1..4)];
    (vec(select(&NAMES[..]), 1..5), with_errno(&ACTIONS), args).prop_map(
        |(names, (action, errno_ret), args)| SyscallRule {
            names: names.into_iter().map(String::from).collect(),
            action,
            errno_ret,
            args,
        },
    )
}

pub(super) fn profile() -> impl Strategy<Value = Seccomp> {
    let arches = vec(select(Arch::all().collect::<Vec<_>>()), 0..10);
    (with_errno(&DEFAULTS), arches, vec(rule(), 0..12)).prop_map(
        |((default_action, default_errno_ret), arches, syscalls)| Seccomp {
            default_action,
            default_errno_ret,
            architectures: arches.iter().map(|arch| arch.name().to_string()).collect(),
            syscalls,
            ..Seccomp::default()
        },
    )
}

/// System calls around everything that the profile mentions.
pub(super) fn probes(profile: &Seccomp, native: Arch) -> Vec<SeccompData> {
    let mut arches: Vec<Arch> =
        Arch::all().filter(|a| profile.architectures.iter().any(|n| n == a.name())).collect();
    arches.extend([native, Arch::X32, Arch::X86]);
    let mut probes = Vec::new();
    for arch in arches {
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str);
        let numbers = names.chain(["socketcall", "ipc", "getpid"]).filter_map(|name| number_of(arch, name));
        let near = numbers.flat_map(|nr| [nr.wrapping_sub(1), nr, nr + 1, nr ^ 0x4000_0000]);
        let odd = [0, 470, 9999, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xc000_0000, u32::MAX];
        let mut numbers: Vec<u32> = near.chain(odd).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for nr in numbers {
            probes.extend(arguments(profile).into_iter().map(|args| SeccompData::new(arch, nr, args)));
        }
    }
    probes
}

/// Arguments around the values of the profile.
pub(super) fn arguments(profile: &Seccomp) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6], [1; 6], [0x1_0001; 6]];
    for arg in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        let (v, w) = (arg.value, arg.value_two);
        for value in [
            v,
            v.wrapping_add(1),
            v.wrapping_sub(1),
            w,
            w | !v,
            v ^ 1 << 32,
            v ^ 1 << 63,
            u64::from(v as u32),
        ] {
            let mut args = [v; 6];
            args[arg.index as usize] = value;
            all.push(args);
        }
    }
    all.truncate(40);
    all
}
