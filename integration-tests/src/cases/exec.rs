//! `exec`: a second process in a running container.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("exec/exit-code", &["LIF-08"], exit_code).practice(),
        Case::new("exec/signal-code", &["LIF-08"], signal_code).practice(),
        Case::new("exec/missing-program", &["PROC-12"], missing_program).practice(),
        Case::new("exec/missing-path", &["PROC-12"], missing_path).practice(),
        Case::new("exec/not-executable", &["PROC-12"], not_executable).practice(),
        Case::new("exec/failure-writes-no-pid-file", &["PROC-12"], no_pid_file).practice(),
        Case::new("exec/namespaces", &["NS-03"], namespaces).practice(),
        Case::new("exec/cgroup", &["CG-04"], cgroup).practice(),
        Case::new("exec/detach", &["ST-08"], detach).practice(),
        Case::new("exec/process-file", &["PROC-13"], process_file).practice(),
        Case::new("exec/user", &["PROC-14"], user).practice(),
        Case::new("exec/user-without-group", &["PROC-14"], user_without_group).practice(),
        Case::new("exec/env", &["PROC-10"], env).practice(),
        Case::new("exec/cwd", &["PROC-08"], cwd).practice(),
        Case::new("exec/cwd-outside-root", &["LNX-09"], cwd_outside).practice(),
        Case::new("exec/cap-never-inheritable", &["CAP-04"], cap).practice(),
        Case::new("exec/default-capabilities", &["CAP-01"], default_capabilities).practice(),
        Case::new("exec/no-new-privs", &["PROC-19"], no_new_privs).practice(),
        Case::new("exec/additional-gids", &["PROC-15"], additional_gids).practice(),
        Case::new("exec/preserve-fds", &["LNX-02"], preserve_fds).practice(),
        Case::new("exec/inherits-config", &["PROC-10"], inherits_config).practice(),
        Case::new("exec/rlimits", &["RLIM-02"], rlimits).practice(),
        Case::new("exec/seccomp", &["SECN-13"], seccomp).practice(),
        Case::new("exec/stdin", &["LNX-01"], stdin).practice(),
        Case::new("exec/created-container", &["OPS-12"], in_created).practice(),
        Case::new("exec/stopped-container", &["OPS-12"], in_stopped).practice(),
        Case::new("exec/paused-container", &["OPS-22"], in_paused).practice(),
        Case::new("exec/unknown-id", &["OPS-02"], |ctx| {
            let out = ctx.rt(["exec", &ctx.id(), "/bin/probe"]).run()?;
            ensure!(out.code() != 0, "`{}` succeeded", out.shown);
            ensure!(out.stderr.contains("does not exist"), "stderr: {}", out.stderr);
            Ok(())
        })
        .practice(),
        Case::new("exec/no-program", &["PROC-11"], |ctx| {
            let c = ctx.sleeper()?;
            ensure!(c.cmd(&["exec"]).run()?.code() != 0, "exec of nothing succeeded");
            Ok(())
        })
        .practice(),
        Case::new("exec/many-in-parallel", &["ST-08"], parallel).practice(),
        Case::new("exec/host-pidns", &["NS-06"], host_pidns).practice(),
        Case::new("exec/parent-is-caller", &["LIF-13"], parent).practice(),
        Case::new("exec/deletes-with-container", &["LIF-10"], deletes_with_container).practice(),
        Case::new("exec/sub-cgroup", &["CG-04"], sub_cgroup).practice().needs(&[Need::V1("pids")]),
        Case::new("exec/sub-cgroup-outside", &["CG-08"], sub_cgroup_outside).practice(),
    ]
}

fn exit_code(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for code in ["0", "1", "7", "254"] {
        c.exec(&[], &[&["exit", code]]).run()?.exits(code.parse().unwrap_or(-1))?;
    }
    Ok(())
}

fn signal_code(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for (signal, code) in [("9", 137), ("15", 143)] {
        c.exec(&[], &[&["die", signal]]).run()?.exits(code)?;
    }
    Ok(())
}

