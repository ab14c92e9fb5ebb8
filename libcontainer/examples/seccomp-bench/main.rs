//! What a filter costs, beside libseccomp's in one run: to compile it, to load it, and at each system call.
//!
//! `cargo xtask bench seccomp [PROFILE]` runs it; see docs/seccomp.md. PROFILE is a `linux.seccomp` object.

mod reference;
mod sys;

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use libcontainer::config::Seccomp;
use libcontainer::error::FieldPath;
use libcontainer::seccomp::{self, Arch, SockFilter};

/// Compiles anew in processes of their own, for what the first time costs.
const PROCESSES: usize = 31;
const COMPILES: usize = 201;
const REFERENCE_COMPILES: usize = 11;
const LOADS: usize = 31;
/// Processes that make the calls, and calls in each of them.
const CALLERS: usize = 11;
const CALLS: u32 = 100_000;

/// Label, number on x86_64 and arguments of calls that return at once.
const CALLED: [(&str, i64, [u64; 2]); 4] = [
    ("allowed (getppid)", libc::SYS_getppid, [0, 0]),
    ("denied (vhangup)", libc::SYS_vhangup, [0, 0]),
    ("allowed by its argument (personality)", libc::SYS_personality, [0xffff_ffff, 0]),
    ("denied by its argument (personality)", libc::SYS_personality, [1, 0]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: seccomp-bench PROFILE")?;
    let mut profile: Seccomp = serde_json::from_slice(&std::fs::read(path)?)?;
    profile.architectures = ["X86_64", "X86", "X32"].map(|arch| format!("SCMP_ARCH_{arch}")).to_vec();
    if args.get(2).is_some_and(|arg| arg == "once") {
        let begin = Instant::now();
        std::hint::black_box(compile(&profile));
        println!("{}", begin.elapsed().as_nanos());
        return Ok(());
    }
    let rules: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    println!("{path}: {} rules, {rules} names, x86_64 + x86 + x32; medians\n", profile.syscalls.len());
    println!("| | corten | libseccomp {}, tree | libseccomp, list |", reference::version());
    println!("|---|---|---|---|");
    report(&profile, path)
}

fn report(profile: &Seccomp, path: &str) -> Result<(), Box<dyn Error>> {
    let ours = compile(profile);
    let tree = reference::compile(profile, true);
    let list = reference::compile(profile, false);
    let programs = [&ours, &tree, &list];
    row("instructions", programs.map(|program| program.len().to_string()));

    let theirs = |tree: bool| median(REFERENCE_COMPILES, || timed(|| reference::compile(profile, tree)));
    let compiled = [median(COMPILES, || timed(|| compile(profile))), theirs(true), theirs(false)];
    row("compile", compiled.map(micros));
    let once = || -> Option<Duration> {
        let output = Command::new(std::env::current_exe().ok()?).args([path, "once"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok().map(Duration::from_nanos)
    };
    let first = median(PROCESSES, || once().unwrap_or_default());
    row("compile, first in a process", [micros(first), "".into(), "".into()]);
    let loaded = interleaved(LOADS, programs, |program| sys::time_load(program));
    row("load", loaded.map(micros));
    let sum: Vec<Duration> = compiled.iter().zip(loaded).map(|(compile, load)| *compile + load).collect();
    row("compile and load", [0, 1, 2].map(|i| micros(sum[i])));
    let factor = |i: usize| format!("{:.0} times", sum[i].as_secs_f64() / sum[0].as_secs_f64());
    row("", ["1".into(), factor(1), factor(2)]);

    let none: &Vec<SockFilter> = &Vec::new();
    for (label, nr, args) in CALLED {
        let times = interleaved(CALLERS, [&ours, &tree, &list, none], |program| {
            sys::time_calls(program, nr, args, CALLS) / CALLS
        });
        let [a, b, c, without] = times.map(|time| format!("{} ns", time.as_nanos()));
        row(&format!("call {label}; without a filter {without}"), [a, b, c]);
    }
    Ok(())
}

fn compile(profile: &Seccomp) -> Vec<SockFilter> {
    match seccomp::compile(profile, &FieldPath::new("linux.seccomp"), Arch::X86_64) {
        Ok(filter) => filter.program,
        Err(error) => panic!("{error}"),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begin = Instant::now();
    std::hint::black_box(work());
    begin.elapsed()
}

fn median(runs: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..runs).map(|_| measure()).collect();
    times.sort_unstable();
    times[runs / 2]
}

/// Measures all in turn, so that what else happens on the machine hits all alike.
fn interleaved<const N: usize>(
    runs: usize,
    programs: [&Vec<SockFilter>; N],
    measure: impl Fn(&[SockFilter]) -> Duration,
) -> [Duration; N] {
    let rounds: Vec<[Duration; N]> = (0..runs).map(|_| programs.map(|program| measure(program))).collect();
    std::array::from_fn(|i| {
        let mut times: Vec<Duration> = rounds.iter().map(|round| round[i]).collect();
        times.sort_unstable();
        times[runs / 2]
    })
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

fn row(label: &str, cells: [String; 3]) {
    println!("| {label} | {} |", cells.join(" | "));
}
