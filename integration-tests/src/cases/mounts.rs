//! `mounts`: kinds of filesystem, order, where destinations end up.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

pub fn cases() -> Vec<Case> {
    let mut cases = destinations();
    cases.extend(kinds());
    cases.extend(dangerous());
    cases
}

fn destinations() -> Vec<Case> {
    vec![
        Case::new("mount/order", &["MNT-01"], order),
        Case::new("mount/order-shadows", &["MNT-01"], order_shadows),
        Case::new("mount/over-a-read-only-tmpfs", &["MNT-01", "MOPT-50"], over_read_only),
        Case::new("mount/relative-destination", &["MNT-03"], relative_destination),
        Case::new("mount/relative-source", &["MNT-05"], relative_source),
        Case::new("mount/bind-by-option", &["MNT-06"], bind_by_option),
        Case::new("mount/destination-made-directory", &["MNT-08"], makes_directory).practice(),
        Case::new("mount/destination-made-file", &["MNT-08"], makes_file).practice(),
        Case::new("mount/bind-missing-source", &["LIF-01", "OPS-06"], missing_source),
        Case::new("mount/same-twice", &["MNT-01"], same_twice),
        Case::new("mount/many", &["MNT-01"], many).practice(),
        Case::new("mount/destination-with-dots", &["MNT-08"], with_dots).practice(),
        Case::new("root/readonly", &["ROOT-05"], |ctx| root_readonly(ctx, true)),
        Case::new("root/writable", &["ROOT-06"], |ctx| root_readonly(ctx, false)),
        Case::new("root/readonly-submounts-writable", &["ROOT-07"], submounts_writable).practice(),
        Case::new("root/absolute-path", &["ROOT-02"], root_absolute),
        Case::new("root/content", &["ROOT-02"], root_content),
    ]
}

fn kinds() -> Vec<Case> {
    vec![
        Case::new(
            "mount/default-filesystems",
            &["DFS-01", "DFS-02", "DFS-03", "DFS-04", "MNT-07"],
            default_filesystems,
        )
        .should(),
        Case::new("mount/tmpfs-mode-inherited", &["MNT-15"], tmpfs_mode).practice(),
        Case::new("mount/tmpfs-size", &["MOPT-60", "MNT-16"], tmpfs_size),
        Case::new("mount/devpts-works", &["DFS-03"], devpts).should(),
        Case::new("mount/proc-shows-own-pids", &["DFS-01"], own_proc),
        Case::new("mount/cgroup-v1", &["MNT-14"], cgroup_v1).practice().needs(&[Need::V1("memory")]),
        Case::new("mount/cgroup-v1-readonly", &["MNT-14"], cgroup_v1_readonly)
            .practice()
            .needs(&[Need::V1("memory")]),
        Case::new("mount/cgroup-v2", &["MNT-14"], cgroup_v2).practice().needs(&[Need::Unified]),
        Case::new("mount/cgroup-v2-with-namespace", &["MNT-14"], cgroup_v2_namespace)
            .practice()
            .needs(&[Need::Unified]),
        Case::new("mount/idmapped-bind", &["MNT-17", "MOPT-61"], idmapped)
            .needs(&[Need::Kernel(5, 12), Need::UserNs]),
        Case::new("mount/idmap-one-sided", &["MNT-18"], idmap_one_sided).needs(&[Need::Kernel(5, 12)]),
        Case::new("mount/tmpcopyup", &["MOPT-58"], tmpcopyup),
    ]
}

