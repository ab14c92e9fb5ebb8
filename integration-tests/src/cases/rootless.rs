//! Containers of an ordinary user, without any range of subordinate ids.

use crate::context::USER;
use crate::failure::Verdict;
use crate::process::Cmd;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Facts, Failure, ensure, ensure_eq, leaks};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("rootless/{name}"), clauses, body).needs(&[Need::UnprivilegedUserNs])
    };
    vec![
        case("run", &["IDM-01", "IDM-08"], run),
        case("identity", &["IDM-01", "IDM-02", "IDM-08"], identity),
        case("life", &["ST-05", "ST-08", "ST-09"], life),
        case("exec", &["NS-03"], exec).practice(),
        case("exit-code", &["LIF-12"], exit_code),
        case("default-root", &["ST-01"], default_root).practice(),
        case("devices", &["DEV-18"], devices).practice(),
        case("mounts", &["MNT-07"], mounts),
        case("readonly-root", &["ROOT-05"], readonly_root),
        case("delete-force", &["OPS-20"], delete_force).practice(),
        case("foreign-id-is-refused", &["IDM-08"], foreign_id).practice(),
        case("network-devices-are-refused", &["NET-11"], net_devices).practice(),
        case("subordinate-ids", &["IDM-01", "IDM-08", "PROC-15"], subordinate_ids).practice().needs(&[
            Need::UnprivilegedUserNs,
            Need::Root,
            Need::File("/usr/bin/newuidmap"),
        ]),
        case("cgroup-is-readonly", &["MNT-14"], cgroup_readonly).practice(),
        case("delegated-cgroup-is-readonly", &["MNT-14"], delegated_cgroup)
            .practice()
            .needs(&[Need::UnprivilegedUserNs, Need::Root]),
        case("without-setgroups", &["PROC-15"], without_setgroups)
            .practice()
            .needs(&[Need::UnprivilegedUserNs, Need::File("/usr/bin/unshare")]),
        case("nodes-of-nobody", &["DEV-02"], nodes_of_nobody)
            .practice()
            .needs(&[Need::UnprivilegedUserNs, Need::File("/usr/bin/unshare")]),
        case("links-stay-inside", &["MNT-08"], links_stay_inside).practice(),
        case("cwd-through-descriptor", &["LNX-09"], cwd_through_descriptor).practice(),
        case("failure-leaves-nothing", &["LIF-13"], failure),
        case("hooks", &["HK-01"], hooks),
        case("seccomp", &["SEC-20"], seccomp),
        case("seccomp-notify-sendmsg", &["SECN-11"], seccomp_notify_sendmsg)
            .practice()
            .needs(&[Need::UnprivilegedUserNs, Need::X86_64]),
        case("seccomp-notify", &["SECN-01"], seccomp_notify).needs(&[Need::UnprivilegedUserNs, Need::X86_64]),
    ]
}

struct User<'c> {
    ctx: &'c Ctx,
    state: PathBuf,
}

impl<'c> User<'c> {
    fn new(ctx: &'c Ctx) -> Result<Self, Failure> {
        let state = ctx.scratch().join("user");
        fs::create_dir(&state)?;
        std::os::unix::fs::chown(&state, Some(USER), Some(USER))?;
        let probe = ctx.bare().arg("--version").user(USER, USER).cwd("/").run();
        if probe.is_err() {
            return Err(Failure::skip(format!(
                "uid {USER} cannot execute {}",
                ctx.settings.runtime.display()
            )));
        }
        Ok(User { ctx, state })
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        self.ctx.bare().user(USER, USER).cwd("/").arg("--root").arg(&self.state).args(args)
    }

    fn on_bundle(&self, args: &[&str], b: &Bundle, id: &str) -> Result<Cmd, Failure> {
        b.save()?;
        Ok(self.cmd(args).arg("-b").arg(&b.dir).arg(id))
    }

    fn facts(&self, b: &Bundle) -> Result<Vec<Facts>, Failure> {
        let out = self.on_bundle(&["run"], b, &self.ctx.id())?.ok()?;
        self.clean()?;
        let lines = Facts::lines(&out.stdout)?;
        ensure!(!lines.is_empty(), "the container printed nothing; stderr: {}", out.stderr);
        Ok(lines)
    }

