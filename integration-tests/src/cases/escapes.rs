//! Layouts by which containers got out of other runtimes, one for each class that the older cases do not have.

use super::console;
use super::swaps::without_mounts_at;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Facts, Failure, cgroup, ensure, ensure_eq, sys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("escape/{name}"), clauses, body).practice()
    };
    vec![
        case("cwd-through-any-descriptor", &["LNX-09"], cwd_through_descriptor).limit(120),
        case("exec-cwd-through-any-descriptor", &["LNX-09"], exec_cwd_through_descriptor).limit(120),
        case("program-below-a-descriptor", &["LNX-01"], program_below_descriptor).limit(120),
        case("null-device-of-a-bound-dev", &["MASK-03"], null_devices)
            .needs(&[Need::Capability(27, "CAP_MKNOD")]),
        case("null-device-of-the-host", &["PROC-17"], null_device_of_host).needs(&[Need::Root]),
        case("null-device-of-the-host-by-exec", &["PROC-17"], null_device_of_host_by_exec)
            .needs(&[Need::Root]),
        case("dev-is-link-to-other-devices", &["LNX-04"], dev_is_link),
        case("console-is-link", &["DEV-15"], console_is_link),
        case("forged-devpts", &["DEV-15"], forged_devpts).needs(&[Need::Capability(27, "CAP_MKNOD")]),
        case("forged-procfs-of-the-image", &["MNT-09"], forged_procfs),
        case("users-are-numbers", &["PROC-15"], users),
        case("sibling-cgroup", &["CLI-01"], sibling_cgroup),
        case("user-namespace-in-its-cgroup", &["CG-01"], cgroup_of_user_namespace).needs(&[Need::UserNs]),
    ]
}

const INHERITED: [i32; 3] = [20, 33, 61];

/// Descriptors of the host's root directory that the runtime inherits from its caller, and that nobody asked for.
pub(super) fn leaked() -> Result<Vec<OwnedFd>, Failure> {
    let root = File::open("/")?;
    Ok(INHERITED.into_iter().map(|n| sys::dup_to(&root, n)).collect::<Result<_, _>>()?)
}

/// If it ran, it ran in a directory of the container.
fn cwd_is_inside(out: &crate::process::Out, path: &str) -> Verdict {
    if out.code() != 0 {
        return Ok(());
    }
    let steps = Facts::lines(&out.stdout)?;
    let cwd = steps.first().map(|f| f.str("/cwd").to_owned()).unwrap_or_default();
    ensure!(cwd.starts_with('/') && !cwd.contains("unreachable"), "{path}: working directory {cwd:?}");
    let names = steps.get(1).map(|f| f.get("/names").clone()).unwrap_or_default();
    ensure!(!names.as_array().is_some_and(|n| n.contains(&json!("vmlinuz"))), "{path}: it sees {names}");
    Ok(())
}

/// All descriptors, and what is above the first ones and those that were inherited.
fn paths() -> Vec<String> {
    let above = (3..12).chain(INHERITED).map(|n| format!("/proc/self/fd/{n}/.."));
    (3..=64).map(|n| format!("/proc/self/fd/{n}")).chain(above).collect()
}

const LOOK: [&[&str]; 2] = [&["facts"], &["ls", "."]];

