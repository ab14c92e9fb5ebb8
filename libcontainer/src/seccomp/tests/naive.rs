//! What a profile means, straight from its text: no rules, no maps, no code. Slow and simple, to compare with.

use crate::config::{Seccomp, SyscallArg, SyscallRule};
use crate::seccomp::sim::SeccompData;
use crate::seccomp::{Action, Arch, number_of};

const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

const IPCS: [(u64, &str); 12] = [
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

pub(super) fn decide(profile: &Seccomp, native: Arch, data: &SeccompData) -> Action {
    let default = action(&profile.default_action, profile.default_errno_ret);
    let arch = match arch_of(profile, native, data) {
        Some(_) if is_skipped(profile, native, data) => return default,
        Some(arch) => arch,
        None => return Action::KillThread,
    };
    let active: Vec<&SyscallRule> =
        profile.syscalls.iter().filter(|rule| action(&rule.action, rule.errno_ret) != default).collect();
    if let Some(action) = newer(profile, native, data) {
        return action;
    }
    let named: Vec<&SyscallRule> = active
        .iter()
        .copied()
        .filter(|rule| rule.names.iter().any(|name| number_of(arch, name) == Some(data.nr)))
        .collect();
    by_rules(&named, arch, &data.args).or_else(|| behind(&active, arch, data)).unwrap_or(default)
}

fn listed(profile: &Seccomp, native: Arch, arch: Arch) -> bool {
    arch == native || arch.runs_on(native) && profile.architectures.iter().any(|name| name == arch.name())
}

/// The number -1, as a tracer sets it.
fn is_skipped(profile: &Seccomp, native: Arch, data: &SeccompData) -> bool {
    let x86_64 = data.arch == Arch::X86_64.token();
    x86_64 && data.nr == u32::MAX && !listed(profile, native, Arch::X32)
}

/// The architecture that a call is of, if the filter is for it.
fn arch_of(profile: &Seccomp, native: Arch, data: &SeccompData) -> Option<Arch> {
    let arch = if data.arch != Arch::X86_64.token() {
        Arch::all().find(|arch| arch.token() == data.arch)
    } else if is_skipped(profile, native, data) {
        Some(Arch::X86_64)
    } else if data.nr & 0x4000_0000 != 0 || data.nr > 0x4000_0000 && !listed(profile, native, Arch::X32) {
        Some(Arch::X32)
    } else {
        Some(Arch::X86_64)
    };
    arch.filter(|arch| listed(profile, native, *arch))
}

/// ENOSYS, if the call is newer than the profile.
pub(super) fn newer(profile: &Seccomp, native: Arch, data: &SeccompData) -> Option<Action> {
    let arch = arch_of(profile, native, data)?;
    let default = action(&profile.default_action, profile.default_errno_ret);
    let strict = !matches!(default, Action::Allow | Action::Log | Action::Trace(_));
    let rules: Vec<&SyscallRule> = profile.syscalls.iter().collect();
    let skipped = is_skipped(profile, native, data);
    (strict && !skipped && is_newer(&rules, arch, data.nr)).then(|| enosys(arch))
}

/// Greater than every number that the profile mentions, and not one of ARM's private ones; 0 on s390 means the same.
fn is_newer(rules: &[&SyscallRule], arch: Arch, nr: u32) -> bool {
    let number = |name: &String| {
        let multiplexer = if SOCKETCALLS.contains(&&**name) {
            "socketcall"
        } else if IPCS.iter().any(|(_, call)| call == name) {
            "ipc"
        } else {
            ""
        };
        number_of(arch, name).or(number_of(arch, multiplexer))
    };
    let public = |nr: &u32| arch != Arch::Arm || *nr < 0xf0000;
    let numbers = rules.iter().flat_map(|rule| &rule.names).filter_map(number).filter(public);
    match numbers.max() {
        None => false,
        Some(_) if nr == 0 && matches!(arch, Arch::S390 | Arch::S390x) => true,
        Some(newest) => nr > newest && public(&nr),
    }
}

fn by_rules(rules: &[&SyscallRule], arch: Arch, args: &[u64; 6]) -> Option<Action> {
    let rule = rules
        .iter()
        .find(|rule| rule.args.is_empty())
        .or_else(|| rules.iter().find(|rule| alternatives(rule).iter().any(|all| holds(all, arch, args))));
    rule.map(|rule| action(&rule.action, rule.errno_ret))
}

/// What is said of the call that a multiplexer is asked for.
fn behind(rules: &[&SyscallRule], arch: Arch, data: &SeccompData) -> Option<Action> {
    let call = if number_of(arch, "socketcall") == Some(data.nr) {
        let number = data.args[0] as u32;
        (number as usize).checked_sub(1).and_then(|i| SOCKETCALLS.get(i)).copied()
    } else if number_of(arch, "ipc") == Some(data.nr) {
        IPCS.iter().find(|(number, _)| *number == data.args[0] & 0xffff).map(|(_, name)| *name)
    } else {
        None
    }?;
    let named: Vec<&&SyscallRule> =
        rules.iter().filter(|rule| rule.names.iter().any(|name| name == call)).collect();
    let of = |rule: &SyscallRule| action(&rule.action, rule.errno_ret);
    if let Some(rule) = named.iter().find(|rule| rule.args.is_empty()) {
        return Some(of(rule));
    }
    let applicable = |rule: &SyscallRule| {
        alternatives(rule).iter().filter(|all| all.iter().all(|arg| can_hold(arg, arch))).count() > 0
    };
    let certain =
        |rule: &SyscallRule| alternatives(rule).iter().any(|all| all.iter().all(|arg| must_hold(arg, arch)));
    let mut forbidding = None;
    for rule in named {
        if forbidding.is_none() && applicable(rule) && !of(rule).permits() {
            forbidding = Some(of(rule));
        }
        if certain(rule) {
            return forbidding.or(Some(of(rule)));
        }
    }
    forbidding
}

/// Conditions that have to hold together; several if an argument is named twice.
fn alternatives(rule: &SyscallRule) -> Vec<Vec<&SyscallArg>> {
    let mut indices: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
    indices.sort_unstable();
    indices.dedup();
    if indices.len() == rule.args.len() {
        vec![rule.args.iter().collect()]
    } else {
        rule.args.iter().map(|arg| vec![arg]).collect()
    }
}

fn holds(all: &[&SyscallArg], arch: Arch, args: &[u64; 6]) -> bool {
    all.iter().all(|arg| compare(arg, args[arg.index as usize] & greatest(arch)))
}

fn greatest(arch: Arch) -> u64 {
    let narrow = [
        "X86",
        "ARM",
        "MIPS",
        "MIPSEL",
        "MIPS64N32",
        "MIPSEL64N32",
        "PPC",
        "S390",
        "PARISC",
        "M68K",
        "SH",
        "SHEB",
    ];
    if narrow.contains(&arch.name().trim_start_matches("SCMP_ARCH_")) { u32::MAX.into() } else { u64::MAX }
}

fn compare(arg: &SyscallArg, value: u64) -> bool {
    match arg.op.as_str() {
        "SCMP_CMP_NE" => value != arg.value,
        "SCMP_CMP_LT" => value < arg.value,
        "SCMP_CMP_LE" => value <= arg.value,
        "SCMP_CMP_EQ" => value == arg.value,
        "SCMP_CMP_GE" => value >= arg.value,
        "SCMP_CMP_GT" => value > arg.value,
        "SCMP_CMP_MASKED_EQ" => value & arg.value == arg.value_two,
        other => panic!("{other}"),
    }
}

/// Values that between them satisfy a condition if any does, and violate it if any does.
fn telling(arg: &SyscallArg, arch: Arch) -> impl Iterator<Item = u64> {
    let near = [arg.value.wrapping_sub(1), arg.value, arg.value.wrapping_add(1), 0, u64::MAX, arg.value_two];
    let max = greatest(arch);
    let bits = (0..64).map(|bit| 1 << bit);
    near.into_iter().chain([u32::MAX.into()]).chain(bits).filter(move |value| *value <= max)
}

fn can_hold(arg: &SyscallArg, arch: Arch) -> bool {
    telling(arg, arch).any(|value| compare(arg, value))
}

fn must_hold(arg: &SyscallArg, arch: Arch) -> bool {
    telling(arg, arch).all(|value| compare(arg, value))
}

fn enosys(arch: Arch) -> Action {
    let name = arch.name();
    Action::Errno(if name.contains("MIPS") {
        89
    } else if name.contains("PARISC") {
        251
    } else {
        38
    })
}

pub(super) fn action(name: &str, errno: Option<u32>) -> Action {
    let errno = errno.unwrap_or(1) as u16;
    match name.trim_start_matches("SCMP_ACT_") {
        "KILL" | "KILL_THREAD" => Action::KillThread,
        "KILL_PROCESS" => Action::KillProcess,
        "TRAP" => Action::Trap,
        "ERRNO" => Action::Errno(errno),
        "TRACE" => Action::Trace(errno),
        "LOG" => Action::Log,
        "NOTIFY" => Action::Notify,
        "ALLOW" => Action::Allow,
        other => panic!("{other}"),
    }
}
