//! Bad input: one line that names the thing, exit code 1, nothing left behind.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Ctx, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("input/no-config", &["GEN-09"], no_config),
        Case::new("input/no-bundle", &["OPS-03"], no_bundle),
        Case::new("input/broken-json", &["GEN-01"], broken_json),
        Case::new("input/truncated-json", &["GEN-01"], truncated_json),
        Case::new("input/empty-config", &["GEN-01"], |ctx| raw(ctx, b"")),
        Case::new("input/invalid-utf8", &["GEN-01"], invalid_utf8),
        Case::new("input/duplicate-member", &["GEN-02"], duplicate_member),
        Case::new("input/unknown-members", &["GEN-04"], unknown_members),
        Case::new("input/null-members", &["GEN-11"], null_members).practice(),
        Case::new("input/member-order", &["GEN-03"], member_order),
        Case::new("input/other-platforms", &["GEN-12", "PROC-18"], other_platforms).practice(),
        Case::new("input/missing-rootfs", &["GEN-10", "ROOT-04"], missing_rootfs),
        Case::new("input/rootfs-is-file", &["ROOT-04"], rootfs_is_file),
        Case::new("input/unknown-program", &["PROC-12"], unknown_program).practice(),
        Case::new("input/unknown-program-in-path", &["PROC-12"], unknown_program_in_path).practice(),
        Case::new("input/program-not-executable", &["PROC-12"], not_executable).practice(),
        Case::new("input/program-is-directory", &["PROC-12"], program_is_directory).practice(),
        Case::new("input/huge-config", &["GEN-01"], huge_config).practice(),
        Case::new("input/state-root-is-file", &["LIF-13"], state_root_is_file).practice(),
        Case::new("input/failed-create-leaves-nothing", &["LIF-13", "LIF-01", "OPS-06"], failed_mount),
        Case::new("input/id-reusable-after-failure", &["LIF-13"], id_after_failure),
    ];
    cases.extend(wrong_values());
    cases.extend(wrong_ids());
    cases.extend(versions());
    cases
}

/// A pointer, a value that is wrong there, and words one of which the message must contain.
type Wrong = (&'static str, &'static str, Value, &'static [&'static str]);

