//! Unusual surroundings: full disks, odd paths, closed descriptors, races between commands.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Container, Ctx, Facts, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("edge/{name}"), clauses, body).practice()
    };
    vec![
        case("state-directory-is-full", &["LIF-13"], state_full),
        case("state-directory-is-readonly", &["LIF-13"], state_readonly),
        case("corrupt-state-does-not-hide-others", &["ST-01"], corrupt_neighbour),
        case("bundle-path-with-odd-characters", &["OPS-03"], odd_path),
        case("rootfs-is-overlay", &["ROOT-02"], overlay).needs(&[Need::File("/proc/filesystems")]),
        case("rootfs-is-shared-mount", &["PROP-06"], shared_rootfs),
        case("rootfs-is-tmpfs", &["ROOT-02"], tmpfs_rootfs),
        case("stdin-is-closed", &["LNX-01"], |ctx| closed(ctx, "<&-")),
        case("all-stdio-is-closed", &["LNX-01"], |ctx| closed(ctx, "<&- >&- 2>&-")),
        case("few-descriptors", &["LNX-01"], few_descriptors),
        case("same-id-at-the-same-time", &["OPS-04"], same_id),
        case("create-and-delete-race", &["OPS-17"], create_delete_race),
        case("exec-while-init-dies", &["OPS-12"], exec_while_dying),
        case("interrupted-by-signal", &["LIF-13"], interrupted),
        case("not-a-program", &["PROC-12"], not_a_program),
        case("interpreter-is-missing", &["PROC-12"], interpreter_missing),
        case("program-relative-to-cwd", &["PROC-11"], relative_program),
        case("large-environment", &["PROC-10"], large_environment),
        case("too-large-environment", &["PROC-10"], too_large_environment),
        case("ignored-signals-of-the-caller", &["PROC-26"], ignored_signals),
        case("umask-of-the-caller", &["DEV-06"], caller_umask),
        case("process-group-of-the-caller", &["LIF-12"], process_group),
        case("terminal-in-the-foreground", &["PROC-02"], foreground_terminal)
            .needs(&[Need::File("/usr/bin/script")]),
        case("exec-terminal-in-the-foreground", &["PROC-02"], foreground_exec)
            .needs(&[Need::File("/usr/bin/script")]),
    ]
}

/// A small filesystem of the case's own, with no room left.
fn state_full(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let root = ctx.scratch().join("full");
    fs::create_dir(&root)?;
    sys::mount("full", &root, "tmpfs", 0, "size=16k,nr_inodes=64")?;
    let mut filler = fs::File::create(root.join("filler"))?;
    // Until there is no room; the error is the point.
    while std::io::Write::write(&mut filler, &[1; 4096]).is_ok() {}
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let out = ctx.bare().arg("--root").arg(&root).args(["create", "-b"]).arg(&b.dir).arg(&id).run()?;
    let left = root.join(&id).exists();
    ctx.bare().arg("--root").arg(&root).args(["delete", "--force", &id]).run()?;
    sys::detach(&root)?;
    out.refused(&["no space left", "--root"])?;
    ensure!(!left, "a directory of the container is left");
    ctx.nothing_left(&id)
}

fn state_readonly(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let root = ctx.scratch().join("ro");
    fs::create_dir(&root)?;
    sys::mount("ro", &root, "tmpfs", libc::MS_RDONLY, "")?;
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let out = ctx.bare().arg("--root").arg(&root).args(["create", "-b"]).arg(&b.dir).arg(&id).run()?;
    sys::detach(&root)?;
    out.refused(&["read-only file system"])?;
    ctx.nothing_left(&id)
}

fn corrupt_neighbour(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let broken = ctx.state_root().join(ctx.id());
    fs::create_dir(&broken)?;
    fs::write(broken.join("state.json"), "{ not json")?;
    let out = ctx.rt(["list", "--format", "json"]).run()?;
    c.expect_status("running")?;
    fs::remove_dir_all(&broken)?;
    ensure!(out.stdout.contains(&c.id), "list shows {:?}, stderr {:?}", out.stdout, out.stderr);
    Ok(())
}

