//! The command lines of real engines, and the strings and codes that they look for.

use crate::failure::Verdict;
use crate::process::Cmd;
use crate::registry::Case;
use crate::{Container, Ctx, Facts, Failure, ensure, ensure_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("contract/{name}"), clauses, body).practice()
    };
    vec![
        case("containerd-life", &["CLI-01"], containerd_life),
        case("containerd-exec", &["CLI-01"], containerd_exec),
        case("containerd-create-fails", &["LOG-01"], containerd_create_fails),
        case("containerd-dead-shim", &["OPS-20"], containerd_dead_shim),
        case("conmon-life", &["CLI-01"], conmon_life),
        case("conmon-exec-fails", &["LOG-01"], conmon_exec_fails),
        case("podman-log-is-one-object", &["LOG-01"], podman_log),
        case("podman-probes", &["CLI-01"], podman_probes),
        case("podman-preserve-fds", &["LNX-02"], podman_preserve_fds),
        case("buildkit-keep", &["CLI-01"], buildkit_keep),
        case("buildah-kill-without-signal", &["OPS-14"], buildah_kill),
        case("docker-wrapper", &["CLI-01"], docker_wrapper),
        case("docker-words-of-failures", &["PROC-12"], docker_words),
        case("run-forwards-signals", &["OPS-13"], run_forwards_signals),
        case("run-forwards-hangup-and-user-signals", &["OPS-13"], run_forwards_user_signals),
        case("exec-forwards-signals", &["OPS-13"], exec_forwards_signals),
        case("run-passes-stdin-through", &["LNX-01"], run_stdin),
        case("run-ends-with-init", &["LIF-12"], run_ends_with_init),
        case("options-after-and-before", &["CLI-01"], option_spellings),
        case("help-of-every-verb", &["CLI-01"], help),
        case("kill-strings", &["OPS-12"], kill_strings),
        case("state-is-only-json", &["ST-02"], state_only_json),
        case("debug-goes-to-the-log", &["LOG-01"], debug_log),
        case("log-is-appended", &["LOG-01"], log_appended),
        case("runtime-killed-by-parent-death", &["LIF-13"], detached_survives_runtime),
    ]
}

/// The global options of containerd's runc-v2 shim.
fn shim(ctx: &Ctx, log: &std::path::Path, args: &[&str]) -> Cmd {
    let root = ctx.state_root();
    ctx.bare().arg("--root").arg(root).arg("--log").arg(log).args(["--log-format", "json"]).args(args)
}

fn sleeping(ctx: &Ctx) -> Result<(crate::Bundle, String), Failure> {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    b.save()?;
    let dir = b.dir.to_string_lossy().into_owned();
    Ok((b, dir))
}

fn read_pid(path: &PathBuf) -> Result<i32, Failure> {
    let text = fs::read_to_string(path)?;
    text.parse().map_err(|_| Failure::new(format!("{} holds {text:?}", path.display())))
}

fn containerd_life(ctx: &Ctx) -> Verdict {
    let (b, dir) = sleeping(ctx)?;
    let (log, pid) = (b.dir.join("log.json"), b.dir.join("init.pid"));
    let mut c = Container::new(ctx, &ctx.id());
    let pid_text = pid.to_string_lossy().into_owned();
    shim(ctx, &log, &["create", "--bundle", &dir, "--pid-file", &pid_text, &c.id]).ok()?;
    c.pid = read_pid(&pid)?;
    shim(ctx, &log, &["start", &c.id]).ok()?;
    shim(ctx, &log, &["pause", &c.id]).ok()?;
    shim(ctx, &log, &["resume", &c.id]).ok()?;
    let pids: Vec<i32> =
        serde_json::from_str(&shim(ctx, &log, &["ps", "--format", "json", &c.id]).ok()?.stdout)?;
    ensure_eq!(pids, [c.pid], "ps");
    shim(ctx, &log, &["kill", &c.id, "9"]).ok()?;
    c.wait_exit()?;
    shim(ctx, &log, &["kill", "--all", &c.id, "9"]).ok()?;
    shim(ctx, &log, &["delete", &c.id]).ok()?;
    ensure_eq!(
        fs::read_to_string(&log).unwrap_or_default().contains("\"error\""),
        false,
        "errors in the log"
    );
    ctx.nothing_left(&c.id)
}

fn process_file(ctx: &Ctx, args: Value) -> Result<String, Failure> {
    let file = ctx.scratch().join("process.json");
    let process = json!({"terminal": false, "cwd": "/", "args": args, "env": ["PATH=/bin"],
                         "user": {"uid": 0, "gid": 0}});
    fs::write(&file, process.to_string())?;
    Ok(file.to_string_lossy().into_owned())
}

