//! Device nodes, the links in /dev, masked and read-only paths, propagation of the root.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, ensure, ensure_eq};
use serde_json::json;
use std::fs;

/// Default devices and their numbers.
const DEVICES: [(&str, &str, &str); 6] = [
    ("DEV-09", "null", "1:3"),
    ("DEV-10", "zero", "1:5"),
    ("DEV-11", "full", "1:7"),
    ("DEV-12", "random", "1:8"),
    ("DEV-13", "urandom", "1:9"),
    ("DEV-14", "tty", "5:0"),
];

const LINKS: [(&str, &str, &str); 5] = [
    ("LNX-04", "fd", "/proc/self/fd"),
    ("LNX-05", "stdin", "/proc/self/fd/0"),
    ("LNX-06", "stdout", "/proc/self/fd/1"),
    ("LNX-07", "stderr", "/proc/self/fd/2"),
    ("DEV-16", "ptmx", "pts/ptmx"),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (clause, name, numbers) in &DEVICES {
        cases.push(Case::new(format!("device/default-{name}"), std::slice::from_ref(clause), move |ctx| {
            let facts = ctx.facts(&ctx.bundle()?)?;
            let node = &facts.0["dev"][*name];
            ensure_eq!(node["rdev"], json!(numbers), "/dev/{name} ({node})");
            ensure_eq!(node["kind"], json!("char"), "kind of /dev/{name}");
            ensure_eq!(node["mode"], json!("666"), "mode of /dev/{name}");
            Ok(())
        }));
    }
    for (clause, name, target) in &LINKS {
        cases.push(Case::new(format!("device/link-{name}"), std::slice::from_ref(clause), move |ctx| {
            let facts = ctx.facts(&ctx.bundle()?)?;
            ensure_eq!(facts.0["dev"][*name]["target"], json!(target), "/dev/{name}");
            Ok(())
        }));
    }
    cases.extend(listed());
    cases.extend(paths());
    cases.extend(root_propagation());
    cases
}

fn listed() -> Vec<Case> {
    vec![
        Case::new("device/link-core", &["LNX-08"], |ctx| {
            let facts = ctx.facts(&ctx.bundle()?)?;
            ensure_eq!(facts.0["dev"]["core"]["target"], json!("/proc/kcore"), "/dev/core");
            Ok(())
        })
        .practice()
        .needs(&[Need::File("/proc/kcore")]),
        Case::new("device/nothing-else", &["DEV-17"], nothing_else),
        Case::new("device/listed-char", &["DEV-01", "DEV-02", "DEV-06", "DEV-07"], listed_char),
        Case::new("device/listed-kinds", &["DEV-02"], listed_kinds),
        Case::new("device/outside-dev", &["DEV-03"], outside_dev),
        Case::new("device/default-mode", &["DEV-06"], default_mode).practice(),
        Case::new("device/numbers-missing", &["DEV-05"], numbers_missing),
        Case::new("device/replaces-default", &["DEV-19"], replaces_default).practice(),
        Case::new("device/existing-file-of-other-kind", &["DEV-04"], existing_mismatch),
        Case::new("device/dev-is-bind-mount", &["DEV-20"], dev_is_bind).practice(),
        Case::new("device/same-twice", &["DEV-08"], same_twice).should(),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        Case::new("masked/file", &["MASK-01"], masked_file),
        Case::new("masked/directory", &["MASK-01"], masked_directory),
        Case::new("masked/missing-is-skipped", &["MASK-03"], masked_missing).practice(),
        Case::new("masked/exec-too", &["MASK-04"], masked_exec).practice(),
        Case::new("masked/dev-null-is-symlink", &["MASK-03"], masked_dev_null_symlink).practice(),
        Case::new("readonly-path/file-and-directory", &["RO-01"], readonly_paths),
        Case::new("readonly-path/keeps-flags", &["RO-01"], readonly_keeps_flags),
        Case::new("readonly-path/missing-is-skipped", &["RO-03"], readonly_missing).practice(),
        Case::new("readonly-path/is-mount", &["RO-01"], readonly_is_mount),
    ]
}

fn root_propagation() -> Vec<Case> {
    let rows: [(&str, &[&str], &str, &str); 4] = [
        ("shared", &["PROP-01"], "shared:", ""),
        ("slave", &["PROP-02"], "", "shared:"),
        ("private", &["PROP-03"], "", "shared:"),
        ("unbindable", &["PROP-04"], "unbindable", "shared:"),
    ];
    let mut cases = Vec::new();
    for (value, clauses, want, unwanted) in rows {
        cases.push(Case::new(format!("propagation/{value}"), clauses, move |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/rootfsPropagation", json!(value));
            let root = ctx.facts(&b)?.mount("/")?;
            let has = |w: &str| root.propagation.iter().any(|p| p.starts_with(w));
            ensure!(want.is_empty() || has(want), "{want} is missing: {:?}", root.propagation);
            ensure!(unwanted.is_empty() || !has(unwanted), "{unwanted} is there: {:?}", root.propagation);
            Ok(())
        }));
    }
    cases.push(Case::new("propagation/nothing-reaches-shared-host", &["PROP-06"], shared_host).practice());
    cases.push(Case::new("propagation/host-mount-reaches-slave-root", &["PROP-02"], slave_root));
    cases
}

