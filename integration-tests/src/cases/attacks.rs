//! Attacks that once worked on corten itself.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("attack/parents-after-missing-component", &["MNT-08"], parents_after_missing).practice(),
        Case::new("attack/hook-deletes-its-container", &["LIF-13"], hook_deletes).practice(),
        Case::new("attack/hook-starts-its-container", &["LIF-13"], hook_starts).practice(),
        Case::new("attack/pause-while-run-waits", &["OPS-13"], pause_while_run_waits).practice(),
        Case::new("attack/preserve-fds-too-many", &["LNX-01"], preserve_too_many).practice(),
        Case::new("attack/config-is-fifo", &["CLI-01"], config_is_fifo).practice(),
        Case::new("attack/runtime-binary-by-init", &["LNX-01"], runtime_binary_by_init)
            .practice()
            .needs(&[Need::Root]),
        Case::new("attack/runtime-binary-by-mapped-root", &["LNX-01"], runtime_binary_by_mapped_root)
            .practice()
            .needs(&[Need::Root, Need::UserNs]),
    ]
}

/// A dangling link such as `missing/../../victim`: whoever makes `missing` and then walks on by hand is led past the
/// root by `..`, and makes the rest on the host.
fn parents_after_missing(ctx: &Ctx) -> Verdict {
    type Change = fn(&mut Bundle) -> &mut Bundle;
    let places: [(&str, Change); 5] = [
        ("link", |b| b.mount("/link", "tmpfs", "tmpfs", &[])),
        ("link", |b| b.mount("/link", "bind", "/etc/hosts", &["bind"])),
        ("link", |b| b.set("/process/cwd", json!("/link/made"))),
        ("link", |b| {
            let device = json!({"path": "/link/node", "type": "c", "major": 1, "minor": 3, "fileMode": 438});
            b.set("/linux/devices", json!([device]))
        }),
        ("dev", |b| b.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))),
    ];
    let victim = ctx.scratch().join("victim");
    fs::create_dir(&victim)?;
    for (i, (at, change)) in places.iter().enumerate() {
        let mut b = ctx.bundle()?;
        if b.path(at).exists() {
            fs::remove_dir(b.path(at))?;
        }
        symlink(format!("missing/{}{}/made", "../".repeat(30), victim.display()), b.path(at))?;
        change(b.writable());
        // Whether it runs is the runtime's choice.
        ctx.run(&b)?;
        ensure!(fs::read_dir(&victim)?.next().is_none(), "place {i}: made on the host: {:?}", victim);
    }
    Ok(())
}

/// A container whose hook runs a command of the runtime on the container itself. Gives its guard, and whether creating
/// it succeeded.
fn create_with_hook<'c>(ctx: &'c Ctx, kind: &str, command: &str) -> Result<(Container<'c>, bool), Failure> {
    let c = Container::new(ctx, &ctx.id());
    let (runtime, root) = (ctx.settings.runtime.display(), ctx.state_root());
    let script = format!("{runtime} --root {} {command} {} 2>/dev/null; exit 0", root.display(), c.id);
    let mut b = ctx.bundle()?;
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    b.steps(&[&["sleep"]]).set(&format!("/hooks/{kind}"), json!([hook]));
    b.save()?;
    let cmd = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).limit(Duration::from_secs(10));
    let created = cmd.run()?.code() == 0;
    Ok((c, created))
}

/// The hook must not wait for the command that waits for the hook.
fn hook_deletes(ctx: &Ctx) -> Verdict {
    for kind in ["prestart", "createRuntime"] {
        let (c, created) = create_with_hook(ctx, kind, "delete --force")?;
        ensure!(!created, "create succeeded although its container was deleted");
        ctx.nothing_left(&c.id)?;
    }
    Ok(())
}

fn hook_starts(ctx: &Ctx) -> Verdict {
    for kind in ["createRuntime", "createContainer"] {
        let (c, created) = create_with_hook(ctx, kind, "start")?;
        ensure!(created, "create failed");
        ensure_eq!(c.status()?, "created", "status after a hook called start");
        c.delete_force()?;
    }
    Ok(())
}