/// CVE-2024-21626.
fn cwd_through_descriptor(ctx: &Ctx) -> Verdict {
    let _leaked = leaked()?;
    for path in paths() {
        let mut b = ctx.bundle()?;
        b.set("/process/cwd", json!(path)).steps(&LOOK);
        cwd_is_inside(&ctx.run(&b)?, &path)?;
        fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}

fn exec_cwd_through_descriptor(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let _leaked = leaked()?;
    for path in paths() {
        cwd_is_inside(&c.exec(&["--cwd", &path], &LOOK).run()?, &path)?;
    }
    Ok(())
}

/// CVE-2024-21626, its variant 3: the program itself is found through a descriptor of a directory of the host.
fn program_below_descriptor(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let _leaked = leaked()?;
    let probe = ctx.probe();
    for n in 3..=64 {
        let program = format!("/proc/self/fd/{n}/{}{}", "../".repeat(12), probe.display());
        let out = c.cmd(&["exec"]).args([&program, "say", "outside"]).run()?;
        ensure!(out.code() != 0, "exec: {program} was executed: {}", out.stdout);
        if n < 34 {
            let mut b = ctx.bundle()?;
            b.set("/process/args", json!([program, "say", "outside"]));
            let out = ctx.run(&b)?;
            ensure!(out.code() != 0, "{program} was executed: {}", out.stdout);
            fs::remove_dir_all(&b.dir)?;
        }
    }
    Ok(())
}

/// Standard input is the host's null device, of which root of the container is no less the owner than the host's: it
/// could give it away, or forbid it to all the world.
fn null_device_of_host(ctx: &Ctx) -> Verdict {
    const WITHOUT_NULL: &str = "a /dev of the image's";
    type Change = fn(&mut Bundle);
    let changes: [(&str, Change); 5] = [
        ("as ever", |_| {}),
        ("another user", |b| {
            b.set("/process/user", json!({"uid": 1234, "gid": 5678}));
        }),
        ("host ids in a user namespace", |b| drop(b.user_namespace(0).map(|_| ()))),
        ("a /dev without devices", |b| {
            without_mounts_at(b, "/dev");
            b.mount("/dev", "tmpfs", "tmpfs", &["nodev"]);
        }),
        (WITHOUT_NULL, |b| {
            fs::create_dir(b.dir.join("dev")).expect("the bundle is writable");
            without_mounts_at(b, "/dev");
            b.mount("/dev", "bind", "dev", &["bind"])
                .remove("/linux/maskedPaths")
                .remove("/linux/readonlyPaths");
        }),
    ];
    for (what, change) in changes {
        let mut b = ctx.bundle()?;
        b.steps(&[&["sleep"]]);
        change(&mut b);
        let c = match ctx.start(&b) {
            // Whether it runs without a null device is the runtime's choice.
            Err(_) if what == WITHOUT_NULL => continue,
            started => started?,
        };
        for number in 0..3 {
            cannot_change_null(c.pid, number, what)?;
        }
        c.delete_force()?;
    }
    Ok(())
}

fn null_device_of_host_by_exec(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    for missing in [false, true] {
        if missing {
            fs::remove_file(format!("/proc/{}/root/dev/null", c.pid))?;
        }
        let file = ctx.scratch().join("exec.pid");
        let path = file.to_string_lossy().into_owned();
        c.exec(&["--detach", "--user", "1234", "--pid-file", &path], &[&["sleep"]]).ok()?;
        let text = fs::read_to_string(&file)?;
        let pid = text.parse().map_err(|_| Failure::new(format!("pid file holds {text:?}")))?;
        cannot_change_null(pid, 0, &format!("/dev/null missing: {missing}"))?;
    }
    c.delete_force()?;
    Ok(())
}

/// Tries what the container's root could, by the same link, and changes nothing by it.
fn cannot_change_null(pid: i32, number: u32, what: &str) -> Verdict {
    let stream = format!("/proc/{pid}/fd/{number}");
    let place = |path: &str| fs::metadata(path).map(|m| (m.dev(), m.ino(), m.rdev(), m.permissions()));
    let (outside, stdin) = (place("/dev/null")?, place(&stream)?);
    ensure!(number > 0 || stdin.2 == outside.2, "standard input is not the null device, with {what}");
    let changed =
        (stdin.0, stdin.1) == (outside.0, outside.1) && fs::set_permissions(&stream, outside.3).is_ok();
    ensure!(!changed, "with {what}: stream {number} is the host's /dev/null, and its mode can be changed");
    Ok(())
}

/// CVE-2025-31133, CVE-2025-62161: /dev is a directory that the attacker has, and its null device is none.
fn null_devices(ctx: &Ctx) -> Verdict {
    type Plant = fn(&Path) -> std::io::Result<()>;
    let plants: [(&str, Plant); 6] = [
        ("a link to a file", |null| symlink("/etc/precious", null)),
        ("a link into procfs", |null| symlink("/proc/sys/kernel/core_pattern", null)),
        ("nothing", |_| Ok(())),
        ("a file", |null| fs::write(null, "mine")),
        ("another device", |null| sys::make_device(null, 1, 5)),
        ("a link that leads nowhere", |null| symlink("/nowhere", null)),
    ];
    for (what, plant) in plants {
        let mut b = ctx.bundle()?;
        fs::create_dir(b.dir.join("dev"))?;
        plant(&b.dir.join("dev/null"))?;
        without_mounts_at(&mut b, "/dev");
        b.mount("/dev", "bind", "dev", &["rbind"]);
        fs::write(b.path("etc/precious"), "precious")?;
        fs::write(b.path("etc/secret"), "secret")?;
        b.set("/linux/maskedPaths", json!(["/etc/secret"]));
        b.steps(&[&["stat", "/etc/secret"]]);
        let out = ctx.run(&b)?;
        if out.code() == 0 {
            let steps = Facts::lines(&out.stdout)?;
            let number = steps.first().map(|step| step.str("/stat/rdev"));
            ensure_eq!(number, Some("1:3"), "what masks the file, with {what}");
        }
    }
    Ok(())
}

/// Name, and kind with content or target, of all entries.
fn content(dir: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        let text = if kind.is_file() { fs::read_to_string(&path)? } else { String::new() };
        found.insert(
            path.display().to_string(),
            format!("{text}{:?}{:?}", fs::read_link(&path).ok(), kind.is_file()),
        );
    }
    Ok(found)
}

