//! `events`: statistics, and the end of memory.

use super::parity::{Peer, both, differences};
use crate::failure::Verdict;
use crate::process::Running;
use crate::registry::{Case, Need};
use crate::{Container, Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const LIMIT: u64 = 33_554_432;

pub fn cases() -> Vec<Case> {
    let case =
        |name, body: fn(&Ctx) -> Verdict| Case::new(format!("events/{name}"), &["EVT-01"], body).practice();
    vec![
        case("stats", stats).needs(&[Need::V1("memory"), Need::V1("pids")]),
        case("stats-unified", stats_unified).needs(&[Need::Unified]),
        case("stats-members-of-runc", members).needs(&[Need::Runc]),
        case("stats-members-of-runc-unified", members).needs(&[Need::Runc, Need::Unified]),
        case("stats-stopped", stopped),
        case("no-such-container", no_such_container),
        case("interval-wrong", interval_wrong),
        case("ends-with-the-container", ends).needs(&[Need::V1("memory")]),
        case("ends-with-the-container-unified", ends).needs(&[Need::Unified]),
        case("out-of-memory", out_of_memory).needs(&[Need::V1("memory")]),
        case("out-of-memory-unified", out_of_memory).needs(&[Need::V2("memory")]),
        case("sleeps-in-between", sleeps),
        case("ends-with-its-reader", reader_gone).needs(&[Need::File("/bin/sh")]),
    ]
}

fn stats_of(c: &Container<'_>) -> Result<Value, Failure> {
    let out = c.cmd(&["events", "--stats"]).ok()?;
    ensure_eq!(out.stdout.trim_end().lines().count(), 1, "lines");
    let event = out.json()?;
    ensure_eq!(event["type"], "stats", "type");
    ensure_eq!(event["id"], c.id, "id");
    Ok(event["data"].clone())
}

fn stats(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/memory", json!({"limit": LIMIT}));
    b.set("/linux/resources/pids", json!({"limit": 42})).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let data = stats_of(&c)?;
    ensure_eq!(data["memory"]["usage"]["limit"], LIMIT, "memory limit");
    ensure!(data["memory"]["usage"]["usage"].as_u64() > Some(0), "no memory is used: {data}");
    ensure_eq!(data["pids"], json!({"current": 1, "limit": 42}), "pids");
    ensure!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "no CPU time is used: {data}");
    Ok(())
}

fn stats_unified(ctx: &Ctx) -> Verdict {
    let data = stats_of(&ctx.sleeper()?)?;
    ensure_eq!(data["pids"]["current"], 1, "pids");
    ensure!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "no CPU time is used: {data}");
    Ok(())
}

/// The same members of the same types; the numbers differ from one moment to the next.
fn members(ctx: &Ctx) -> Verdict {
    let [mut ours, mut runc] = both(ctx, |runtime| {
        let mut b = ctx.bundle()?;
        b.steps(&[&["sleep"]]);
        let c = Peer::start(ctx, runtime, &b)?;
        let out = c.cmd(&["events", "--stats", &c.id]).ok()?;
        let mut event = out.json()?;
        ensure_eq!(event["id"], c.id, "id");
        forget_numbers(&mut event, "");
        Ok(event)
    })?;
    // runc 1.1 is older than pressure stall information, and than memory.peak.
    for part in ["cpu", "memory", "blkio"] {
        ours["data"][part].as_object_mut().and_then(|p| p.remove("psi"));
    }
    // Whether a container has read from a disk depends on what was read before.
    for list in ["ioServiceBytesRecursive", "ioServicedRecursive"] {
        if ours["data"]["blkio"][list].is_null() != runc["data"]["blkio"][list].is_null() {
            for event in [&mut ours, &mut runc] {
                event["data"]["blkio"].as_object_mut().and_then(|lists| lists.remove(list));
            }
        }
    }
    differences(&ours, &runc)
}

