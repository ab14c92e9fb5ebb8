//! Attacks on the runtime that worked somewhere once: each is a layout, a configuration and what must not
//! happen.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Facts, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("threat/program-through-descriptor", &["LNX-01"], program_through_descriptor).practice(),
        Case::new("threat/working-directory-is-symlink", &["PROC-08"], cwd_symlink).practice(),
        Case::new("threat/device-path-through-symlink", &["DEV-03"], device_through_symlink).practice(),
        Case::new("threat/mount-through-symlink", &["MNT-08"], mount_through_symlink).practice(),
        Case::new("threat/readonly-path-through-symlink", &["RO-01"], readonly_through_symlink).practice(),
        Case::new("threat/masked-path-through-symlink", &["MASK-01"], masked_through_symlink).practice(),
        Case::new("threat/passwd-is-fifo", &["PROC-10"], |ctx| passwd_is_fifo(ctx, "passwd")).practice(),
        Case::new("threat/group-is-fifo", &["PROC-10"], |ctx| passwd_is_fifo(ctx, "group")).practice(),
        Case::new("threat/rootfs-is-symlink-to-host", &["ROOT-04"], rootfs_symlink).practice(),
        Case::new("threat/no-abstract-sockets", &["LIF-13"], no_abstract_sockets).practice(),
        Case::new("threat/init-killed-at-once", &["LIF-12"], init_killed_at_once).practice(),
        Case::new("threat/stopped-runtime-caller", &["LOG-01"], orphaned_create).practice(),
        Case::new("threat/many-mappings", &["IDM-05"], many_mappings).needs(&[Need::UserNs]).practice(),
        Case::new("threat/signals-cannot-reach-runtime", &["OPS-13"], kill_negative).practice(),
        Case::new("threat/exec-sees-no-host-descriptors", &["LNX-01"], exec_descriptors).practice(),
        Case::new("threat/proc-of-runtime-in-host-pidns", &["LNX-01"], host_pidns_descriptors).practice(),
        Case::new("threat/state-directory-is-symlink", &["OPS-04"], state_is_symlink).practice(),
        Case::new("threat/log-does-not-follow-container", &["LOG-01"], program_cannot_forge_errors)
            .practice(),
    ]
}

fn program_through_descriptor(ctx: &Ctx) -> Verdict {
    for n in 3..16 {
        let mut b = ctx.bundle()?;
        b.set("/process/args", json!([format!("/proc/self/fd/{n}"), "--version"]));
        let out = ctx.run(&b)?;
        ensure!(out.code() != 0, "descriptor {n} could be executed: {}", out.stdout);
    }
    Ok(())
}

fn canary(ctx: &Ctx) -> Result<PathBuf, Failure> {
    let dir = ctx.scratch().join("canary");
    fs::create_dir(&dir)?;
    fs::write(dir.join("file"), "untouched")?;
    Ok(dir)
}

fn untouched(dir: &Path) -> Verdict {
    let names: Vec<_> = fs::read_dir(dir)?.flatten().map(|e| e.file_name()).collect();
    ensure_eq!(names, ["file"], "entries of the host's directory");
    ensure_eq!(fs::read_to_string(dir.join("file"))?, "untouched", "the host's file");
    Ok(())
}

/// A link to the host from inside the rootfs: absolute, relative, and up again from a directory that is not
/// there, where counting components instead of walking them goes wrong.
fn both_links(ctx: &Ctx, at: &str, run: impl Fn(&Bundle) -> Verdict) -> Verdict {
    let canary = canary(ctx)?;
    let up = "../".repeat(30);
    let relative = format!("{up}{}", canary.display());
    let dangling = format!("nowhere/{up}{}", canary.display());
    for target in [canary.to_string_lossy().into_owned(), relative, dangling] {
        let b = ctx.bundle()?;
        symlink(&target, b.path(at))?;
        run(&b)?;
        untouched(&canary)?;
    }
    Ok(())
}

fn with(b: &Bundle, change: impl FnOnce(&mut Bundle)) -> Bundle {
    let mut copy = Bundle { dir: b.dir.clone(), config: b.config.clone(), raw: None, systemd: b.systemd };
    change(&mut copy);
    copy
}

fn cwd_symlink(ctx: &Ctx) -> Verdict {
    both_links(ctx, "link", |b| {
        let b = with(b, |b| {
            b.writable().set("/process/cwd", json!("/link/made"));
        });
        ctx.run(&b).map(drop)
    })
}

fn device_through_symlink(ctx: &Ctx) -> Verdict {
    both_links(ctx, "link", |b| {
        let b = with(b, |b| {
            let device = json!({"path": "/link/node", "type": "c", "major": 1, "minor": 3, "fileMode": 438});
            b.writable().set("/linux/devices", json!([device]));
        });
        ctx.run(&b).map(drop)
    })
}

fn mount_through_symlink(ctx: &Ctx) -> Verdict {
    both_links(ctx, "link", |b| {
        let b = with(b, |b| {
            b.mount("/link/made/deep", "tmpfs", "t", &[]).mount("/link/file/x", "bind", "out", &["bind"]);
        });
        ctx.run(&b).map(drop)
    })
}

fn readonly_through_symlink(ctx: &Ctx) -> Verdict {
    both_links(ctx, "link", |b| {
        let b = with(b, |b| {
            b.set("/linux/readonlyPaths", json!(["/link"]));
        });
        ctx.run(&b).map(drop)
    })
}

fn masked_through_symlink(ctx: &Ctx) -> Verdict {
    both_links(ctx, "link", |b| {
        let b = with(b, |b| {
            b.set("/linux/maskedPaths", json!(["/link", "/link/file"]));
        });
        ctx.run(&b).map(drop)
    })
}

