//! Control groups of version 1: where the container is, and the effects of its limits.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, cgroup, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    let mut cases = placement();
    cases.extend(effects());
    cases.extend(super::cgroups_unified::cases());
    cases
}

fn placement() -> Vec<Case> {
    let v1 = [Need::V1("pids"), Need::V1("memory")];
    vec![
        Case::new("cgroup-v1/absolute-path", &["CG-02"], absolute_path).needs(&v1).needs(&[Need::Cgroupfs]),
        Case::new("cgroup-v1/default-path", &["CG-05"], default_path).needs(&v1).needs(&[Need::Cgroupfs]),
        Case::new("cgroup-v1/relative-path-is-stable", &["CG-03", "CG-04"], relative_path)
            .needs(&v1)
            .needs(&[Need::Cgroupfs]),
        Case::new("cgroup-v1/every-hierarchy", &["CG-11"], every_hierarchy).needs(&v1).practice(),
        Case::new("cgroup-v1/dots-cannot-escape", &["CG-08"], dots)
            .needs(&v1)
            .needs(&[Need::Cgroupfs])
            .practice(),
        Case::new("cgroup-v1/parents-are-made", &["CG-07"], parents).needs(&v1).needs(&[Need::Cgroupfs]),
        Case::new("cgroup-v1/nested-cpuset", &["RCPU-12"], nested_cpuset)
            .needs(&[Need::V1("cpuset"), Need::Cgroupfs])
            .practice(),
        Case::new("cgroup-v1/limits-untouched-without-resources", &["CG-12"], untouched).needs(&v1),
        Case::new("cgroup-v1/wrong-value-is-refused", &["GEN-05"], wrong_value).needs(&v1),
        Case::new("cgroup-v1/frozen-parent", &["CG-01"], frozen_parent)
            .needs(&[Need::V1("freezer"), Need::Cgroupfs])
            .practice(),
    ]
}

fn effects() -> Vec<Case> {
    vec![
        Case::new("cgroup-v1/memory-limit-kills", &["RMEM-01"], memory_kills).needs(&[Need::V1("memory")]),
        Case::new("cgroup-v1/memory-too-small-for-init", &["RMEM-13"], memory_too_small)
            .needs(&[Need::V1("memory")])
            .practice(),
        Case::new("cgroup-v1/pids-limit-holds", &["RPID-01"], pids_hold).needs(&[Need::V1("pids")]),
        Case::new("cgroup-v1/pids-limit-one", &["RPID-02"], pids_one).needs(&[Need::V1("pids")]).practice(),
        Case::new("cgroup-v1/cpu-quota-throttles", &["RCPU-03"], quota_throttles).needs(&[Need::V1("cpu")]),
        Case::new("cgroup-v1/devices-denied", &["RDEV-01", "RDEV-06", "DEV-17"], devices_denied)
            .needs(&[Need::V1("devices"), Need::File("/dev/fuse")]),
        Case::new("cgroup-v1/devices-wildcard", &["RDEV-03", "RDEV-04"], devices_wildcard)
            .needs(&[Need::V1("devices")]),
        Case::new("cgroup-v1/devices-allowed", &["RDEV-01", "RDEV-05"], devices_allowed)
            .needs(&[Need::V1("devices"), Need::File("/dev/fuse")]),
        Case::new("cgroup-v1/devices-list", &["RDEV-06", "RDEV-09"], devices_list)
            .needs(&[Need::V1("devices")]),
        Case::new("cgroup-v1/pause-freezes", &["ST-05"], pause_freezes)
            .needs(&[Need::V1("freezer")])
            .practice(),
        Case::new("cgroup-v1/kill-paused", &["OPS-22"], kill_paused).needs(&[Need::V1("freezer")]).practice(),
        Case::new("cgroup-v1/update", &["RMEM-01", "RPID-01"], update)
            .needs(&[Need::V1("memory"), Need::V1("pids")])
            .practice(),
        Case::new("cgroup-v1/update-options", &["RMEM-01"], update_options)
            .needs(&[Need::V1("memory"), Need::V1("cpu")])
            .practice(),
        Case::new("ps/json", &["EVT-01"], ps_json).practice(),
        Case::new("ps/table", &["EVT-01"], ps_table).practice(),
        Case::new("pause/stopped-container", &["OPS-09"], pause_stopped).practice(),
        Case::new("pause/resume-running-fails", &["OPS-09"], resume_running).practice(),
    ]
}