fn containerd_exec(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let (log, pid) = (ctx.scratch().join("log.json"), ctx.scratch().join("exec.pid"));
    let file = process_file(ctx, json!(["probe", "exit", "4"]))?;
    let pid_text = pid.to_string_lossy().into_owned();
    shim(ctx, &log, &["exec", "--process", &file, "--detach", "--pid-file", &pid_text, &c.id]).ok()?;
    let pid = read_pid(&pid)?;
    let mut status = None;
    ctx.wait_for(Duration::from_secs(5), || {
        status = status.or_else(|| sys::reap(pid));
        status.is_some()
    });
    ensure_eq!(status.map(|(_, s)| libc::WEXITSTATUS(s)), Some(4), "exit status seen by the subreaper");
    Ok(())
}

/// The shim reads the last line of the log with level error; anything that is not JSON spoils it.
fn containerd_create_fails(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["nosuchprog"]));
    b.save()?;
    let (log, dir) = (b.dir.join("log.json"), b.dir.to_string_lossy().into_owned());
    let id = ctx.id();
    shim(ctx, &log, &["create", "--bundle", &dir, "--pid-file", "/dev/null", &id]).run()?.exits(1)?;
    let mut message = String::new();
    for line in fs::read_to_string(&log)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["level"] == "error" {
            message = line["msg"].as_str().unwrap_or("").to_owned();
        }
    }
    ensure!(message.contains("executable file not found in $PATH"), "last error in the log: {message:?}");
    ctx.nothing_left(&id)
}

fn containerd_dead_shim(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let log = ctx.scratch().join("log.json");
    shim(ctx, &log, &["delete", "--force", &c.id]).spawn()?.finish_reaping()?.ok()?;
    shim(ctx, &log, &["delete", "--force", &c.id]).ok()?;
    let out = shim(ctx, &log, &["delete", &c.id]).run()?;
    ensure!(out.code() != 0 && out.stderr.contains("does not exist"), "delete of nothing: {}", out.stderr);
    ctx.nothing_left(&c.id)
}

/// conmon passes the options in this order and CRI-O drives the rest.
fn conmon_life(ctx: &Ctx) -> Verdict {
    let (b, dir) = sleeping(ctx)?;
    let pid = b.dir.join("pidfile").to_string_lossy().into_owned();
    let c = Container::new(ctx, &ctx.id());
    let root = ctx.state_root().to_string_lossy().into_owned();
    let globals = format!("--root={root}");
    // conmon-rs says its globals twice.
    let cmd = ctx.bare().args([&globals, &globals]);
    cmd.args(["create", "--bundle", &dir, "--pid-file", &pid, "--no-new-keyring", &c.id]).ok()?;
    let crio = |args: &[&str]| ctx.bare().arg("--root").arg(&root).args(args);
    crio(&["start", &c.id]).ok()?;
    ensure_eq!(crio(&["state", &c.id]).ok()?.json()?["status"], json!("running"), "status");
    let file = process_file(ctx, json!(["probe", "exit", "3"]))?;
    crio(&["exec", "--process", &file, &c.id]).run()?.exits(3)?;
    crio(&["kill", &c.id, "KILL"]).ok()?;
    c.wait_status("stopped")?;
    crio(&["kill", "-a", &c.id, "9"]).ok()?;
    crio(&["delete", "--force", &c.id]).spawn()?.finish_reaping()?.ok()?;
    crio(&["delete", "--force", &c.id]).ok()?;
    ctx.nothing_left(&c.id)
}

fn conmon_exec_fails(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let pid = ctx.scratch().join("exec.pid");
    fs::write(&pid, "")?;
    let file = process_file(ctx, json!(["/nowhere/prog"]))?;
    let out = c.cmd(&["exec", "--pid-file", &pid.to_string_lossy(), "--process", &file, "--detach"]).run()?;
    ensure!(out.code() != 0, "exec of a missing program succeeded");
    ensure_eq!(fs::read_to_string(&pid)?, "", "pid file");
    Ok(())
}

/// Podman parses the whole log as one JSON value.
fn podman_log(ctx: &Ctx) -> Verdict {
    for args in [json!(["nosuchprog"]), json!(["/etc"]), json!(["/nowhere/prog"])] {
        let mut b = ctx.bundle()?;
        b.set("/process/args", args);
        b.save()?;
        let (log, dir) = (b.dir.join("log"), b.dir.to_string_lossy().into_owned());
        let cmd =
            ctx.bare().args(["--log-format=json", "--log"]).arg(&log).arg("--root").arg(ctx.state_root());
        cmd.args(["create", "--bundle", &dir, "--pid-file", "/dev/null", &ctx.id()]).run()?.exits(1)?;
        let value: Value = serde_json::from_str(&fs::read_to_string(&log)?)?;
        ensure!(value["msg"].is_string(), "no msg in {value}");
    }
    Ok(())
}

