//! `bench --profile`: where the time of one `corten run` goes, by phase.
//!
//! Nothing is compiled into corten for this. It runs under ptrace(2), which stops it before and after each system call;
//! the time between two stops belongs to the phase that the last call began. A stop costs time as well: the shares are
//! what to look at, and the time of a run that is not traced is divided by them.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;

use super::lane::Lane;
use super::places::Places;
use super::scenario::Scenario;
use super::stats::Summary;
use super::subject::Subject;
use crate::error::{Doing, Error, Result};
use crate::sys::calls::{self, Call};

/// What corten does, in order. Each begins with the first system call that fits.
struct Phase {
    name: &'static str,
    begins: fn(&Call) -> bool,
}

const PARENT: [Phase; 6] = [
    Phase { name: "start-up: exec, relocation, the C library", begins: |_| true },
    Phase { name: "read config.json, check and compile it", begins: |call| call.opens("config.json") },
    Phase {
        name: "state, cgroup and socket",
        begins: |call| call.is(libc::SYS_mkdir) || call.is(libc::SYS_mkdirat),
    },
    Phase { name: "clone: the kernel makes the namespaces", begins: |call| call.is(libc::SYS_clone3) },
    Phase {
        name: "beside the child: devices, state; then waiting",
        begins: |call| call.follows(libc::SYS_clone3),
    },
    Phase {
        name: "clean-up: cgroup, state, end",
        begins: |call| call.is(libc::SYS_rmdir) || call.is(libc::SYS_unlinkat),
    },
];

const CHILD: [Phase; 4] = [
    Phase { name: "child: start", begins: |_| true },
    Phase {
        name: "child: mounts and devices",
        begins: |call| {
            [libc::SYS_fsopen, libc::SYS_open_tree, libc::SYS_mount_setattr, libc::SYS_mount]
                .iter()
                .any(|nr| call.is(*nr))
        },
    },
    Phase { name: "child: pivot_root, masks, hostname", begins: |call| call.is(libc::SYS_pivot_root) },
    Phase {
        name: "child: identity, descriptors, the gate",
        begins: |call| {
            [libc::SYS_setgroups, libc::SYS_setresuid, libc::SYS_capset].iter().any(|nr| call.is(*nr))
        },
    },
];

/// Traces `runs` runs of the plain bundle and prints the medians.
pub fn print(corten: &Subject, places: &Places, runs: usize) -> Result<ExitCode> {
    let bundle = places.bundle_true()?;
    let line = places.line(corten, &["run", "--bundle", &bundle, "xtask-profile"]);
    let Some(mut plain) = Lane::new(Scenario::Run, corten, &[], places)? else { return Err(Error::Usage) };
    let mut times: HashMap<&'static str, Vec<f64>> = HashMap::new();
    let (mut counts, mut totals) = (HashMap::new(), Vec::new());
    for _ in 0..runs {
        let sample = plain.sample(places)?;
        plain.samples.extend(sample);
        let begin = Instant::now();
        let trace = calls::trace(&line, begin).doing(|| "trace corten".to_owned())?;
        totals.push(begin.elapsed().as_secs_f64() * 1e6);
        let mut sums: HashMap<&'static str, (f64, usize)> = HashMap::new();
        attribute(&trace, 0, &PARENT, &mut sums);
        attribute(&trace, 1, &CHILD, &mut sums);
        for (name, (time, number)) in sums {
            times.entry(name).or_default().push(time);
            counts.insert(name, number);
        }
    }
    let median = |values: &[f64]| Summary::of(values).map_or(0.0, |summary| summary.median);
    let (traced, untraced) = (median(&totals), median(&plain.samples));
    println!("run: {:.2} ms; traced: {:.2} ms; {runs} runs\n", untraced / 1e3, traced / 1e3);
    println!("| phase | system calls | traced, ms | of the run |\n|---|---:|---:|---:|");
    for phase in PARENT.iter().chain(&CHILD) {
        let Some(values) = times.get(phase.name) else { continue };
        let time = median(values);
        let (number, share) = (counts[phase.name], 100.0 * time / traced);
        println!("| {} | {number} | {:.2} | {share:.0} % |", phase.name, time / 1e3);
    }
    println!(
        "\nThe child's phases run beside the parent's \"beside the child\", so the shares sum up to more than 100 %."
    );
    Ok(ExitCode::SUCCESS)
}

/// Adds the time from each call of a process to its next one to the phase that it belongs to.
fn attribute(
    trace: &[Call],
    process: usize,
    phases: &[Phase],
    sums: &mut HashMap<&'static str, (f64, usize)>,
) {
    let own: Vec<&Call> = trace.iter().filter(|call| call.process == process).collect();
    let mut phase = 0;
    let mut last = own.first().map_or(0.0, |call| if process == 0 { 0.0 } else { call.begin });
    for call in &own {
        // Phases come in order; one that does not occur is passed over.
        if let Some(next) = (phase + 1..phases.len()).find(|next| (phases[*next].begins)(call)) {
            phase = next;
        }
        let entry = sums.entry(phases[phase].name).or_default();
        entry.0 += call.end - last;
        entry.1 += 1;
        last = call.end;
    }
}