    fn clean(&self) -> Verdict {
        ensure_eq!(leaks::state_left(&self.state), Vec::<String>::new(), "state left behind");
        Ok(())
    }
}

fn run(ctx: &Ctx) -> Verdict {
    User::new(ctx)?.facts(&ctx.rootless_bundle()?).map(drop)
}

fn identity(ctx: &Ctx) -> Verdict {
    let f = User::new(ctx)?.facts(&ctx.rootless_bundle()?)?.remove(0);
    let words: Vec<&str> = f.str("/uid_map").split_whitespace().collect();
    ensure_eq!(words, ["0", "65534", "1"], "uid_map");
    let words: Vec<&str> = f.str("/gid_map").split_whitespace().collect();
    ensure_eq!(words, ["0", "65534", "1"], "gid_map");
    ensure_eq!(f.str("/setgroups"), "deny", "setgroups");
    ensure_eq!(f.status("Uid"), "0 0 0 0", "Uid");
    ensure_eq!(f.str("/hostname"), "probe", "hostname");
    Ok(())
}

/// In a user namespace whose maker had to give setgroups(2) up, and with it every namespace below.
fn without_setgroups(ctx: &Ctx) -> Verdict {
    let state = ctx.scratch().join("state-inside");
    let run = |b: &Bundle| -> Result<Cmd, Failure> {
        b.save()?;
        let words = ["--user", "--map-root-user", "--mount", "--"];
        let cmd = ctx.program(Path::new("/usr/bin/unshare")).args(words).arg(&ctx.settings.runtime);
        Ok(cmd.arg("--root").arg(&state).args(["run", "-b"]).arg(&b.dir).arg(ctx.id()))
    };
    let mut b = ctx.rootless_bundle()?;
    let root = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    b.set("/linux/uidMappings", root.clone()).set("/linux/gidMappings", root);
    for groups in [json!([]), json!([0])] {
        b.set("/process/user/additionalGids", groups);
        let facts = Facts::lines(&run(&b)?.ok()?.stdout)?.remove(0);
        ensure_eq!(facts.status("Uid"), "0 0 0 0", "Uid");
        ensure_eq!(facts.str("/setgroups"), "deny", "setgroups");
    }
    Ok(())
}

/// In a user namespace that an ordinary user made before, as Podman does, nobody inside owns the host's nodes, and there is
/// nothing to protect them from: they are bound as they are.
fn nodes_of_nobody(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.without_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    b.save()?;
    let words = ["--user", "--map-root-user", "--mount", "--"];
    let cmd = ctx.program(Path::new("/usr/bin/unshare")).user(USER, USER).cwd("/").args(words);
    let cmd = cmd.arg(&ctx.settings.runtime).arg("--root").arg(&user.state).args(["run", "-b"]);
    let facts = Facts::lines(&cmd.arg(&b.dir).arg(ctx.id()).ok()?.stdout)?.remove(0);
    let options = facts.mount("/dev/null")?.options;
    ensure!(options.iter().any(|o| o == "rw"), "options of /dev/null: {options:?}");
    user.clean()
}

fn life(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["sleep"]]);
    let id = ctx.id();
    user.on_bundle(&["create"], &b, &id)?.ok()?;
    let status = || -> Result<String, Failure> {
        Ok(user.cmd(&["state", &id]).ok()?.json()?["status"].as_str().unwrap_or("").to_owned())
    };
    ensure_eq!(status()?, "created", "status");
    user.cmd(&["start", &id]).ok()?;
    ensure_eq!(status()?, "running", "status");
    user.cmd(&["kill", &id, "KILL"]).ok()?;
    let stopped = ctx.wait_for(std::time::Duration::from_secs(5), || status().is_ok_and(|s| s == "stopped"));
    ensure!(stopped, "status is {}", status()?);
    user.cmd(&["delete", &id]).ok()?;
    user.clean()
}