fn odd_path(ctx: &Ctx) -> Verdict {
    for name in
        ["with space", "with,comma=and:colon", "\u{fc}nic\u{f6}de", "quote\"back\\slash", "new\nline", "%s%n"]
    {
        let b = ctx.bundle()?;
        b.save()?;
        let dir = ctx.scratch().join(name);
        fs::rename(&b.dir, &dir)?;
        ctx.rt(["run", "-b"]).arg(&dir).arg(ctx.id()).ok()?;
    }
    Ok(())
}

/// What Docker and containerd hand over.
fn overlay(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let mut b = ctx.bundle()?;
    let [lower, upper, work, merged] = ["rootfs", "upper", "work", "merged"].map(|n| b.dir.join(n));
    for dir in [&upper, &work, &merged] {
        fs::create_dir(dir)?;
    }
    // An overlay's upper layer needs a filesystem that is no overlay itself.
    let tmp = b.dir.join("tmp");
    fs::create_dir(&tmp)?;
    sys::mount("layers", &tmp, "tmpfs", 0, "")?;
    fs::create_dir(tmp.join("upper"))?;
    fs::create_dir(tmp.join("work"))?;
    let data = format!("lowerdir={},upperdir={t}/upper,workdir={t}/work", lower.display(), t = tmp.display());
    if let Err(e) = sys::mount("overlay", &merged, "overlay", 0, &data) {
        return Err(crate::Failure::skip(format!("no overlay here: {e}")));
    }
    b.set("/root/path", json!("merged")).writable();
    b.steps(&[&["create", "/etc/new", "x"], &["facts"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].result(), "ok", "writing to the overlay");
    ensure_eq!(steps[1].mount("/")?.fstype, "overlay", "type of /");
    b.set("/root/readonly", json!(true));
    ensure_eq!(ctx.facts(&b)?.result(), "EROFS", "writing to the read-only overlay");
    sys::detach(&merged)?;
    Ok(())
}

fn shared_rootfs(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let b = ctx.bundle()?;
    let rootfs = b.dir.join("rootfs");
    sys::mount(&rootfs.to_string_lossy(), &rootfs, "", libc::MS_BIND, "")?;
    sys::mount("none", &rootfs, "", libc::MS_SHARED, "")?;
    let before = fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    ctx.facts(&b)?;
    ensure_eq!(fs::read_to_string("/proc/self/mountinfo")?.lines().count(), before, "mounts on the host");
    sys::detach(&rootfs)?;
    Ok(())
}

fn tmpfs_rootfs(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let mut b = ctx.bundle()?;
    let rootfs = b.dir.join("other");
    fs::create_dir(&rootfs)?;
    sys::mount("root", &rootfs, "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, "")?;
    for dir in ["bin", "proc", "dev", "sys"] {
        fs::create_dir(rootfs.join(dir))?;
    }
    fs::copy(ctx.probe(), rootfs.join("bin/probe"))?;
    b.set("/root/path", json!("other"));
    let root = ctx.facts(&b)?.mount("/")?;
    sys::detach(&rootfs)?;
    ensure!(root.own("nosuid") && root.own("nodev") && root.own("ro"), "options of /: {:?}", root.options);
    Ok(())
}

fn closed(ctx: &Ctx, redirection: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    b.steps(&[&["create", "/out/ran", "yes"], &["exit", "0"]]);
    b.save()?;
    let shell = format!("exec \"$@\" {redirection}");
    let cmd = ctx.program(Path::new("/bin/sh")).args(["-c", &shell, "sh"]).arg(&ctx.settings.runtime);
    let cmd = cmd.arg("--root").arg(ctx.state_root()).args(["run", "-b"]).arg(&b.dir).arg(ctx.id());
    let done = cmd.run()?;
    // Refusing is as good as running; a crash or a hang is neither.
    ensure!(done.code() <= 1 || done.code() == 255, "exit code {}: {}", done.code(), done.stderr);
    ensure!(done.code() != 0 || out.join("ran").exists(), "success, but the program did not run");
    Ok(())
}

fn few_descriptors(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.remove("/process/rlimits").mount("/tmp", "tmpfs", "t", &[]);
    let out = b.dir.join("out").to_string_lossy().into_owned();
    for i in 0..60 {
        b.mount(&format!("/tmp/m{i}"), "bind", &out, &["rbind", "ro"]);
    }
    b.save()?;
    let cmd = ctx.program(Path::new("/bin/sh")).args(["-c", "ulimit -n 40; exec \"$@\"", "sh"]);
    let cmd = cmd.arg(&ctx.settings.runtime).arg("--root").arg(ctx.state_root()).args(["run", "-b"]);
    let done = cmd.arg(&b.dir).arg(ctx.id()).run()?;
    if done.code() != 0 {
        return done.refused(&["too many open files"]).map(drop);
    }
    let mounts = Facts::lines(&done.stdout)?[0].mounts();
    ensure_eq!(mounts.iter().filter(|m| m.target.starts_with("/tmp/m")).count(), 60, "mounts");
    Ok(())
}

/// Of several creates with one id exactly one wins, and its container works.
fn same_id(ctx: &Ctx) -> Verdict {
    for _ in 0..5 {
        let mut b = ctx.bundle()?;
        b.steps(&[&["sleep"]]);
        b.save()?;
        let c = Container::new(ctx, &ctx.id());
        let creates = (0..4)
            .map(|_| ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn())
            .collect::<Result<Vec<_>, _>>()?;
        let codes: Vec<i32> =
            creates.into_iter().map(|r| r.finish().map(|o| o.code())).collect::<Result<_, _>>()?;
        ensure_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "creates that succeeded ({codes:?})");
        c.start()?;
        c.expect_status("running")?;
        c.delete_force()?;
        ctx.nothing_left(&c.id)?;
    }
    Ok(())
}

fn create_delete_race(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    for _ in 0..10 {
        let c = Container::new(ctx, &ctx.id());
        let create = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
        let delete = c.cmd(&["delete", "--force"]).spawn()?;
        create.finish()?;
        delete.finish_reaping()?;
        c.delete_force()?;
        ctx.nothing_left(&c.id)?;
    }
    Ok(())
}

fn exec_while_dying(ctx: &Ctx) -> Verdict {
    for _ in 0..5 {
        let c = ctx.sleeper()?;
        let execs = (0..4).map(|_| c.exec(&[], &[&["exit", "0"]]).spawn()).collect::<Result<Vec<_>, _>>()?;
        c.kill("KILL")?;
        for exec in execs {
            // Success, failure or death by the same SIGKILL; `finish` would report a hang.
            exec.finish()?;
        }
        c.delete_force()?;
    }
    Ok(())
}

/// Ctrl-C while create works.
fn interrupted(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    for delay in [0, 500, 1000, 2000, 3000, 5000, 8000, 12000] {
        let c = Container::new(ctx, &ctx.id());
        let create = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
        std::thread::sleep(Duration::from_micros(delay));
        sys::kill(create.pid(), libc::SIGTERM)?;
        create.finish()?;
        c.delete_force()?;
        ctx.nothing_left(&c.id)?;
    }
    Ok(())
}

fn executable(b: &crate::Bundle, name: &str, text: &str) -> Verdict {
    let file = b.path(name);
    fs::write(&file, text)?;
    Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
}

/// An executable file that the kernel refuses: known only at the execve.
fn fails_at_execve(ctx: &Ctx, text: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    executable(&b, "bin/odd", text)?;
    b.set("/process/args", json!(["/bin/odd"]));
    let out = ctx.run(&b)?;
    ensure!(out.code() != 0, "the program ran");
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    if ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).run()?.code() == 0 {
        c.cmd(&["start"]).run()?;
        // Stopped, or already destroyed by the failed start.
        let over = || c.status().map_or(true, |s| s == "stopped");
        ensure!(ctx.wait_for(Duration::from_secs(5), over), "status is {}", c.status()?);
    }
    Ok(())
}

