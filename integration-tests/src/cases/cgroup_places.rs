//! Where cgroups may be, and what is said if a place or a value does not do.

use crate::failure::Verdict;
use crate::registry::{Case, Deviation, Need};
use crate::{Container, Ctx, Failure, cgroup, ensure, ensure_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub fn cases() -> Vec<Case> {
    let both = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        let v1 = Case::new(format!("cgroup-v1/{name}"), clauses, body).needs(&[Need::V1("freezer")]);
        [v1, Case::new(format!("cgroup-v2/{name}"), clauses, body).needs(&[Need::Unified])]
    };
    let cases = [
        both("populated-is-refused", &["CG-01"], populated).map(Case::practice),
        both("no-controller", &["GEN-05", "UNI-04"], no_controller),
        both("refusal-of-the-kernel", &["GEN-05"], refusal).map(Case::practice),
        both("manager-disabled", &["CG-05"], disabled).map(Case::practice),
        both("manager-disabled-with-limit", &["GEN-05"], disabled_with_limit).map(Case::practice),
    ];
    let existing = Case::new("cgroup-v2/existing-survives", &["OPS-18"], existing_survives);
    let killed = Case::new("cgroup/killed-before", &["CG-01"], killed_before).needs(&[Need::Root]);
    let caller = Case::new("cgroup/caller-killed-before", &["CG-01"], caller_killed_before);
    let killed = [killed, caller.needs(&[Need::Root])].map(Case::practice);
    let alone = [existing.needs(&[Need::Unified]), of_memory()].into_iter().chain(killed);
    cases.into_iter().flatten().chain(alone).map(with_deviations).collect()
}

/// What the peers do otherwise, by the end of the case's name.
const DEVIATIONS: &[(&str, &str, &str, &str)] = &[
    ("populated-is-refused", "runc", "1.1", "only warns, that it will be refused"),
    ("populated-is-refused", "crun", "1", "puts the container in with the others"),
    ("existing-survives", "runc", "1", "removes an empty cgroup that it has not made"),
    ("existing-survives", "crun", "1", "removes an empty cgroup that it has not made"),
    ("killed-before", "crun", "1", "is killed in such a cgroup"),
    ("caller-killed-before", "crun", "1", "is killed when called in such a cgroup"),
    ("no-controller", "runc", "1", "names the file, not the member"),
    ("no-controller", "crun", "1", "names the file, not the member, and leaves the cgroup"),
    ("refusal-of-the-kernel", "runc", "1", "names the file, not the member; ignores memory.useHierarchy"),
    ("refusal-of-the-kernel", "crun", "1", "names the file, not the member, and leaves the cgroup"),
    ("manager-disabled", "runc", "1", "has no --cgroup-manager"),
    ("manager-disabled-with-limit", "runc", "1", "has no --cgroup-manager"),
    ("manager-disabled-with-limit", "crun", "1", "ignores limits then"),
    ("out-of-memory-at-create", "runc", "1", "refuses a limit below what its own init uses"),
    ("out-of-memory-at-create", "crun", "1", "names neither limit nor peak"),
];

fn with_deviations(mut case: Case) -> Case {
    let of_case = DEVIATIONS.iter().filter(|(end, ..)| case.name.rsplit('/').next() == Some(end));
    case.deviations =
        of_case.map(|(_, runtime, version, reason)| Deviation { runtime, version, reason }).collect();
    case
}

/// The directories of this name in all hierarchies.
fn dirs(name: &str) -> Vec<PathBuf> {
    let root = Path::new(cgroup::ROOT);
    if cgroup::is_unified() {
        return vec![root.join(name)];
    }
    let links = |p: &PathBuf| p.is_symlink();
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path());
    let real = hierarchies.filter(|p| !links(p) && p.join("cgroup.procs").exists());
    real.map(|p| p.join(name)).collect()
}

fn at(ctx: &Ctx, name: &str) -> Result<crate::Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!("/{name}"))).steps(&[&["sleep"]]);
    Ok(b)
}