pub(super) fn at_path<'c>(ctx: &'c Ctx, path: &str) -> Result<crate::Container<'c>, crate::Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(path)).steps(&[&["sleep"]]);
    ctx.create(&b)
}

fn absolute_path(ctx: &Ctx) -> Verdict {
    let path = format!("/{}", ctx.id());
    let c = at_path(ctx, &path)?;
    let text = c.proc_file("cgroup")?;
    for controller in ["pids", "memory", "cpu", "devices"] {
        ensure_eq!(cgroup::path_of(&text, controller), Some(path.clone()), "cgroup in {controller}");
    }
    Ok(())
}

fn default_path(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let path = cgroup::path_of(&c.proc_file("cgroup")?, "pids").unwrap_or_default();
    ensure!(path.ends_with(&format!("/{}", c.id)), "cgroup: {path}");
    Ok(())
}

fn relative_path(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let c = at_path(ctx, &name)?;
        seen.push(cgroup::path_of(&c.proc_file("cgroup")?, "pids"));
    }
    ensure_eq!(seen[0], seen[1], "place of the same relative path");
    Ok(())
}

fn every_hierarchy(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    for line in c.proc_file("cgroup")?.lines() {
        ensure!(line.contains(&c.id), "not in a cgroup of its own: {line}");
    }
    Ok(())
}

/// Cleaned or refused, but never above the top.
fn dots(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!("/../../{name}"))).steps(&[&["facts"]]);
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        return out.refused(&["cgroupsPath", "cgroup"]).map(drop);
    }
    let facts = crate::Facts::lines(&out.stdout)?.remove(0);
    ensure_eq!(cgroup::path_of(facts.str("/cgroup"), "pids"), Some(format!("/{name}")), "cgroup");
    Ok(())
}

fn parents(ctx: &Ctx) -> Verdict {
    let top = ctx.id();
    let path = format!("/{top}/a/b");
    let c = at_path(ctx, &path)?;
    ensure_eq!(cgroup::path_of(&c.proc_file("cgroup")?, "memory"), Some(path), "cgroup");
    c.delete_force()?;
    // Whether the parents that it made go too is the runtime's choice; they are in nobody's way.
    cgroup::find(&top).iter().for_each(|dir| remove_empty(dir));
    ensure!(cgroup::find(&top).is_empty(), "cgroups are left");
    Ok(())
}

fn remove_empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        remove_empty(&entry.path());
    }
    // The leak check finds what cannot be removed.
    let _ = fs::remove_dir(dir);
}

fn nested_cpuset(ctx: &Ctx) -> Verdict {
    let top = ctx.id();
    let c = at_path(ctx, &format!("/{top}/a/b"))?;
    let cpus = cgroup::read(&c.cgroup("cpuset")?, "cpuset.cpus")?;
    ensure!(!cpus.is_empty(), "cpuset.cpus is empty");
    c.delete_force()?;
    cgroup::find(&top).iter().for_each(|dir| remove_empty(dir));
    Ok(())
}

