//! Many containers at a time: nothing is left of them, and none costs more for the others.

use crate::driver::FIGURES;
use crate::failure::Verdict;
use crate::process::Cmd;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Failure, cgroup, ensure, ensure_eq, leaks, sys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("stress/many-containers", &["ST-04", "LIF-10"], many).practice().limit(1200),
        Case::new("stress/many-containers-unified", &["ST-04", "LIF-10"], many)
            .practice()
            .limit(1200)
            .needs(&[Need::Unified]),
    ]
}

/// What a command took.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    /// On a processor.
    busy: Duration,
    /// read(2) and write(2) calls, and the bytes that they moved: unlike time, no matter of the machine's other work.
    calls: u64,
    bytes: u64,
}

/// The costs of each verb, in order.
type Costs = BTreeMap<&'static str, Vec<Cost>>;

fn many(ctx: &Ctx) -> Verdict {
    // With CORTEN_STRESS a thousand, otherwise enough to see a slope.
    let count = if ctx.settings.stress_cycles >= 300 { 1000 } else { 40 };
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let limits = limits(ctx);
    for (member, values) in &limits {
        b.set(&format!("/linux/resources/{member}"), values[0].clone());
    }
    b.save()?;
    let mut costs = Costs::new();
    let mut containers = Vec::with_capacity(count);
    for i in 0..count {
        containers.push(create(ctx, &b, &mut costs)?);
        if i + 1 == count / 20 {
            list(ctx, i + 1, "list of few", &mut costs)?;
        }
    }
    list(ctx, count, "list", &mut costs)?;
    let document: BTreeMap<_, _> = limits.iter().map(|(member, values)| (member, &values[1])).collect();
    let document = serde_json::to_vec(&document)?;
    for (verb, options) in [
        ("pause", &["pause"][..]),
        ("resume", &["resume"]),
        ("update", &["update", "-r", "-"]),
        ("state", &["state"]),
    ] {
        for c in &containers {
            measure(&mut costs, verb, c.cmd(options).stdin(document.clone()))?;
        }
    }
    for c in containers {
        delete(ctx, &c, &mut costs)?;
    }
    ensure!(cgroup::find(&ctx.id_prefix()).is_empty(), "cgroups are left");
    ensure_eq!(leaks::state_left(&ctx.state_root()), Vec::<String>::new(), "state left behind");
    print(&costs, count);
    judge(&costs)
}

/// A limit that this hierarchy has, with the values of `create` and `update`.
fn limits(ctx: &Ctx) -> Vec<(&'static str, [Value; 2])> {
    let pages = |limit: u64| json!([{"pageSize": "2MB", "limit": limit}]);
    let all = [
        ("pids", Need::V1("pids"), [json!({"limit": 20}), json!({"limit": 30})]),
        ("pids", Need::V2("pids"), [json!({"limit": 20}), json!({"limit": 30})]),
        ("hugepageLimits", Need::V2("hugetlb"), [pages(1 << 21), pages(1 << 22)]),
    ];
    let there = all.into_iter().find(|(_, need, _)| ctx.host.lacks(*need).is_none());
    there.map(|(member, _, values)| (member, values)).into_iter().collect()
}

fn create<'c>(ctx: &'c Ctx, b: &Bundle, costs: &mut Costs) -> Result<Container<'c>, Failure> {
    let mut c = Container::new(ctx, &ctx.id());
    let pid_file = ctx.scratch().join(format!("{}.pid", c.id));
    let cmd = ctx.rt(["create", "-b"]).arg(&b.dir).arg("--pid-file").arg(&pid_file).arg(&c.id);
    measure(costs, "create", cmd)?;
    c.pid = fs::read_to_string(&pid_file)?.parse().unwrap_or(0);
    measure(costs, "start", c.cmd(&["start"]))?;
    Ok(c)
}

fn list(ctx: &Ctx, count: usize, name: &'static str, costs: &mut Costs) -> Verdict {
    let text = measure(costs, name, ctx.rt(["list", "--format", "json"]))?;
    let listed: Vec<Value> = serde_json::from_str(&text)?;
    ensure_eq!(listed.len(), count, "containers in the list");
    ensure!(listed.iter().all(|c| c["status"] == "running"), "not all are running");
    Ok(())
}

fn delete(ctx: &Ctx, c: &Container<'_>, costs: &mut Costs) -> Verdict {
    measure(costs, "delete", c.cmd(&["delete", "--force"]))?;
    // What nobody has reaped yet is still a process.
    let gone = ctx.wait_for(Duration::from_secs(10), || {
        sys::reap(c.pid);
        !fs::exists(format!("/proc/{}", c.pid)).unwrap_or(true)
    });
    ensure!(gone, "init {} is left", c.pid);
    Ok(())
}

/// Runs a command, which has to succeed. What it printed.
fn measure(costs: &mut Costs, verb: &'static str, cmd: Cmd) -> Result<String, Failure> {
    let begin = Instant::now();
    let running = cmd.spawn()?;
    let pidfd = sys::pidfd_open(running.pid())?;
    sys::wait_readable(&pidfd, crate::process::LIMIT)?;
    let time = begin.elapsed();
    // It has ended and is not reaped yet.
    let io = fs::read_to_string(format!("/proc/{}/io", running.pid())).unwrap_or_default();
    let field = |names: [&str; 2]| -> u64 {
        let value = |l: &str| l.split_once(": ").filter(|(n, _)| names.contains(n))?.1.parse::<u64>().ok();
        io.lines().filter_map(value).sum()
    };
    let own = fs::read_to_string(format!("/proc/{}/schedstat", running.pid())).unwrap_or_default();
    let busy = own.split(' ').next().and_then(|ns| ns.parse().ok()).map_or(time, Duration::from_nanos);
    let cost = Cost { time, busy, calls: field(["syscr", "syscw"]), bytes: field(["rchar", "wchar"]) };
    costs.entry(verb).or_default().push(cost);
    Ok(running.finish()?.ok()?.stdout)
}

/// The median of a part of the commands.
fn median<T: Ord + Copy>(costs: &[Cost], of: impl Fn(&Cost) -> T) -> T {
    let mut values: Vec<T> = costs.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The first and the last twentieth.
fn ends(costs: &[Cost]) -> [&[Cost]; 2] {
    let part = (costs.len() / 20).max(1);
    [&costs[..part], &costs[costs.len() - part..]]
}

fn print(costs: &Costs, count: usize) {
    eprintln!(
        "{FIGURES}{count} containers; medians of the first and the last twentieth: time, on a processor, calls, bytes"
    );
    for (verb, costs) in costs {
        let row = |part: &[Cost]| {
            format!(
                "{:>8.1?} {:>8.1?} {:>4} {:>7}",
                median(part, |c| c.time),
                median(part, |c| c.busy),
                median(part, |c| c.calls),
                median(part, |c| c.bytes)
            )
        };
        let [first, last] = ends(costs).map(row);
        eprintln!("{FIGURES}{verb:<12} {first}   {last}");
    }
}

/// Each verb reads and writes as much for the last containers as for the first ones, but for the digits of numbers.
fn judge(costs: &Costs) -> Verdict {
    for (verb, costs) in costs {
        let [first, last] = ends(costs);
        for (what, of) in [("calls", (|c| c.calls) as fn(&Cost) -> u64), ("bytes", |c| c.bytes)] {
            let (before, after) = (median(first, of), median(last, of));
            let most = before + before / 10 + 64;
            ensure!(after <= most, "{verb}: {before} {what} for the first containers, {after} for the last");
        }
    }
    Ok(())
}