fn not_a_program(ctx: &Ctx) -> Verdict {
    fails_at_execve(ctx, "\u{1}\u{2}\u{3} no program")
}

fn interpreter_missing(ctx: &Ctx) -> Verdict {
    fails_at_execve(ctx, "#!/nowhere/interpreter\n")
}

fn relative_program(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/cwd", json!("/bin")).set("/process/args", json!(["./probe", "facts"]));
    ensure_eq!(*ctx.facts(&b)?.get("/argv/0"), json!("./probe"), "argv[0]");
    Ok(())
}

fn large_environment(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let env: Vec<String> = (0..200).map(|i| format!("V{i}={}", "x".repeat(1000))).collect();
    b.set("/process/env", json!(env));
    let count = ctx.facts(&b)?.get("/environ").as_array().map_or(0, Vec::len);
    ensure!((200..=201).contains(&count), "{count} variables");
    Ok(())
}

/// One string may not be longer than 128 KiB.
fn too_large_environment(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/env", json!([format!("BIG={}", "x".repeat(200_000))]));
    let out = ctx.run(&b)?;
    ensure!(
        out.code() != 0 && !out.stderr.trim().is_empty(),
        "exit code {}, stderr {:?}",
        out.code(),
        out.stderr
    );
    Ok(())
}

