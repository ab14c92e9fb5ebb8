//! Create, start, kill, delete, and what is legal when.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Ctx, cgroup, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut cases = operations();
    cases.extend(kills());
    cases.extend(deletes());
    cases
}

fn operations() -> Vec<Case> {
    vec![
        Case::new("lifecycle/run-exit-code", &["LIF-08", "LIF-12"], run_exit_code),
        Case::new("lifecycle/run-signal-code", &["LIF-12"], run_signal_code).practice(),
        Case::new("lifecycle/run-leaves-nothing", &["LIF-10"], run_leaves_nothing),
        Case::new("lifecycle/run-detach", &["ST-08"], run_detach).practice(),
        Case::new("lifecycle/run-silent", &["OPS-05"], run_silent).practice(),
        Case::new("lifecycle/create-does-not-run", &["LIF-02", "ST-07"], create_does_not_run),
        Case::new("lifecycle/start-runs-program", &["LIF-07", "LIF-08", "ST-08"], start_runs_program),
        Case::new("lifecycle/start-twice", &["OPS-09"], start_twice),
        Case::new("lifecycle/start-stopped", &["OPS-09"], start_stopped),
        Case::new("lifecycle/start-after-init-was-killed", &["OPS-09"], start_after_init_was_killed),
        Case::new("lifecycle/config-edit-has-no-effect", &["LIF-03"], config_edit_has_no_effect),
        Case::new("lifecycle/config-edit-has-no-effect-on-exec", &["LIF-03"], config_edit_and_exec),
        Case::new("lifecycle/duplicate-id", &["OPS-04", "ST-04"], duplicate_id),
        Case::new("lifecycle/id-reusable", &["OPS-19"], id_reusable),
        Case::new("lifecycle/bundle-defaults-to-cwd", &["OPS-03"], bundle_defaults_to_cwd).practice(),
        Case::new("lifecycle/pid-file", &["ST-10"], pid_file).practice(),
        Case::new("lifecycle/pid-file-overwrites", &["ST-10"], pid_file_overwrites).practice(),
        Case::new("lifecycle/exec-race-after-start", &["ST-08"], exec_race_after_start).practice(),
        Case::new("lifecycle/no-surviving-helper", &["LIF-13"], no_surviving_helper).practice(),
        Case::new("lifecycle/empty-environment", &["CLI-01"], empty_environment).practice(),
        Case::new("lifecycle/long-bundle-path", &["LONG-01"], long_bundle_path).practice(),
    ]
}

fn kills() -> Vec<Case> {
    let mut cases = vec![
        Case::new("kill/default-is-term", &["OPS-14"], |ctx| received(ctx, &[], &[15])).practice(),
        Case::new("kill/all-signals", &["OPS-13"], all_signals),
        Case::new("kill/zero-probes", &["OPS-14"], kill_zero).practice(),
        Case::new("kill/created", &["OPS-12"], kill_created),
        Case::new("kill/stopped-fails", &["OPS-12"], kill_stopped),
        Case::new("kill/stopped-all-succeeds", &["OPS-12"], kill_stopped_all).practice(),
        Case::new("kill/all-host-pidns", &["OPS-21"], kill_all_host_pidns).practice(),
        Case::new("kill/unknown-signal", &["OPS-13"], kill_unknown_signal),
        Case::new("kill/unknown-id", &["OPS-11"], |ctx| {
            ctx.rt(["kill", &ctx.id(), "KILL"]).run()?.refused(&["does not exist"]).map(drop)
        }),
    ];
    for (spelling, number) in [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("TERM", 15),
        ("SIGHUP", 1),
        ("usr1", 10),
        ("sigusr2", 12),
        ("34", 34),
    ] {
        let name = format!("kill/spelling-{spelling}");
        let body = move |ctx: &Ctx| {
            if number == 9 { kill_nine(ctx, spelling) } else { received(ctx, &[spelling], &[number]) }
        };
        cases.push(Case::new(name, &["OPS-13"], body).practice());
    }
    cases
}