/// A cgroup with somebody else's process: the container's limits would be that one's, too.
fn populated(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dirs = dirs(&name);
    dirs.iter().try_for_each(fs::create_dir)?;
    let stranger = ctx.program(&ctx.probe()).arg("sleep").spawn()?;
    for dir in &dirs {
        // On version 1 nobody can be put into an empty set. On version 2 everybody can, and the root has no such files.
        let parent = dir.parent().unwrap_or(dir);
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|f| parent.join(f).exists()) {
            fs::copy(parent.join(file), dir.join(file))?;
        }
        fs::write(dir.join("cgroup.procs"), stranger.pid().to_string())?;
    }
    let b = at(ctx, &name)?;
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    let lives = sys::kill(stranger.pid(), 0).is_ok();
    drop(c);
    stranger.kill()?;
    let left = |dir: &PathBuf| fs::remove_dir(dir).map_err(|e| format!("{}: {e}", dir.display())).err();
    let errors: Vec<String> = dirs.iter().filter_map(left).collect();
    out.refused(&["not empty"])?;
    ensure!(lives, "the process that was there was killed");
    ensure!(errors.is_empty(), "the cgroups that were there before: {errors:?}");
    Ok(())
}

/// What was there before the container is there after it.
fn existing_survives(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dirs = dirs(&name);
    dirs.iter().try_for_each(fs::create_dir)?;
    let c = ctx.start(&at(ctx, &name)?)?;
    let inside = cgroup::path_of(&c.proc_file("cgroup")?, if ctx.unified() { "" } else { "freezer" });
    c.delete_force()?;
    let errors: Vec<_> = dirs.iter().filter_map(|dir| fs::remove_dir(dir).err()).collect();
    ensure_eq!(inside, Some(format!("/{name}")), "cgroup");
    ensure!(errors.is_empty(), "the cgroups that were there before: {errors:?}");
    Ok(())
}

/// In this cgroup somebody was killed once. Linux 6.14 and later then kill whom they clone into it, but nobody who joins.
fn killed_before(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dirs = dirs(&name);
    let kill = dirs.iter().map(|dir| dir.join("cgroup.kill"));
    dirs.iter().try_for_each(fs::create_dir)?;
    let killed: Vec<_> = kill.filter(|file| file.exists()).map(|file| fs::write(file, "1")).collect();
    let lives = ctx.start(&at(ctx, &name)?).and_then(|c| {
        let out = ctx.rt(["exec", &c.id, "/bin/probe", "say", "x"]).run()?;
        c.delete_force()?;
        out.exits(0).map(drop)
    });
    let _: Vec<_> = dirs.iter().filter(|dir| dir.exists()).map(fs::remove_dir).collect();
    lives?;
    if killed.is_empty() {
        return Err(Failure::skip("there is no cgroup.kill (Linux 5.14, on a unified hierarchy)"));
    }
    Ok(())
}

/// The same in the cgroup that the runtime is called in: the kernel compares the two.
fn caller_killed_before(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let Some(dir) = dirs(&name).into_iter().find(|dir| dir.with_file_name("cgroup.threads").exists()) else {
        return Err(Failure::skip("there is no unified hierarchy"));
    };
    let back = cgroup::dir_of(std::process::id() as i32, "")?;
    fs::create_dir(&dir)?;
    if fs::write(dir.join("cgroup.kill"), "1").is_err() {
        fs::remove_dir(&dir)?;
        return Err(Failure::skip("there is no cgroup.kill (Linux 5.14)"));
    }
    let other = at(ctx, &ctx.id())?;
    fs::write(dir.join("cgroup.procs"), "0")?;
    let lives = ctx.start(&other).and_then(|c| {
        let out = ctx.rt(["exec", &c.id, "/bin/probe", "say", "x"]).run()?;
        let inside = cgroup::path_of(&c.proc_file("cgroup")?, "");
        c.delete_force()?;
        out.exits(0)?;
        Ok(inside)
    });
    fs::write(back.join("cgroup.procs"), "0")?;
    fs::remove_dir(&dir)?;
    let inside = lives?;
    ensure!(inside.as_ref().is_some_and(|path| !path.contains(&name)), "cgroup: {inside:?}");
    Ok(())
}