fn podman_probes(ctx: &Ctx) -> Verdict {
    let out = ctx.bare().args(["restore", "--lsm-mount-context"]).run()?;
    let text = format!("{}{}", out.stdout, out.stderr);
    let known = text.contains("flag needs an argument") || text.contains("requires an argument");
    let unsupported =
        text.contains("not supported") || text.contains("not defined") || text.contains("unknown");
    ensure!(known || unsupported, "`restore --lsm-mount-context`: {text}");
    Ok(())
}

fn podman_preserve_fds(ctx: &Ctx) -> Verdict {
    let (b, dir) = sleeping(ctx)?;
    drop(b);
    let id = ctx.id();
    let c = Container::new(ctx, &id);
    let shell = ["-c", "exec \"$@\" 3</dev/null 4</dev/zero", "sh"];
    let cmd = ctx.program(std::path::Path::new("/bin/sh")).args(shell).arg(&ctx.settings.runtime);
    let cmd = cmd.arg("--root").arg(ctx.state_root()).args(["create", "--bundle", &dir]);
    cmd.args(["--preserve-fds", "1", &id]).ok()?;
    c.start()?;
    let pid = c.state()?["pid"].as_i64().unwrap_or(0);
    let running = ctx.wait_for(Duration::from_secs(5), || {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|t| t.contains("probe"))
    });
    ensure!(running, "the program is not running");
    let mut fds: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    fds.sort();
    ensure_eq!(fds, ["0", "1", "2", "3"], "descriptors of the program");
    Ok(())
}

fn buildkit_keep(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["exit", "2"]]);
    b.save()?;
    let dir = b.dir.to_string_lossy().into_owned();
    let c = Container::new(ctx, &ctx.id());
    ctx.rt(["run", "--bundle", &dir, "--keep", &c.id]).run()?.exits(2)?;
    c.expect_status("stopped")?;
    c.delete()?;
    ctx.nothing_left(&c.id)
}

fn buildah_kill(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["signals", "/out/log"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    c.cmd(&["kill"]).ok()?;
    ensure_eq!(ctx.wait_file(&out.join("log"))?.trim(), "15", "signal");
    Ok(())
}

/// dockerd with runtimeArgs calls a script: `exec BIN ARGS "$@"`.
fn docker_wrapper(ctx: &Ctx) -> Verdict {
    let script = ctx.scratch().join("wrapper");
    let text = format!("#!/bin/sh\nexec {} --debug \"$@\"\n", ctx.settings.runtime.display());
    fs::write(&script, text)?;
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let b = ctx.bundle()?;
    b.save()?;
    let log = ctx.scratch().join("log.json");
    let cmd = ctx.program(&script).arg("--root").arg(ctx.state_root()).arg("--log").arg(&log);
    cmd.args(["--log-format", "json", "run", "-b"]).arg(&b.dir).arg(ctx.id()).ok().map(drop)
}

/// dockerd maps these texts to the exit codes 126 and 127.
fn docker_words(ctx: &Ctx) -> Verdict {
    let rows: [(&str, &[&str]); 4] = [
        ("/etc/plain", &["permission denied"]),
        ("/etc", &["is a directory", "permission denied"]),
        ("/etc/plain/below", &["not a directory"]),
        ("nosuchprog", &["executable file not found"]),
    ];
    for (program, words) in rows {
        let mut b = ctx.bundle()?;
        fs::write(b.path("etc/plain"), "text")?;
        b.set("/process/args", json!([program]));
        ctx.refuses(&b, words)?;
    }
    Ok(())
}

/// The program logs its signals; the runtime in the foreground receives one.
fn forwarded(ctx: &Ctx, signal: i32) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["signals", "/out/log"]]);
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let running = ctx.rt(["run", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    let ready = ctx.wait_for(Duration::from_secs(5), || running.stdout_so_far().contains("signals"));
    ensure!(ready, "the program did not start");
    sys::kill(running.pid(), signal)?;
    let want = format!("{signal:02}");
    let read = || fs::read_to_string(out.join("log")).unwrap_or_default();
    let arrived = ctx.wait_for(Duration::from_secs(5), || read().lines().any(|l| l == want));
    c.kill("KILL")?;
    running.finish()?.exits(137)?;
    ensure!(arrived, "the program received {:?}, not {want}", read());
    // Go's runtime signals itself with SIGURG, and runc forwards that too.
    let others = read().lines().filter(|l| *l != want && *l != "23").count();
    ensure_eq!(others, 0, "other signals that the program received: {:?}", read());
    Ok(())
}

fn run_forwards_signals(ctx: &Ctx) -> Verdict {
    forwarded(ctx, libc::SIGTERM)
}

fn run_forwards_user_signals(ctx: &Ctx) -> Verdict {
    for signal in [libc::SIGUSR1, libc::SIGINT, libc::SIGHUP] {
        forwarded(ctx, signal)?;
    }
    Ok(())
}

fn exec_forwards_signals(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let running = c.exec(&[], &[&["say", "up"], &["sleep"]]).spawn()?;
    let ready = ctx.wait_for(Duration::from_secs(5), || running.stdout_so_far().contains("up"));
    ensure!(ready, "the program did not start");
    sys::kill(running.pid(), libc::SIGTERM)?;
    running.finish()?.exits(143).map(drop)
}

fn run_stdin(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["cat"], &["exit", "0"]]);
    b.save()?;
    let text = "x".repeat(300_000);
    let out = ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).stdin(text.clone()).ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].str("/text").len(), text.len(), "bytes that arrived");
    Ok(())
}