fn nothing_else(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    let names: Vec<&String> = facts.0["dev"].as_object().into_iter().flat_map(|m| m.keys()).collect();
    let allowed = [
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    for name in names {
        ensure!(allowed.contains(&name.as_str()), "/dev/{name} is neither listed nor a default");
    }
    Ok(())
}

fn listed_char(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/devices",
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
                "uid": 7, "gid": 8}]),
    );
    let node = ctx.facts(&b)?.0["dev"]["fuse"].clone();
    let got = (&node["kind"], &node["rdev"], &node["mode"], &node["uid"], &node["gid"]);
    ensure_eq!(got, (&json!("char"), &json!("10:229"), &json!("640"), &json!(7), &json!(8)), "/dev/fuse");
    Ok(())
}

fn listed_kinds(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/devices",
        json!([{"path": "/dev/b", "type": "b", "major": 7, "minor": 0, "fileMode": 384},
               {"path": "/dev/u", "type": "u", "major": 1, "minor": 3, "fileMode": 384},
               {"path": "/dev/p", "type": "p", "fileMode": 384}]),
    );
    let facts = ctx.facts(&b)?;
    for (name, kind) in [("b", "block"), ("u", "char"), ("p", "fifo")] {
        ensure_eq!(facts.0["dev"][name]["kind"], json!(kind), "kind of /dev/{name}");
    }
    Ok(())
}

fn outside_dev(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/devices",
        json!([{"path": "/opt/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]),
    );
    b.steps(&[&["stat", "/opt/deep/null"]]);
    ensure_eq!(*ctx.facts(&b)?.get("/stat/rdev"), json!("1:3"), "/opt/deep/null");
    Ok(())
}

fn default_mode(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]));
    ensure_eq!(ctx.facts(&b)?.0["dev"]["x"]["mode"], json!("666"), "mode of /dev/x");
    Ok(())
}

fn numbers_missing(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/devices", json!([{"path": "/dev/x", "type": "c"}]));
    ctx.fails(&b).map(drop)
}

fn replaces_default(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let device = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 384});
    b.set("/linux/devices", json!([device]));
    // A listed device is no longer one of the defaults that are always allowed.
    let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
    b.set("/linux/resources/devices/-", rule);
    ensure_eq!(ctx.facts(&b)?.0["dev"]["null"]["mode"], json!("600"), "mode of /dev/null");
    Ok(())
}

fn existing_mismatch(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/node"), "a file")?;
    b.set("/linux/devices", json!([{"path": "/etc/node", "type": "c", "major": 1, "minor": 3}]));
    ctx.fails(&b).map(drop)
}

fn dev_is_bind(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    if let Some(mounts) = b.config["mounts"].as_array_mut() {
        mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
    }
    fs::create_dir(b.dir.join("mydev"))?;
    ctx.program(std::path::Path::new("/bin/mknod"))
        .arg(b.dir.join("mydev/null"))
        .args(["c", "1", "3"])
        .ok()?;
    b.mount("/dev", "bind", "mydev", &["rbind"]);
    ctx.facts(&b)?;
    let names: Vec<_> = fs::read_dir(b.dir.join("mydev"))?.flatten().map(|e| e.file_name()).collect();
    ensure_eq!(names, ["null"], "entries of the bound directory");
    Ok(())
}

fn same_twice(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438});
    let mut other = device.clone();
    other["path"] = json!("/dev/y");
    b.set("/linux/devices", json!([device, other]));
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.0["dev"]["x"]["rdev"], facts.0["dev"]["y"]["rdev"], "device numbers");
    Ok(())
}

fn masked_file(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/secret"), "secret")?;
    b.set("/linux/maskedPaths", json!(["/etc/secret", "/proc/kcore", "/etc/secret"]));
    b.steps(&[
        &["read", "/etc/secret"],
        &["stat", "/etc/secret"],
        &["write", "/etc/secret", "x"],
        &["facts"],
    ]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].str("/text"), "", "content of a masked file");
    ensure_eq!(*steps[1].get("/stat/rdev"), json!("1:3"), "what is there instead");
    ensure_eq!(steps[3].mount("/etc/secret")?.fstype.contains("tmpfs"), true, "filesystem of the mask");
    Ok(())
}