/// A `run` in the foreground lasts as long as its container; other commands must not wait for that.
fn pause_while_run_waits(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    let c = Container::new(ctx, &ctx.id());
    let running = ctx.rt(["run", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    let runs = || c.cmd(&["state"]).run().is_ok_and(|out| out.stdout.contains("running"));
    ensure!(ctx.wait_for(Duration::from_secs(10), runs), "the container does not run");
    for verb in ["pause", "resume"] {
        c.cmd(&[verb]).limit(Duration::from_secs(10)).ok()?;
    }
    c.delete_force()?;
    ensure_eq!(running.finish()?.code(), 137, "exit code of run");
    Ok(())
}

/// Numbers near the end of their type.
fn preserve_too_many(ctx: &Ctx) -> Verdict {
    for count in ["2147483647", "4294967295"] {
        let c = Container::new(ctx, &ctx.id());
        let b = ctx.bundle()?;
        b.save()?;
        let out = ctx.rt(["run", "--preserve-fds", count, "-b"]).arg(&b.dir).arg(&c.id).run()?;
        ensure!(!out.stderr.contains("panicked") && out.code() <= 1, "{count}: {}", out.stderr);
    }
    Ok(())
}

fn config_is_fifo(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    sys::mkfifo(&b.dir.join("config.json"), 0o644)?;
    let out = ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).limit(Duration::from_secs(5)).run()?;
    ensure_eq!(out.code(), 1, "exit code");
    Ok(())
}

/// CVE-2019-5736: whoever gets hold of `/proc/PID/exe` before the user's program runs (by `#!/proc/self/exe`, or as a
/// process that joins) can open it for writing once nobody executes it any more. Nothing of a copy of the runtime may be
/// writable that way. `exec` is tried through a script that executes the runtime inside.
fn runtime_binary_by_init(ctx: &Ctx) -> Verdict {
    runtime_binary(ctx, |_| Ok(()))
}

/// The same with a user namespace that maps the host's root to the container's.
fn runtime_binary_by_mapped_root(ctx: &Ctx) -> Verdict {
    runtime_binary(ctx, |b| b.user_namespace(0).map(drop))
}

fn runtime_binary(ctx: &Ctx, change: impl FnOnce(&mut Bundle) -> Verdict) -> Verdict {
    let copy = ctx.scratch().join("runtime");
    fs::copy(&ctx.settings.runtime, &copy)?;
    let before = fs::read(&copy)?;
    let mut b = ctx.bundle()?;
    fs::write(b.path("bin/again"), "#!/proc/self/exe\n")?;
    fs::set_permissions(b.path("bin/again"), fs::Permissions::from_mode(0o755))?;
    change(&mut b)?;
    b.steps(&[&["sleep"]]).save()?;
    let id = ctx.id();
    let rt = |verb: &str| ctx.program(&copy).arg("--root").arg(ctx.state_root()).arg(verb);
    let _guard = Container::new(ctx, &id);
    let pid_file = ctx.scratch().join("pid");
    rt("create").arg("--pid-file").arg(&pid_file).arg("-b").arg(&b.dir).arg(&id).ok()?;
    let pid = fs::read_to_string(&pid_file)?;
    let handle =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(format!("/proc/{pid}/exe"))?;
    rt("start").arg(&id).ok()?;
    // Whether this runs is the runtime's choice.
    rt("exec").args([&id, "/bin/again"]).run()?;
    let mut answer = None;
    ctx.wait_for(Duration::from_secs(5), || {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let error = fs::OpenOptions::new().write(true).open(path).err().and_then(|e| e.raw_os_error());
        answer = error;
        error != Some(libc::ETXTBSY)
    });
    let refused = matches!(answer, Some(libc::EROFS | libc::EPERM | libc::EACCES));
    // A sealed copy in memory can be opened, but not written.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"#"));
    ensure!(
        refused || written.is_err(),
        "the file of /proc/{pid}/exe before the start could be written: {answer:?}"
    );
    ensure!(fs::read(&copy)? == before, "the runtime's binary was changed");
    rt("delete").args(["--force", &id]).ok()?;
    Ok(())
}