fn dangerous() -> Vec<Case> {
    vec![
        Case::new("mount/symlink-stays-inside", &["MNT-08"], symlink_inside).practice(),
        Case::new("mount/relative-symlink-stays-inside", &["MNT-08"], relative_symlink_inside).practice(),
        Case::new("mount/symlink-in-middle-stays-inside", &["MNT-08"], symlink_in_middle).practice(),
        Case::new("mount/proc-is-symlink", &["MNT-09"], |ctx| symlinked(ctx, "proc")).practice(),
        Case::new("mount/sys-is-symlink", &["MNT-09"], |ctx| symlinked(ctx, "sys")).practice(),
        Case::new("mount/inside-proc", &["MNT-10"], inside_proc).practice(),
        Case::new("mount/inside-proc-attr", &["MNT-10"], inside_proc_attr).practice(),
        Case::new("mount/inside-proc-lxcfs", &["MNT-10"], inside_proc_allowed).practice(),
        Case::new("mount/directory-over-proc", &["MNT-10"], directory_over_proc).practice(),
        Case::new("mount/on-root", &["MNT-11"], on_root).practice(),
        Case::new("mount/dev-is-symlink", &["LNX-04"], dev_is_symlink).practice(),
        Case::new("mount/unknown-type", &["LIF-01", "OPS-06"], unknown_type),
        Case::new("mount/bad-data", &["MOPT-60"], bad_data).should(),
    ]
}

fn order(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "a", &[]).mount("/tmp/b", "tmpfs", "b", &[]).mount(
        "/tmp/b/c",
        "tmpfs",
        "c",
        &[],
    );
    let facts = ctx.facts(&b)?;
    for (at, source) in [("/tmp", "a"), ("/tmp/b", "b"), ("/tmp/b/c", "c")] {
        ensure_eq!(facts.mount(at)?.source, source, "source at {at}");
    }
    Ok(())
}

/// What is read-only is the tmpfs, not what covers it.
fn over_read_only(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.out();
    b.mount("/tmp", "tmpfs", "t", &["nosuid", "ro"]).mount("/run/../tmp", "bind", "out", &["bind", "rw"]);
    b.steps(&[&["create", "/tmp/x", "x"]]);
    ensure_eq!(ctx.run_steps(&b)?[0].result(), "ok", "making a file in the bind, which is writable");
    Ok(())
}

fn order_shadows(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::create_dir(b.path("tmp/b"))?;
    b.mount("/tmp/b", "tmpfs", "b", &[]).mount("/tmp", "tmpfs", "a", &[]).steps(&[&["stat", "/tmp/b"]]);
    ensure_eq!(ctx.facts(&b)?.str("/stat/result"), "ENOENT", "/tmp/b below the later /tmp");
    Ok(())
}

/// Deprecated, so a warning is in order.
fn relative_destination(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("tmp", "tmpfs", "rel", &[]);
    ensure_eq!(ctx.facts(&b)?.mount("/tmp")?.source, "rel", "source at /tmp");
    Ok(())
}

fn relative_source(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::create_dir(b.dir.join("data"))?;
    fs::write(b.dir.join("data/file"), "from the bundle")?;
    b.mount("/tmp", "bind", "data", &["rbind", "ro"]).steps(&[&["read", "/tmp/file"]]);
    ensure_eq!(ctx.facts(&b)?.str("/text"), "from the bundle", "content");
    Ok(())
}

fn bind_by_option(ctx: &Ctx) -> Verdict {
    for kind in ["none", "bind", "xyz", "tmpfs", ""] {
        let mut b = ctx.bundle()?;
        fs::write(b.dir.join("out/file"), "bound")?;
        let source = b.dir.join("out").to_string_lossy().into_owned();
        b.mount("/tmp", kind, &source, &["bind"]).steps(&[&["read", "/tmp/file"]]);
        ensure_eq!(ctx.facts(&b)?.str("/text"), "bound", "content with type {kind:?}");
    }
    Ok(())
}

fn makes_directory(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/made/by/runtime", "tmpfs", "t", &[]);
    ctx.facts(&b)?.mount("/made/by/runtime").map(drop)
}

fn makes_file(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.dir.join("plain"), "plain file")?;
    b.mount("/made/file", "bind", "plain", &["bind", "ro"]).steps(&[&["read", "/made/file"]]);
    ensure_eq!(ctx.facts(&b)?.str("/text"), "plain file", "content");
    Ok(())
}