fn missing_program(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let out = c.cmd(&["exec"]).arg("nosuchprog").run()?.refused_with(255, &[])?;
    // Docker, containerd and Podman look for this text.
    let text = "exec: \"nosuchprog\": executable file not found in $PATH";
    ensure!(out.stderr.replace('\\', "").contains(text), "stderr lacks {text:?}: {}", out.stderr);
    Ok(())
}

fn missing_path(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["exec"]).arg("/nowhere/prog").run()?.refused_with(255, &["no such file or directory"]).map(drop)
}

fn not_executable(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/plain"), "text")?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    c.cmd(&["exec"]).arg("/etc/plain").run()?.refused_with(255, &["permission denied"]).map(drop)
}

/// CRI-O recognises a failed exec only by the pid file that is still empty.
fn no_pid_file(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let file = ctx.scratch().join("exec.pid");
    fs::write(&file, "")?;
    let path = file.to_string_lossy().into_owned();
    let out = c.cmd(&["exec", "--detach", "--pid-file", &path]).arg("nosuchprog").run()?;
    ensure!(out.code() != 0, "exec of a missing program succeeded");
    ensure_eq!(fs::read_to_string(&file)?, "", "pid file");
    Ok(())
}

fn namespaces(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "cgroup"})).steps(&[&["facts"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let init = c.lines(1)?.remove(0);
    let exec = c.exec_facts(&[])?;
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        ensure_eq!(exec.ns(kind), init.ns(kind), "{kind} namespace");
    }
    ensure_eq!(exec.str("/cgroup"), init.str("/cgroup"), "cgroups");
    Ok(())
}

fn cgroup(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let facts = c.exec_facts(&[])?;
    ensure_eq!(facts.str("/cgroup"), c.proc_file("cgroup")?, "cgroups of init and of the exec'd process");
    Ok(())
}

fn detach(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let file = ctx.scratch().join("exec.pid");
    let path = file.to_string_lossy().into_owned();
    c.exec(&["--detach", "--pid-file", &path], &[&["sleep"]]).ok()?;
    let text = fs::read_to_string(&file)?;
    let pid: i32 = text.parse().map_err(|_| crate::Failure::new(format!("pid file holds {text:?}")))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(
        status.contains(&format!("PPid:\t{}\n", std::process::id())),
        "its parent is not the subreaper: {status}"
    );
    crate::sys::kill(pid, libc::SIGKILL)?;
    ensure!(ctx.wait_for(Duration::from_secs(5), || crate::sys::reap(pid).is_some()), "it is not our child");
    c.expect_status("running")
}

fn process_file(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let file = ctx.scratch().join("process.json");
    let process = json!({
        "terminal": false, "cwd": "/tmp", "args": ["/bin/probe", "facts", "arg"], "env": ["A=b", "HOME=/"],
        "user": {"uid": 12, "gid": 34, "additionalGids": [56]}, "noNewPrivileges": false,
        "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}]
    });
    fs::write(&file, process.to_string())?;
    let out = c.cmd(&["exec", "--process", &file.to_string_lossy()]).ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    ensure_eq!(*facts.get("/argv"), process["args"], "argv");
    ensure_eq!(*facts.get("/environ"), process["env"], "environment");
    ensure_eq!(facts.str("/cwd"), "/tmp", "cwd");
    ensure_eq!(facts.status("Uid"), "12 12 12 12", "Uid");
    ensure_eq!(facts.status("Gid"), "34 34 34 34", "Gid");
    ensure_eq!(facts.status("Groups"), "56", "Groups");
    ensure_eq!(facts.status("NoNewPrivs"), "0", "NoNewPrivs");
    ensure_eq!(facts.status("CapBnd"), "0000000000000020", "CapBnd");
    ensure_eq!(facts.0["limits"]["Max open files"], json!(["55", "66"]), "open files");
    Ok(())
}

fn user(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&["-u", "1234:5678"])?;
    ensure_eq!(facts.status("Uid"), "1234 1234 1234 1234", "Uid");
    ensure_eq!(facts.status("Gid"), "5678 5678 5678 5678", "Gid");
    Ok(())
}

