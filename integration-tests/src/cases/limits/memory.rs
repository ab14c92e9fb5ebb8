//! Memory: who is killed, who is not, and what is said about it.

use super::{MIB, case, go, read, requires, start, update};
use crate::failure::{Failure, Verdict};
use crate::process::Running;
use crate::registry::{Case, Need};
use crate::{Container, Ctx, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const USAGE: (&str, &str) = ("memory", "memory.usage_in_bytes");
const LIMIT: (&str, &str) = ("memory", "memory.limit_in_bytes");

/// Steps that take this much of memory and keep it.
const SIXTEEN: &[&str] = &["hold-memory", "16777216"];
const FORTY_EIGHT: &[&str] = &["hold-memory", "50331648"];
const UNTIL_TOLD: &[&str] = &["wait-file", "/out/go"];
const SLEEP: &[&str] = &["sleep"];

pub fn cases() -> Vec<Case> {
    vec![
        case("memory-kills-and-is-reported", &["RMEM-01", "UPD-01"], kills),
        case("memory-kills-an-exec-alone", &["RMEM-01"], kills_exec).practice(),
        case("memory-raised", &["RMEM-01", "UPD-01"], raised).practice(),
        case("memory-lowered", &["RMEM-01", "UPD-01"], lowered).practice(),
        case("memory-not-lowered-below-use", &["RMEM-01"], not_below_use).practice(),
        case("memory-swap-is-used", &["RMEM-03"], swap_used),
        case("memory-high-throttles", &["UNI-01"], high).needs(&[Need::V2("memory")]),
        case("memory-without-killer", &["RMEM-01"], no_killer)
            .needs(&[Need::V1File("memory", "memory.oom_control")]),
        case("memory-too-small-is-named", &["RMEM-13"], too_small).practice(),
    ]
}

fn fixed(limit: u64) -> Value {
    json!({"memory": {"limit": limit, "swap": limit}})
}

fn memory<'c>(ctx: &'c Ctx, limit: u64, steps: &[&[&str]]) -> Result<(Container<'c>, u64), Failure> {
    requires("memory", "memory")?;
    let resources = if swap_is_counted() { fixed(limit) } else { json!({"memory": {"limit": limit}}) };
    Ok((start(ctx, resources, steps)?, limit))
}

/// Whether a limit on memory and swap can be set.
fn swap_is_counted() -> bool {
    cgroup::is_unified()
        || std::path::Path::new(cgroup::ROOT).join("memory/memory.memsw.limit_in_bytes").exists()
}

/// `update` to a new limit, swap included.
fn to(c: &Container<'_>, limit: u64) -> Verdict {
    let limit = limit.to_string();
    let swap = swap_is_counted().then_some(["--memory-swap", &limit]);
    c.cmd(&["update", "--memory", &limit]).args(swap.iter().flatten()).ok().map(drop)
}

fn first_line(ctx: &Ctx, events: &Running) -> Verdict {
    let there = ctx.wait_for(Duration::from_secs(10), || events.stdout_so_far().contains('\n'));
    ensure!(there, "events printed nothing");
    Ok(())
}

fn kills(ctx: &Ctx) -> Verdict {
    let (c, _) = memory(ctx, 32 * MIB, &[UNTIL_TOLD, FORTY_EIGHT, SLEEP])?;
    let events = c.cmd(&["events", "--interval", "100ms"]).limit(Duration::from_secs(60)).spawn()?;
    first_line(ctx, &events)?;
    go(ctx)?;
    ensure_eq!(c.wait_exit()?, libc::SIGKILL, "wait status of init");
    let oom = json!({"type": "oom", "id": c.id});
    let is_oom = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|event| event == oom);
    let said = ctx.wait_for(Duration::from_secs(10), || events.stdout_so_far().lines().any(is_oom));
    let text = events.stdout_so_far();
    events.kill()?;
    ensure!(said, "no oom event: {text}");
    c.wait_status("stopped")
}

fn kills_exec(ctx: &Ctx) -> Verdict {
    let (c, _) = memory(ctx, 32 * MIB, &[SLEEP])?;
    c.exec(&[], &[FORTY_EIGHT]).run()?.exits(137)?;
    c.expect_status("running")?;
    c.exec(&[], &[SIXTEEN]).ok().map(drop)
}

fn raised(ctx: &Ctx) -> Verdict {
    let (c, _) = memory(ctx, 32 * MIB, &[SIXTEEN, UNTIL_TOLD, FORTY_EIGHT, SLEEP])?;
    c.lines(1)?;
    to(&c, 128 * MIB)?;
    go(ctx)?;
    ensure_eq!(c.lines(3)?[2].result(), "ok", "taking more than the old limit");
    c.expect_status("running")
}