fn masked_directory(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/secret"), "secret")?;
    b.writable().set("/linux/maskedPaths", json!(["/etc"]));
    b.steps(&[&["ls", "/etc"], &["create", "/etc/x", "x"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(*steps[0].get("/names"), json!([]), "entries of a masked directory");
    ensure_eq!(steps[1].result(), "EROFS", "writing to a masked directory");
    Ok(())
}

fn masked_missing(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/maskedPaths", json!(["/nowhere/at/all", "/etc/plain/below"]));
    ctx.facts(&b).map(drop)
}

fn masked_exec(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/secret"), "secret")?;
    b.set("/linux/maskedPaths", json!(["/etc/secret"])).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let out = c.exec(&[], &[&["read", "/etc/secret"]]).ok()?;
    ensure_eq!(crate::Facts::lines(&out.stdout)?[0].str("/text"), "", "content of a masked file");
    Ok(())
}

/// CVE-2025-31133: without a mount at /dev, the image decides what /dev/null is.
fn masked_dev_null_symlink(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    if let Some(mounts) = b.config["mounts"].as_array_mut() {
        mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
    }
    fs::write(b.path("etc/precious"), "precious")?;
    fs::write(b.path("etc/secret"), "secret")?;
    std::os::unix::fs::symlink("/etc/precious", b.path("dev/null"))?;
    b.writable().set("/linux/maskedPaths", json!(["/etc/secret"])).steps(&[&["stat", "/etc/secret"]]);
    let out = ctx.run(&b)?;
    if out.code() == 0 {
        let steps = crate::Facts::lines(&out.stdout)?;
        let rdev = steps.first().map(|f| f.str("/stat/rdev").to_owned());
        ensure_eq!(rdev.as_deref(), Some("1:3"), "what masks the file");
    }
    Ok(())
}

fn readonly_paths(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/file"), "x")?;
    b.writable().set("/linux/readonlyPaths", json!(["/etc/file", "/tmp", "/proc/sys"]));
    b.steps(&[
        &["write", "/etc/file", "y"],
        &["create", "/tmp/x", "x"],
        &["write", "/proc/sys/kernel/hostname", "x"],
        &["create", "/etc/other", "x"],
        &["read", "/etc/file"],
    ]);
    let steps = ctx.run_steps(&b)?;
    let results: Vec<&str> = steps.iter().map(|s| s.result()).collect();
    ensure_eq!(results, ["EROFS", "EROFS", "EROFS", "ok", "ok"], "what the steps got");
    Ok(())
}

fn readonly_keeps_flags(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", &["nosuid", "nodev", "noexec"])
        .set("/linux/readonlyPaths", json!(["/tmp"]));
    let mount = ctx.facts(&b)?.mount("/tmp")?;
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        ensure!(mount.own(flag), "{flag} is missing from {:?}", mount.options);
    }
    Ok(())
}

fn readonly_missing(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/readonlyPaths", json!(["/nowhere/at/all"]));
    ctx.facts(&b).map(drop)
}

fn readonly_is_mount(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    let mount = facts.mount("/proc/sys")?;
    ensure!(mount.own("ro"), "/proc/sys is not read-only: {:?}", mount.options);
    Ok(())
}

/// As systemd makes it: everything on the host is shared.
fn shared_host(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    crate::sys::mount("none", std::path::Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "")?;
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    for value in ["", "shared", "slave", "private"] {
        let mut b = ctx.bundle()?;
        if !value.is_empty() {
            b.set("/linux/rootfsPropagation", json!(value));
        }
        b.steps(&[&["sleep"]]);
        let c = ctx.start(&b)?;
        let during = fs::read_to_string("/proc/self/mountinfo")?;
        ensure_eq!(during.lines().count(), before.lines().count(), "mounts on the host with {value:?}");
        c.delete_force()?;
    }
    ensure_eq!(fs::read_to_string("/proc/self/mountinfo")?, before, "mounts on the host");
    Ok(())
}

fn slave_root(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    crate::sys::mount("none", std::path::Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "")?;
    let mut b = ctx.bundle()?;
    b.set("/linux/rootfsPropagation", json!("rslave"));
    b.steps(&[&["say", "ready"], &["wait-file", "/tmp/marker"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    crate::sys::mount("later", &b.path("tmp"), "tmpfs", 0, "")?;
    fs::write(b.path("tmp/marker"), "")?;
    let seen = c.lines(2)?[1].result().to_owned();
    crate::sys::detach(&b.path("tmp"))?;
    ensure_eq!(seen, "ok", "the host's later mount seen inside");
    Ok(())
}