fn untouched(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dirs = ["memory", "pids"].map(|c| Path::new(cgroup::ROOT).join(c).join(&name));
    dirs.iter().try_for_each(fs::create_dir)?;
    fs::write(dirs[0].join("memory.limit_in_bytes"), "104857600")?;
    fs::write(dirs[1].join("pids.max"), "77")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!("/{name}"))).remove("/linux/resources").steps(&[&["sleep"]]);
    let c = ctx.create(&b)?;
    let got = (cgroup::read(&dirs[0], "memory.limit_in_bytes")?, cgroup::read(&dirs[1], "pids.max")?);
    c.delete_force()?;
    dirs.iter().for_each(|d| remove_empty(d));
    ensure_eq!((got.0.as_str(), got.1.as_str()), ("104857600", "77"), "limits that were there before");
    Ok(())
}

fn wrong_value(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/cpu", json!({"cpus": "9999"}));
    ctx.refuses(&b, &["cpuset", "cpus"]).map(drop)
}

/// A cgroup that somebody froze: create must say so and not hang.
fn frozen_parent(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dir = Path::new(cgroup::ROOT).join("freezer").join(&name);
    fs::create_dir(&dir)?;
    fs::write(dir.join("freezer.state"), "FROZEN")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!("/{name}")));
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).limit(std::time::Duration::from_secs(8)).run();
    crate::leaks::thaw(&name);
    drop(c);
    remove_empty(&dir);
    let out = out?;
    ensure!(
        out.code() != 0 && out.stderr.contains("froze"),
        "exit code {}, stderr {}",
        out.code(),
        out.stderr
    );
    Ok(())
}

fn memory_kills(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/memory", json!({"limit": 33554432, "swap": 33554432}));
    b.steps(&[&["eat-memory", "67108864"]]);
    ctx.run(&b)?.exits(137)?;
    b.steps(&[&["eat-memory", "8388608"]]);
    ctx.run(&b)?.ok().map(drop)
}

fn memory_too_small(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if out.code() != 0 {
        let lower = out.stderr.to_lowercase();
        ensure!(lower.contains("oom") || lower.contains("memory"), "memory is not named: {}", out.stderr);
        ctx.nothing_left(&c.id)?;
    }
    Ok(())
}

fn pids_hold(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/pids", json!({"limit": 10})).steps(&[&["children", "50", "kill"]]);
    let facts = ctx.facts(&b)?;
    ensure_eq!(*facts.get("/made"), json!(9), "children made with a limit of 10");
    ensure_eq!(facts.str("/failure"), "EAGAIN", "why the next one failed");
    Ok(())
}

fn pids_one(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/pids", json!({"limit": 1})).steps(&[&["children", "1", "kill"]]);
    ensure_eq!(*ctx.facts(&b)?.get("/made"), json!(0), "children made with a limit of 1");
    Ok(())
}

fn quota_throttles(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/cpu", json!({"quota": 20000, "period": 100000})).steps(&[&["burn", "1"]]);
    let share = ctx.facts(&b)?.get("/share").as_f64().unwrap_or(1.0);
    ensure!(share < 0.35, "used {share:.2} of a processor with a quota of 0.2");
    Ok(())
}

/// The capabilities that opening a fresh node takes.
const NODE_CAPS: &[&str] = &["CAP_MKNOD", "CAP_DAC_OVERRIDE"];
/// A device that everybody may open who can get at a node.
const FUSE: &[&str] = &["mknod", "/dev/mine", "c", "10", "229"];

pub(super) fn devices_denied(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.caps(NODE_CAPS).steps(&[FUSE, &["open", "/dev/mine", "r"], &["open", "/dev/null", "rw"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].result(), "ok", "making a node");
    ensure_eq!(steps[1].result(), "EPERM", "opening it");
    ensure_eq!(steps[2].result(), "ok", "opening /dev/null");
    Ok(())
}

pub(super) fn devices_allowed(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"}]),
    );
    b.caps(NODE_CAPS).steps(&[FUSE, &["open", "/dev/mine", "r"], &["open", "/dev/mine", "w"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[1].result(), "ok", "opening for reading, which is allowed");
    ensure_eq!(steps[2].result(), "EPERM", "opening for writing, which is not");
    Ok(())
}

/// Rules without a type are about every device, and those without a number about every number.
pub(super) fn devices_wildcard(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "access": "rw"}]),
    );
    b.caps(NODE_CAPS).steps(&[
        FUSE,
        &["open", "/dev/mine", "r"],
        &["mknod", "/dev/other", "c", "4", "64"],
        &["open", "/dev/other", "r"],
    ]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[1].result(), "ok", "opening a device of the major number that is allowed");
    ensure_eq!(steps[3].result(), "EPERM", "opening a device of another major number");
    Ok(())
}