fn wrong_values() -> Vec<Case> {
    let mut cases = Vec::new();
    let musts: Vec<(Wrong, &'static [&'static str])> = vec![
        (
            (
                "type-three-levels-deep",
                "/linux/resources/memory",
                json!({"limit": "64m"}),
                &["limit", "memory"],
            ),
            &["GEN-05"],
        ),
        (("type-in-list", "/mounts/0/destination", json!(7), &["destination"]), &["GEN-05"]),
        (("type-of-args", "/process/args", json!("sh"), &["args"]), &["GEN-05"]),
        (("type-of-uid", "/process/user/uid", json!("root"), &["uid"]), &["GEN-05"]),
        (
            ("uid-above-u32", "/process/user/uid", json!(4_294_967_296u64), &["uid", "4294967296"]),
            &["GEN-05", "PROC-14"],
        ),
        (("array-for-root", "/root", json!(["rootfs", false]), &["root"]), &["GEN-05"]),
        (("array-for-user", "/process/user", json!([0, 0]), &["user"]), &["GEN-05"]),
        (("array-for-capabilities", "/process/capabilities", json!([]), &["capabilities"]), &["GEN-05"]),
        (
            ("array-for-mount", "/mounts/0", json!(["/proc", "proc", "proc"]), &["mounts", "Mount"]),
            &["GEN-05"],
        ),
        (("array-for-memory", "/linux/resources/memory", json!([]), &["memory"]), &["GEN-05"]),
        (("type-of-namespaces", "/linux/namespaces", json!({"type": "pid"}), &["namespaces"]), &["GEN-05"]),
        (("namespace-unknown", "/linux/namespaces/-", json!({"type": "foo"}), &["foo"]), &["NS-08"]),
        (
            ("namespace-duplicate", "/linux/namespaces/-", json!({"type": "pid"}), &["duplicate", "pid"]),
            &["NS-07"],
        ),
        (
            (
                "namespace-path-relative",
                "/linux/namespaces/1/path",
                json!("proc/self/ns/net"),
                &["path", "proc/self"],
            ),
            &["NS-04"],
        ),
        (("rlimit-unknown", "/process/rlimits/0/type", json!("RLIMIT_FOO"), &["RLIMIT_FOO"]), &["RLIM-01"]),
        (("cwd-relative", "/process/cwd", json!("tmp"), &["cwd"]), &["PROC-07"]),
        (("cwd-empty", "/process/cwd", json!(""), &["cwd"]), &["PROC-07"]),
        (("args-empty", "/process/args", json!([]), &["args"]), &["PROC-11"]),
        (
            ("propagation-unknown", "/linux/rootfsPropagation", json!("foo"), &["foo", "propagation"]),
            &["PROP-05"],
        ),
        (
            ("seccomp-action", "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_FOO"}), &["SCMP_ACT_FOO"]),
            &["SEC-02"],
        ),
        (
            ("hook-relative", "/hooks", json!({"prestart": [{"path": "bin/true"}]}), &["path", "bin/true"]),
            &["HK-02"],
        ),
        (
            (
                "hook-timeout-zero",
                "/hooks",
                json!({"poststop": [{"path": "/bin/true", "timeout": 0}]}),
                &["timeout"],
            ),
            &["HK-05"],
        ),
        (
            ("sysctl-not-namespaced", "/linux/sysctl", json!({"vm.swappiness": "10"}), &["vm.swappiness"]),
            &["SYS-02"],
        ),
        (("annotation-not-string", "/annotations", json!({"a": 1}), &["annotations"]), &["ANN-01"]),
        (
            (
                "mount-without-destination",
                "/mounts/-",
                json!({"type": "tmpfs", "source": "x"}),
                &["destination"],
            ),
            &["MNT-04"],
        ),
        (("root-missing", "/root", Value::Null, &["root"]), &["ROOT-01"]),
        (("oci-version-missing", "/ociVersion", Value::Null, &["ociVersion"]), &["GEN-06"]),
        (("oci-version-short", "/ociVersion", json!("1"), &["ociVersion"]), &["GEN-06"]),
        (("hook-without-path", "/hooks", json!({"prestart": [{"args": ["x"]}]}), &["path"]), &["HK-02"]),
        (("oci-version-garbage", "/ociVersion", json!("abc"), &["ociVersion", "version"]), &["GEN-06"]),
        (
            (
                "device-type",
                "/linux/devices",
                json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
                &["q", "type"],
            ),
            &["DEV-02"],
        ),
        (
            (
                "mapping-without-user-namespace",
                "/linux/uidMappings",
                json!([{"containerID": 0, "hostID": 0, "size": 1}]),
                &["user", "uidMappings"],
            ),
            &["IDM-06"],
        ),
        (
            ("user-namespace-without-mapping", "/linux/namespaces/-", json!({"type": "user"}), &["mapping"]),
            &["IDM-06"],
        ),
        (
            (
                "masked-path-relative",
                "/linux/maskedPaths",
                json!(["proc/kcore"]),
                &["maskedPaths", "proc/kcore"],
            ),
            &["MASK-02"],
        ),
        (
            (
                "readonly-path-relative",
                "/linux/readonlyPaths",
                json!(["proc/sys"]),
                &["readonlyPaths", "proc/sys"],
            ),
            &["RO-02"],
        ),
        (("oom-score-out-of-range", "/process/oomScoreAdj", json!(1001), &["oom"]), &["GEN-05", "PROC-21"]),
    ];
    for ((name, pointer, value, needles), clauses) in musts {
        let case = Case::new(format!("input/wrong-{name}"), clauses, move |ctx| {
            let mut b = ctx.bundle()?;
            if value.is_null() {
                b.remove(pointer)
            } else {
                b.set(pointer, value.clone())
            };
            ctx.refuses(&b, needles).map(drop)
        });
        cases.push(case);
    }
    cases
}

