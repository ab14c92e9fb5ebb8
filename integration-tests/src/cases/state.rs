//! What `state`, `list`, `features` and `--version` print.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Ctx, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("state/members", &["ST-02", "ST-03", "ST-10", "ST-13", "ST-16"], members),
        Case::new("state/practice-members", &["ST-15"], practice_members).practice(),
        Case::new("state/annotations", &["ST-14", "ANN-02"], annotations),
        Case::new("state/relative-bundle", &["ST-13"], relative_bundle),
        Case::new("state/statuses", &["ST-01", "ST-05", "ST-07", "ST-08", "ST-09"], statuses),
        Case::new("state/zombie-is-stopped", &["ST-18"], zombie_is_stopped).practice(),
        Case::new("state/stopped-pid", &["ST-15"], stopped_pid).practice(),
        Case::new("state/unknown-id", &["OPS-02"], |ctx| {
            ctx.rt(["state", &ctx.id()]).run()?.refused(&["container does not exist"]).map(drop)
        }),
        Case::new("state/without-id", &["OPS-01"], |ctx| {
            let out = ctx.rt(["state"]).run()?;
            ensure!(out.code() != 0, "`state` without an id succeeded");
            Ok(())
        }),
        Case::new("state/root-directory-mode", &["ST-01"], root_mode).practice(),
        Case::new("list/json", &["ST-01"], list_json).practice(),
        Case::new("list/table", &["ST-01"], list_table).practice(),
        Case::new("list/quiet", &["ST-01"], list_quiet).practice(),
        Case::new("list/empty", &["ST-01"], list_empty).practice(),
        Case::new("version/text", &["FEAT-19"], version).practice(),
        Case::new("features/document", &["FEAT-01", "FEAT-03", "FEAT-05"], features),
        Case::new("features/hooks-and-options", &["FEAT-08", "FEAT-09"], features_lists).practice(),
        Case::new("spec/is-runnable", &["GEN-06"], spec).practice(),
        Case::new("spec/rootless", &["IDM-06"], spec_rootless).practice(),
        Case::new("spec/does-not-overwrite", &["CLI-01"], spec_twice).practice(),
        Case::new("log/json", &["LOG-01"], log_json).practice(),
        Case::new("log/text-also-on-stderr", &["LOG-01"], log_and_stderr).practice(),
        Case::new("log/success-writes-no-error", &["LOG-01"], log_success).practice(),
        Case::new("cli/without-id", &["OPS-08", "OPS-11", "OPS-15"], |ctx| {
            for verb in ["start", "kill", "delete"] {
                let out = ctx.rt([verb]).run()?;
                ensure!(
                    out.code() != 0 && !out.stderr.trim().is_empty(),
                    "{verb} without an id: {}",
                    out.code()
                );
            }
            Ok(())
        }),
        Case::new("cli/repeated-globals", &["CLI-01"], repeated_globals).practice(),
        Case::new("cli/unknown-verb", &["CLI-01"], |ctx| {
            let out = ctx.rt(["nosuchverb"]).run()?;
            ensure!(out.code() != 0, "an unknown verb succeeded");
            Ok(())
        })
        .practice(),
    ]
}

fn members(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let s = c.state()?;
    ensure_eq!(s["id"], json!(c.id), "id");
    ensure_eq!(s["status"], json!("running"), "status");
    ensure_eq!(s["pid"], json!(c.pid), "pid");
    ensure_eq!(s["bundle"], json!(b.dir), "bundle");
    let version = s["ociVersion"].as_str().unwrap_or("");
    ensure!(version.split('.').count() >= 3, "ociVersion {version:?} is no semantic version");
    Ok(())
}

fn practice_members(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    let c = ctx.create(&b)?;
    let s = c.state()?;
    ensure_eq!(s["rootfs"], json!(b.dir.join("rootfs")), "rootfs");
    ensure!(s.get("owner").is_some(), "no owner: {s}");
    let created = s["created"].as_str().unwrap_or("");
    let shape: String = created.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ensure_eq!(shape, "0000-00-00T00:00:00", "shape of created (RFC 3339)");
    ensure!(created.ends_with('Z') || created.contains('+'), "created has no zone: {created}");
    Ok(())
}

fn annotations(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let want = json!({"org.example.a": "1", "org.example.empty": "", "unknown": "\u{e9} \"quoted\""});
    b.set("/annotations", want.clone());
    ensure_eq!(ctx.create(&b)?.state()?["annotations"], want, "annotations");
    Ok(())
}

