//! State that is not as the runtime left it, and places that are full.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Container, Ctx, Failure, ensure, ensure_eq, host, sys};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("damage/state-file", &["OPS-20"], state_file).practice().limit(120),
        Case::new("damage/state-directory-removed", &["OPS-20", "OPS-02"], directory_removed).practice(),
        Case::new("damage/recycled-pid", &["ST-17", "OPS-12"], recycled_pid).practice(),
        Case::new("damage/full-state-root", &["LIF-13"], full_root).practice().limit(120),
        Case::new("damage/full-log", &["LOG-01"], full_log).practice(),
        Case::new("damage/full-pid-file", &["ST-10", "LIF-13"], full_pid_file).practice(),
    ]
}

fn state_path(ctx: &Ctx, id: &str) -> PathBuf {
    ctx.state_root().join(id).join("state.json")
}

/// Where corten keeps it: other runtimes have other files.
fn only_corten(ctx: &Ctx) -> Verdict {
    if ctx.settings.name == "corten" {
        Ok(())
    } else {
        Err(Failure::skip("the state file's name is not known"))
    }
}

/// Truncated, empty, of other runtimes, of a later version, no file at all: every command says so and ends, `list` goes
/// on with the others, and `delete --force` takes it away.
fn state_file(ctx: &Ctx) -> Verdict {
    only_corten(ctx)?;
    let runc = json!({"id": "x", "init_process_pid": 1, "init_process_start": 1, "created": "2026-01-01T00:00:00Z",
        "config": {"rootfs": "/"}, "rootless": false, "cgroup_paths": {}, "namespace_paths": {}});
    let crun = json!({"pid": 1, "process-start-time": 1, "cgroup-path": "/x", "rootfs": "/", "systemd-cgroup": false,
        "bundle": "/", "created": "2026-01-01T00:00:00Z", "detached": true});
    let other = ctx.sleeper()?;
    for kind in
        ["truncated", "empty", "object", "array", "binary", "runc", "crun", "newer", "directory", "missing"]
    {
        let c = ctx.sleeper()?;
        let path = state_path(ctx, &c.id);
        let good = fs::read(&path)?;
        let mut newer: Value = serde_json::from_slice(&good)?;
        newer["cortenState"] = json!(9999);
        fs::remove_file(&path)?;
        match kind {
            "truncated" => fs::write(&path, &good[..good.len() / 2])?,
            "empty" => fs::write(&path, "")?,
            "object" => fs::write(&path, "{}")?,
            "array" => fs::write(&path, "[1,2]")?,
            "binary" => fs::write(&path, [0xff, 0, 1, 2])?,
            "runc" => fs::write(&path, runc.to_string())?,
            "crun" => fs::write(&path, crun.to_string())?,
            "newer" => fs::write(&path, newer.to_string())?,
            "directory" => fs::create_dir(&path)?,
            _ => {}
        }
        for verb in ["state", "start", "pause", "resume", "kill", "delete", "ps"] {
            let out = c.cmd(&[verb]).run()?;
            ensure!(out.code() == 1, "{kind}: {verb} exited with {}", out.code());
            let says = out.stderr.contains("state");
            ensure!(says && !out.stderr.contains("panicked"), "{kind}: {verb} says {}", out.stderr);
        }
        let listed = ctx.rt(["list", "-q"]).run()?;
        ensure!(
            listed.stdout.contains(&other.id),
            "{kind}: list shows {:?} {}",
            listed.stdout,
            listed.stderr
        );
        c.delete_force()?;
        ensure!(!path.exists(), "{kind}: delete --force left the state");
        ensure!(ctx.wait_for(PATIENCE, || !c.alive()), "{kind}: delete --force left the process");
        let left = crate::cgroup::find(&c.id);
        ensure!(left.is_empty(), "{kind}: delete --force left {left:?}");
    }
    other.delete_force()?;
    Ok(())
}

/// Ends what a runtime that has lost all its memory could not: it is not known which processes these were.
fn end(c: &Container) -> Verdict {
    if c.alive() {
        sys::kill(c.pid, libc::SIGKILL)?;
        c.wait_exit()?;
    }
    crate::leaks::cgroups_left(&c.id);
    Ok(())
}

fn directory_removed(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    fs::remove_dir_all(ctx.state_root().join(&c.id))?;
    for verb in ["state", "start", "kill", "delete"] {
        c.cmd(&[verb]).run()?.refused(&["does not exist"])?;
    }
    c.delete_force()?;
    end(&c)
}

