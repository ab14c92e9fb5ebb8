//! The table of mount options: one case for each row.

use crate::failure::Verdict;
use crate::mountinfo::{self, Mount};
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use std::fs;

/// Clause, options given to a tmpfs, words that must and words that must not be in its mountinfo line.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const TMPFS: &[Row] = &[
    ("MOPT-01", &["sync", "async"], &[], &["sync"]),
    ("MOPT-02", &["noatime", "atime"], &[], &["noatime"]),
    ("MOPT-04", &["defaults"], &["rw"], &["defaults"]),
    ("MOPT-05", &["nodev", "dev"], &[], &["nodev"]),
    ("MOPT-06", &["nodiratime", "diratime"], &[], &["nodiratime"]),
    ("MOPT-07", &["dirsync"], &["dirsync"], &[]),
    ("MOPT-09", &["iversion"], &["rw"], &[]),
    ("MOPT-08", &["noexec", "exec"], &[], &["noexec"]),
    ("MOPT-10", &["lazytime"], &["lazytime"], &[]),
    ("MOPT-11", &["loud"], &["rw"], &["loud"]),
    ("MOPT-12", &["mand"], &["rw"], &[]),
    ("MOPT-13", &["noatime"], &["noatime"], &["relatime"]),
    ("MOPT-14", &["nodev"], &["nodev"], &[]),
    ("MOPT-15", &["nodiratime"], &["nodiratime"], &[]),
    ("MOPT-16", &["noexec"], &["noexec"], &[]),
    ("MOPT-17", &["noiversion"], &["rw"], &[]),
    ("MOPT-18", &["lazytime", "nolazytime"], &[], &["lazytime"]),
    ("MOPT-19", &["mand", "nomand"], &["rw"], &["mand"]),
    ("MOPT-20", &["norelatime"], &["rw"], &["norelatime"]),
    ("MOPT-21", &["strictatime", "nostrictatime"], &["relatime"], &[]),
    ("MOPT-22", &["nosuid"], &["nosuid"], &[]),
    ("MOPT-23", &["nosymfollow"], &["nosymfollow"], &[]),
    ("MOPT-29", &["relatime"], &["relatime"], &["noatime"]),
    ("MOPT-39", &["ro"], &["ro"], &["rw"]),
    ("MOPT-50", &["ro", "rw"], &["rw"], &["ro"]),
    ("MOPT-52", &["silent"], &["rw"], &["silent"]),
    ("MOPT-54", &["strictatime"], &[], &["relatime", "noatime"]),
    ("MOPT-55", &["nosuid", "suid"], &[], &["nosuid"]),
    ("MOPT-56", &["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
    ("MOPT-57", &["sync"], &["sync"], &[]),
    ("MOPT-68", &["rw", "ro"], &["ro"], &["rw"]),
];

/// The same for a bind mount.
const BIND: &[Row] = &[
    ("MOPT-39", &["ro"], &["ro"], &["rw"]),
    ("MOPT-50", &["rw"], &["rw"], &["ro"]),
    ("MOPT-14", &["nodev"], &["nodev"], &[]),
    ("MOPT-16", &["noexec"], &["noexec"], &[]),
    ("MOPT-22", &["nosuid"], &["nosuid"], &[]),
    ("MOPT-13", &["noatime"], &["noatime"], &[]),
    ("MOPT-15", &["nodiratime"], &["nodiratime"], &[]),
    ("MOPT-23", &["nosymfollow"], &["nosymfollow"], &[]),
    ("MOPT-68", &["ro", "nosuid", "noexec", "nodev"], &["ro", "nosuid", "noexec", "nodev"], &[]),
];

/// Recursive options on a mount whose sub-mount starts without (`+`) or with (`-`) all flags.
const RECURSIVE: &[(&str, &str, char, &str)] = &[
    ("MOPT-25", "ratime", '-', "noatime"),
    ("MOPT-27", "rdev", '-', "nodev"),
    ("MOPT-28", "rdiratime", '-', "nodiratime"),
    ("MOPT-31", "rexec", '-', "noexec"),
    ("MOPT-32", "rnoatime", '+', "noatime"),
    ("MOPT-33", "rnodiratime", '+', "nodiratime"),
    ("MOPT-34", "rnoexec", '+', "noexec"),
    ("MOPT-37", "rnosuid", '+', "nosuid"),
    ("MOPT-38", "rnosymfollow", '+', "nosymfollow"),
    ("MOPT-35", "rnorelatime", '+', "relatime"),
    ("MOPT-36", "rnostrictatime", '+', "relatime"),
    ("MOPT-41", "rrelatime", '+', "relatime"),
    ("MOPT-42", "rro", '+', "ro"),
    ("MOPT-43", "rrw", '-', "ro"),
    ("MOPT-46", "rstrictatime", '-', "noatime"),
    ("MOPT-47", "rsuid", '-', "nosuid"),
    ("MOPT-48", "rsymfollow", '-', "nosymfollow"),
    ("MOPT-67", "rnodev", '+', "nodev"),
];

/// Propagation options and the optional fields that they leave, on a bind of a shared mount: shared, slave,
/// unbindable. The container's copy of the mount is a slave of the host's to begin with.
const PROPAGATION: &[(&str, &str, bool, bool, bool)] = &[
    ("MOPT-24", "private", false, false, false),
    ("MOPT-40", "rprivate", false, false, false),
    ("MOPT-51", "shared", true, true, false),
    ("MOPT-44", "rshared", true, true, false),
    ("MOPT-53", "slave", false, true, false),
    ("MOPT-45", "rslave", false, true, false),
    ("MOPT-59", "unbindable", false, false, true),
    ("MOPT-49", "runbindable", false, false, true),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in TMPFS {
        let name = format!("mount-option/tmpfs-{}", row.1.join("-"));
        cases.push(Case::new(name, std::slice::from_ref(&row.0), move |ctx| tmpfs(ctx, row)));
    }
    for row in BIND {
        let name = format!("mount-option/bind-{}", row.1.join("-"));
        cases.push(Case::new(name, std::slice::from_ref(&row.0), move |ctx| bind(ctx, row)));
    }
    for row in RECURSIVE {
        let name = format!("mount-option/{}", row.1);
        let case =
            Case::new(name, std::slice::from_ref(&row.0), move |ctx| recursive(ctx, row.1, row.2, row.3));
        cases.push(case.should().needs(&[Need::Kernel(5, 14)]));
    }
    for row in PROPAGATION {
        let name = format!("mount-option/{}", row.1);
        let want = (row.2, row.3, row.4);
        cases.push(Case::new(name, std::slice::from_ref(&row.0), move |ctx| propagation(ctx, row.1, want)));
    }
    cases.extend(behaviours());
    cases
}

fn behaviours() -> Vec<Case> {
    vec![
        Case::new("mount-option/bind-is-not-recursive", &["MOPT-03"], |ctx| {
            submount_visible(ctx, "bind", false)
        }),
        Case::new("mount-option/rbind-is-recursive", &["MOPT-26"], |ctx| {
            submount_visible(ctx, "rbind", true)
        }),
        Case::new("mount-option/rbind-ro-submount-stays-rw", &["MOPT-39"], rbind_ro),
        Case::new("mount-option/ro-takes-effect", &["MOPT-39"], |ctx| {
            effect(ctx, &["ro"], &["write", "/tmp/file", "x"], "EROFS")
        }),
        Case::new("mount-option/noexec-takes-effect", &["MOPT-16"], |ctx| {
            effect(ctx, &["noexec"], &["exec", "/tmp/prog"], "EACCES")
        }),
        Case::new("mount-option/exec-by-default", &["MOPT-08"], |ctx| {
            effect(ctx, &[], &["exec", "/tmp/prog"], "ok")
        }),
        Case::new("mount-option/nodev-takes-effect", &["MOPT-14"], |ctx| {
            effect(ctx, &["nodev"], &["open", "/tmp/null", "r"], "EACCES")
        }),
        Case::new("mount-option/dev-takes-effect", &["MOPT-05"], |ctx| {
            effect(ctx, &["dev"], &["open", "/tmp/null", "r"], "ok")
        }),
        Case::new("mount-option/nosymfollow-takes-effect", &["MOPT-23"], |ctx| {
            effect(ctx, &["nosymfollow"], &["read", "/tmp/link"], "ELOOP")
        })
        .should(),
        Case::new("mount-option/strictatime-takes-effect", &["MOPT-54"], strictatime),
        Case::new("mount-option/remount", &["MOPT-30"], remount),
        Case::new("mount-option/bind-keeps-source-flags", &["MNT-13"], keeps_flags).practice(),
        Case::new("mount-option/host-mount-reaches-slave", &["MOPT-45"], host_mount_reaches_slave),
    ]
}

fn expect(mount: &Mount, row: &Row) -> Verdict {
    for word in row.2 {
        let there = if *word == "ro" || *word == "rw" { mount.own(word) } else { mount.has(word) };
        ensure!(there, "{word} is missing from {:?} {:?}", mount.options, mount.super_options);
    }
    for word in row.3 {
        let there = if *word == "ro" || *word == "rw" { mount.own(word) } else { mount.has(word) };
        ensure!(!there, "{word} is in {:?} {:?}", mount.options, mount.super_options);
    }
    Ok(())
}

fn tmpfs(ctx: &Ctx, row: &Row) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", row.1);
    expect(&ctx.facts(&b)?.mount("/tmp")?, row)
}