fn deletes() -> Vec<Case> {
    vec![
        Case::new("delete/stopped", &["OPS-17", "LIF-10"], delete_stopped),
        Case::new("delete/running-fails", &["OPS-16"], delete_running),
        Case::new("delete/force-running", &["OPS-20"], delete_force_running).practice(),
        Case::new("delete/force-created", &["OPS-20"], delete_force_created).practice(),
        Case::new("delete/created", &["OPS-16"], delete_created).practice(),
        Case::new("delete/unknown-id", &["OPS-15"], |ctx| {
            ctx.rt(["delete", &ctx.id()]).run()?.refused(&["does not exist"]).map(drop)
        }),
        Case::new("delete/force-unknown-id", &["OPS-20"], |ctx| {
            let out = ctx.rt(["delete", "--force", &ctx.id()]).ok()?;
            ensure_eq!(out.stderr, "", "stderr");
            Ok(())
        })
        .practice(),
        Case::new("delete/force-paused", &["OPS-22"], delete_force_paused).practice(),
        Case::new("delete/unreadable-state", &["OPS-20"], delete_unreadable_state).practice(),
        Case::new("delete/bundle-is-gone", &["OPS-17"], delete_without_bundle).practice(),
        Case::new("delete/nested-cgroups", &["CG-13"], delete_nested_cgroups).practice(),
        Case::new("delete/orphans-in-host-pidns", &["OPS-21"], delete_orphans).practice(),
    ]
}

fn run_exit_code(ctx: &Ctx) -> Verdict {
    for code in ["0", "7", "255"] {
        let mut b = ctx.bundle()?;
        b.steps(&[&["exit", code]]);
        ctx.run(&b)?.exits(code.parse().unwrap_or(-1))?;
    }
    Ok(())
}

/// PID 1 of a namespace is immune to its own signals: another process in the namespace's parent has to kill.
fn run_signal_code(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["die", "9"]]);
    ctx.run(&b)?.exits(137).map(drop)
}

fn run_leaves_nothing(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    ctx.rt(["run", "-b"]).arg(&b.dir).arg(&id).ok()?;
    ctx.nothing_left(&id)
}

fn run_detach(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    b.save()?;
    let mut c = crate::Container::new(ctx, &ctx.id());
    let pid_file = ctx.scratch().join("pid");
    ctx.rt(["run", "-d", "--pid-file"]).arg(&pid_file).arg("-b").arg(&b.dir).arg(&c.id).ok()?;
    c.pid = fs::read_to_string(pid_file)?.parse().unwrap_or(0);
    ensure!(c.alive(), "init {} is not alive", c.pid);
    c.expect_status("running")
}

fn run_silent(ctx: &Ctx) -> Verdict {
    let out = ctx.run(&ctx.bundle()?)?.ok()?;
    ensure_eq!(out.stderr, "", "stderr of a successful run");
    let c = ctx.sleeper()?;
    ensure_eq!(c.cmd(&["state"]).ok()?.stderr, "", "stderr of state");
    Ok(())
}

fn create_does_not_run(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["create", "/out/marker", "x"]]);
    let c = ctx.create(&b)?;
    c.expect_status("created")?;
    std::thread::sleep(Duration::from_millis(100));
    ensure!(!out.join("marker").exists(), "the program ran before start");
    Ok(())
}

fn start_runs_program(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["create", "/out/marker", "x"], &["sleep"]]);
    let c = ctx.start(&b)?;
    ctx.wait_file(&out.join("marker"))?;
    c.expect_status("running")
}

fn start_twice(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["start"]).run()?.refused(&["running", "started"])?;
    c.expect_status("running")
}

fn start_stopped(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["exit", "0"]]);
    let c = ctx.start(&b)?;
    c.wait_exit()?;
    c.expect_status("stopped")?;
    c.cmd(&["start"]).run()?.refused(&["stopped"])?;
    c.expect_status("stopped")
}

fn start_after_init_was_killed(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    crate::sys::kill(c.pid, libc::SIGKILL)?;
    c.wait_exit()?;
    c.cmd(&["start"]).run()?.refused(&["stopped"]).map(drop)
}

fn config_edit_has_no_effect(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let c = ctx.create(&b)?;
    b.steps(&[&["say", "edited"]]);
    b.set("/hooks/poststart", json!([{"path": "/nonexistent/hook"}]));
    b.save()?;
    c.start()?;
    ensure_eq!(c.lines(1)?[0].str("/step"), "facts", "what ran");
    Ok(())
}

