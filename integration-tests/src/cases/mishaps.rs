//! What went wrong in other runtimes without an attacker, where no older case has it.

use crate::failure::{Failure, Verdict};
use crate::registry::{Case, Need};
use crate::{Container, Ctx, Facts, cgroup, ensure, ensure_eq};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("mishap/{name}"), clauses, body).practice()
    };
    vec![
        case("exec-that-ends-at-once", &["LIF-12"], exec_ends_at_once).limit(120),
        case("frozen-below", &["OPS-21"], delete_frozen_below).needs(&[Need::V1("freezer")]),
        case("frozen-below-unified", &["OPS-21"], delete_frozen_below).needs(&[Need::Unified]),
        case("frozen-below-kill", &["OPS-21"], kill_frozen_below).needs(&[Need::V1("freezer")]),
        case("frozen-below-kill-unified", &["OPS-21"], kill_frozen_below).needs(&[Need::Unified]),
        case("read-only-dev", &["DEV-02"], read_only_dev),
        case("sysfs-of-the-host's-network", &["DFS-02"], |ctx| of_the_host(ctx, "network", "/sys"))
            .needs(&[Need::UserNs]),
        case("procfs-of-the-host's-processes", &["DFS-01"], |ctx| of_the_host(ctx, "pid", "/proc"))
            .needs(&[Need::UserNs]),
        case("threaded-parent", &["CG-01"], threaded_parent).needs(&[Need::Unified]),
    ]
}

/// runc's issue 5208: the program has ended before anybody waits for that.
fn exec_ends_at_once(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for _ in 0..100 {
        c.exec(&[], &[&["exit", "7"]]).run()?.exits(7)?;
    }
    Ok(())
}

/// runc's issue 2105: the container froze a cgroup below its own, with a process that does not notice its death.
fn delete_frozen_below(ctx: &Ctx) -> Verdict {
    let c = frozen_below(ctx)?;
    c.cmd(&["delete", "--force"]).limit(Duration::from_secs(10)).spawn()?.finish_reaping()?.ok()?;
    ctx.nothing_left(&c.id)
}

/// Engines wait for the end of the first process, which in its pid namespace waits for all others.
fn kill_frozen_below(ctx: &Ctx) -> Verdict {
    let c = frozen_below(ctx)?;
    c.kill("KILL")?;
    let ended = ctx.wait_for(Duration::from_secs(5), || {
        crate::process::reap_orphans();
        !c.alive()
    });
    ensure!(ended, "the first process does not end");
    c.cmd(&["delete"]).limit(Duration::from_secs(10)).spawn()?.finish_reaping()?.ok()?;
    ctx.nothing_left(&c.id)
}

fn frozen_below(ctx: &Ctx) -> Result<Container<'_>, Failure> {
    let c = ctx.sleeper()?;
    let controller = if ctx.unified() { "" } else { "freezer" };
    // With the case's id in its name, so that a case that failed thaws it again.
    let below = c.cgroup(controller)?.join(format!("{}-below", c.id));
    fs::create_dir(&below)?;
    let pid_file = ctx.scratch().join("exec.pid");
    c.exec(&["--detach", "--pid-file", &pid_file.to_string_lossy()], &[&["sleep"]]).ok()?;
    fs::write(below.join("cgroup.procs"), fs::read_to_string(&pid_file)?)?;
    let (file, word) = if ctx.unified() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    let frozen = || {
        // Version 1 may have to be told again.
        let told = fs::write(below.join(file), word).is_ok();
        let state = if ctx.unified() { "cgroup.events" } else { file };
        told && cgroup::read(&below, state).is_ok_and(|s| s.contains("FROZEN") || s.contains("frozen 1"))
    };
    ensure!(ctx.wait_for(Duration::from_secs(5), frozen), "it did not freeze");
    Ok(c)
}

/// runc's issue 3276: devices and mounts are to be made in a /dev that is read-only in the end.
fn read_only_dev(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    for m in b.config["mounts"].as_array_mut().into_iter().flatten().filter(|m| m["destination"] == "/dev") {
        m["options"] = serde_json::json!(["nosuid", "mode=755", "ro"]);
    }
    b.steps(&[&["open", "/dev/null", "rw"], &["create", "/dev/x", "x"], &["create", "/dev/shm/x", "x"]]);
    let steps = ctx.run_steps(&b)?;
    let results: Vec<&str> = steps.iter().map(Facts::result).collect();
    ensure_eq!(results, ["ok", "EROFS", "ok"], "the null device, a file in /dev, one in /dev/shm");
    Ok(())
}

/// runc's issue 1658: in a user namespace without the one that a filesystem shows, the kernel does not let it be mounted.
/// The runtime shows the host's, or says which mount it was.
fn of_the_host(ctx: &Ctx, namespace: &str, target: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(200_000)?.without_namespace(namespace);
    b.steps(&[&["facts"], &["write", "/sys/kernel/mm/ksm/run", "0"]]);
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        ensure!(
            out.stderr.contains(target.trim_start_matches('/')),
            "it does not name {target}: {}",
            out.stderr
        );
        return Ok(());
    }
    let steps = Facts::lines(&out.stdout)?;
    let kind = steps[0].mount(target)?.fstype;
    ensure_eq!(kind, if target == "/sys" { "sysfs" } else { "proc" }, "filesystem");
    ensure!(steps[1].result() != "ok", "a file of the host's sysfs was written");
    Ok(())
}

/// crun's 1.8.5: a new cgroup below a threaded one takes no process unless it is made threaded itself.
fn threaded_parent(ctx: &Ctx) -> Verdict {
    let id = ctx.id();
    let parent: PathBuf = [cgroup::ROOT, &id].iter().collect();
    fs::create_dir_all(parent.join("thread"))?;
    fs::write(parent.join("thread/cgroup.type"), "threaded")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", serde_json::json!(format!("/{id}/thread/one"))).remove("/linux/resources");
    b.steps(&[&["facts"]]);
    let out = ctx.run(&b);
    let removed = [parent.join("thread/one"), parent.join("thread"), parent.clone()].map(fs::remove_dir);
    let out = out?;
    ensure!(removed[2].is_ok(), "the cgroups that were there before: {removed:?}");
    ensure!(removed[0].is_err(), "the container's cgroup was left behind");
    ensure!(out.code() == 0 || out.stderr.contains("thread"), "it does not say why: {}", out.stderr);
    Ok(())
}
