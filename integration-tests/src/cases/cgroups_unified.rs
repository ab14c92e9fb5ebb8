//! Control groups on the unified hierarchy (cgroup v2).

use super::cgroups::{at_path, devices_allowed, devices_denied, devices_exec, ps_json};
use crate::container::Container;
use crate::failure::{Failure, Verdict};
use crate::registry::{Case, Need};
use crate::{Ctx, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
        case("ownership", &["CGO-01", "CGO-04", "CGO-05", "CGO-08"], v2_ownership),
        case("ownership-read-only", &["CGO-04"], v2_ownership_read_only),
        case("ownership-host-namespace", &["CGO-03"], v2_ownership_host_namespace),
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

/// A container of user 1000 whose cgroup is mounted with `options`, in a cgroup namespace of its own or the host's.
fn delegated<'a>(ctx: &'a Ctx, options: &[&str], own_namespace: bool) -> Result<Container<'a>, Failure> {
    let mut b = ctx.bundle()?;
    let mounts = b.config["mounts"].as_array().cloned().unwrap_or_default();
    let others = mounts.into_iter().filter(|m| m["destination"] != "/sys/fs/cgroup").collect();
    b.config["mounts"] = Value::Array(others);
    b.mount("/sys/fs/cgroup", "cgroup", "cgroup", options);
    if own_namespace {
        b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    }
    b.set("/process/user", json!({"uid": 1000, "gid": 1000})).steps(&[&["sleep"]]);
    ctx.start(&b)
}

fn owner(path: &Path) -> Result<u32, Failure> {
    Ok(fs::metadata(path)?.uid())
}

fn v2_ownership(ctx: &Ctx) -> Verdict {
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "rw"], true)?;
    let dir = c.cgroup("")?;
    let listed = fs::read_to_string("/sys/kernel/cgroup/delegate")?;
    let listed: Vec<&str> = listed.lines().collect();
    ensure_eq!(owner(&dir)?, 1000, "owner of {}", dir.display());
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let expected = if listed.contains(&name.as_str()) { 1000 } else { 0 };
        ensure_eq!(owner(&dir.join(&name))?, expected, "owner of {name}");
    }
    ensure_eq!(owner(dir.parent().unwrap_or(&dir))?, 0, "owner of the parent");
    Ok(())
}

fn v2_ownership_read_only(ctx: &Ctx) -> Verdict {
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "ro"], true)?;
    ensure_eq!(owner(&c.cgroup("")?)?, 0, "owner");
    Ok(())
}

fn v2_ownership_host_namespace(ctx: &Ctx) -> Verdict {
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "rw"], false)?;
    ensure_eq!(owner(&c.cgroup("")?)?, 0, "owner");
    Ok(())
}