/// The pid belongs to somebody else by now: it is neither signalled nor joined, and the container counts as stopped.
fn recycled_pid(ctx: &Ctx) -> Verdict {
    only_corten(ctx)?;
    let c = ctx.sleeper()?;
    let path = state_path(ctx, &c.id);
    let mut state: Value = serde_json::from_slice(&fs::read(&path)?)?;
    // The kernel tells when a process began in hundredths of a second; nobody gets the same number twice in one of them.
    std::thread::sleep(Duration::from_millis(30));
    let stranger = ctx.program(&ctx.probe()).arg("sleep").spawn()?;
    sys::kill(c.pid, libc::SIGKILL)?;
    c.wait_exit()?;
    state["pid"] = json!(stranger.pid());
    fs::write(&path, state.to_string())?;
    c.expect_status("stopped")?;
    ensure!(c.cmd(&["kill"]).arg("KILL").run()?.code() != 0, "kill succeeded");
    ensure!(c.exec(&[], &[&["facts"]]).run()?.code() != 0, "exec succeeded");
    c.delete()?;
    let status = fs::read_to_string(format!("/proc/{}/status", stranger.pid()))?;
    stranger.kill()?;
    ensure!(!status.contains("\tZ"), "the stranger was killed");
    Ok(())
}

/// A tmpfs of so many pages, all but `free` of them taken.
fn full(ctx: &Ctx, name: &str, free: usize) -> Result<PathBuf, Failure> {
    const PAGE: usize = 4096;
    ctx.change_mounts();
    let dir = ctx.scratch().join(format!("{name}{free}"));
    fs::create_dir(&dir)?;
    sys::mount("tmpfs", &dir, "tmpfs", 0, "size=64k")?;
    fs::write(dir.join("filler"), vec![0u8; (16 - free) * PAGE])?;
    Ok(dir)
}

fn detach(dir: &Path) -> Verdict {
    Ok(sys::detach(dir)?)
}

/// Fails in words and leaves nothing, however far it came.
fn full_root(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    // Takes pages, too.
    b.set("/annotations/large", json!("x".repeat(9000)));
    b.save()?;
    let mut failed = 0;
    for free in 0..12 {
        let root = full(ctx, "root", free)?;
        let id = ctx.id();
        let rt = |verb: &[&str]| ctx.bare().arg("--root").arg(&root).args(verb);
        let out = rt(&["create", "-b"]).arg(&b.dir).arg(&id).run()?;
        if out.code() == 0 {
            let update: &[&str] =
                if host::limits_memory() { &["update", "--memory", "67108864"] } else { &["update"] };
            for verb in [&["start"], update, &["kill", "KILL"]] {
                // Whether there is room for it is the runtime's affair.
                let (verb, rest) = verb.split_at(1);
                let out = match verb[0] {
                    "update" => rt(verb).args(rest).arg(&id).run()?,
                    _ => rt(verb).arg(&id).args(rest).run()?,
                };
                ensure!(out.code() == 0 || out.stderr.contains("no space left"), "{verb:?}: {}", out.stderr);
            }
        } else {
            failed += 1;
            ensure!(out.stderr.to_lowercase().contains("no space left"), "{free} pages: {}", out.stderr);
            let left: Vec<_> = fs::read_dir(&root)?.flatten().map(|e| e.file_name()).collect();
            ensure_eq!(left.len(), 1, "entries of the root with {free} pages: {left:?}");
        }
        rt(&["delete", "--force"]).arg(&id).spawn()?.finish_reaping()?.ok()?;
        ensure!(!root.join(&id).exists(), "{free} pages: state is left");
        ctx.nothing_left(&id)?;
        detach(&root)?;
    }
    ensure!(failed > 0, "there was always enough room");
    Ok(())
}

/// What cannot be logged is no reason to fail, nor to hide the error itself.
fn full_log(ctx: &Ctx) -> Verdict {
    let dir = full(ctx, "log", 0)?;
    let log = dir.join("log");
    fs::write(&log, "")?;
    let out = ctx
        .rt(["--log"])
        .arg(&log)
        .args(["--debug", "run", "-b"])
        .arg(&ctx.bundle()?.dir)
        .arg(ctx.id())
        .run()?;
    ensure!(out.code() == 1 && out.stderr.contains("config.json"), "without config.json: {}", out.stderr);
    let b = ctx.bundle()?;
    b.save()?;
    let out = ctx.rt(["--log"]).arg(&log).args(["--debug", "run", "-b"]).arg(&b.dir).arg(ctx.id()).run()?;
    ensure_eq!(out.code(), 0, "exit code with a full log: {}", out.stderr);
    detach(&dir)
}

fn full_pid_file(ctx: &Ctx) -> Verdict {
    let dir = full(ctx, "pid", 0)?;
    let b = ctx.bundle()?;
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let create = ctx.rt(["create", "--pid-file"]).arg(dir.join("pid")).arg("-b").arg(&b.dir).arg(&c.id);
    create.run()?.refused(&["no space left"])?;
    ctx.nothing_left(&c.id)?;
    detach(&dir)
}