fn lowered(ctx: &Ctx) -> Verdict {
    let (c, _) = memory(ctx, 128 * MIB, &[SIXTEEN, UNTIL_TOLD, FORTY_EIGHT, SLEEP])?;
    c.lines(1)?;
    to(&c, 32 * MIB)?;
    go(ctx)?;
    ensure_eq!(c.wait_exit()?, libc::SIGKILL, "wait status of init");
    Ok(())
}

/// What is in use cannot be taken away: version 1 refuses by itself, on version 2 one asks for it.
fn not_below_use(ctx: &Ctx) -> Verdict {
    let (c, limit) = memory(ctx, 128 * MIB, &[FORTY_EIGHT, SLEEP])?;
    c.lines(1)?;
    let mut wanted = if swap_is_counted() { fixed(16 * MIB) } else { json!({"memory": {"limit": 16 * MIB}}) };
    wanted["memory"]["checkBeforeUpdate"] = json!(true);
    update(&c, &wanted)?.refused(&["memory"])?;
    c.expect_status("running")?;
    ensure_eq!(read(&c, LIMIT, "memory.max")?, limit.to_string(), "the limit");
    let used: u64 = read(&c, USAGE, "memory.current")?.parse().unwrap_or(0);
    ensure!(used > 48 * MIB, "only {used} bytes are in use");
    Ok(())
}

fn swap_used(ctx: &Ctx) -> Verdict {
    requires("memory", "memory")?;
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 || !swap_is_counted() {
        return Err(Failure::skip("no swap on this machine"));
    }
    let resources = json!({"memory": {"limit": 32 * MIB, "swap": 128 * MIB}});
    let c = start(ctx, resources, &[FORTY_EIGHT, SLEEP])?;
    ensure_eq!(c.lines(1)?[0].result(), "ok", "taking more than the memory, less than memory and swap");
    let swapped = if cgroup::is_unified() {
        read(&c, USAGE, "memory.swap.current")?.parse().unwrap_or(0)
    } else {
        let both: u64 = read(&c, ("memory", "memory.memsw.usage_in_bytes"), "")?.parse().unwrap_or(0);
        both.saturating_sub(read(&c, USAGE, "")?.parse().unwrap_or(0))
    };
    ensure!(swapped > 8 * MIB, "{swapped} bytes are in swap");
    c.expect_status("running")
}

/// Nobody is killed at `memory.high`: the kernel makes the allocations slow.
fn high(ctx: &Ctx) -> Verdict {
    let high = (12 * MIB).to_string();
    let c = start(ctx, json!({"unified": {"memory.high": high, "memory.swap.max": "0"}}), &[SIXTEEN, SLEEP])?;
    let dir = c.cgroup("")?;
    let throttled = ctx.wait_for(Duration::from_secs(20), || {
        super::keyed(&cgroup::read(&dir, "memory.events").unwrap_or_default(), "high") > 0
    });
    ensure!(throttled, "memory.events: {}", cgroup::read(&dir, "memory.events")?);
    c.expect_status("running")
}

/// Without the kernel's killer, the process that wants more waits.
fn no_killer(ctx: &Ctx) -> Verdict {
    let resources = json!({"memory": {"limit": 32 * MIB, "disableOOMKiller": true}});
    let c = start(ctx, resources, &[FORTY_EIGHT, SLEEP])?;
    let dir = c.cgroup("memory")?;
    let waits = ctx.wait_for(Duration::from_secs(20), || {
        super::keyed(&cgroup::read(&dir, "memory.oom_control").unwrap_or_default(), "under_oom") == 1
    });
    ensure!(waits, "memory.oom_control: {}", cgroup::read(&dir, "memory.oom_control")?);
    c.expect_status("running")?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

/// Less than the first process needs before it is the container's program.
fn too_small(ctx: &Ctx) -> Verdict {
    requires("memory", "memory")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/memory", json!({"limit": 4096}));
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if out.code() == 0 {
        return Err(Failure::skip("a page is enough here"));
    }
    let said = out.stderr.to_lowercase();
    ensure!(said.contains("oom") || said.contains("memory"), "memory is not named: {}", out.stderr);
    // What engines do not ask for, but whoever reads it wants to know.
    let told = ctx.settings.name != "corten" || said.contains("4096");
    ensure!(told, "the limit is not named: {}", out.stderr);
    ctx.nothing_left(&c.id)
}
