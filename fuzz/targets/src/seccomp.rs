//! The seccomp compiler and the simulator.

use corten_seccomp_profiles::{Circumstances, EngineProfile, Kernel, PLAIN, PROFILES};
use libcontainer::config::{Seccomp, SyscallArg, SyscallRule};
use libcontainer::error::FieldPath;
use libcontainer::seccomp::sim::{SeccompData, outcomes, run};
use libcontainer::seccomp::{self, Action, Arch, Filter, SockFilter, names, number_of};

/// The first byte chooses the machine, the rest is JSON: a profile in the engines' format, or a plain one.
pub fn profile(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let arch = machine(*choice);
    let Ok(profile) = EngineProfile::from_slice(text) else { return };
    let circumstances = Circumstances::of_engines(Kernel { major: 6, minor: u32::from(*choice) }, arch);
    let Ok(resolved) = profile.resolve(&circumstances) else { return };
    if let Ok(filter) = seccomp::compile(&resolved.profile, &FieldPath::root(), arch) {
        check(&filter, &resolved.profile, arch);
    }
}

pub fn profile_seeds() -> Vec<Vec<u8>> {
    let texts = PROFILES.iter().chain(&PLAIN).map(|(_, text)| *text);
    texts.enumerate().map(|(i, text)| [&[i as u8], text.as_bytes()].concat()).collect()
}

/// Bytes that are read as numbers: which names, actions and conditions. It comes to deeper places than text does.
pub fn rules(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let mut next = || bytes.next().unwrap_or_default();
    let arch = machine(next());
    let mut profile = Seccomp { default_action: action(next()), ..Seccomp::default() };
    profile.architectures =
        Arch::all().filter(|_| next() & 1 == 1).map(|arch| arch.name().to_owned()).collect();
    let known: Vec<&str> = names().collect();
    for _ in 0..next() % 64 {
        let names = (0..=next() % 8).map(|_| {
            let index = usize::from(u16::from_le_bytes([next(), next()]));
            known[index % known.len()].to_owned()
        });
        let names = names.collect();
        let args = (0..next() % 5).map(|_| condition(&mut next)).collect();
        profile.syscalls.push(SyscallRule { names, action: action(next()), errno_ret: None, args });
    }
    profile.listener_path = Some("/agent".to_owned());
    if let Ok(filter) = seccomp::compile(&profile, &FieldPath::root(), arch) {
        check(&filter, &profile, arch);
    }
}

pub fn rules_seeds() -> Vec<Vec<u8>> {
    let ramp = |step: u8| (0..200_u8).map(|i| i.wrapping_mul(step).wrapping_add(step)).collect();
    [1, 7, 31, 101, 255].map(ramp).into()
}

fn machine(choice: u8) -> Arch {
    let machines: Vec<Arch> = Arch::all().filter(|arch| *arch != Arch::X32).collect();
    machines[usize::from(choice) % machines.len()]
}

fn action(choice: u8) -> String {
    let words = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "LOG", "NOTIFY", "TRACE", "TRAP"];
    format!("SCMP_ACT_{}", words[usize::from(choice) % words.len()])
}

fn condition(next: &mut impl FnMut() -> u8) -> SyscallArg {
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let op = format!("SCMP_CMP_{}", operators[usize::from(next()) % operators.len()]);
    // Few bits, at any place: neighbours and halves are where mistakes are.
    let mut number = || (u64::from(next()) << (next() % 64)).wrapping_sub(u64::from(next() & 1));
    let (value, value_two) = (number(), number());
    SyscallArg { index: u32::from(next() % 6), value, value_two, op }
}

/// The program is as long as the kernel takes, does what is told of it, and can be shown.
fn check(filter: &Filter, profile: &Seccomp, arch: Arch) {
    assert!((1..=4096).contains(&filter.program.len()));
    let analysis = filter.analyse();
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let values = profile.syscalls.iter().flat_map(|rule| &rule.args).map(|arg| arg.value);
    let values: Vec<u64> = values.chain([0, u64::MAX]).take(12).collect();
    for arch in [arch, Arch::X86, Arch::X32].into_iter().filter(|other| other.runs_on(arch)) {
        for nr in names.clone().take(24).filter_map(|name| number_of(arch, name)) {
            for value in &values {
                let args = [*value; 6];
                let does = run(&filter.program, &SeccompData::new(arch, nr, args)).map(Action::from_ret);
                let told = analysis.explain(arch, nr, &args.map(Some)).outcomes;
                assert_eq!(told.iter().map(|(action, _)| Ok(*action)).collect::<Vec<_>>(), [does]);
            }
            assert!(outcomes(&filter.program, arch, nr, &[None; 6]).is_ok());
        }
    }
    if filter.program.len() < 200 {
        assert_eq!(analysis.annotate().to_string().lines().count(), filter.program.len());
    }
}

/// Any program: the simulator ends, whatever it is given.
pub fn program(data: &[u8]) {
    let program: Vec<SockFilter> = data.chunks_exact(8).take(4096).map(instruction).collect();
    let call = SeccompData::new(Arch::X86_64, 1, [1, 2, 3, 4, 5, 6]);
    let known = run(&program, &call);
    if let (Ok(ret), Ok(all)) = (known, outcomes(&program, Arch::X86_64, 1, &[None; 6])) {
        // Where an instruction pointer is looked at, `run` has one and `outcomes` none.
        assert!(all.contains(&ret), "{ret:#x} is not in {all:x?}");
    }
    let _ = seccomp::Disassembly(&program).to_string();
}

fn instruction(bytes: &[u8]) -> SockFilter {
    let k = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    SockFilter { code: u16::from_le_bytes([bytes[0], bytes[1]]), jt: bytes[2], jf: bytes[3], k }
}

pub fn program_seeds() -> Vec<Vec<u8>> {
    let profile = |text: &str| EngineProfile::from_slice(text.as_bytes()).ok();
    let resolved = PROFILES.iter().filter_map(|(_, text)| {
        profile(text)?.resolve(&Circumstances::of_engines(Kernel { major: 6, minor: 18 }, Arch::X86_64)).ok()
    });
    let filters =
        resolved.filter_map(|r| seccomp::compile(&r.profile, &FieldPath::root(), Arch::X86_64).ok());
    let bytes = |i: &SockFilter| {
        let [a, b] = i.code.to_le_bytes();
        let k = i.k.to_le_bytes();
        [a, b, i.jt, i.jf, k[0], k[1], k[2], k[3]]
    };
    let mut seeds: Vec<Vec<u8>> = filters.map(|f| f.program.iter().flat_map(bytes).collect()).collect();
    // One unknown jump after the other, each with another sum.
    let adds = (0..60).flat_map(|i| {
        let op = |code, jt, k| SockFilter { code, jt, jf: 0, k };
        [op(0x20, 0, 16), op(0x15, 1, i), op(0x04, 0, 1 << (i % 32)), op(0x02, 0, i % 16)]
    });
    let end = SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    seeds.push(adds.chain([end]).collect::<Vec<_>>().iter().flat_map(bytes).collect());
    seeds
}
