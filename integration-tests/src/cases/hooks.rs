//! Hooks: order, state on stdin, namespaces, failure, time limits.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Bundle, Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("hook/order", &["HK-01", "HK-07", "HK-11"], order),
        Case::new("hook/several-of-a-kind", &["HK-07"], several),
        Case::new("hook/argv", &["HK-03"], argv),
        Case::new("hook/argv-absent", &["HK-03"], argv_absent).practice(),
        Case::new("hook/env", &["HK-04"], env),
        Case::new("hook/descriptors", &["HK-19"], descriptors).practice(),
        Case::new("hook/before-pivot", &["HK-10"], before_pivot),
        Case::new("hook/sees-mounts", &["HK-10"], sees_mounts),
        Case::new("hook/when", &["LIF-04", "LIF-07", "LIF-09", "LIF-11"], when),
        Case::new("hook/timeout", &["HK-06"], timeout),
        Case::new("hook/timeout-not-reached", &["HK-05"], timeout_not_reached),
        Case::new("hook/missing-program", &["HK-02"], missing_program),
        Case::new("hook/failure-shows-output", &["HK-16"], failure_output).practice(),
        Case::new("hook/failing-prestart-runs-poststop", &["LIF-04"], |ctx| poststop_after(ctx, "prestart")),
        Case::new("hook/failing-createContainer-runs-poststop", &["LIF-06"], |ctx| {
            poststop_after(ctx, "createContainer")
        }),
        Case::new("hook/poststop-failure-is-a-warning", &["LIF-11"], poststop_failure),
        Case::new("hook/poststop-runs-once", &["LIF-11"], poststop_once),
        Case::new("hook/cgroup-is-ready", &["HK-18"], cgroup_ready).practice(),
        Case::new("hook/run-runs-all", &["HK-01"], run_runs_all),
    ];
    for (kind, status) in
        KINDS.iter().zip(["creating", "creating", "creating", "created", "running", "stopped"])
    {
        let (of_state, of_namespaces, of_failure) = clauses(kind);
        let name = format!("hook/state-in-{kind}");
        cases.push(Case::new(name, of_state, move |ctx| state(ctx, kind, status)));
        let name = format!("hook/namespaces-of-{kind}");
        cases.push(Case::new(name, of_namespaces, move |ctx| namespaces(ctx, kind)));
        if !of_failure.is_empty() {
            let name = format!("hook/failing-{kind}");
            cases.push(Case::new(name, of_failure, move |ctx| failing(ctx, kind)));
        }
    }
    cases
}

type Clauses = &'static [&'static str];

/// What a kind of hook shows by the state that it is given, by its namespaces, and when it fails.
fn clauses(kind: &str) -> (Clauses, Clauses, Clauses) {
    match kind {
        "prestart" => (&["HK-08", "HK-15", "ST-06", "ST-12"], &["HK-09"], &["LIF-04"]),
        "createRuntime" => (&["HK-08", "HK-15", "ST-06", "ST-12"], &["HK-09"], &["LIF-05"]),
        "createContainer" => (&["HK-08", "HK-15", "ST-06", "ST-11"], &["HK-12"], &["LIF-06"]),
        "startContainer" => (&["HK-08", "HK-15", "ST-11"], &["HK-13"], &["LIF-07"]),
        "poststart" => (&["HK-08", "HK-15", "ST-12"], &["HK-14"], &["LIF-09"]),
        _ => (&["HK-08", "HK-15"], &["HK-14"], &[]),
    }
}

/// A bundle whose hooks of the given kinds append to `out/log`, under a path that is the same on the host
/// and in the container.
fn hooked(ctx: &Ctx, kinds: &[&str]) -> Result<(Bundle, PathBuf), Failure> {
    let mut b = ctx.bundle()?;
    let out = b.out();
    let log = out.join("log");
    for kind in kinds {
        add(&mut b, ctx, kind, &log, kind, &[]);
    }
    b.steps(&[&["sleep"]]);
    Ok((b, log))
}

fn add(b: &mut Bundle, ctx: &Ctx, kind: &str, log: &Path, tag: &str, extra: &[&str]) {
    b.hook(kind, ctx, log, tag, extra);
    // Resolved and run inside, where the probe and the log have other names.
    if kind == "startContainer" {
        let last = b.config["hooks"][kind].as_array().map_or(0, |l| l.len() - 1);
        b.set(&format!("/hooks/{kind}/{last}"), crate::bundle::hook("/bin/probe", "/out/log", tag, extra));
    }
}

fn lines(log: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
}

fn tags(log: &Path) -> Result<Vec<String>, Failure> {
    Ok(lines(log)?.iter().map(|l| l["tag"].as_str().unwrap_or("").to_owned()).collect())
}

/// The whole life of a container, so that every hook has run.
fn live(ctx: &Ctx, b: &Bundle) -> Verdict {
    let c = ctx.start(b)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.delete().map(drop)
}