fn config_edit_and_exec(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).set("/process/noNewPrivileges", json!(true));
    let c = ctx.start(&b)?;
    b.raw = Some(b"{ not json".to_vec());
    b.save()?;
    ensure_eq!(c.exec_facts(&[])?.status("NoNewPrivs"), "1", "NoNewPrivs of the exec'd process");
    Ok(())
}

fn duplicate_id(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let b = ctx.bundle()?;
    b.save()?;
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?.refused(&["exists", "already"])?;
    c.expect_status("running")?;
    ensure!(c.alive(), "the first container died of it");
    Ok(())
}

fn id_reusable(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    for _ in 0..3 {
        ctx.rt(["run", "-b"]).arg(&b.dir).arg(&id).ok()?;
    }
    Ok(())
}

fn bundle_defaults_to_cwd(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["say", "here"]]);
    b.save()?;
    let out = ctx.rt(["run", &ctx.id()]).cwd(&b.dir).ok()?;
    ensure!(out.stdout.contains("here"), "stdout: {}", out.stdout);
    Ok(())
}

fn pid_file(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let text = fs::read_to_string(ctx.scratch().join(format!("{}.pid", c.id)))?;
    ensure_eq!(text, c.pid.to_string(), "pid file, with no newline");
    ensure_eq!(c.state()?["pid"], json!(c.pid), "pid in state");
    ensure!(c.alive(), "no process has the pid of the pid file");
    Ok(())
}

fn pid_file_overwrites(ctx: &Ctx) -> Verdict {
    let (b, file) = (ctx.bundle()?, ctx.scratch().join("pid"));
    b.save()?;
    fs::write(&file, "99999999999 and more\n")?;
    let c = crate::Container::new(ctx, &ctx.id());
    ctx.rt(["create", "-b"]).arg(&b.dir).arg("--pid-file").arg(&file).arg(&c.id).ok()?;
    ensure_eq!(fs::read_to_string(&file)?, c.state()?["pid"].to_string(), "pid file");
    Ok(())
}

fn exec_race_after_start(ctx: &Ctx) -> Verdict {
    for _ in 0..5 {
        let c = ctx.sleeper()?;
        c.exec(&[], &[&["exit", "3"]]).run()?.exits(3)?;
    }
    Ok(())
}

fn no_surviving_helper(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let me = std::process::id() as i32;
    let alone = ctx.wait_for(Duration::from_secs(2), || crate::leaks::descendants(me) == [c.pid]);
    ensure!(alone, "besides init {} there are {:?}", c.pid, crate::leaks::descendants(me));
    let parent = c.proc_file("status")?;
    ensure!(parent.contains(&format!("PPid:\t{me}\n")), "init was not reparented to the subreaper");
    Ok(())
}

fn empty_environment(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let c = crate::Container::new(ctx, &id);
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).env_clear().ok()?;
    for verb in ["start", "state"] {
        c.cmd(&[verb]).env_clear().ok()?;
    }
    c.cmd(&["delete", "--force"]).env_clear().ok().map(drop)
}

/// Longer than `sun_path`: runtimes that keep sockets beside their state must still work.
fn long_bundle_path(ctx: &Ctx) -> Verdict {
    let deep = ctx.scratch().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep)?;
    let b = ctx.bundle()?;
    b.save()?;
    let bundle = deep.join("bundle");
    fs::rename(&b.dir, &bundle)?;
    let (id, root) = (ctx.id(), deep.join("state"));
    ctx.bare().arg("--root").arg(&root).args(["run", "-b"]).arg(&bundle).arg(&id).ok()?;
    ensure!(crate::leaks::state_left(&root).is_empty(), "state left");
    Ok(())
}

/// `kill ARGS` on a container that logs its signals, which then has received exactly `want`.
fn received(ctx: &Ctx, args: &[&str], want: &[i32]) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["signals", "/out/log"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    c.cmd(&["kill"]).args(args).ok()?;
    let text = ctx.wait_file(&out.join("log"))?;
    let got: Vec<i32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    ensure_eq!(got, want, "signals received");
    Ok(())
}