fn bind(ctx: &Ctx, row: &Row) -> Verdict {
    let mut b = ctx.bundle()?;
    let mut options = vec!["rbind"];
    options.extend_from_slice(row.1);
    b.mount("/tmp", "bind", "out", &options);
    expect(&ctx.facts(&b)?.mount("/tmp")?, row)
}

/// A bundle with a mount tree to bind: `tree` and `tree/sub` are tmpfs mounts with these flags.
fn tree(ctx: &Ctx, flags: u64) -> Result<crate::Bundle, Failure> {
    ctx.change_mounts();
    let b = ctx.bundle()?;
    let top = b.dir.join("tree");
    fs::create_dir(&top)?;
    crate::sys::mount("top", &top, "tmpfs", 0, "")?;
    fs::create_dir(top.join("sub"))?;
    crate::sys::mount("sub", &top.join("sub"), "tmpfs", flags, "")?;
    Ok(b)
}

const EVERY_FLAG: u64 = libc::MS_RDONLY
    | libc::MS_NOSUID
    | libc::MS_NODEV
    | libc::MS_NOEXEC
    | libc::MS_NOATIME
    | libc::MS_NODIRATIME
    | MS_NOSYMFOLLOW;
const MS_NOSYMFOLLOW: u64 = 256;

fn recursive(ctx: &Ctx, option: &str, start: char, word: &str) -> Verdict {
    let flags = match (start, option) {
        ('-', _) => EVERY_FLAG,
        (_, "rrelatime") => libc::MS_NOATIME,
        (_, "rnostrictatime") => libc::MS_STRICTATIME,
        _ => 0,
    };
    let mut b = tree(ctx, flags)?;
    b.mount("/tmp", "bind", "tree", &["rbind", option]);
    let facts = ctx.facts(&b)?;
    for at in ["/tmp", "/tmp/sub"] {
        let mount = facts.mount(at)?;
        ensure_eq!(mount.own(word), start == '+', "{word} at {at} ({:?})", mount.options);
    }
    Ok(())
}