fn only(ctx: &Ctx, kind: &str) -> Result<Value, Failure> {
    let (b, log) = hooked(ctx, &[kind])?;
    live(ctx, &b)?;
    let mut all = lines(&log)?;
    ensure_eq!(all.len(), 1, "lines in the hook's log");
    Ok(all.remove(0))
}

fn order(ctx: &Ctx) -> Verdict {
    let (b, log) = hooked(ctx, &KINDS)?;
    live(ctx, &b)?;
    ensure_eq!(tags(&log)?, KINDS, "order of the hooks");
    Ok(())
}

fn several(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    for kind in KINDS {
        for (n, delay) in [("1", "0.05"), ("2", "0"), ("3", "0")] {
            add(&mut b, ctx, kind, &log, &format!("{kind}{n}"), &["sleep", delay]);
        }
    }
    b.steps(&[&["sleep"]]);
    live(ctx, &b)?;
    let want: Vec<String> = KINDS.iter().flat_map(|k| ["1", "2", "3"].map(|n| format!("{k}{n}"))).collect();
    ensure_eq!(tags(&log)?, want, "order of the hooks");
    Ok(())
}

fn argv(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    let args = json!(["other name", "hook", log, "tag", "say", "a b"]);
    b.set("/hooks/prestart", json!([{"path": ctx.probe(), "args": args}]));
    ctx.create(&b)?;
    ensure_eq!(lines(&log)?[0]["argv"], args, "argv");
    Ok(())
}

fn argv_absent(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/hooks/prestart", json!([{"path": ctx.probe()}]));
    ctx.create(&b).map(drop)
}

fn env(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    let args = json!(["probe", "hook", log, "tag"]);
    b.set(
        "/hooks",
        json!({"prestart": [{"path": ctx.probe(), "args": args, "env": ["ONLY=this", "AND="]}],
               "createRuntime": [{"path": ctx.probe(), "args": args}]}),
    );
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).env("SECRET", "leaks").ok()?;
    let all = lines(&log)?;
    ensure_eq!(all[0]["env"], json!(["ONLY=this", "AND="]), "environment of a hook with env");
    ensure_eq!(all[1]["env"], json!([]), "environment of a hook without env");
    Ok(())
}

fn descriptors(ctx: &Ctx) -> Verdict {
    let (b, log) = hooked(ctx, &KINDS)?;
    live(ctx, &b)?;
    for line in lines(&log)? {
        let open: Vec<&String> = line["fds"].as_object().into_iter().flat_map(|m| m.keys()).collect();
        ensure_eq!(open, ["0", "1", "2"], "descriptors of {} ({})", line["tag"], line["fds"]);
    }
    Ok(())
}

fn before_pivot(ctx: &Ctx) -> Verdict {
    for kind in ["prestart", "createRuntime"] {
        let line = only(ctx, kind)?;
        ensure_eq!(line["container_root"], json!("/"), "root of the container's process in {kind}");
    }
    Ok(())
}

/// Called in the container's namespaces before the pivot: its mounts are at their places below the bundle.
fn sees_mounts(ctx: &Ctx) -> Verdict {
    let (b, log) = hooked(ctx, &["createContainer"])?;
    ctx.create(&b)?;
    let line = lines(&log)?.remove(0);
    let mounts = crate::mountinfo::parse(line["mountinfo"].as_str().unwrap_or(""));
    let proc = b.path("proc").to_string_lossy().into_owned();
    ensure!(mounts.iter().any(|m| m.target == proc), "no mount at {proc}");
    Ok(())
}

fn when(ctx: &Ctx) -> Verdict {
    let (b, log) = hooked(ctx, &KINDS)?;
    let c = ctx.create(&b)?;
    ensure_eq!(tags(&log)?, KINDS[..3], "after create");
    c.start()?;
    ensure_eq!(tags(&log)?, KINDS[..5], "after start");
    c.kill("KILL")?;
    c.wait_exit()?;
    ensure_eq!(tags(&log)?, KINDS[..5], "after kill");
    c.delete()?;
    ensure_eq!(tags(&log)?, KINDS, "after delete");
    Ok(())
}

fn state(ctx: &Ctx, kind: &str, status: &str) -> Verdict {
    let (mut b, log) = hooked(ctx, &[kind])?;
    b.set("/annotations", json!({"org.example.a": "1"}));
    let c = ctx.start(&b)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.delete()?;
    let line = lines(&log)?.into_iter().next().ok_or_else(|| Failure::new("the hook did not run"))?;
    let s = &line["state"];
    ensure!(s.is_object(), "stdin holds no JSON: {s}");
    ensure_eq!(s["id"], json!(c.id), "id");
    ensure_eq!(s["bundle"], json!(b.dir), "bundle");
    ensure_eq!(s["status"], json!(status), "status");
    ensure_eq!(s["annotations"]["org.example.a"], json!("1"), "annotations");
    ensure!(s["ociVersion"].is_string(), "no ociVersion");
    let pid = match kind {
        "createContainer" | "startContainer" => json!(1),
        "poststop" => return Ok(()),
        _ => json!(c.pid),
    };
    ensure_eq!(s["pid"], pid, "pid");
    Ok(())
}

