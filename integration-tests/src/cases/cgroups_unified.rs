//! Control groups on the unified hierarchy (cgroup v2).

use super::cgroups::{at_path, devices_allowed, devices_denied, devices_exec, devices_wildcard, ps_json};
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
        case("devices-wildcard", &["RDEV-03", "RDEV-04"], devices_wildcard),
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
        case("ownership-of-listed-files-alone", &["CGO-05", "CGO-06"], v2_ownership_listed),
        case("ownership-without-a-list", &["CGO-07"], v2_ownership_without_list),
        case("controllers-on-the-way", &["UNI-01", "UNI-02", "CG-09"], v2_controllers)
            .needs(&[Need::V2("hugetlb"), Need::Cgroupfs]),
        Case::new("cgroup-v1/ownership", &["CGO-02"], v1_ownership)
            .needs(&[Need::V1("pids"), Need::Namespace("cgroup")])
            .should(),
        case("ps", &["EVT-01"], ps_json).practice(),
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

/// Of a list that names what this kernel does not have, what it has is handed over.
fn v2_ownership_listed(ctx: &Ctx) -> Verdict {
    const LIST: &str = "/sys/kernel/cgroup/delegate";
    let list = ctx.scratch().join("delegate");
    fs::write(&list, "cgroup.procs\ncgroup.of-another-kernel\n")?;
    ctx.change_mounts();
    crate::sys::mount(&list.to_string_lossy(), Path::new(LIST), "", libc::MS_BIND, "")?;
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "rw"], true)?;
    let dir = c.cgroup("")?;
    ensure_eq!(owner(&dir)?, 1000, "owner of the directory");
    ensure_eq!(owner(&dir.join("cgroup.procs"))?, 1000, "owner of cgroup.procs");
    ensure_eq!(owner(&dir.join("cgroup.threads"))?, 0, "owner of cgroup.threads, which is not listed");
    Ok(())
}

/// A kernel without the list: three files are handed over.
fn v2_ownership_without_list(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    crate::sys::mount("none", Path::new("/sys/kernel/cgroup"), "tmpfs", 0, "")?;
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "rw"], true)?;
    let dir = c.cgroup("")?;
    ensure_eq!(owner(&dir)?, 1000, "owner of the directory");
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let handed = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"].contains(&&*name);
        ensure_eq!(owner(&dir.join(&name))?, if handed { 1000 } else { 0 }, "owner of {name}");
    }
    Ok(())
}

/// A file of a controller is there only if every cgroup above has handed the controller down.
fn v2_controllers(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let top = ctx.id();
    b.set("/linux/cgroupsPath", serde_json::json!(format!("/{top}/middle/{top}")));
    b.set("/linux/resources/unified", serde_json::json!({"hugetlb.2MB.max": "4194304"}));
    let c = ctx.create(&b)?;
    let dir = c.cgroup("")?;
    ensure_eq!(cgroup::read(&dir, "hugetlb.2MB.max")?.trim(), "4194304", "limit");
    for above in [1, 2, 3].map(|n| dir.ancestors().nth(n).unwrap_or(&dir).to_owned()) {
        let handed = cgroup::read(&above, "cgroup.subtree_control")?;
        ensure!(handed.split_whitespace().any(|c| c == "hugetlb"), "{}: {handed}", above.display());
    }
    c.delete_force()?;
    // Whose the directories above are, is another case's question.
    dir.ancestors().skip(1).take(2).for_each(|dir| drop(fs::remove_dir(dir)));
    Ok(())
}

/// In version 1 a cgroup is never handed over: it would not be safe.
fn v1_ownership(ctx: &Ctx) -> Verdict {
    let c = delegated(ctx, &["nosuid", "noexec", "nodev", "rw"], true)?;
    let dir = c.cgroup("pids")?;
    ensure_eq!(owner(&dir)?, 0, "owner of {}", dir.display());
    ensure_eq!(owner(&dir.join("cgroup.procs"))?, 0, "owner of cgroup.procs");
    Ok(())
}
