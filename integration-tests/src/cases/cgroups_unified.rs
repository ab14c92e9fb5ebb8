//! Control groups on the unified hierarchy (cgroup v2).

use super::cgroups::{at_path, devices_allowed, devices_denied, devices_exec, ps_json};
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, cgroup, ensure, ensure_eq};
use serde_json::json;
use std::fs;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("cgroup-v2/{name}"), clauses, body).needs(&[Need::Unified])
    };
    vec![
        case("placement", &["CG-02"], v2_placement).needs(&[Need::Cgroupfs]),
        case("default-path", &["CG-05"], v2_default).needs(&[Need::Cgroupfs]),
        case("devices-denied", &["RDEV-07", "DEV-17"], devices_denied),
        case("devices-allowed", &["RDEV-07"], devices_allowed),
        case("devices-exec-too", &["RDEV-07"], devices_exec),
        case("pause-freezes", &["ST-05"], v2_pause).practice(),
        case("kill-all", &["OPS-21"], v2_kill_all).practice(),
        case("delete-force-paused", &["OPS-22"], v2_delete_paused).practice(),
        case("run", &["LIF-08"], |ctx| ctx.facts(&ctx.bundle()?).map(drop)),
        case("exec-same-cgroup", &["CG-04"], v2_exec).practice(),
        case("cgroup-namespace-root", &["NS-12"], v2_namespace).practice(),
        case("ps", &["OPS-01"], ps_json).practice(),
        case("nested-cgroups-are-removed", &["CG-13"], v2_nested).practice(),
        case("options-of-the-hierarchy-stay", &["CG-01"], v2_options).practice(),
    ]
}

fn v2_placement(ctx: &Ctx) -> Verdict {
    let path = format!("/{}", ctx.id());
    let c = at_path(ctx, &path)?;
    ensure_eq!(cgroup::path_of(&c.proc_file("cgroup")?, ""), Some(path), "cgroup");
    Ok(())
}

fn v2_default(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let path = cgroup::path_of(&c.proc_file("cgroup")?, "").unwrap_or_default();
    ensure!(path.ends_with(&format!("/{}", c.id)), "cgroup: {path}");
    Ok(())
}

fn v2_pause(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let dir = c.cgroup("")?;
    c.cmd(&["pause"]).ok()?;
    ensure!(cgroup::read(&dir, "cgroup.events")?.contains("frozen 1"), "the cgroup is not frozen");
    c.expect_status("paused")?;
    c.cmd(&["resume"]).ok()?;
    ensure!(cgroup::read(&dir, "cgroup.events")?.contains("frozen 0"), "the cgroup is still frozen");
    c.expect_status("running")
}

fn v2_kill_all(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["children", "3", "keep"], &["sleep"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    c.cmd(&["kill", "--all"]).arg("KILL").ok()?;
    let dir = c.cgroup("")?;
    let empty = ctx.wait_for(std::time::Duration::from_secs(5), || {
        crate::process::reap_orphans();
        fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().is_empty()
    });
    ensure!(empty, "processes are left");
    c.delete().map(drop)
}

fn v2_delete_paused(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["pause"]).ok()?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn v2_exec(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    ensure_eq!(c.exec_facts(&[])?.str("/cgroup"), c.proc_file("cgroup")?, "cgroup of exec");
    Ok(())
}

fn v2_namespace(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    let facts = ctx.facts(&b)?;
    ensure_eq!(cgroup::path_of(facts.str("/cgroup"), ""), Some("/".to_owned()), "cgroup seen inside");
    Ok(())
}

/// A mount of the hierarchy in the initial cgroup namespace sets the options of all its mounts, the host's included.
fn v2_options(ctx: &Ctx) -> Verdict {
    let before = cgroup::options();
    if before.is_empty() {
        return Err(crate::Failure::skip("the hierarchy has no options to lose"));
    }
    // A peer in another case may take them away meanwhile, but hardly five times.
    for _ in 0..5 {
        ctx.facts(&ctx.bundle()?)?;
        if cgroup::options() == before {
            return Ok(());
        }
        cgroup::restore_options(&before)?;
    }
    Err(crate::Failure::new(format!("the hierarchy's options {before} are gone")))
}

fn v2_nested(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let dir = c.cgroup("")?;
    fs::create_dir_all(dir.join("inner/deeper"))?;
    c.delete_force()?;
    ensure!(!dir.exists(), "{} is still there", dir.display());
    Ok(())
}
