//! Containers whose cgroups systemd makes (`--systemd-cgroup`): names and places of units, their life, and what is left.
//!
//! Every case that needs [`Need::Systemd`] is run with the flag on every command.

mod properties;
mod rootless;

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Failure, cgroup, ensure, ensure_eq};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut cases = life();
    cases.extend(properties::cases());
    cases.extend(rootless::cases());
    // systemd has other things to do now and then.
    cases.into_iter().map(|case| case.needs(&[Need::Systemd]).practice().limit(180)).collect()
}

fn life() -> Vec<Case> {
    vec![
        Case::new("systemd/names-and-places", &["CG-03", "CG-05"], names_and_places),
        Case::new("systemd/wrong-paths", &["CG-06"], wrong_paths),
        Case::new("systemd/slice-unit", &["CG-03"], slice_unit).needs(&[Need::Unified]),
        Case::new("systemd/life", &["LIF-08", "CG-13"], life_of_one),
        Case::new("systemd/exec", &["CG-04"], exec),
        Case::new("systemd/later-commands-need-no-flag", &["CG-13"], later_commands)
            .needs(&[Need::V2("pids")]),
        Case::new("systemd/name-is-taken", &["LIF-13"], name_is_taken),
        Case::new("systemd/refused-property-leaves-nothing", &["LIF-13"], refused_property),
        Case::new("systemd/refused-limit-leaves-nothing", &["LIF-13"], refused_limit),
        Case::new("systemd/failed-hook-leaves-nothing", &["LIF-13"], failed_hook),
        Case::new("systemd/killed-create-can-be-deleted", &["LIF-13"], killed_create),
        Case::new("systemd/oom-kill-leaves-nothing", &["CG-13", "RMEM-01"], oom_kill)
            .needs(&[Need::V2("memory")]),
        Case::new("systemd/stopped-by-systemctl", &["CG-13"], stopped_by_systemctl),
        Case::new("systemd/paused-is-deleted", &["OPS-22", "CG-13"], paused_is_deleted),
        Case::new("systemd/nested-cgroups-are-removed", &["CG-13"], nested_cgroups),
        Case::new("systemd/unreachable-bus", &["CG-13"], unreachable_bus),
    ]
}

/// The unit around a process: the last part of its cgroup's path.
pub(super) fn unit_of(c: &Container<'_>) -> Result<String, Failure> {
    let path = place_of(c)?;
    Ok(Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn place_of(c: &Container<'_>) -> Result<String, Failure> {
    let name = if cgroup::is_unified() { "" } else { "name=systemd" };
    cgroup::path_of(&c.proc_file("cgroup")?, name).ok_or_else(|| Failure::new("the process has no cgroup"))
}

pub(super) fn systemctl(ctx: &Ctx, args: &[&str]) -> Result<String, Failure> {
    Ok(ctx.program(Path::new("systemctl")).args(args).ok()?.stdout)
}

/// Properties of a unit, as systemd knows them.
pub(super) fn show(ctx: &Ctx, unit: &str, names: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
    let text = systemctl(ctx, &["show", unit, "-p", &names.join(",")])?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        // A list has a line for each element.
        let entry = found.entry(name.to_owned()).or_default();
        *entry = if entry.is_empty() { value.to_owned() } else { format!("{entry}; {value}") };
    }
    Ok(found)
}

/// systemd knows nothing of the unit any more, not even that it failed.
#[track_caller]
pub(super) fn no_unit(ctx: &Ctx, unit: &str) -> Verdict {
    let mut seen = String::new();
    let gone = ctx.wait_for(Duration::from_secs(20), || {
        let args = ["list-units", "--all", "--full", "--plain", "--no-legend", unit];
        seen = systemctl(ctx, &args).unwrap_or_else(|e| e.to_string());
        seen.trim().is_empty()
    });
    ensure!(gone, "a unit is left: {seen}");
    Ok(())
}

/// A bundle whose program sleeps, in a scope of this name.
pub(super) fn sleeper(ctx: &Ctx, path: &str) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(path)).steps(&[&["sleep"]]);
    Ok(b)
}