/// Members that are there only if they are not zero are taken out where they may or may not be.
fn forget_numbers(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => {
            for name in ["cache", "usage", "total", "max"] {
                if members.get(name).is_some_and(Value::is_number) {
                    members.remove(name);
                }
            }
            members.iter_mut().for_each(|(name, value)| forget_numbers(value, name));
        }
        Value::Array(list) if list.iter().all(Value::is_object) && name.ends_with("Recursive") => {
            list.clear();
        }
        Value::Array(list) => list.iter_mut().for_each(|v| forget_numbers(v, name)),
        Value::Number(_) => *value = json!(0),
        Value::String(_) if name == "id" => *value = json!("ID"),
        _ => {}
    }
}

fn stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.cmd(&["events", "--stats"]).run()?.refused(&["not running"])?;
    c.cmd(&["events"]).run()?.refused(&["not running"]).map(drop)
}

fn no_such_container(ctx: &Ctx) -> Verdict {
    ctx.rt(["events", "nobody"]).run()?.refused(&["does not exist"]).map(drop)
}

fn interval_wrong(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for value in ["0s", "-1s", "5", "soon"] {
        let interval = format!("--interval={value}");
        let out = c.cmd(&["events", &interval]).limit(Duration::from_secs(5)).run()?;
        ensure!(out.code() != 0 && out.stderr.contains("interval"), "{value}: {}", out.stderr);
    }
    Ok(())
}

/// Waits until it has printed that many lines.
fn lines(ctx: &Ctx, running: &Running, count: usize) -> Result<Vec<Value>, Failure> {
    let enough = || running.stdout_so_far().matches('\n').count() >= count;
    let there = ctx.wait_for(Duration::from_secs(10), enough);
    ensure!(there, "only this was printed: {:?}", running.stdout_so_far());
    parse(&running.stdout_so_far())
}

fn parse(text: &str) -> Result<Vec<Value>, Failure> {
    text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
}

fn ends(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let events = c.cmd(&["events", "--interval", "100ms"]).limit(Duration::from_secs(5)).spawn()?;
    for event in lines(ctx, &events, 3)? {
        ensure_eq!(event["type"], "stats", "type");
    }
    c.kill("KILL")?;
    c.wait_exit()?;
    let out = events.finish()?.ok()?;
    ensure!(!out.stdout.contains("oom"), "an end is not one by lack of memory: {}", out.stdout);
    Ok(())
}

fn out_of_memory(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let shared = b.out();
    b.set("/linux/resources/memory", json!({"limit": LIMIT, "swap": LIMIT}));
    b.steps(&[&["wait-file", "/out/go"], &["eat-memory", "134217728"]]);
    let c = ctx.start(&b)?;
    let events = c.cmd(&["events", "--interval", "100ms"]).spawn()?;
    lines(ctx, &events, 1)?;
    fs::write(shared.join("go"), "")?;
    c.wait_exit()?;
    let out = events.finish()?.ok()?;
    let seen = parse(&out.stdout)?;
    ensure!(seen.contains(&json!({"type": "oom", "id": c.id})), "no oom event: {}", out.stdout);
    Ok(())
}

/// Waiting costs no CPU time.
fn sleeps(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let events = c.cmd(&["events", "--interval", "1h"]).spawn()?;
    let ticks = || -> Result<u64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", events.pid()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        Ok(fields[11..13].iter().filter_map(|f| f.parse::<u64>().ok()).sum())
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = ticks()?;
    std::thread::sleep(Duration::from_millis(700));
    let used = ticks()? - before;
    events.kill()?;
    ensure!(used <= 2, "{used} ticks of CPU time in 0.7 s of waiting");
    Ok(())
}

/// `corten events ID | head -1`.
fn reader_gone(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let script = r#""$0" --root "$1" events --interval 50ms "$2" | { read -r line && echo "$line"; }"#;
    let shell = ctx.program("/bin/sh".as_ref()).arg("-c").arg(script).arg(&ctx.settings.runtime);
    let out = shell.arg(ctx.state_root()).arg(&c.id).limit(Duration::from_secs(5)).run()?.ok()?;
    ensure_eq!(parse(&out.stdout)?.len(), 1, "lines");
    Ok(())
}
