//! What each verb costs, in numbers that do not depend on the machine: a guard against paying more by accident.
//!
//! The bounds are what corten needed when they were written, and a little more. Whoever exceeds them with good reason
//! raises them; whoever stays far below lowers them. `corten-conformance --filter counts/` prints the present numbers.

use crate::driver::FIGURES;
use crate::failure::{Failure, Verdict};
use crate::faults::{BASE, Needed, Scenario, follow};
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, ensure};
use serde_json::json;

/// The most that a verb may need.
#[derive(Clone, Copy)]
struct Bounds {
    /// System calls of the command, and of the processes that it makes, until these execute their program.
    calls: usize,
    /// Processes, the command itself among them.
    processes: usize,
    /// mount(2) and move_mount(2).
    mounts: usize,
    /// Memory of the command's own at its end, in KiB: heap, stack and relocated data. That of a debug build is the
    /// larger one.
    memory: u64,
}

const PLAIN: Scenario = Scenario { bundle: sleeper, ..BASE };

/// The verbs on a container of the harness's plain bundle, in a unified hierarchy: on version 1, calls and mounts depend
/// on how many hierarchies there are.
static TABLE: [(Scenario, Bounds); 7] = [
    (
        Scenario {
            name: "run",
            needs: Needed::Nothing,
            bundle: plain,
            words: &["run", "-b", "BUNDLE", "ID"],
            ..PLAIN
        },
        Bounds { calls: 575, processes: 2, mounts: 17, memory: 900 },
    ),
    (
        Scenario {
            name: "create",
            needs: Needed::Nothing,
            words: &["create", "--pid-file", "PIDFILE", "-b", "BUNDLE", "ID"],
            ..PLAIN
        },
        Bounds { calls: 555, processes: 2, mounts: 17, memory: 880 },
    ),
    (
        Scenario {
            name: "start",
            needs: Needed::Created,
            follows_init: true,
            words: &["start", "ID"],
            ..PLAIN
        },
        Bounds { calls: 92, processes: 2, mounts: 0, memory: 800 },
    ),
    (
        Scenario { name: "exec", words: &["exec", "ID", "/bin/probe", "exit", "0"], ..PLAIN },
        Bounds { calls: 282, processes: 3, mounts: 0, memory: 820 },
    ),
    (
        Scenario { name: "state", words: &["state", "ID"], ..PLAIN },
        Bounds { calls: 50, processes: 1, mounts: 0, memory: 680 },
    ),
    (
        Scenario { name: "kill", words: &["kill", "ID", "KILL"], ..PLAIN },
        Bounds { calls: 52, processes: 1, mounts: 0, memory: 680 },
    ),
    (
        Scenario { name: "delete", words: &["delete", "--force", "ID"], ..PLAIN },
        Bounds { calls: 56, processes: 1, mounts: 0, memory: 680 },
    ),
];

pub fn cases() -> Vec<Case> {
    let case = |(scenario, bounds): &'static (Scenario, Bounds)| {
        let body = move |ctx: &Ctx| judge(ctx, scenario, *bounds);
        let case = Case::new(format!("counts/{}", scenario.name), &["LIF-13"], body).practice();
        case.needs(&[Need::Unified, Need::X86_64])
    };
    TABLE.iter().map(case).collect()
}

fn plain(ctx: &Ctx) -> Result<Bundle, Failure> {
    bundle(ctx, &["exit", "0"])
}

fn sleeper(ctx: &Ctx) -> Result<Bundle, Failure> {
    bundle(ctx, &["sleep"])
}

/// With the masked and read-only paths that are there on every machine: each is a mount.
fn bundle(ctx: &Ctx, step: &[&str]) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/maskedPaths", json!(["/proc/acpi", "/proc/keys", "/proc/timer_list", "/sys/firmware"]));
    b.set("/linux/readonlyPaths", json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]));
    b.steps(&[step]);
    Ok(b)
}

fn judge(ctx: &Ctx, scenario: &'static Scenario, bounds: Bounds) -> Verdict {
    if ctx.settings.name != "corten" {
        return Err(Failure::skip("the bounds are corten's own"));
    }
    let trace = follow(ctx, scenario)?;
    let is_mount = |call: &&u64| **call == libc::SYS_mount as u64 || **call == libc::SYS_move_mount as u64;
    let calls: Vec<usize> = trace.calls.iter().map(Vec::len).collect();
    let found = Bounds {
        calls: calls.iter().sum(),
        processes: calls.len(),
        mounts: trace.calls.iter().flatten().filter(is_mount).count(),
        memory: trace.anonymous.unwrap_or(0),
    };
    let Bounds { processes, mounts, memory, .. } = found;
    eprintln!(
        "{FIGURES}{:<7} calls {calls:?} = {}, processes {processes}, mounts {mounts}, memory {memory} KiB",
        scenario.name, found.calls
    );
    within(scenario.name, "system calls", found.calls, bounds.calls)?;
    within(scenario.name, "processes", processes, bounds.processes)?;
    within(scenario.name, "mounts", mounts, bounds.mounts)?;
    within(scenario.name, "KiB of memory", memory as usize, bounds.memory as usize)
}

fn within(verb: &str, what: &str, found: usize, bound: usize) -> Verdict {
    let above = found.saturating_sub(bound);
    ensure!(
        found <= bound,
        "{verb} needs {found} {what}, {above} more than the {bound} that {} allows: find out what they buy, \
         and raise the bound if it is worth that",
        file!()
    );
    Ok(())
}
