//! Containers that do not want to end, and those who join them at the wrong moment.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, ensure, sys};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    let bomb = |name: &str, own_pids: bool| {
        Case::new(format!("delete/{name}"), &["OPS-21"], move |ctx| fork_bomb(ctx, own_pids)).practice()
    };
    vec![
        bomb("fork-bomb", true).needs(&[Need::V1("pids")]),
        bomb("fork-bomb-host-pidns", false).needs(&[Need::V1("pids")]),
        bomb("fork-bomb-unified", true).needs(&[Need::Unified]),
        bomb("fork-bomb-host-pidns-unified", false).needs(&[Need::Unified]),
        Case::new("exec/paused-meanwhile", &["EXEC-01"], paused_meanwhile)
            .practice()
            .needs(&[Need::V1("freezer")]),
        Case::new("exec/paused-meanwhile-unified", &["EXEC-01"], paused_meanwhile)
            .practice()
            .needs(&[Need::Unified]),
    ]
}

const LIMIT: usize = 100;

/// Under a limit, `delete --force` ends it within two seconds, and nothing of it is left.
fn fork_bomb(ctx: &Ctx, own_pids: bool) -> Verdict {
    // A user whom nobody else is, so that his limit of processes is the container's.
    let user = 1_000_000 + std::process::id();
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut b = ctx.bundle()?;
        let controller = if ctx.unified() { Need::V2("pids") } else { Need::V1("pids") };
        if ctx.host.lacks(controller).is_none() {
            b.set("/linux/resources/pids", json!({"limit": LIMIT}));
        }
        b.set("/process/user", json!({"uid": user, "gid": user}));
        let limit = json!({"type": "RLIMIT_NPROC", "soft": LIMIT, "hard": LIMIT});
        b.set("/process/rlimits/-", limit).steps(&[&["bomb"]]);
        if !own_pids {
            b.without_namespace("pid");
        }
        let c = ctx.start(&b)?;
        let dir = c.cgroup(if ctx.unified() { "" } else { "pids" })?;
        let many =
            || fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|t| t.lines().count() > LIMIT - 5);
        ensure!(ctx.wait_for(Duration::from_secs(20), many), "the bomb did not go off");
        let begin = Instant::now();
        c.delete_force()?;
        times.push(begin.elapsed());
        ctx.nothing_left(&c.id)?;
        if times.iter().any(|t| *t < Duration::from_secs(2)) {
            eprintln!("{}fork bomb of {LIMIT}: delete --force took {times:.1?}", crate::driver::FIGURES);
            return Ok(());
        }
    }
    Err(crate::Failure::new(format!("delete --force took {times:?}, want less than 2 s")))
}

/// The container is paused after `exec` has looked and before its process has joined: the process would be frozen with
/// the others, and `exec` wait for ever.
fn paused_meanwhile(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let process = ctx.scratch().join("process.json");
    sys::mkfifo(&process, 0o600)?;
    let running = c.cmd(&["exec", "--process", &process.to_string_lossy()]).spawn()?;
    // Opens once `exec` reads it, which is after it has looked at the container.
    let mut fifo = fs::File::options().write(true).open(&process)?;
    c.cmd(&["pause"]).ok()?;
    let wanted = json!({"args": ["/bin/probe", "facts"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    std::io::Write::write_all(&mut fifo, wanted.to_string().as_bytes())?;
    drop(fifo);
    running.finish()?.refused_with(255, &["paused"])?;
    c.expect_status("paused")?;
    let pids: Vec<i32> = serde_json::from_str(&c.cmd(&["ps", "--format", "json"]).ok()?.stdout)?;
    ensure!(pids == [c.pid], "processes: {pids:?}");
    c.cmd(&["resume"]).ok()?;
    c.exec_facts(&[]).map(drop)
}