fn all_signals(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["signals", "/out/log"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    let numbers: Vec<i32> = (1..=31).filter(|n| ![libc::SIGKILL, libc::SIGSTOP].contains(n)).collect();
    let log = || fs::read_to_string(out.join("log")).unwrap_or_default();
    // One after the other: signals that are pending together are delivered in any order.
    for (i, n) in numbers.iter().enumerate() {
        c.kill(&n.to_string())?;
        ctx.wait_for(Duration::from_secs(2), || log().lines().count() > i);
    }
    let got: Vec<i32> = log().lines().filter_map(|l| l.parse().ok()).collect();
    ensure_eq!(got, numbers, "signals received");
    Ok(())
}

fn kill_nine(ctx: &Ctx, spelling: &str) -> Verdict {
    let c = ctx.sleeper()?;
    c.kill(spelling)?;
    ensure_eq!(libc::WTERMSIG(c.wait_exit()?), libc::SIGKILL, "signal that ended init");
    c.wait_status("stopped")
}

fn kill_zero(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.kill("0")?;
    c.expect_status("running")
}

fn kill_created(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.expect_status("stopped")
}

fn kill_stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.cmd(&["kill"]).arg("TERM").run()?.refused(&["container not running"]).map(drop)
}

fn kill_stopped_all(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.cmd(&["kill", "--all"]).arg("9").ok().map(drop)
}

/// What containerd's shim does when init of a container without a pid namespace is dead.
fn kill_all_host_pidns(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["children", "3", "keep"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let made = c.lines(1)?[0].get("/made").clone();
    ensure_eq!(made, json!(3), "children");
    c.kill("KILL")?;
    c.wait_exit()?;
    let me = std::process::id() as i32;
    ensure_eq!(crate::leaks::descendants(me).len(), 3, "children that survive their init");
    c.cmd(&["kill", "--all"]).arg("9").ok()?;
    let dead = ctx.wait_for(Duration::from_secs(5), || {
        crate::process::reap_orphans();
        crate::leaks::descendants(me).is_empty()
    });
    ensure!(dead, "`kill --all` left processes of the container alive");
    c.delete().map(drop)
}

fn kill_unknown_signal(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for bad in ["NOSUCH", "SIGNOSUCH", "-1x"] {
        let out = c.cmd(&["kill"]).arg(bad).run()?;
        ensure!(out.code() != 0, "`{}` succeeded", out.shown);
    }
    c.expect_status("running")
}

fn delete_stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.start()?;
    c.wait_exit()?;
    c.delete()?;
    ctx.nothing_left(&c.id)?;
    c.cmd(&["state"]).run()?.refused(&["does not exist"]).map(drop)
}

fn delete_running(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["delete"]).run()?.refused(&["running", "not stopped"])?;
    ensure!(c.alive(), "the refused delete killed init");
    c.expect_status("running")
}

fn delete_force_running(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn delete_force_created(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

/// The specification wants an error, runc and crun kill and delete. Either way must be whole.
fn delete_created(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    let out = c.cmd(&["delete"]).run()?;
    if out.code() == 0 {
        return ctx.nothing_left(&c.id);
    }
    out.refused(&["created", "not stopped"])?;
    c.expect_status("created")?;
    c.start().map(drop)
}

fn delete_force_paused(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["pause"]).ok()?;
    c.expect_status("paused")?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

/// After an update or a crash the state may be from something else: it must not be stuck for ever.
fn delete_unreadable_state(ctx: &Ctx) -> Verdict {
    let id = ctx.id();
    let dir = ctx.state_root().join(&id);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("state.json"), "{ not json")?;
    let out = ctx.rt(["delete", "--force", &id]).run()?;
    let left = dir.exists();
    if left {
        fs::remove_dir_all(&dir)?;
    }
    out.ok()?;
    ensure!(!left, "the state directory is still there");
    Ok(())
}

fn delete_without_bundle(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    fs::rename(&b.dir, b.dir.with_extension("moved"))?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.delete()?;
    ctx.nothing_left(&c.id)
}

fn delete_nested_cgroups(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let controller = if ctx.unified() { "" } else { "pids" };
    let dir = c.cgroup(controller)?;
    fs::create_dir_all(dir.join("inner/deeper"))?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.delete()?;
    ensure!(!dir.exists(), "{} is still there", dir.display());
    Ok(())
}

fn delete_orphans(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["children", "3", "keep"], &["sleep"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    ensure!(!cgroup::find(&c.id).is_empty(), "the container has no cgroup");
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}