fn names_and_places(ctx: &Ctx) -> Verdict {
    let kube = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice";
    for (slice, place) in [
        ("system.slice:docker:", "system.slice/docker-".to_owned()),
        ("kubepods-burstable-podx.slice:cri-containerd:", format!("{kube}/cri-containerd-")),
        (":libpod:", "system.slice/libpod-".to_owned()),
        ("-.slice:top:", "top-".to_owned()),
    ] {
        let name = ctx.id();
        let c = ctx.create(&sleeper(ctx, &format!("{slice}{name}"))?)?;
        ensure_eq!(place_of(&c)?, format!("/{place}{name}.scope"), "{slice}");
        let unit = unit_of(&c)?;
        ensure_eq!(show(ctx, &unit, &["ActiveState"])?["ActiveState"], "active", "{slice}");
        c.delete_force()?;
        no_unit(ctx, &unit)?;
    }
    let c = ctx.create(&ctx.bundle()?)?;
    ensure_eq!(place_of(&c)?, format!("/system.slice/{}-{}.scope", ctx.settings.name, c.id), "no path");
    Ok(())
}

fn wrong_paths(ctx: &Ctx) -> Verdict {
    for path in ["a.slice:b", "a.slice:b:c:d", "a:b:c", "a--b.slice:c:d", "x/y.slice:a:b", "../..:a:b"] {
        ctx.refuses(&sleeper(ctx, path)?, &["cgroupsPath", "slice"])?;
    }
    Ok(())
}

fn slice_unit(ctx: &Ctx) -> Verdict {
    let name = ctx.id().replace('-', "x");
    let c = match ctx.create(&sleeper(ctx, &format!("system.slice::{name}.slice"))?) {
        // runc can make one only without a process.
        Err(e) if ctx.settings.name != "corten" => return Err(Failure::skip(e.to_string())),
        c => c?,
    };
    ensure_eq!(place_of(&c)?, format!("/{name}.slice"), "place");
    c.delete_force()?;
    no_unit(ctx, &format!("{name}.slice"))
}

fn life_of_one(ctx: &Ctx) -> Verdict {
    let b = sleeper(ctx, &format!(":life:{}", ctx.id()))?;
    let c = ctx.create(&b)?;
    let unit = unit_of(&c)?;
    let names = ["ActiveState", "SubState", "Transient", "Delegate"];
    let words = ["active", "running", "yes", "yes"].map(str::to_owned);
    let seen = show(ctx, &unit, &names)?;
    ensure_eq!(names.map(|n| seen[n].clone()), words, "the unit of a created container");
    c.start()?;
    ensure_eq!(show(ctx, &unit, &["SubState"])?["SubState"], "running", "the unit of a running container");
    c.cmd(&["pause"]).ok()?;
    c.expect_status("paused")?;
    c.cmd(&["resume"]).ok()?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.wait_status("stopped")?;
    c.delete()?;
    no_unit(ctx, &unit)?;
    // The name is free again, at once and again.
    for _ in 0..3 {
        let c = ctx.start(&b)?;
        c.delete_force()?;
    }
    no_unit(ctx, &unit)
}

fn exec(ctx: &Ctx) -> Verdict {
    let c = ctx.start(&sleeper(ctx, &format!(":exec:{}", ctx.id()))?)?;
    let facts = c.exec_facts(&[])?;
    ensure_eq!(facts.str("/cgroup"), c.proc_file("cgroup")?, "cgroup of exec");
    Ok(())
}

fn later_commands(ctx: &Ctx) -> Verdict {
    let c = ctx.start(&sleeper(ctx, &format!(":flag:{}", ctx.id()))?)?;
    let unit = unit_of(&c)?;
    let plain = |args: &[&str]| ctx.bare().arg("--root").arg(ctx.state_root()).args(args).arg(&c.id).ok();
    if ctx.settings.name != "runc" {
        // runc takes the flag for the manager's kind then.
        plain(&["update", "--pids-limit", "77"])?;
        ensure_eq!(show(ctx, &unit, &["TasksMax"])?["TasksMax"], "77", "after update");
    }
    plain(&["kill"])?;
    plain(&["delete", "--force"])?;
    no_unit(ctx, &unit)
}

fn name_is_taken(ctx: &Ctx) -> Verdict {
    let b = sleeper(ctx, &format!(":taken:{}", ctx.id()))?;
    let first = ctx.start(&b)?;
    let unit = unit_of(&first)?;
    let id = ctx.id();
    let _second = Container::new(ctx, &id);
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).run()?;
    out.refused(&["already", "exists", "not empty"])?;
    first.expect_status("running")?;
    ensure_eq!(show(ctx, &unit, &["ActiveState"])?["ActiveState"], "active", "the first one's unit");
    ctx.rt(["delete", "--force", &id]).run()?;
    first.expect_status("running")
}