fn missing_source(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "bind", "/nowhere/source", &["rbind"]);
    ctx.refuses(&b, &["/nowhere/source"]).map(drop)
}

fn same_twice(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "first", &[]).mount("/tmp", "tmpfs", "second", &[]);
    ensure_eq!(ctx.facts(&b)?.mount("/tmp")?.source, "second", "source at /tmp");
    Ok(())
}

fn many(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", &[]);
    let out = b.dir.join("out").to_string_lossy().into_owned();
    for i in 0..300 {
        b.mount(&format!("/tmp/m{i}"), "bind", &out, &["rbind", "ro"]);
    }
    let mounts = ctx.facts(&b)?.mounts();
    ensure_eq!(mounts.iter().filter(|m| m.target.starts_with("/tmp/m")).count(), 300, "mounts");
    Ok(())
}

fn with_dots(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/../../tmp/./x/../dots", "tmpfs", "d", &[]);
    ctx.facts(&b)?.mount("/tmp/dots").map(drop)
}

fn root_readonly(ctx: &Ctx, readonly: bool) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/root/readonly", json!(readonly)).steps(&[&["create", "/tmp/x", "x"], &["facts"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].result(), if readonly { "EROFS" } else { "ok" }, "creating a file in the root");
    ensure_eq!(steps[1].mount("/")?.own("ro"), readonly, "ro in mountinfo");
    Ok(())
}

fn submounts_writable(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["create", "/dev/shm/x", "x"], &["create", "/dev/y", "y"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!((steps[0].result(), steps[1].result()), ("ok", "ok"), "writing to /dev/shm and /dev");
    Ok(())
}

fn root_absolute(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let path = b.dir.join("rootfs");
    b.set("/root/path", json!(path));
    ctx.facts(&b).map(drop)
}

/// Nothing of the host's tree is to be seen, and nothing of the bundle beside its rootfs.
fn root_content(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["ls", "/"]]);
    let names = ["bin", "dev", "etc", "out", "proc", "run", "sys", "tmp"];
    ensure_eq!(*ctx.facts(&b)?.get("/names"), json!(names), "entries of /");
    Ok(())
}

fn default_filesystems(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    let wanted = [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
    ];
    for (at, kind) in wanted {
        ensure_eq!(facts.mount(at)?.fstype, kind, "type of {at}");
    }
    ensure_eq!(*facts.get("/dev/shm/mode"), json!("1777"), "mode of /dev/shm");
    for option in ["nosuid", "nodev", "noexec", "ro"] {
        ensure!(facts.mount("/sys")?.own(option), "/sys is not {option}");
    }
    Ok(())
}

fn tmpfs_mode(ctx: &Ctx) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    let mut b = ctx.bundle()?;
    fs::set_permissions(b.path("tmp"), fs::Permissions::from_mode(0o1770))?;
    b.mount("/tmp", "tmpfs", "t", &[]).mount("/run", "tmpfs", "t", &["mode=711"]);
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.str("/root/tmp/mode"), "1770", "mode of /tmp");
    ensure_eq!(facts.str("/root/run/mode"), "711", "mode of /run");
    Ok(())
}

fn tmpfs_size(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", &["nosuid", "size=64k", "ro", "rw", "mode=700"]);
    let mount = ctx.facts(&b)?.mount("/tmp")?;
    ensure!(mount.has("size=64k") && mount.has("mode=700"), "options: {:?}", mount.super_options);
    Ok(())
}

fn devpts(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["open", "/dev/ptmx", "rw"], &["ls", "/dev/pts"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].result(), "ok", "opening /dev/ptmx");
    ensure_eq!(*steps[1].get("/names"), json!(["ptmx"]), "entries of /dev/pts");
    Ok(())
}

fn own_proc(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["ls", "/proc"]]);
    let facts = ctx.facts(&b)?;
    let pids = facts.get("/names").as_array().into_iter().flatten();
    let pids: Vec<_> = pids.filter(|n| n.as_str().is_some_and(|n| n.parse::<u32>().is_ok())).collect();
    ensure_eq!(pids, [&json!("1")], "processes in /proc");
    Ok(())
}