/// The image decides what /etc/passwd is; a runtime that opens it must not hang.
fn passwd_is_fifo(ctx: &Ctx, name: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    sys::mkfifo(&b.path("etc").join(name), 0o644)?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    c.exec(&["-u", "1234"], &[&["exit", "0"]]).limit(Duration::from_secs(5)).run()?;
    Ok(())
}

fn rootfs_symlink(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let b = ctx.bundle()?;
    fs::rename(b.dir.join("rootfs"), b.dir.join("real"))?;
    symlink(&canary, b.dir.join("rootfs"))?;
    ctx.run(&b)?;
    ensure_eq!(fs::read_to_string(canary.join("file"))?, "untouched", "the host's file");
    Ok(())
}

fn abstract_sockets() -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string("/proc/net/unix")?;
    let paths = text.lines().filter_map(|l| l.split_whitespace().nth(7));
    Ok(paths.filter(|p| p.starts_with('@')).map(str::to_owned).collect())
}

/// CVE-2020-15257: anybody in the network namespace can connect to an abstract socket.
fn no_abstract_sockets(ctx: &Ctx) -> Verdict {
    let before = abstract_sockets()?;
    let mut b = ctx.bundle()?;
    b.without_namespace("network").steps(&[&["sleep"]]);
    let c = ctx.create(&b)?;
    let created: Vec<_> = abstract_sockets()?.into_iter().filter(|s| !before.contains(s)).collect();
    ensure!(created.is_empty(), "abstract sockets of a created container: {created:?}");
    c.start()?;
    let started: Vec<_> = abstract_sockets()?.into_iter().filter(|s| !before.contains(s)).collect();
    ensure!(started.is_empty(), "abstract sockets of a running container: {started:?}");
    Ok(())
}

/// The program ends faster than the runtime can look at it.
fn init_killed_at_once(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["exit", "5"]]);
    for _ in 0..20 {
        ctx.run(&b)?.exits(5)?;
    }
    Ok(())
}

/// runc #2828: the caller of create is gone, nobody will ever start; delete --force must work.
fn orphaned_create(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let c = crate::Container::new(ctx, &id);
    let shell = ["-c", "\"$@\" & wait", "sh"];
    let cmd = ctx.program(Path::new("/bin/sh")).args(shell).arg(&ctx.settings.runtime).arg("--root");
    cmd.arg(ctx.state_root()).args(["create", "-b"]).arg(&b.dir).arg(&id).ok()?;
    c.expect_status("created")?;
    c.delete_force()?;
    ctx.nothing_left(&id)
}

/// CVE-2021-43784: more mappings than fit into one message or than the kernel takes.
fn many_mappings(ctx: &Ctx) -> Verdict {
    for (count, fits) in [(340, true), (341, false)] {
        let mut b = ctx.bundle()?;
        b.user_namespace(200_000)?;
        // Short numbers: the kernel also wants all lines in less than a page.
        let map: Vec<_> =
            (0..count).map(|i| json!({"containerID": i, "hostID": 1000 + i, "size": 1})).collect();
        b.set("/linux/uidMappings", json!(map));
        let out = ctx.run(&b)?;
        ensure_eq!(out.code() == 0, fits, "success with {count} mappings ({})", out.stderr);
    }
    Ok(())
}

/// A number that is no signal must not address anything else.
fn kill_negative(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    for bad in ["-1", "65", "9999", "4294967305"] {
        let out = c.cmd(&["kill"]).arg("--").arg(bad).run()?;
        ensure!(out.code() != 0, "`{}` succeeded", out.shown);
    }
    c.expect_status("running")
}

/// CVE-2016-9962: what a process of the container sees of one that is just entering.
fn exec_descriptors(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let root = fs::read_link(format!("/proc/{}/root", c.pid))?;
    let running = c.exec(&["-d"], &[&["sleep"]]).spawn()?;
    running.finish()?.ok()?;
    let out = c.exec(&[], &[&["ls", "/proc"], &["facts"]]).ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(1);
    for (fd, target) in facts.get("/fds").as_object().into_iter().flatten() {
        let n: u32 = fd.parse().unwrap_or(99);
        ensure!(n < 3, "descriptor {fd} -> {target}");
    }
    ensure_eq!(root, PathBuf::from("/"), "root of init");
    Ok(())
}

/// While a container with the host's pid namespace is created, nothing of the rootfs is leaked to it.
fn host_pidns_descriptors(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["facts"], &["sleep"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    let links = fs::read_dir(format!("/proc/{}/fd", c.pid))?.flatten();
    let names: Vec<_> = links.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    ensure!(names.iter().all(|n| ["0", "1", "2"].contains(&n.as_str())), "descriptors of init: {names:?}");
    Ok(())
}

/// A link planted in the state directory leads nowhere.
fn state_is_symlink(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let id = ctx.id();
    let link = ctx.state_root().join(&id);
    symlink(&canary, &link)?;
    let b = ctx.bundle()?;
    b.save()?;
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).run()?.exits(1)?;
    ctx.rt(["delete", "--force", &id]).run()?;
    untouched(&canary)?;
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    Ok(())
}

/// What the program writes on stderr is its own; the log for the engine is not mixed with it.
fn program_cannot_forge_errors(ctx: &Ctx) -> Verdict {
    let log = ctx.scratch().join("log.json");
    let mut b = ctx.bundle()?;
    b.steps(&[&["say", "{\"level\":\"error\",\"msg\":\"forged\"}"]]);
    b.save()?;
    let cmd = ctx.rt(["--log"]).arg(&log).args(["--log-format", "json", "run", "-b"]);
    cmd.arg(&b.dir).arg(ctx.id()).ok()?;
    ensure!(
        !fs::read_to_string(&log).unwrap_or_default().contains("forged"),
        "the log holds the program's output"
    );
    Ok(())
}