fn exec(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["sleep"]]);
    let id = ctx.id();
    user.on_bundle(&["run", "-d"], &b, &id)?.ok()?;
    let out = user.cmd(&["exec", &id, "/bin/probe", "facts"]).run()?;
    let code = user.cmd(&["exec", &id, "/bin/probe", "exit", "9"]).run()?.code();
    user.cmd(&["delete", "--force", &id]).ok()?;
    ensure_eq!(Facts::lines(&out.ok()?.stdout)?[0].status("Uid"), "0 0 0 0", "Uid");
    ensure_eq!(code, 9, "exit code");
    user.clean()
}

fn exit_code(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["exit", "7"]]);
    user.on_bundle(&["run"], &b, &ctx.id())?.run()?.exits(7)?;
    user.clean()
}

/// Without --root: `$XDG_RUNTIME_DIR`/NAME.
fn default_root(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let b = ctx.rootless_bundle()?;
    b.save()?;
    let cmd = ctx.bare().user(USER, USER).cwd("/").env("XDG_RUNTIME_DIR", &user.state).args(["run", "-b"]);
    cmd.arg(&b.dir).arg(ctx.id()).ok()?;
    let made: Vec<_> = fs::read_dir(&user.state)?.flatten().map(|e| e.path()).collect();
    ensure_eq!(made.len(), 1, "directories in XDG_RUNTIME_DIR ({made:?})");
    ensure!(leaks::state_left(&made[0]).is_empty(), "state left in {made:?}");
    Ok(())
}

fn devices(ctx: &Ctx) -> Verdict {
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["open", "/dev/null", "rw"], &["open", "/dev/zero", "r"], &["facts"]]);
    let steps = User::new(ctx)?.facts(&b)?;
    ensure_eq!((steps[0].result(), steps[1].result()), ("ok", "ok"), "opening /dev/null and /dev/zero");
    ensure_eq!(*steps[2].get("/dev/urandom/rdev"), json!("1:9"), "/dev/urandom");
    Ok(())
}

fn mounts(ctx: &Ctx) -> Verdict {
    let mut b = ctx.rootless_bundle()?;
    b.mount("/tmp", "tmpfs", "t", &["nosuid", "size=64k"]);
    let f = User::new(ctx)?.facts(&b)?.remove(0);
    for (at, kind) in
        [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/tmp", "tmpfs")]
    {
        ensure_eq!(f.mount(at)?.fstype, kind, "type of {at}");
    }
    ensure!(f.mount("/sys")?.own("ro"), "/sys is writable");
    Ok(())
}

fn readonly_root(ctx: &Ctx) -> Verdict {
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["create", "/tmp/x", "x"]]);
    ensure_eq!(User::new(ctx)?.facts(&b)?[0].result(), "EROFS", "writing to a read-only root");
    b.writable();
    fs::create_dir_all(ctx.scratch().join("again"))?;
    let again = User { ctx, state: ctx.scratch().join("user") };
    ensure_eq!(again.facts(&b)?[0].result(), "ok", "writing to a writable root");
    Ok(())
}

fn delete_force(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.steps(&[&["sleep"]]);
    let id = ctx.id();
    user.on_bundle(&["run", "-d"], &b, &id)?.ok()?;
    user.cmd(&["delete", "--force", &id]).ok()?;
    user.clean()
}

/// An id that the user does not own and no newuidmap range covers.
fn foreign_id(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.set("/linux/uidMappings/0/hostID", json!(12345));
    let out = user.on_bundle(&["run"], &b, &ctx.id())?.run()?;
    ensure!(
        out.code() != 0 && !out.stderr.trim().is_empty(),
        "exit code {}, stderr {}",
        out.code(),
        out.stderr
    );
    user.clean()
}

/// The devices outside are not the user's to take along.
fn net_devices(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "network"}));
    b.set("/linux/netDevices", json!({"lo": {"name": "lo7"}}));
    user.on_bundle(&["run"], &b, &ctx.id())?.run()?.refused(&["netDevices"])?;
    user.clean()
}