/// CVE-2026-47766, CVE-2026-41579: what a runtime removes, replaces and makes in /dev, with /dev a link to the host's.
fn dev_is_link(ctx: &Ctx) -> Verdict {
    let host = ctx.scratch().join("host");
    fs::create_dir_all(host.join("pts"))?;
    // What would stop the runtime before it comes to these is not there.
    for name in ["ptmx", "console"] {
        fs::write(host.join(name), "of the host")?;
    }
    let before = content(&host)?;
    let relative = format!("{}{}", "../".repeat(30), host.display());
    for target in [host.to_string_lossy().into_owned(), relative] {
        for terminal in [false, true] {
            let link = |b: &mut Bundle| {
                let dev = b.path("dev");
                fs::remove_dir(&dev).and_then(|()| symlink(&target, &dev)).expect("the rootfs is writable");
                without_mounts_at(b, "/dev");
                b.writable().steps(&[&["sleep"]]);
            };
            if terminal {
                // Whether there is a terminal then is the runtime's choice.
                let session = console::open(ctx, link);
                session.ok().map(|s| s.container.delete_force()).transpose()?;
                fs::remove_file(ctx.scratch().join("console"))?;
            } else {
                let mut b = ctx.bundle()?;
                link(&mut b);
                let c = ctx.start(&b);
                c.ok().map(|c| c.delete_force()).transpose()?;
            }
            let after = content(&host)?;
            let changed: Vec<_> =
                after.iter().filter(|(name, what)| before.get(*name) != Some(what)).collect();
            ensure!(changed.is_empty(), "in the host's directory, with a link to {target}: {changed:?}");
            ensure_eq!(after.len(), before.len(), "entries of the host's directory");
        }
    }
    Ok(())
}

/// The console is what the runtime made, or there is none.
fn judge_console(ctx: &Ctx, what: &str, change: impl Fn(&mut Bundle)) -> Verdict {
    let socket = ctx.scratch().join("console");
    let opened = console::open(ctx, |b| {
        change(b);
        b.steps(&[&["stat", "/dev/console"], &["sleep"]]);
    });
    fs::remove_file(socket)?;
    let mut session = match opened {
        Ok(session) => session,
        // Refused, and not stuck.
        Err(e) => return if e.message.contains("did not end") { Err(e) } else { Ok(()) },
    };
    session.container.start()?;
    let console = console::read_lines(&mut session.master, 1)?.remove(0);
    let number = console.str("/stat/rdev").to_owned();
    ensure!(number.starts_with("136:"), "{what}: /dev/console is {}", console.0);
    session.container.delete_force().map(drop)
}