fn relative_bundle(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    ctx.rt(["create", "-b", ".", &c.id]).cwd(&b.dir).ok()?;
    ensure_eq!(c.state()?["bundle"], json!(b.dir), "bundle in state");
    c.start().map(drop)
}

fn statuses(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let c = ctx.create(&b)?;
    c.expect_status("created")?;
    c.start()?;
    c.expect_status("running")?;
    c.cmd(&["pause"]).ok()?;
    c.expect_status("paused")?;
    c.cmd(&["resume"]).ok()?;
    c.expect_status("running")?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.expect_status("stopped")?;
    c.delete().map(drop)
}

/// The caller has not reaped init: it is a zombie, and that is stopped.
fn zombie_is_stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    ensure!(c.proc_file("stat")?.contains(") Z "), "init is no zombie, the case shows nothing");
    c.delete().map(drop)
}

fn stopped_pid(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.kill("KILL")?;
    c.wait_exit()?;
    ensure_eq!(c.state()?["pid"], json!(0), "pid of a stopped container");
    Ok(())
}

fn root_mode(ctx: &Ctx) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    let root = ctx.scratch().join("fresh/root");
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    ctx.bare().arg("--root").arg(&root).args(["create", "-b"]).arg(&b.dir).arg(&id).ok()?;
    let mode = fs::metadata(root.join(&id)).or_else(|_| fs::metadata(&root))?.permissions().mode();
    ctx.bare().arg("--root").arg(&root).args(["delete", "--force", &id]).ok()?;
    ensure_eq!(mode & 0o066, 0, "group and other may read the state");
    Ok(())
}

fn entry<'a>(list: &'a Value, id: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|e| e["id"] == id)
}

fn list_json(ctx: &Ctx) -> Verdict {
    let (a, b) = (ctx.sleeper()?, ctx.create(&ctx.bundle()?)?);
    let list = ctx.rt(["list", "--format", "json"]).ok()?.json()?;
    ensure_eq!(list.as_array().map(Vec::len), Some(2), "number of entries");
    for (c, status) in [(&a, "running"), (&b, "created")] {
        let Some(e) = entry(&list, &c.id) else {
            return Err(crate::Failure::new(format!("{} is not in {list}", c.id)));
        };
        ensure_eq!(e["status"], json!(status), "status of {}", c.id);
        ensure_eq!(e["pid"], json!(c.pid), "pid of {}", c.id);
        for member in ["ociVersion", "bundle", "rootfs", "created", "owner"] {
            ensure!(e.get(member).is_some(), "no {member} in {e}");
        }
    }
    Ok(())
}

fn list_table(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let text = ctx.rt(["list"]).ok()?.stdout;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    ensure_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "header");
    let row: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    ensure_eq!(row.get(..3), Some(&[c.id.as_str(), &c.pid.to_string(), "running"][..]), "row");
    ensure_eq!(lines.next(), None, "more lines");
    Ok(())
}

fn list_quiet(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    ensure_eq!(ctx.rt(["list", "-q"]).ok()?.stdout, format!("{}\n", c.id), "list -q");
    Ok(())
}

fn list_empty(ctx: &Ctx) -> Verdict {
    ensure_eq!(ctx.rt(["list", "-q"]).ok()?.stdout, "", "list -q without containers");
    let json = ctx.rt(["list", "--format", "json"]).ok()?.json()?;
    ensure!(json.is_null() || json.as_array().is_some_and(Vec::is_empty), "list of nothing: {json}");
    Ok(())
}

fn version(ctx: &Ctx) -> Verdict {
    let out = ctx.bare().arg("--version").ok()?;
    let lines: Vec<&str> = out.stdout.lines().collect();
    ensure!(lines[0].contains(" version "), "first line: {:?}", lines[0]);
    ensure!(lines.iter().any(|l| l.starts_with("commit: ")), "no commit line: {lines:?}");
    ensure!(lines.iter().any(|l| l.starts_with("spec: ")), "no spec line: {lines:?}");
    ensure_eq!(out.stderr, "", "stderr");
    Ok(())
}

fn features(ctx: &Ctx) -> Verdict {
    let out = ctx.bare().arg("features").ok()?;
    let f = out.json()?;
    ensure_eq!(out.stderr, "", "stderr");
    for member in ["ociVersionMin", "ociVersionMax"] {
        ensure!(f[member].is_string(), "no {member}");
        let mut b = ctx.bundle()?;
        b.set("/ociVersion", f[member].clone());
        ctx.facts(&b)?;
    }
    Ok(())
}