/// With a range of subordinate ids a container has more than one user, and its groups are its own.
fn subordinate_ids(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    let ranges = ctx.scratch().join("ranges");
    fs::write(&ranges, format!("{USER}:100000:65536\nnobody:100000:65536\n"))?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        crate::sys::mount(&ranges.to_string_lossy(), Path::new(file), "", libc::MS_BIND, "")?;
    }
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    let maps = json!([{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 999}]);
    b.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    b.set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]}));
    let f = user.facts(&b)?.remove(0);
    ensure_eq!(f.status("Uid"), "5 5 5 5", "Uid");
    ensure_eq!(f.status("Gid"), "6 6 6 6", "Gid");
    ensure_eq!(f.status("Groups"), "7 8", "Groups");
    let words: Vec<&str> = f.str("/uid_map").split_whitespace().collect();
    ensure_eq!(words[3..], ["1", "100000", "999"], "second extent of uid_map");
    for file in ["/etc/subuid", "/etc/subgid"] {
        crate::sys::detach(Path::new(file))?;
    }
    Ok(())
}

/// CVE-2023-25809.
fn cgroup_readonly(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.set(
        "/mounts/-",
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
               "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    );
    b.steps(&[
        &["mkdir", "/sys/fs/cgroup/x"],
        &["mkdir", "/sys/fs/cgroup/unified/x"],
        &["mkdir", "/sys/fs/cgroup/memory/x"],
    ]);
    let out = user.on_bundle(&["run"], &b, &ctx.id())?.run()?;
    user.clean()?;
    for step in Facts::lines(&out.stdout)?.iter().skip(1) {
        ensure!(step.result() != "ok", "made a cgroup of the host's");
    }
    Ok(())
}

/// CVE-2023-25809: without a cgroup namespace a container could write to whatever of the host's cgroups its user may
/// write to: though its mount was to be read-only, and with what `spec --rootless` wrote.
fn delegated_cgroup(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let id = ctx.id();
    let root = Path::new(crate::cgroup::ROOT);
    let dirs: Vec<PathBuf> = [root.join(&id), root.join("pids").join(&id), root.join("unified").join(&id)]
        .into_iter()
        .filter(|dir| dir.with_file_name("cgroup.procs").exists())
        .collect();
    for dir in &dirs {
        fs::create_dir(dir)?;
        std::os::unix::fs::chown(dir, Some(USER), Some(USER))?;
    }
    let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let outcomes: Result<Vec<_>, Failure> = [false, true]
        .into_iter()
        .map(|as_spec| {
            let mut b = ctx.rootless_bundle()?;
            if as_spec {
                let dir = ctx.scratch().join("spec");
                fs::create_dir(&dir)?;
                ctx.bare().args(["spec", "--rootless"]).cwd(&dir).ok()?;
                let spec: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
                b.set("/mounts", spec["mounts"].clone());
            } else {
                b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &options);
            }
            let made: Vec<String> = dirs.iter().map(|dir| dir.join("x").display().to_string()).collect();
            let steps: Vec<Vec<&str>> = made.iter().map(|dir| vec!["mkdir", dir]).collect();
            b.steps(&steps.iter().map(Vec::as_slice).collect::<Vec<_>>());
            user.on_bundle(&["run"], &b, &ctx.id())?.run()
        })
        .collect();
    let made: Vec<_> = dirs.iter().filter(|dir| fs::remove_dir(dir.join("x")).is_ok()).collect();
    for dir in &dirs {
        fs::remove_dir(dir)?;
    }
    user.clean()?;
    ensure!(!dirs.is_empty(), "there is no cgroup to look for");
    ensure!(made.is_empty(), "the container made cgroups of the host's in {made:?}");
    for out in outcomes? {
        let lines = Facts::lines(&out.ok()?.stdout)?;
        ensure!(lines.iter().all(|step| step.result() != "ok"), "made a cgroup: {lines:?}");
    }
    Ok(())
}