/// The image's /dev has links in the places of what the runtime makes there.
fn console_is_link(ctx: &Ctx) -> Verdict {
    let host = ctx.scratch().join("host");
    fs::write(&host, "of the host")?;
    for target in [host.to_string_lossy().into_owned(), "/proc/sysrq-trigger".to_owned()] {
        judge_console(ctx, &target, |b| {
            without_mounts_at(b, "/dev");
            fs::create_dir(b.path("dev/pts")).expect("the rootfs is writable");
            symlink(&target, b.path("dev/console")).expect("the rootfs is writable");
            b.writable().mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620"],
            );
        })?;
        ensure_eq!(fs::read_to_string(&host)?, "of the host", "the host's file");
    }
    Ok(())
}

/// CVE-2025-52565: at /dev/pts is a directory of the attacker's, with something else under the name of every terminal.
fn forged_devpts(ctx: &Ctx) -> Verdict {
    type Plant = fn(&Path) -> std::io::Result<()>;
    let plants: [(&str, &str, Plant); 4] = [
        ("a file", "/dev/real", |pts| fs::write(pts.join("ptmx"), "")),
        ("a link to a true one", "/dev/real", |pts| symlink("../real/ptmx", pts.join("ptmx"))),
        ("a node beside a true one", "/dev/pts/pts", |pts| {
            fs::create_dir(pts.join("pts"))?;
            sys::make_device(&pts.join("ptmx"), 5, 2)
        }),
        ("a node", "/dev/real", |pts| sys::make_device(&pts.join("ptmx"), 5, 2)),
    ];
    for (what, place, plant) in plants {
        judge_console(ctx, what, |b| {
            let pts = b.dir.join("pts");
            let made = fs::create_dir(&pts).and_then(|()| plant(&pts));
            made.expect("the bundle is writable");
            for n in 0..20 {
                symlink("/etc/precious", pts.join(n.to_string())).expect("the bundle is writable");
            }
            fs::write(b.path("etc/precious"), "precious").expect("the rootfs is writable");
            if let Some(mounts) = b.config["mounts"].as_array_mut() {
                mounts.retain(|m| m["destination"] != "/dev/pts");
            }
            b.mount("/dev/pts", "bind", "pts", &["bind"]);
            b.mount(place, "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
        })?;
    }
    Ok(())
}

/// CVE-2019-19921, CVE-2025-54867: no procfs is mounted, and the image has files with the names that the runtime writes.
fn forged_procfs(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let files = ["sys/net/ipv4/ip_forward", "self/attr/exec", "self/oom_score_adj", "thread-self/attr/exec"];
    for file in files {
        let path = b.path("proc").join(file);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, "forged")?;
    }
    without_mounts_at(&mut b, "/proc");
    b.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})).set("/process/oomScoreAdj", json!(100));
    b.writable().steps(&[&["say", "x"]]);
    // Whether it runs is the runtime's choice.
    ctx.run(&b)?;
    for file in files {
        ensure_eq!(fs::read_to_string(b.path("proc").join(file))?, "forged", "{file} of the image");
    }
    Ok(())
}

/// CVE-2016-3697, CVE-2026-30892, CVE-2024-40635, CVE-2026-46680: names that are numbers, a user without a group, numbers
/// that do not fit.
fn users(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/passwd"), "1000:x:0:0::/:/x\n1:x:0:0::/:/x\nroot:x:0:0::/:/x\n")?;
    fs::write(b.path("etc/group"), "1000:x:0:1000\n1:x:0:1\n")?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    for (user, uid, gid) in [("1000", 1000, 0), ("1", 1, 0), ("1000:1000", 1000, 1000), ("0:1", 0, 1)] {
        let facts = c.exec_facts(&["-u", user])?;
        ensure_eq!(facts.status("Uid"), format!("{uid} {uid} {uid} {uid}"), "Uid of {user}");
        ensure_eq!(facts.status("Gid"), format!("{gid} {gid} {gid} {gid}"), "Gid of {user}");
    }
    for user in
        ["4294967296", "18446744073709551616", "-1", "0x10", "root", "1 ", "1:root", "1:4294967296", ":"]
    {
        let out = c.exec(&["-u", user], &[&["facts"]]).run()?;
        let ran_as = Facts::lines(&out.stdout).ok().and_then(|f| Some(f.first()?.status("Uid").to_owned()));
        ensure!(out.code() != 0, "-u {user:?} ran as {ran_as:?}");
    }
    c.delete_force()?;
    for (member, value) in [("uid", json!(4_294_967_296_u64)), ("gid", json!(-1)), ("uid", json!("0"))] {
        let mut b = ctx.bundle()?;
        b.set(&format!("/process/user/{member}"), value);
        ctx.fails(&b)?;
    }
    Ok(())
}