fn wrong_ids() -> Vec<Case> {
    let long = "x".repeat(300);
    let ids = [
        ("dot-dot", "../x".to_owned()),
        ("slash", "a/b".to_owned()),
        ("dot-dot-only", "..".to_owned()),
        ("dot-only", ".".to_owned()),
        ("space", "a b".to_owned()),
        ("newline", "a\nb".to_owned()),
        ("nul-like", "a:b".to_owned()),
        ("empty", String::new()),
        ("too-long", long),
    ];
    let case = |(name, id): (&str, String)| {
        Case::new(format!("input/id-{name}"), &["OPS-04"], move |ctx| bad_id(ctx, &id))
    };
    ids.into_iter().map(case).collect()
}

fn bad_id(ctx: &Ctx, id: &str) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let before = fs::read_dir(ctx.scratch())?.count();
    let out = ctx.rt(["create", "-b"]).arg(&b.dir).arg(id).run()?;
    out.refused(&["id", "argument"])?;
    for verb in ["state", "start", "delete"] {
        let out = ctx.rt([verb, id]).run()?;
        ensure!(out.code() != 0, "`{}` succeeded", out.shown);
    }
    // The commands' own output files are the only new things.
    let stray = fs::read_dir(ctx.scratch())?.flatten().filter(|e| e.path().is_dir()).count();
    ensure!(stray <= before, "something appeared beside the state directory");
    ctx.nothing_left(&ctx.id())
}

fn versions() -> Vec<Case> {
    let accepted = ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.0-rc.1", "1.2.1", "1.3.0", "1.3.0+dev"];
    accepted
        .into_iter()
        .map(|v| {
            Case::new(format!("input/oci-version-{v}"), &["GEN-07", "GEN-08"], move |ctx| {
                let mut b = ctx.bundle()?;
                b.set("/ociVersion", json!(v));
                ctx.facts(&b).map(drop)
            })
        })
        .collect()
}

fn raw(ctx: &Ctx, bytes: &[u8]) -> Verdict {
    let mut b = ctx.bundle()?;
    b.raw = Some(bytes.to_vec());
    ctx.refuses(&b, &[]).map(drop)
}

fn no_config(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    let id = ctx.id();
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).run()?.refused(&["config.json"])?;
    ctx.nothing_left(&id)
}

fn no_bundle(ctx: &Ctx) -> Verdict {
    let id = ctx.id();
    ctx.rt(["create", "-b", "/nonexistent/bundle", &id]).run()?.refused(&["/nonexistent/bundle"])?;
    ctx.nothing_left(&id)
}

fn broken_json(ctx: &Ctx) -> Verdict {
    raw(ctx, b"{\"ociVersion\": \"1.0.2\", \"process\": {,}}")
}

fn truncated_json(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    let text = serde_json::to_vec(&b.config)?;
    raw(ctx, &text[..text.len() / 2])
}

fn invalid_utf8(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let text = serde_json::to_string(&b.config)?.replace("\"probe\"", "\"pr\u{1}be\"");
    b.raw = Some(text.into_bytes().into_iter().map(|c| if c == 1 { 0xff } else { c }).collect());
    ctx.fails(&b).map(drop)
}

fn duplicate_member(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let text = serde_json::to_string(&b.config)?;
    b.raw = Some(text.replace("\"hostname\":", "\"hostname\":\"first\",\"hostname\":").into_bytes());
    ctx.refuses(&b, &["hostname", "duplicate"]).map(drop)
}

fn unknown_members(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    for at in [
        "",
        "/process",
        "/process/user",
        "/root",
        "/linux",
        "/linux/resources",
        "/linux/namespaces/0",
        "/mounts/0",
    ] {
        b.set(&format!("{at}/x-unknown"), json!({"deep": [1, {"er": null}]}));
    }
    ctx.facts(&b).map(drop)
}