/// A caller started by nohup ignores SIGHUP; that is not the container's business.
fn ignored_signals(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let shell = "trap '' HUP INT TERM CHLD PIPE; exec \"$@\"";
    let cmd = ctx.program(Path::new("/bin/sh")).args(["-c", shell, "sh"]).arg(&ctx.settings.runtime);
    let out = cmd.arg("--root").arg(ctx.state_root()).args(["run", "-b"]).arg(&b.dir).arg(ctx.id()).ok()?;
    let facts = Facts::lines(&out.stdout)?;
    ensure_eq!(facts.len(), 1, "lines printed");
    ensure_eq!(super::process::own_signals(&facts[0], "SigIgn"), 0, "SigIgn");
    Ok(())
}

fn caller_umask(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/devices",
        json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]),
    );
    b.save()?;
    let cmd = ctx
        .program(Path::new("/bin/sh"))
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(&ctx.settings.runtime);
    let out = cmd.arg("--root").arg(ctx.state_root()).args(["run", "-b"]).arg(&b.dir).arg(ctx.id()).ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    ensure_eq!(*facts.get("/dev/x/mode"), json!("666"), "mode of a listed device");
    ensure_eq!(*facts.get("/dev/null/mode"), json!("666"), "mode of /dev/null");
    ensure_eq!(*facts.get("/dev/shm/mode"), json!("1777"), "mode of /dev/shm");
    Ok(())
}

/// A detached container does not die with the process group of its caller.
fn process_group(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let own = fs::read_to_string("/proc/self/stat")?;
    let group =
        |stat: &str| stat.rsplit(')').next().unwrap_or("").split_whitespace().nth(2).map(str::to_owned);
    ensure!(group(&c.proc_file("stat")?) != group(&own), "init is in the caller's process group");
    Ok(())
}

/// `script` gives the command a terminal, whose input stays open for a second.
fn in_terminal(ctx: &Ctx, args: &[&str]) -> Result<crate::process::Out, crate::Failure> {
    let root = ctx.state_root();
    let line = format!("{} --root {} {}", ctx.settings.runtime.display(), root.display(), args.join(" "));
    let shell = ["-c", "sleep 1 | script -q -e -c \"$1\" /dev/null", "sh", &line];
    ctx.program(Path::new("/bin/sh")).args(shell).run()
}

fn foreground_terminal(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true)).steps(&[&["facts"], &["exit", "6"]]);
    b.save()?;
    let dir = b.dir.to_string_lossy().into_owned();
    let out = in_terminal(ctx, &["run", "-b", &dir, &ctx.id()])?;
    ensure_eq!(out.code(), 6, "exit code ({})", crate::process::tail(&out.stdout));
    let facts = Facts::lines(&out.stdout.replace('\r', ""))?.remove(0);
    ensure_eq!(*facts.get("/tty/isatty"), json!([true, true, true]), "stdio are terminals");
    Ok(())
}

fn foreground_exec(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let out = in_terminal(ctx, &["exec", "-t", &c.id, "/bin/probe", "facts", "+", "exit", "8"])?;
    ensure_eq!(out.code(), 8, "exit code ({})", crate::process::tail(&out.stdout));
    let facts = Facts::lines(&out.stdout.replace('\r', ""))?.remove(0);
    ensure_eq!(*facts.get("/tty/isatty"), json!([true, true, true]), "stdio are terminals");
    Ok(())
}