fn cgroup_v1(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["facts"], &["read", "/sys/fs/cgroup/pids/cgroup.procs"], &["ls", "/sys/fs/cgroup"]]);
    let steps = ctx.run_steps(&b)?;
    let top = steps[0].mount("/sys/fs/cgroup")?;
    ensure_eq!(top.fstype, "tmpfs", "type of /sys/fs/cgroup");
    for controller in ["memory", "cpu", "pids", "devices", "freezer"] {
        let m = steps[0].mount(&format!("/sys/fs/cgroup/{controller}"))?;
        ensure_eq!(m.fstype, "cgroup", "type of {controller}");
    }
    ensure_eq!(steps[1].str("/text").trim(), "1", "processes in its own pids cgroup");
    Ok(())
}

fn cgroup_v1_readonly(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.caps(&["CAP_DAC_OVERRIDE"]);
    b.steps(&[&["mkdir", "/sys/fs/cgroup/memory/x"]]);
    ensure_eq!(ctx.facts(&b)?.result(), "EROFS", "making a cgroup");
    Ok(())
}

fn cgroup_v2(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["facts"], &["mkdir", "/sys/fs/cgroup/x"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].mount("/sys/fs/cgroup")?.fstype, "cgroup2", "type of /sys/fs/cgroup");
    ensure_eq!(steps[1].result(), "EROFS", "making a directory");
    Ok(())
}

fn cgroup_v2_namespace(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    b.steps(&[&["facts"], &["read", "/sys/fs/cgroup/cgroup.procs"]]);
    let steps = ctx.run_steps(&b)?;
    let mount = steps[0].mount("/sys/fs/cgroup")?;
    ensure_eq!((mount.fstype.as_str(), mount.root.as_str()), ("cgroup2", "/"), "the mount");
    ensure_eq!(steps[1].str("/text").trim(), "1", "processes at the root of its cgroup namespace");
    Ok(())
}

fn idmapped(ctx: &Ctx) -> Verdict {
    use std::os::unix::fs::chown;
    let mut b = ctx.bundle()?;
    fs::create_dir(b.dir.join("data"))?;
    fs::write(b.dir.join("data/file"), "")?;
    chown(b.dir.join("data/file"), Some(0), Some(0))?;
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 1000}]);
    b.set(
        "/mounts/-",
        json!({"destination": "/tmp", "type": "bind", "source": "data", "options": ["bind", "idmap"],
               "uidMappings": map, "gidMappings": map}),
    );
    b.steps(&[&["stat", "/tmp/file"]]);
    super::process::in_effect_or_refused(ctx, &b, "idmap", |f| {
        ensure_eq!(*f.get("/stat/uid"), json!(5000), "owner through the mount");
        Ok(())
    })
}

fn idmap_one_sided(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 1000}]);
    b.set(
        "/mounts/-",
        json!({"destination": "/tmp", "type": "bind", "source": "out", "options": ["bind", "idmap"],
               "uidMappings": map}),
    );
    ctx.fails(&b).map(drop)
}

fn tmpcopyup(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("tmp/file"), "copied up")?;
    b.mount("/tmp", "tmpfs", "t", &["tmpcopyup"]).steps(&[&["facts"], &["read", "/tmp/file"]]);
    b.save()?;
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        return out.refused(&["tmpcopyup", "mounts["]).map(drop);
    }
    let steps = crate::Facts::lines(&out.stdout)?;
    ensure_eq!(steps[0].mount("/tmp")?.fstype, "tmpfs", "type of /tmp");
    ensure_eq!(steps[1].str("/text"), "copied up", "content");
    Ok(())
}

/// A directory of the host which must stay as it is, with one file in it.
fn canary(ctx: &Ctx) -> Result<std::path::PathBuf, Failure> {
    let dir = ctx.scratch().join("canary");
    fs::create_dir(&dir)?;
    fs::write(dir.join("ptmx"), "untouched")?;
    Ok(dir)
}