fn null_members(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    for at in [
        "/hooks",
        "/annotations",
        "/domainname",
        "/process/rlimits",
        "/process/oomScoreAdj",
        "/process/consoleSize",
        "/process/user/additionalGids",
        "/process/user/umask",
        "/mounts/0/options",
        "/linux/uidMappings",
        "/linux/gidMappings",
        "/linux/sysctl",
        "/linux/devices",
        "/linux/seccomp",
        "/linux/intelRdt",
        "/linux/resources/memory",
        "/linux/resources/cpu",
        "/linux/resources/pids",
        "/linux/resources/blockIO",
    ] {
        b.set(at, Value::Null);
    }
    ctx.facts(&b).map(drop)
}

/// serde_json sorts members; a file with them in reverse order means the same.
fn member_order(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let Value::Object(map) = &b.config else { return Ok(()) };
    let members: Vec<String> = map.iter().rev().map(|(k, v)| format!("{}:{v}", json!(k))).collect();
    b.raw = Some(format!("{{{}}}", members.join(",")).into_bytes());
    ctx.facts(&b).map(drop)
}

fn other_platforms(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/commandLine", json!("cmd.exe")).set("/process/user/username", json!("admin"));
    for platform in ["windows", "solaris", "vm", "zos", "freebsd"] {
        b.set(&format!("/{platform}"), json!({"x": 1}));
    }
    ctx.facts(&b).map(drop)
}

fn missing_rootfs(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/root/path", json!("nowhere"));
    ctx.refuses(&b, &["nowhere"]).map(drop)
}

fn rootfs_is_file(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.dir.join("plain"), "")?;
    b.set("/root/path", json!("plain"));
    ctx.refuses(&b, &["plain", "not a directory"]).map(drop)
}

fn unknown_program(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["/nowhere/prog"]));
    let out = ctx.refuses(&b, &["no such file or directory"])?;
    ensure!(out.stderr.contains("/nowhere/prog"), "the program is not named: {}", out.stderr);
    Ok(())
}

fn unknown_program_in_path(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["nosuchprog"]));
    let out = ctx.refuses(&b, &["executable file not found in $PATH"])?;
    ensure!(out.stderr.contains("exec: "), "docker looks for `exec: `: {}", out.stderr);
    Ok(())
}

fn not_executable(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/plain"), "text")?;
    b.set("/process/args", json!(["/etc/plain"]));
    ctx.refuses(&b, &["permission denied"]).map(drop)
}

fn program_is_directory(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["/etc"]));
    ctx.refuses(&b, &["is a directory", "permission denied"]).map(drop)
}

fn huge_config(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/annotations/org.example.big", json!("x".repeat(10 << 20)));
    let out = ctx.run(&b)?;
    ensure!(out.code() <= 1, "a config of 10 MiB: exit code {}", out.code());
    Ok(())
}

fn state_root_is_file(ctx: &Ctx) -> Verdict {
    let file = ctx.scratch().join("plain");
    fs::write(&file, "")?;
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let out = ctx.bare().arg("--root").arg(&file).args(["create", "-b"]).arg(&b.dir).arg(&id).run()?;
    out.refused(&["plain"])?;
    ctx.nothing_left(&id)
}

/// The last mount fails, when everything else has been made.
fn failed_mount(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/run", "nosuchfs", "none", &[]);
    let out = ctx.refuses(&b, &["/run", "no such device"])?;
    ensure!(out.stderr.to_lowercase().contains("no such device"), "no errno text: {}", out.stderr);
    Ok(())
}

fn id_after_failure(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["/nowhere/prog"]));
    b.save()?;
    let id = ctx.id();
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&id).run()?.exits(1)?;
    let good = ctx.bundle()?;
    good.save()?;
    let out = ctx.rt(["run", "-b"]).arg(&good.dir).arg(&id).run()?;
    ensure_eq!(out.code(), 0, "exit code of the second try");
    Ok(())
}