pub(super) fn devices_exec(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.caps(NODE_CAPS).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let out = c.exec(&[], &[FUSE, &["open", "/dev/mine", "r"]]).ok()?;
    ensure_eq!(crate::Facts::lines(&out.stdout)?[1].result(), "EPERM", "opening a denied device in exec");
    Ok(())
}

fn devices_list(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let text = cgroup::read(&c.cgroup("devices")?, "devices.list")?;
    for rule in ["c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 5:0 rwm", "c 136:* rwm"] {
        ensure!(text.lines().any(|l| l == rule), "{rule} is missing from {text}");
    }
    ensure!(!text.lines().any(|l| l.starts_with("a ")), "everything is allowed: {text}");
    Ok(())
}

fn pause_freezes(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let dir = c.cgroup("freezer")?;
    c.cmd(&["pause"]).ok()?;
    ensure_eq!(cgroup::read(&dir, "freezer.state")?, "FROZEN", "freezer.state");
    c.cmd(&["resume"]).ok()?;
    ensure_eq!(cgroup::read(&dir, "freezer.state")?, "THAWED", "freezer.state");
    c.exec_facts(&[]).map(drop)
}

/// A frozen v1 process does not notice its death before it is thawed.
fn kill_paused(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["pause"]).ok()?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.wait_status("stopped")
}

fn update(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let resources = json!({"memory": {"limit": 50331648}, "pids": {"limit": 33}});
    c.cmd(&["update", "--resources=-"]).stdin(resources.to_string()).ok()?;
    ensure_eq!(cgroup::read(&c.cgroup("memory")?, "memory.limit_in_bytes")?, "50331648", "memory limit");
    ensure_eq!(cgroup::read(&c.cgroup("pids")?, "pids.max")?, "33", "pids limit");
    Ok(())
}

fn update_options(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["update", "--memory", "64m", "--cpu-share", "200", "--pids-limit", "44"]).ok()?;
    ensure_eq!(cgroup::read(&c.cgroup("memory")?, "memory.limit_in_bytes")?, "67108864", "memory limit");
    ensure_eq!(cgroup::read(&c.cgroup("cpu")?, "cpu.shares")?, "200", "cpu shares");
    ensure_eq!(cgroup::read(&c.cgroup("pids")?, "pids.max")?, "44", "pids limit");
    Ok(())
}

pub(super) fn ps_json(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["children", "2", "keep"], &["sleep"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    let out = c.cmd(&["ps", "--format", "json"]).ok()?;
    let pids: Vec<i32> = serde_json::from_str(&out.stdout)?;
    ensure_eq!(pids.len(), 3, "processes ({pids:?})");
    ensure!(pids.contains(&c.pid), "init {} is not among {pids:?}", c.pid);
    Ok(())
}

fn ps_table(ctx: &Ctx) -> Verdict {
    if !crate::host::on_path("ps") {
        return Err(crate::Failure::skip("no ps on this machine"));
    }
    let c = ctx.sleeper()?;
    let text = c.cmd(&["ps"]).ok()?.stdout;
    ensure!(text.lines().next().unwrap_or("").contains("PID"), "header: {text}");
    ensure!(text.contains(&c.pid.to_string()), "init {} is not in {text}", c.pid);
    Ok(())
}

fn pause_stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.cmd(&["pause"]).run()?.refused(&["not running", "stopped"]).map(drop)
}

fn resume_running(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["resume"]).run()?.refused(&["not paused"]).map(drop)
}
