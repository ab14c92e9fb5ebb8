//! Numbers of processes.

use super::{case, read, requires, start};
use crate::failure::Verdict;
use crate::process::patience;
use crate::registry::{Case, Need};
use crate::{Ctx, ensure, ensure_eq};
use serde_json::json;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    vec![
        case("fork-bomb-is-deleted", &["RPID-01", "OPS-22"], |ctx| bomb(ctx, true)),
        case("fork-bomb-among-the-hosts-processes", &["RPID-01", "OPS-22"], |ctx| bomb(ctx, false))
            .practice(),
        case("pids-raised-and-lowered", &["RPID-01", "UPD-01"], changed).practice(),
        case("unified-key-holds", &["UNI-01"], unified).needs(&[Need::V2("pids")]),
    ]
}

/// All of them fork all the time, until the last is gone.
fn bomb(ctx: &Ctx, own_namespace: bool) -> Verdict {
    const LIMIT: &str = "64";
    requires("pids", "pids")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/pids", json!({"limit": 64})).steps(&[&["fork-bomb"]]);
    if !own_namespace {
        b.without_namespace("pid");
    }
    let c = ctx.start(&b)?;
    let current = || read(&c, ("pids", "pids.current"), "pids.current").unwrap_or_default();
    ensure!(ctx.wait_for(Duration::from_secs(10), || current() == LIMIT), "{} processes", current());
    let begin = Instant::now();
    c.delete_force()?;
    let took = begin.elapsed();
    ensure!(took < patience(Duration::from_secs(2)), "delete --force took {took:?}");
    ctx.nothing_left(&c.id)
}

fn changed(ctx: &Ctx) -> Verdict {
    requires("pids", "pids")?;
    let c = start(ctx, json!({"pids": {"limit": 6}}), &[&["sleep"]])?;
    // One is init, one the process that makes the children.
    let made = || c.exec(&[], &[&["children", "20", "kill"]]).ok()?.json().map(|said| said["made"].clone());
    ensure_eq!(made()?, json!(4), "children with a limit of 6");
    c.cmd(&["update", "--pids-limit", "11"]).ok()?;
    ensure_eq!(made()?, json!(9), "children with a limit of 11");
    c.cmd(&["update", "--pids-limit", "3"]).ok()?;
    ensure_eq!(made()?, json!(1), "children with a limit of 3");
    c.cmd(&["update", "--pids-limit", "-1"]).ok()?;
    ensure_eq!(made()?, json!(20), "children without a limit");
    Ok(())
}

fn unified(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/unified", json!({"pids.max": "5"})).steps(&[&["children", "20", "kill"]]);
    ensure_eq!(*ctx.facts(&b)?.get("/made"), json!(4), "children with pids.max 5");
    Ok(())
}
