//! More, longer and larger than anybody needs: it works, or is refused in words.

use crate::failure::Verdict;
use crate::process::Out;
use crate::registry::Case;
use crate::{Bundle, Container, Ctx, ensure};
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(100);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("limit/config-of-10-megabytes", &["GEN-01"], large_config).practice().limit(240),
        Case::new("limit/5000-mounts", &["MNT-01"], many_mounts).practice().limit(240),
        Case::new("limit/340-mappings", &["IDM-05"], many_mappings).needs(&[crate::Need::UserNs]).practice(),
        Case::new("limit/paths-of-4095-bytes", &["LONG-01", "MNT-08"], long_paths).practice().limit(120),
        Case::new("limit/long-state-root", &["LONG-01", "LIF-02"], long_root).practice(),
        Case::new("limit/long-console-socket", &["LONG-01"], long_socket).practice(),
        Case::new("limit/64-descriptors", &["LONG-01"], few_descriptors).practice().limit(120),
    ]
}

fn run(ctx: &Ctx, b: &Bundle) -> Result<Out, crate::Failure> {
    b.save()?;
    ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).limit(PATIENCE).run()
}

/// Says what is too much for it, without a trace of a crash.
fn in_words(out: &Out) -> Verdict {
    let crashed = out.code() > 1 || out.stderr.contains("panicked");
    ensure!(out.code() == 0 || !out.stderr.trim().is_empty(), "failed without a word");
    ensure!(!crashed, "exit code {}: {}", out.code(), out.stderr.chars().take(300).collect::<String>());
    Ok(())
}

fn large_config(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let annotations: serde_json::Map<_, _> =
        (0..10_000).map(|i| (format!("org.example.{i}"), json!("x".repeat(1000)))).collect();
    b.set("/annotations", json!(annotations));
    in_words(&run(ctx, &b)?)?;
    let mut b = ctx.bundle()?;
    // More than execve takes.
    b.set(
        "/process/env",
        json!((0..10_000).map(|i| format!("V{i}={}", "x".repeat(1000))).collect::<Vec<_>>()),
    );
    in_words(&run(ctx, &b)?)
}

fn many_mounts(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let out = b.out();
    for i in 0..5000 {
        let source = out.to_string_lossy().into_owned();
        b.mount(&format!("/out/{}", i % 500), "bind", &source, &["bind", "ro"]);
    }
    let out = run(ctx, &b)?;
    in_words(&out)?;
    ensure!(out.code() == 0, "{}", out.stderr);
    Ok(())
}

/// As many as the kernel takes, and one more. (All lines together also have to fit into a page.)
fn many_mappings(ctx: &Ctx) -> Verdict {
    for (count, want) in [(340u32, 0), (341, 1)] {
        let mut b = ctx.bundle()?;
        b.user_namespace(1000)?;
        let map: Vec<_> =
            (0..count).map(|i| json!({"containerID": i * 2, "hostID": 1000 + i * 2, "size": 1})).collect();
        b.set("/linux/uidMappings", json!(map)).set("/linux/gidMappings", json!(map));
        b.steps(&[&["say", "x"]]);
        // The terminal group has an odd number, which is not mapped here.
        b.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
        let out = run(ctx, &b)?;
        in_words(&out)?;
        ensure!(out.code() == want, "{count} mappings: exit code {}: {}", out.code(), out.stderr);
    }
    Ok(())
}

/// A path of exactly this many bytes, of components that a filesystem takes.
fn path_of(length: usize) -> String {
    let mut path = String::new();
    while path.len() + 201 <= length {
        path.push('/');
        path.push_str(&"p".repeat(200));
    }
    let rest = length - path.len();
    if rest > 1 {
        path.push('/');
        path.push_str(&"q".repeat(rest - 1));
    } else if rest == 1 {
        path.push('q');
    }
    path
}

fn long_paths(ctx: &Ctx) -> Verdict {
    type Change = for<'b> fn(&'b mut Bundle, &str) -> &'b mut Bundle;
    let places: [Change; 6] = [
        |b, p| b.mount(p, "tmpfs", "tmpfs", &[]),
        |b, p| b.mount("/tmp", "bind", p, &["bind"]),
        |b, p| b.set("/process/cwd", json!(p)),
        |b, p| b.set("/process/args/0", json!(p)),
        |b, p| b.set("/linux/maskedPaths/0", json!(p)),
        |b, p| b.set("/linux/cgroupsPath", json!(p)),
    ];
    for (i, place) in places.iter().enumerate() {
        for length in [1000, 4094, 4095, 4096, 5000] {
            let mut b = ctx.bundle()?;
            place(b.writable(), &path_of(length));
            let out = run(ctx, &b)?;
            in_words(&out).map_err(|e| crate::Failure::new(format!("place {i}, {length} bytes: {e}")))?;
        }
    }
    Ok(())
}

/// The gate is a socket in the state directory, whose path may be longer than `sun_path`.
fn long_root(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    let root = ctx.scratch().join("r".repeat(150)).join("s".repeat(150));
    let id = ctx.id();
    let rt = |verb: &str| ctx.bare().arg("--root").arg(&root).arg(verb);
    rt("create").arg("-b").arg(&b.dir).arg(&id).ok()?;
    rt("start").arg(&id).ok()?;
    rt("delete").arg("--force").arg(&id).spawn()?.finish_reaping()?.ok()?;
    ctx.nothing_left(&id)
}

fn long_socket(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true)).save()?;
    let c = Container::new(ctx, &ctx.id());
    let socket = format!("/tmp/{}", "s".repeat(150));
    let out = ctx.rt(["create", "--console-socket", &socket, "-b"]).arg(&b.dir).arg(&c.id).run()?;
    ensure!(out.code() == 1 && !out.stderr.is_empty(), "exit code {}: {}", out.code(), out.stderr);
    ctx.nothing_left(&c.id)
}

/// With few descriptors left it fails in words and cleans up, or it works.
fn few_descriptors(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.remove("/process/rlimits").steps(&[&["say", "x"]]).save()?;
    for limit in [4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 32, 48, 64] {
        let id = ctx.id();
        let shell = format!("ulimit -n {limit}; exec \"$@\"");
        let run = ctx.program(std::path::Path::new("/bin/sh")).args(["-c", &shell, "sh"]);
        let run = run.arg(&ctx.settings.runtime).arg("--root").arg(ctx.state_root());
        let out = run.args(["run", "-b"]).arg(&b.dir).arg(&id).run()?;
        in_words(&out).map_err(|e| crate::Failure::new(format!("{limit} descriptors: {e}")))?;
        ensure!(out.code() == 0 || limit < 64, "{limit} descriptors: {}", out.stderr);
        let deleted = ctx.rt(["delete", "--force", &id]).spawn()?.finish_reaping()?;
        deleted.ok()?;
        ctx.nothing_left(&id)?;
    }
    Ok(())
}