/// A limit for which there is no controller here is an error that names both.
fn no_controller(ctx: &Ctx) -> Verdict {
    let limits = [
        ("memory", "memory", json!({"limit": 1 << 26}), "memory.limit"),
        ("pids", "pids", json!({"limit": 9}), "pids.limit"),
        ("hugetlb", "hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}]), "hugepageLimits"),
        ("rdma", "rdma", json!({"mlx5_1": {"hcaHandles": 3}}), "rdma"),
    ];
    let lacks = |c: &&'static str| {
        let need = if cgroup::is_unified() { Need::V2(c) } else { Need::V1(c) };
        ctx.host.lacks(need).is_some()
    };
    let missing = limits.into_iter().find(|(controller, ..)| lacks(controller));
    let (controller, member, value, field) =
        missing.ok_or_else(|| Failure::skip("every controller that was thought of is here"))?;
    let mut b = ctx.bundle()?;
    b.set(&format!("/linux/resources/{member}"), value);
    let out = ctx.refuses(&b, &[&format!("linux.resources.{field}")])?;
    ensure!(out.stderr.contains(&format!("{controller:?}")), "names no controller: {}", out.stderr);
    Ok(())
}

/// Field, file, value, and what the kernel said.
fn refusal(ctx: &Ctx) -> Verdict {
    let (member, value, words): (_, Value, [&str; 4]) = if ctx.unified() {
        if let Some(reason) = ctx.host.lacks(Need::V2("hugetlb")) {
            return Err(Failure::skip(reason));
        }
        let words =
            ["linux.resources.unified.hugetlb.2MB.max", "/hugetlb.2MB.max", "plenty", "invalid argument"];
        ("unified", json!({"hugetlb.2MB.max": "plenty"}), words)
    } else {
        if let Some(reason) = ctx.host.lacks(Need::V1("memory")) {
            return Err(Failure::skip(reason));
        }
        // Since Linux 5.11 there is no other way than to count children.
        let words =
            ["linux.resources.memory.useHierarchy", "/memory.use_hierarchy", "\"0\"", "invalid argument"];
        ("memory", json!({"useHierarchy": false}), words)
    };
    let mut b = ctx.bundle()?;
    b.set(&format!("/linux/resources/{member}"), value);
    let out = ctx.refuses(&b, &[])?;
    for word in words {
        ensure!(out.stderr.contains(word), "does not say {word:?}: {}", out.stderr);
    }
    Ok(())
}

/// `--cgroup-manager disabled`: the container stays where its caller is, and nothing is made.
fn disabled(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    let mut c = Container::new(ctx, &ctx.id());
    let pid_file = ctx.scratch().join("pid");
    let create = ctx.rt(["--cgroup-manager", "disabled", "create", "-b"]).arg(&b.dir);
    create.arg("--pid-file").arg(&pid_file).arg(&c.id).ok()?;
    c.pid = fs::read_to_string(&pid_file)?.parse().unwrap_or(0);
    ensure_eq!(c.proc_file("cgroup")?, fs::read_to_string("/proc/self/cgroup")?, "cgroup");
    ensure!(cgroup::find(&c.id).is_empty(), "a cgroup was made");
    c.start()?;
    c.expect_status("running")?;
    c.exec_facts(&[])?;
    c.cmd(&["pause"]).run()?.refused(&["cgroup"])?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn disabled_with_limit(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/pids", json!({"limit": 20})).save()?;
    let c = Container::new(ctx, &ctx.id());
    let create = ctx.rt(["--cgroup-manager", "disabled", "create", "-b"]).arg(&b.dir).arg(&c.id);
    create.run()?.refused(&["linux.resources.pids.limit"])?;
    ctx.nothing_left(&c.id)
}

/// The OOM killer's work is reported as such, with the limit.
fn of_memory() -> Case {
    let body = |ctx: &Ctx| {
        let mut b = ctx.bundle()?;
        b.set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
        let out = ctx.refuses(&b, &["oom-killed"])?;
        ensure!(out.stderr.contains("4096"), "the limit is not named: {}", out.stderr);
        ensure!(out.stderr.contains("peak"), "the peak is not named: {}", out.stderr);
        Ok(())
    };
    Case::new("cgroup-v1/out-of-memory-at-create", &["RMEM-13"], body)
        .practice()
        .needs(&[Need::V1File("memory", "memory.memsw.limit_in_bytes")])
}