fn propagation(ctx: &Ctx, option: &str, (shared, slave, unbindable): (bool, bool, bool)) -> Verdict {
    let mut b = tree(ctx, 0)?;
    crate::sys::mount("none", &b.dir.join("tree"), "", libc::MS_REC | libc::MS_SHARED, "")?;
    b.mount("/tmp", "bind", "tree", &["rbind", option]);
    let facts = ctx.facts(&b)?;
    let mount = facts.mount("/tmp")?;
    let has = |prefix: &str| mount.propagation.iter().any(|p| p.starts_with(prefix));
    let got = (has("shared:"), has("master:"), has("unbindable"));
    ensure_eq!(got, (shared, slave, unbindable), "shared, slave, unbindable ({:?})", mount.propagation);
    Ok(())
}

fn submount_visible(ctx: &Ctx, option: &str, visible: bool) -> Verdict {
    let mut b = tree(ctx, 0)?;
    b.mount("/tmp", "bind", "tree", &[option]);
    let mounts = ctx.facts(&b)?.mounts();
    ensure_eq!(mountinfo::at(&mounts, "/tmp/sub").is_some(), visible, "the sub-mount is there");
    Ok(())
}

fn rbind_ro(ctx: &Ctx) -> Verdict {
    let mut b = tree(ctx, 0)?;
    b.mount("/tmp", "bind", "tree", &["rbind", "ro"]);
    b.steps(&[&["create", "/tmp/x", "x"], &["create", "/tmp/sub/x", "x"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(
        (steps[0].result(), steps[1].result()),
        ("EROFS", "ok"),
        "writing to the mount and its sub-mount"
    );
    Ok(())
}

/// A bind of a directory with a file, a program, a device node and a link, and what a step does with them.
fn effect(ctx: &Ctx, options: &[&str], step: &[&str], want: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    let data = b.dir.join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("file"), "text")?;
    fs::copy(ctx.probe(), data.join("prog"))?;
    std::os::unix::fs::symlink("file", data.join("link"))?;
    ctx.program(std::path::Path::new("/bin/mknod")).arg(data.join("null")).args(["c", "1", "3"]).ok()?;
    let mut all = vec!["bind"];
    all.extend_from_slice(options);
    b.mount("/tmp", "bind", "data", &all).steps(&[step]);
    ensure_eq!(ctx.facts(&b)?.result(), want, "{step:?}");
    Ok(())
}

fn strictatime(ctx: &Ctx) -> Verdict {
    for (option, moved) in [("strictatime", true), ("noatime", false)] {
        let mut b = ctx.bundle()?;
        b.mount("/tmp", "tmpfs", "t", &[option]);
        b.steps(&[&["create", "/tmp/f", "x"], &["access-time", "/tmp/f"], &["access-time", "/tmp/f"]]);
        let steps = ctx.run_steps(&b)?;
        ensure_eq!(*steps[2].get("/moved"), serde_json::json!(moved), "access time moved with {option}");
    }
    Ok(())
}

fn remount(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", &["rw"]).mount("/tmp", "tmpfs", "t", &["remount", "ro", "nosuid"]);
    let mounts = ctx.facts(&b)?.mounts();
    let at: Vec<_> = mounts.iter().filter(|m| m.target == "/tmp").collect();
    ensure_eq!(at.len(), 1, "mounts at /tmp");
    ensure!(at[0].has("ro"), "options: {:?} {:?}", at[0].options, at[0].super_options);
    Ok(())
}

/// A bind with `ro` must not lose the nosuid that its source already has.
fn keeps_flags(ctx: &Ctx) -> Verdict {
    let mut b = tree(ctx, libc::MS_NOSUID | libc::MS_NODEV)?;
    b.mount("/tmp", "bind", "tree/sub", &["bind"]);
    let mount = ctx.facts(&b)?.mount("/tmp")?;
    ensure!(mount.own("nosuid") && mount.own("nodev"), "options: {:?}", mount.options);
    Ok(())
}

fn host_mount_reaches_slave(ctx: &Ctx) -> Verdict {
    let mut b = tree(ctx, 0)?;
    let top = b.dir.join("tree");
    crate::sys::mount("none", &top, "", libc::MS_SHARED, "")?;
    fs::create_dir(top.join("later"))?;
    b.mount("/tmp", "bind", "tree", &["rbind", "rslave"]);
    b.steps(&[&["say", "ready"], &["wait-file", "/tmp/later/marker"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    crate::sys::mount("later", &top.join("later"), "tmpfs", 0, "")?;
    fs::write(top.join("later/marker"), "")?;
    ensure_eq!(c.lines(2)?[1].result(), "ok", "the host's later mount seen inside");
    Ok(())
}