fn refused_property(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    for (property, value) in
        [("NoSuchThing", "uint64 1"), ("TasksMax", "'many'"), ("Delegate", "not a value")]
    {
        let mut b = sleeper(ctx, &format!(":refused:{name}"))?;
        b.set("/annotations", json!({format!("org.systemd.property.{property}"): value}));
        ctx.fails(&b)?;
        no_unit(ctx, &format!("refused-{name}.scope"))?;
    }
    Ok(())
}

fn refused_limit(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut b = sleeper(ctx, &format!(":limit:{name}"))?;
    b.set("/linux/resources/cpu", json!({"cpus": "3000"}));
    ctx.fails(&b)?;
    no_unit(ctx, &format!("limit-{name}.scope"))
}

fn failed_hook(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut b = sleeper(ctx, &format!(":hook:{name}"))?;
    let log = ctx.scratch().join("log");
    b.hook("createRuntime", ctx, &log, "h", &["exit", "3"]);
    ctx.fails(&b)?;
    no_unit(ctx, &format!("hook-{name}.scope"))
}

/// The scope is there, and nobody is left who would undo it.
fn killed_create(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut b = sleeper(ctx, &format!(":killed:{name}"))?;
    let log = ctx.scratch().join("log");
    b.hook("createRuntime", ctx, &log, "h", &["sleep", "120"]).save()?;
    let c = Container::new(ctx, &ctx.id());
    let running = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    ctx.wait_file(&log)?;
    let unit = format!("killed-{name}.scope");
    ensure_eq!(show(ctx, &unit, &["ActiveState"])?["ActiveState"], "active", "while the hook runs");
    crate::sys::kill(running.pid(), libc::SIGKILL)?;
    running.finish_reaping()?;
    c.delete_force()?;
    // The hook is nobody's any more.
    crate::leaks::kill_all(&crate::leaks::descendants(std::process::id() as i32));
    no_unit(ctx, &unit)
}

fn oom_kill(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!(":oom:{name}")));
    b.set("/linux/resources/memory", json!({"limit": 33554432, "swap": 33554432}));
    b.steps(&[&["eat-memory", "67108864"]]);
    ctx.run(&b)?.exits(137)?;
    no_unit(ctx, &format!("oom-{name}.scope"))
}

fn stopped_by_systemctl(ctx: &Ctx) -> Verdict {
    let c = ctx.start(&sleeper(ctx, &format!(":stop:{}", ctx.id()))?)?;
    let unit = unit_of(&c)?;
    // The program does not listen to SIGTERM, as befits a first process.
    systemctl(ctx, &["kill", "--signal=KILL", &unit])?;
    c.wait_exit()?;
    c.wait_status("stopped")?;
    c.delete()?;
    no_unit(ctx, &unit)
}

fn paused_is_deleted(ctx: &Ctx) -> Verdict {
    let c = ctx.start(&sleeper(ctx, &format!(":paused:{}", ctx.id()))?)?;
    let unit = unit_of(&c)?;
    c.cmd(&["pause"]).ok()?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)?;
    no_unit(ctx, &unit)
}

fn nested_cgroups(ctx: &Ctx) -> Verdict {
    let c = ctx.start(&sleeper(ctx, &format!(":nested:{}", ctx.id()))?)?;
    let (unit, dir) = (unit_of(&c)?, c.cgroup(if cgroup::is_unified() { "" } else { "name=systemd" })?);
    fs::create_dir_all(dir.join("inner/deeper"))?;
    c.delete_force()?;
    ensure!(!dir.exists(), "{} is still there", dir.display());
    no_unit(ctx, &unit)
}

fn unreachable_bus(ctx: &Ctx) -> Verdict {
    if ctx.settings.name == "runc" {
        return Err(Failure::skip("runc has systemd's own socket besides"));
    }
    let b = sleeper(ctx, &format!(":bus:{}", ctx.id()))?;
    b.save()?;
    let id = ctx.id();
    let _guard = Container::new(ctx, &id);
    for address in ["unix:path=/nonexistent", "tcp:host=localhost", "nonsense"] {
        let cmd = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).env("DBUS_SYSTEM_BUS_ADDRESS", address);
        cmd.run()?.refused(&["bus"])?;
        ctx.nothing_left(&id)?;
    }
    Ok(())
}