/// What the image has links for, and the user may write to: mounts, a working directory, /dev.
fn links_stay_inside(ctx: &Ctx) -> Verdict {
    type Change = fn(&mut Bundle) -> &mut Bundle;
    let changes: [(&str, Change); 4] = [
        ("link", |b| b.mount("/link/made", "tmpfs", "t", &[])),
        ("link", |b| b.mount("/link/file", "bind", "/etc/hosts", &["rbind"])),
        ("link", |b| b.set("/process/cwd", json!("/link/made"))),
        ("dev", |b| b),
    ];
    let user = User::new(ctx)?;
    let victim = ctx.scratch().join("victim");
    fs::create_dir(&victim)?;
    std::os::unix::fs::chown(&victim, Some(USER), Some(USER))?;
    let up = format!("{}{}", "../".repeat(30), victim.display());
    for target in [victim.display().to_string(), up.clone(), format!("missing/{up}")] {
        for (i, (at, change)) in changes.iter().enumerate() {
            let mut b = ctx.rootless_bundle()?;
            if *at == "dev" {
                fs::remove_dir(b.path("dev"))?;
                super::swaps::without_mounts_at(&mut b, "/dev");
            }
            std::os::unix::fs::symlink(&target, b.path(at))?;
            change(b.writable());
            // Whether it runs is the runtime's choice.
            user.on_bundle(&["run"], &b, &ctx.id())?.run()?;
            let made: Vec<_> = fs::read_dir(&victim)?.flatten().map(|e| e.file_name()).collect();
            ensure!(made.is_empty(), "place {i}, link to {target}: made on the host: {made:?}");
        }
    }
    user.clean()
}

/// CVE-2024-21626.
fn cwd_through_descriptor(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let _leaked = super::escapes::leaked()?;
    for path in (3..24).flat_map(|n| [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}/..")]) {
        let mut b = ctx.rootless_bundle()?;
        b.set("/process/cwd", json!(path));
        let out = user.on_bundle(&["run"], &b, &ctx.id())?.run()?;
        if out.code() == 0 {
            let cwd = Facts::lines(&out.stdout)?.remove(0).str("/cwd").to_owned();
            ensure!(cwd.starts_with('/'), "{path}: working directory {cwd:?}");
        }
    }
    user.clean()
}

fn failure(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    b.set("/process/args", json!(["/nowhere/prog"]));
    let out = user.on_bundle(&["create"], &b, &ctx.id())?.run()?;
    ensure_eq!(out.code(), 1, "exit code");
    ensure!(out.stderr.contains("no such file or directory"), "stderr: {}", out.stderr);
    user.clean()
}

fn hooks(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let mut b = ctx.rootless_bundle()?;
    let log = b.dir.join("out/log");
    for kind in ["prestart", "createRuntime", "createContainer", "poststop"] {
        b.hook(kind, ctx, &log, kind, &[]);
    }
    user.facts(&b)?;
    let text = fs::read_to_string(&log)?;
    ensure_eq!(text.lines().count(), 4, "hooks that ran");
    Ok(())
}

fn seccomp_notify(ctx: &Ctx) -> Verdict {
    let (agent, b) = super::seccomp_notify::rootless(ctx, &["getpgrp"])?;
    ensure_eq!(User::new(ctx)?.facts(&b)?[0].result(), "ENOSPC", "getpgrp");
    agent.messages(ctx, 1).map(drop)
}

/// The process cannot send its listener, and an ordinary user's runtime may not look into the process to take it.
fn seccomp_notify_sendmsg(ctx: &Ctx) -> Verdict {
    let (agent, b) = super::seccomp_notify::rootless(ctx, &["getpgrp", "sendmsg"])?;
    let user = User::new(ctx)?;
    let out = user.on_bundle(&["run"], &b, &ctx.id())?.run()?;
    ensure!(out.code() != 0, "run succeeded");
    ensure!(out.stderr.contains("linux.seccomp") && out.stderr.contains("sendmsg"), "stderr: {}", out.stderr);
    user.clean()?;
    agent.messages(ctx, 0).map(drop)
}

fn seccomp(ctx: &Ctx) -> Verdict {
    let mut b = ctx.rootless_bundle()?;
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}),
    );
    b.steps(&[&["mkdir", "/dev/shm/x"]]);
    ensure_eq!(User::new(ctx)?.facts(&b)?[0].result(), "ENOSPC", "mkdir");
    Ok(())
}