fn user_without_group(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&["--user", "1234"])?;
    ensure_eq!(facts.status("Uid"), "1234 1234 1234 1234", "Uid");
    Ok(())
}

fn env(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/env", json!(["PATH=/bin", "HOME=/", "FROM=config"])).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let facts = c.exec_facts(&["-e", "A=1", "-e", "B=x y"])?;
    let environ = facts.get("/environ").as_array().cloned().unwrap_or_default();
    for want in ["FROM=config", "A=1", "B=x y"] {
        ensure!(environ.contains(&json!(want)), "no {want} in {environ:?}");
    }
    Ok(())
}

fn cwd(ctx: &Ctx) -> Verdict {
    ensure_eq!(ctx.sleeper()?.exec_facts(&["--cwd", "/tmp"])?.str("/cwd"), "/tmp", "cwd");
    Ok(())
}

/// CVE-2024-21626: a working directory through a descriptor of the runtime.
fn cwd_outside(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for n in 3..20 {
        let out = c.exec(&["--cwd", &format!("/proc/self/fd/{n}")], &[&["facts"]]).run()?;
        if out.code() == 0 {
            let facts = Facts::lines(&out.stdout)?.remove(0);
            ensure!(
                facts.str("/cwd").starts_with('/'),
                "cwd is outside of the root: {:?}",
                facts.str("/cwd")
            );
        }
    }
    Ok(())
}

/// CVE-2022-29162.
fn cap(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&["--cap", "CAP_NET_RAW"])?;
    ensure_eq!(facts.status("CapInh"), "0000000000000000", "CapInh");
    ensure_eq!(facts.status("CapBnd"), "0000000020002420", "CapBnd");
    ensure_eq!(facts.status("CapEff"), "0000000020002420", "CapEff");
    Ok(())
}

fn default_capabilities(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&[])?;
    ensure_eq!(facts.status("CapBnd"), "0000000020000420", "CapBnd");
    ensure_eq!(facts.status("CapEff"), "0000000020000420", "CapEff");
    Ok(())
}

fn no_new_privs(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/noNewPrivileges", json!(false)).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    ensure_eq!(c.exec_facts(&[])?.status("NoNewPrivs"), "0", "NoNewPrivs");
    ensure_eq!(c.exec_facts(&["--no-new-privs"])?.status("NoNewPrivs"), "1", "NoNewPrivs");
    Ok(())
}

fn additional_gids(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&["-g", "7", "-g", "8"])?;
    ensure_eq!(facts.status("Groups"), "7 8", "Groups");
    Ok(())
}

fn preserve_fds(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let shell = ["-c", "exec \"$@\" 3</dev/null 4</dev/zero 5</etc", "sh"];
    let cmd = ctx.program(std::path::Path::new("/bin/sh")).args(shell).arg(&ctx.settings.runtime);
    let cmd = cmd.arg("--root").arg(ctx.state_root()).args(["exec", "--preserve-fds", "2", &c.id]);
    let out = cmd.args(["/bin/probe", "facts"]).ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    let open: Vec<&String> = facts.get("/fds").as_object().into_iter().flat_map(|m| m.keys()).collect();
    ensure_eq!(open, ["0", "1", "2", "3", "4"], "descriptors");
    Ok(())
}