fn namespaces(ctx: &Ctx, kind: &str) -> Verdict {
    let line = only(ctx, kind)?;
    for ns in ["net", "uts", "ipc", "mnt"] {
        let own = fs::read_link(format!("/proc/self/ns/{ns}"))?.display().to_string();
        let inside = line["ns"][ns] != json!(own);
        ensure_eq!(inside, matches!(kind, "createContainer" | "startContainer"), "{ns} is the container's");
    }
    Ok(())
}

/// The hook fails: the operation fails, the container is gone, the program never ran.
fn failing(ctx: &Ctx, kind: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    add(&mut b, ctx, kind, &out.join("log"), kind, &["exit", "3"]);
    b.steps(&[&["create", "/out/marker", "x"], &["sleep"]]);
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let created = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if matches!(kind, "startContainer" | "poststart") {
        created.ok()?;
        c.cmd(&["start"]).run()?.refused(&["hook"])?;
        ensure!(kind == "poststart" || !out.join("marker").exists(), "the program ran");
        // The container is stopped and destroyed, or at least stopped and deletable.
        let state = c.cmd(&["state"]).run()?;
        let stopped = || state.json().is_ok_and(|s| s["status"] == "stopped");
        ensure!(state.code() != 0 || stopped(), "after the failure: {}", state.stdout);
        return c.delete_force().map(drop);
    }
    created.refused(&["hook"])?;
    ctx.nothing_left(&c.id)
}

fn timeout(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    add(&mut b, ctx, "prestart", &log, "slow", &["sleep", "100"]);
    b.set("/hooks/prestart/0/timeout", json!(1));
    let begin = std::time::Instant::now();
    ctx.refuses(&b, &["hook"])?;
    let took = begin.elapsed().as_secs_f64();
    let limit = crate::process::patience(Duration::from_secs(5)).as_secs_f64();
    ensure!((0.9..limit).contains(&took), "took {took:.1} s with a timeout of 1 s");
    Ok(())
}

fn timeout_not_reached(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    add(&mut b, ctx, "prestart", &log, "quick", &["sleep", "0.1"]);
    b.set("/hooks/prestart/0/timeout", json!(1000));
    let begin = std::time::Instant::now();
    ctx.create(&b)?;
    ensure!(
        begin.elapsed() < crate::process::patience(Duration::from_secs(5)),
        "create waited for the whole timeout"
    );
    Ok(())
}

fn missing_program(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/hooks/prestart", json!([{"path": "/nowhere/hook"}]));
    ctx.refuses(&b, &["/nowhere/hook"]).map(drop)
}

fn failure_output(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    add(&mut b, ctx, "prestart", &log, "loud", &["say", "the reason is rust", "exit", "1"]);
    ctx.refuses(&b, &["the reason is rust"]).map(drop)
}

fn poststop_after(ctx: &Ctx, kind: &str) -> Verdict {
    let (mut b, log) = hooked(ctx, &["poststop"])?;
    add(&mut b, ctx, kind, &log, "failing", &["exit", "1"]);
    ctx.fails(&b)?;
    ensure_eq!(tags(&log)?, ["failing", "poststop"], "hooks that ran");
    Ok(())
}

fn poststop_failure(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    add(&mut b, ctx, "poststop", &log, "first", &["exit", "1"]);
    add(&mut b, ctx, "poststop", &log, "second", &[]);
    let c = ctx.create(&b)?;
    c.delete_force()?;
    ensure_eq!(tags(&log)?, ["first", "second"], "hooks that ran");
    ctx.nothing_left(&c.id)
}

fn poststop_once(ctx: &Ctx) -> Verdict {
    let (b, log) = hooked(ctx, &["poststop"])?;
    let c = ctx.create(&b)?;
    c.delete_force()?;
    c.cmd(&["delete", "--force"]).run()?;
    ensure_eq!(tags(&log)?, ["poststop"], "hooks that ran");
    Ok(())
}

/// The state's pid is in its cgroup before the first hook.
fn cgroup_ready(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("cgroup");
    let script =
        format!("pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); cat /proc/$pid/cgroup > {}", log.display());
    b.set(
        "/hooks/prestart",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]),
    );
    let c = ctx.create(&b)?;
    let text = fs::read_to_string(&log)?;
    let path = crate::cgroup::path_of(&text, if ctx.unified() { "" } else { "pids" });
    ensure!(path.as_deref().is_some_and(|p| p.contains(&c.id)), "cgroup in prestart: {text}");
    Ok(())
}

fn run_runs_all(ctx: &Ctx) -> Verdict {
    let (mut b, log) = hooked(ctx, &KINDS)?;
    // Long enough for the poststart hook to find the process alive.
    b.steps(&[&["sleep", "0.3"]]);
    ctx.run(&b)?.ok()?;
    ensure_eq!(tags(&log)?, KINDS, "hooks that ran");
    Ok(())
}