fn untouched(dir: &std::path::Path) -> Verdict {
    let names: Vec<_> = fs::read_dir(dir)?.flatten().map(|e| e.file_name()).collect();
    ensure_eq!(names, ["ptmx"], "entries of the host's directory");
    ensure_eq!(fs::read_to_string(dir.join("ptmx"))?, "untouched", "the host's file");
    Ok(())
}

fn symlink_inside(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let mut b = ctx.bundle()?;
    symlink(&canary, b.path("link"))?;
    b.mount("/link", "tmpfs", "t", &[]);
    let out = ctx.run(&b)?;
    untouched(&canary)?;
    if out.code() != 0 {
        return out.refused(&["link"]).map(drop);
    }
    // The link's target is taken within the rootfs.
    let mounts = crate::Facts::lines(&out.stdout)?[0].mounts();
    let inside = canary.to_string_lossy().into_owned();
    ensure!(mounts.iter().any(|m| m.target == inside || m.target == "/link"), "the mount is nowhere");
    Ok(())
}

fn relative_symlink_inside(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let mut b = ctx.bundle()?;
    let up = "../".repeat(40);
    symlink(format!("{up}{}", canary.display()), b.path("link"))?;
    b.writable().mount("/link/made", "bind", "out", &["bind"]);
    // Refusing is as good as staying inside.
    ctx.run(&b)?;
    untouched(&canary)
}

fn symlink_in_middle(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let mut b = ctx.bundle()?;
    symlink(&canary, b.path("link"))?;
    b.mount("/link/sub/dir", "tmpfs", "t", &[]);
    ctx.run(&b)?;
    untouched(&canary)
}

/// CVE-2019-16884, CVE-2019-19921 and their kin.
fn symlinked(ctx: &Ctx, name: &str) -> Verdict {
    let b = ctx.bundle()?;
    fs::remove_dir(b.path(name))?;
    fs::create_dir(b.path("bad"))?;
    symlink("/bad", b.path(name))?;
    ctx.fails(&b).map(drop)
}

fn inside_proc(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/proc/self", "bind", "out", &["bind"]);
    ctx.refuses(&b, &["inside proc", "inside /proc", "/proc"]).map(drop)
}

fn inside_proc_attr(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/proc/self/attr", "tmpfs", "t", &[]);
    ctx.refuses(&b, &["/proc"]).map(drop)
}

/// What lxcfs does is allowed.
fn inside_proc_allowed(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.dir.join("uptime"), "1.00 1.00\n")?;
    b.mount("/proc/uptime", "bind", "uptime", &["bind", "ro"]).steps(&[&["read", "/proc/uptime"]]);
    ensure_eq!(ctx.facts(&b)?.str("/text"), "1.00 1.00\n", "/proc/uptime");
    Ok(())
}

fn directory_over_proc(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/proc", "bind", "out", &["bind"]);
    ctx.fails(&b).map(drop)
}

fn on_root(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/", "tmpfs", "t", &[]);
    ctx.fails(&b).map(drop)
}

/// CVE-2026-47766, CVE-2026-41579: with no mount at /dev, its links and nodes went to the host.
fn dev_is_symlink(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let relative = format!("{}{}", "../".repeat(30), canary.display());
    for target in [canary.to_string_lossy().into_owned(), relative] {
        let mut b = ctx.bundle()?;
        fs::remove_dir(b.path("dev"))?;
        symlink(&target, b.path("dev"))?;
        if let Some(mounts) = b.config["mounts"].as_array_mut() {
            mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
        }
        ctx.run(&b)?;
        untouched(&canary)?;
    }
    Ok(())
}

fn unknown_type(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "nosuchfs", "x", &[]);
    ctx.refuses(&b, &["tmp"]).map(drop)
}

fn bad_data(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "x", &["bogus=1"]);
    ctx.refuses(&b, &["/tmp", "invalid argument"]).map(drop)
}