fn inherits_config(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/env", json!(["PATH=/bin", "HOME=/", "FROM=config"])).set("/process/cwd", json!("/tmp"));
    b.set("/process/user", json!({"uid": 12, "gid": 34, "umask": 0o027})).steps(&[&["facts"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let (init, exec) = (c.lines(1)?.remove(0), c.exec_facts(&[])?);
    for pointer in ["/environ", "/cwd", "/hostname", "/root", "/limits"] {
        ensure_eq!(exec.get(pointer), init.get(pointer), "{pointer}");
    }
    for field in ["Uid", "Gid", "Umask", "NoNewPrivs", "CapBnd", "Seccomp"] {
        ensure_eq!(exec.status(field), init.status(field), "{field}");
    }
    Ok(())
}

fn rlimits(ctx: &Ctx) -> Verdict {
    let facts = ctx.sleeper()?.exec_facts(&[])?;
    ensure_eq!(facts.0["limits"]["Max open files"], json!(["1024", "1024"]), "open files");
    Ok(())
}

fn seccomp(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}),
    );
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let out = c.exec(&[], &[&["mkdir", "/dev/shm/x"], &["facts"]]).ok()?;
    let steps = Facts::lines(&out.stdout)?;
    ensure_eq!(steps[0].result(), "ENOSPC", "mkdir");
    ensure_eq!(steps[1].status("Seccomp"), "2", "Seccomp");
    Ok(())
}

fn stdin(ctx: &Ctx) -> Verdict {
    let out = ctx.sleeper()?.exec(&[], &[&["cat"]]).stdin("to exec").ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].str("/text"), "to exec", "stdin");
    Ok(())
}

/// runc allows it: the init is there, if not yet the program.
fn in_created(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    ensure_eq!(c.exec_facts(&[])?.ns("uts").is_empty(), false, "facts");
    c.expect_status("created")
}

fn in_stopped(ctx: &Ctx) -> Verdict {
    let c = ctx.create(&ctx.bundle()?)?;
    c.kill("KILL")?;
    c.wait_exit()?;
    let out = c.exec(&[], &[&["facts"]]).run()?;
    ensure!(out.code() != 0, "exec in a stopped container succeeded");
    let named = ["stopped", "not running"].iter().any(|w| out.stderr.contains(w));
    ensure!(named, "stderr: {}", out.stderr);
    Ok(())
}

fn in_paused(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["pause"]).ok()?;
    let out = c.exec(&[], &[&["facts"]]).limit(Duration::from_secs(5)).run();
    c.cmd(&["resume"]).ok()?;
    let out = out?;
    ensure!(
        out.code() != 0 && out.stderr.contains("paused"),
        "exit code {}, stderr: {}",
        out.code(),
        out.stderr
    );
    Ok(())
}

fn parallel(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let running =
        (0..8).map(|i| c.exec(&[], &[&["exit", &i.to_string()]]).spawn()).collect::<Result<Vec<_>, _>>()?;
    for (i, r) in running.into_iter().enumerate() {
        r.finish()?.exits(i as i32)?;
    }
    Ok(())
}

fn host_pidns(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let facts = c.exec_facts(&[])?;
    ensure!(facts.get("/pid").as_i64() > Some(1), "pid {}", facts.get("/pid"));
    Ok(())
}

/// The attached exec leaves no process behind.
fn parent(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.exec_facts(&[])?;
    let me = std::process::id() as i32;
    let alone = ctx.wait_for(Duration::from_secs(2), || crate::leaks::descendants(me) == [c.pid]);
    ensure!(alone, "besides init {} there are {:?}", c.pid, crate::leaks::descendants(me));
    Ok(())
}

fn deletes_with_container(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.exec(&["-d"], &[&["sleep"]]).ok()?;
    c.exec(&["-d"], &[&["children", "3", "keep"], &["sleep"]]).ok()?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn sub_cgroup(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let dir = c.cgroup("pids")?.join("sub");
    fs::create_dir(&dir)?;
    let facts = c.exec_facts(&["--cgroup", "pids:sub"])?;
    let path = crate::cgroup::path_of(facts.str("/cgroup"), "pids").unwrap_or_default();
    ensure!(path.ends_with("/sub"), "cgroup of the exec'd process: {path}");
    Ok(())
}

fn sub_cgroup_outside(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let out = c.exec(&["--cgroup", "../escape"], &[&["facts"]]).run()?;
    ensure!(out.code() != 0, "exec --cgroup ../escape succeeded");
    Ok(())
}