fn features_lists(ctx: &Ctx) -> Verdict {
    let f = ctx.bare().arg("features").ok()?.json()?;
    let has = |pointer: &str, word: &str| {
        f.pointer(pointer).and_then(Value::as_array).is_some_and(|l| l.iter().any(|v| v == word))
    };
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        ensure!(has("/hooks", hook), "hook {hook} is not announced");
    }
    for option in ["bind", "rbind", "ro", "rro", "nosuid", "rprivate", "rshared"] {
        ensure!(has("/mountOptions", option), "mount option {option} is not announced");
    }
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        ensure!(has("/linux/namespaces", kind), "namespace {kind} is not announced");
    }
    ensure!(has("/linux/capabilities", "CAP_NET_RAW"), "CAP_NET_RAW is not announced");
    ensure_eq!(f["linux"]["seccomp"]["enabled"], json!(true), "seccomp");
    ensure_eq!(f["linux"]["cgroup"]["v1"], json!(true), "cgroup v1");
    ensure_eq!(f["linux"]["cgroup"]["v2"], json!(true), "cgroup v2");
    Ok(())
}

fn spec(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    ctx.rt(["spec", "-b"]).arg(&b.dir).ok()?;
    b.config = serde_json::from_slice(&fs::read(b.dir.join("config.json"))?)?;
    b.set("/process/terminal", json!(false)).set("/process/args", json!([crate::bundle::PROBE, "facts"]));
    ensure_eq!(ctx.facts(&b)?.get("/pid"), &json!(1), "pid");
    Ok(())
}

fn spec_rootless(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    ctx.rt(["spec", "--rootless", "-b"]).arg(&b.dir).ok()?;
    let spec: Value = serde_json::from_slice(&fs::read(b.dir.join("config.json"))?)?;
    ensure!(spec["linux"]["uidMappings"].is_array(), "no uidMappings");
    let user = spec["linux"]["namespaces"].as_array().is_some_and(|n| n.iter().any(|n| n["type"] == "user"));
    ensure!(user, "no user namespace");
    Ok(())
}

fn spec_twice(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    fs::write(b.dir.join("config.json"), "mine")?;
    ctx.rt(["spec", "-b"]).arg(&b.dir).run()?.refused(&["exists"])?;
    ensure_eq!(fs::read_to_string(b.dir.join("config.json"))?, "mine", "the file");
    Ok(())
}

fn log_json(ctx: &Ctx) -> Verdict {
    let log = ctx.scratch().join("log.json");
    ctx.rt(["--log"]).arg(&log).args(["--log-format", "json", "state", &ctx.id()]).run()?.exits(1)?;
    let text = fs::read_to_string(&log)?;
    ensure_eq!(text.lines().count(), 1, "lines in the log: {text}");
    let line: Value = serde_json::from_str(&text)?;
    ensure_eq!(line["level"], json!("error"), "level");
    ensure!(line["msg"].as_str().is_some_and(|m| m.contains("does not exist")), "msg: {line}");
    ensure!(line["time"].as_str().is_some_and(|t| t.contains('T')), "time: {line}");
    Ok(())
}

fn log_and_stderr(ctx: &Ctx) -> Verdict {
    let log = ctx.scratch().join("log.json");
    let out = ctx.rt(["--log"]).arg(&log).args(["--log-format", "json", "state", &ctx.id()]).run()?;
    out.refused(&["does not exist"]).map(drop)
}

fn log_success(ctx: &Ctx) -> Verdict {
    let (log, b) = (ctx.scratch().join("log.json"), ctx.bundle()?);
    b.save()?;
    let cmd = ctx.rt(["--log"]).arg(&log).args(["--log-format", "json", "run", "-b"]);
    cmd.arg(&b.dir).arg(ctx.id()).ok()?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    ensure!(!text.contains("\"error\""), "log of a success: {text}");
    Ok(())
}

/// conmon-rs says everything twice.
fn repeated_globals(ctx: &Ctx) -> Verdict {
    let root = ctx.state_root();
    let cmd = ctx.bare().arg("--root").arg("/nonexistent/wrong").arg("--root").arg(&root);
    ensure_eq!(cmd.args(["list", "-q"]).ok()?.stdout, "", "list -q");
    Ok(())
}