/// A child that keeps stdout open does not keep `run` from ending with its init.
fn run_ends_with_init(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["children", "2", "keep"], &["exit", "3"]]);
    ctx.run(&b)?.exits(3).map(drop)
}

fn option_spellings(ctx: &Ctx) -> Verdict {
    let (b, dir) = sleeping(ctx)?;
    drop(b);
    let root = ctx.state_root().to_string_lossy().into_owned();
    let c = Container::new(ctx, &ctx.id());
    let with_equals = format!("--bundle={dir}");
    ctx.bare().args([&format!("--root={root}"), "create", &with_equals, &c.id]).ok()?;
    c.start()?;
    ctx.rt(["list", "-f", "json"]).ok()?.json()?;
    ctx.rt(["list", "--format=json"]).ok()?.json()?;
    ctx.rt(["delete", "-f", &c.id]).spawn()?.finish_reaping()?.ok()?;
    let single = Container::new(ctx, &ctx.id());
    ctx.rt(["create", "-b", &dir, "--no-pivot", &single.id]).run()?;
    Ok(())
}

fn help(ctx: &Ctx) -> Verdict {
    for args in [&["--help"][..], &["help"], &["create", "--help"], &["exec", "--help"], &["kill", "-h"]] {
        let out = ctx.bare().args(args).ok()?;
        ensure!(!out.stdout.trim().is_empty(), "`{}` prints nothing on stdout", out.shown);
    }
    Ok(())
}

/// What containerd and CRI-O take for "it is gone already".
fn kill_strings(ctx: &Ctx) -> Verdict {
    let out = ctx.rt(["kill", &ctx.id(), "9"]).run()?;
    ensure!(out.stderr.contains("container does not exist"), "unknown id: {}", out.stderr);
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    let out = c.cmd(&["kill"]).arg("9").run()?;
    ensure!(out.code() != 0, "kill of a stopped container succeeded");
    let known = ["process already finished", "container not running", "no such process"];
    ensure!(known.iter().any(|k| out.stderr.contains(k)), "stopped container: {}", out.stderr);
    Ok(())
}

/// containerd parses stdout and stderr together.
fn state_only_json(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for args in [&["state"][..], &["ps", "--format", "json"]] {
        let out = c.cmd(args).ok()?;
        ensure_eq!(out.stderr, "", "stderr of {args:?}");
        out.json()?;
    }
    Ok(())
}

fn debug_log(ctx: &Ctx) -> Verdict {
    let log = ctx.scratch().join("log");
    let c = ctx.sleeper()?;
    let cmd = ctx.bare().arg("--debug").arg("--log").arg(&log).args(["--log-format", "json", "--root"]);
    let out = cmd.arg(ctx.state_root()).args(["state", &c.id]).ok()?;
    out.json()?;
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        serde_json::from_str::<Value>(line)?;
    }
    Ok(())
}

fn log_appended(ctx: &Ctx) -> Verdict {
    let log = ctx.scratch().join("log");
    for _ in 0..3 {
        shim(ctx, &log, &["state", &ctx.id()]).run()?.exits(1)?;
    }
    ensure_eq!(fs::read_to_string(&log)?.lines().count(), 3, "lines in the log");
    Ok(())
}

/// The engine may die after create: the container stays, and its state can be read by the next engine.
fn detached_survives_runtime(ctx: &Ctx) -> Verdict {
    let (b, dir) = sleeping(ctx)?;
    drop(b);
    let c = Container::new(ctx, &ctx.id());
    ctx.rt(["run", "--detach", "--bundle", &dir, &c.id]).ok()?;
    std::thread::sleep(Duration::from_millis(100));
    c.expect_status("running")
}