/// What the container's cgroups are called in every hierarchy, with something behind their names.
fn siblings(c: &Container<'_>) -> Result<Vec<PathBuf>, Failure> {
    let text = c.proc_file("cgroup")?;
    let names = text.lines().filter_map(|line| line.split(':').nth(1)?.split(',').next());
    let dirs = names.filter_map(|name| cgroup::dir_of(c.pid, name).ok()).filter(|dir| dir.exists());
    let own = dirs.filter(|dir| dir.ends_with(&c.id));
    Ok(own.map(|dir| dir.with_file_name(format!("{}-suffix", c.id))).collect())
}

/// runc's pull request 5403: a path that only begins like the container's cgroup.
fn sibling_cgroup(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let id = c.id.clone();
    let siblings = siblings(&c)?;
    ensure!(!siblings.is_empty(), "it is in no cgroup of its own name");
    for dir in &siblings {
        fs::create_dir(dir)?;
        // A cpuset of version 1 takes nobody before it has these.
        let parent = dir.parent().unwrap_or(dir);
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|f| parent.join(f).exists()) {
            fs::copy(parent.join(file), dir.join(file))?;
        }
    }
    let answers: Result<Vec<_>, _> = ["../", "/../", "x/../../"]
        .iter()
        .map(|up| c.exec(&["--cgroup", &format!("{up}{id}-suffix")], &[&["facts"]]).run())
        .collect();
    let own = c.exec_facts(&[]).map(|f| f.str("/cgroup").to_owned());
    siblings.iter().try_for_each(fs::remove_dir)?;
    for out in answers? {
        let inside = Facts::lines(&out.stdout).ok().and_then(|f| Some(f.first()?.str("/cgroup").to_owned()));
        ensure!(!inside.is_some_and(|path| path.contains("-suffix")), "{} left its cgroup", out.shown);
    }
    ensure!(own?.contains(&id), "a command without the option is not in the container's cgroup");
    Ok(())
}

/// CVE-2025-47291: a container with a user namespace of its own is in the cgroup that was asked for all the same.
fn cgroup_of_user_namespace(ctx: &Ctx) -> Verdict {
    let id = ctx.id();
    let mut b = ctx.bundle()?;
    b.user_namespace(200_000)?.set("/linux/cgroupsPath", json!(format!("/{id}"))).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let text = c.proc_file("cgroup")?;
    let wrong: Vec<&str> = text.lines().filter(|line| !line.ends_with(&id) && is_used(line)).collect();
    ensure!(wrong.is_empty(), "not in its cgroup: {wrong:?}");
    let pid = json!(c.pid);
    let pids: Value = c.cmd(&["ps", "--format", "json"]).ok()?.json()?;
    ensure!(pids.as_array().is_some_and(|p| p.contains(&pid)), "ps does not list it: {pids}");
    Ok(())
}

/// Hierarchies that nobody has mounted have no directories.
fn is_used(line: &str) -> bool {
    let names = line.split(':').nth(1).unwrap_or_default();
    let first = names.split(',').next().unwrap_or_default().trim_start_matches("name=");
    let root = Path::new(cgroup::ROOT);
    if cgroup::is_unified() { first.is_empty() } else { !first.is_empty() && root.join(first).exists() }
}
