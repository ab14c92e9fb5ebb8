//! CVE-2016-9962 and CVE-2019-5736: processes of a container that wait for the one that `exec` brings in.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Facts, Failure, ensure};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// With `CORTEN_STRESS` five hundred.
const EXECS: u32 = 60;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("spy/root-sees-nothing", &["LNX-01"], sees_nothing).practice(),
        Case::new("spy/user-namespace-sees-nothing", &["LNX-01"], user_namespace)
            .practice()
            .needs(&[Need::UserNs]),
        Case::new("spy/mapped-root-writes-nothing", &["LNX-01"], mapped_root)
            .practice()
            .needs(&[Need::UserNs]),
        Case::new("spy/user-namespace-sees-no-usher", &["LNX-01"], shared_pids)
            .practice()
            .needs(&[Need::UserNs]),
        Case::new("spy/tracer-sees-nothing-of-the-host", &["LNX-01"], tracer).practice().limit(120),
    ]
}

const TRACER: [&str; 5] =
    ["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_NET_BIND_SERVICE"];

/// The container's init watches while commands are executed in it. Gives what it saw, and the copy of the runtime.
fn watch(ctx: &Ctx, change: impl FnOnce(&mut Bundle) -> Verdict) -> Result<Facts, Failure> {
    let mut b = ctx.bundle()?;
    let out = b.out();
    change(&mut b)?;
    b.steps(&[&["say", "watching"], &["spy", "/out/over"], &["sleep"]]).save()?;
    let (copy, before) = copy_of_runtime(ctx)?;
    let id = ctx.id();
    let mut c = Container::new(ctx, &id);
    let rt = |verb: &str| ctx.program(&copy).arg("--root").arg(ctx.state_root()).arg(verb);
    let running = rt("create").arg("-b").arg(&b.dir).arg(&id).spawn()?;
    c.output = running.output_path();
    running.finish()?.ok()?;
    rt("start").arg(&id).ok()?;
    c.lines(1)?;
    let execs = if ctx.settings.stress_cycles > 60 { 500 } else { EXECS };
    for _ in 0..execs {
        rt("exec").args([&id, "/bin/probe", "exit", "0"]).ok()?;
    }
    fs::write(out.join("over"), "x")?;
    let seen = c.lines(2)?.remove(1);
    rt("delete").args(["--force", &id]).spawn()?.finish_reaping()?.ok()?;
    let number = |name: &str| seen.get(name).as_u64().unwrap_or(0);
    let figures = (number("/looks"), number("/denied"), number("/handles"));
    eprintln!("{}{execs} commands: {figures:?} looks, refusals, programs kept", crate::driver::FIGURES);
    ensure!(figures.0 > u64::from(execs), "it looked {} times only", figures.0);
    ensure!(fs::read(&copy)? == before, "the runtime's program was changed");
    let writable = seen.get("/writable");
    ensure!(*writable == json!([]), "programs that could be written: {writable}");
    Ok(seen)
}

/// What is at stake is not the runtime that the next case needs.
fn copy_of_runtime(ctx: &Ctx) -> Result<(PathBuf, Vec<u8>), Failure> {
    let copy = ctx.scratch().join("runtime");
    fs::copy(&ctx.settings.runtime, &copy)?;
    let bytes = fs::read(&copy)?;
    Ok((copy, bytes))
}

/// Whoever has not been given `CAP_SYS_PTRACE` may not look at it at all.
fn sees_nothing(ctx: &Ctx) -> Verdict {
    let seen = watch(ctx, |_| Ok(()))?;
    let links = seen.get("/links");
    ensure!(*links == json!([]), "it could read {links}");
    Ok(())
}

/// Nor may, before it is one of its own, whoever has that capability only in a user namespace.
fn user_namespace(ctx: &Ctx) -> Verdict {
    let seen = watch(ctx, |b| {
        b.caps(&TRACER).user_namespace(200_000)?;
        Ok(())
    })?;
    let links = seen.get("/links");
    ensure!(*links == json!([]), "it could read {links}");
    Ok(())
}

/// Whose root is root outside as well, by the mappings: it owns the runtime's program.
fn mapped_root(ctx: &Ctx) -> Verdict {
    watch(ctx, |b| {
        b.caps(&TRACER).user_namespace(0)?;
        Ok(())
    })
    .map(drop)
}

/// The same where it sees all processes of the host, the one among them that enters and makes the new one.
fn shared_pids(ctx: &Ctx) -> Verdict {
    let seen = watch(ctx, |b| {
        b.caps(&TRACER).user_namespace(200_000)?;
        b.without_namespace("pid");
        if let Some(mounts) = b.config["mounts"].as_array_mut() {
            mounts.retain(|mount| mount["destination"] != "/proc");
        }
        b.mount("/proc", "bind", "/proc", &["rbind"]);
        Ok(())
    })?;
    let links = seen.get("/links");
    ensure!(*links == json!([]), "it could read {links}");
    Ok(())
}

/// With `CAP_SYS_PTRACE` on the host it may look, and must not find anything of the host.
fn tracer(ctx: &Ctx) -> Verdict {
    let seen = watch(ctx, |b| {
        b.caps(&TRACER);
        Ok(())
    })?;
    let links: Vec<&str> =
        seen.get("/links").as_array().into_iter().flatten().filter_map(|l| l.as_str()).collect();
    // Sockets, pipes and such have no path. A program that is attached nowhere, or only in memory, is not the host's.
    let harmless = |link: &&&str| {
        let (kind, target) = link.split_once(' ').unwrap_or_default();
        let detached = target == "/" || target.starts_with("/memfd:");
        // What it is about to execute is the container's own.
        !target.starts_with('/') || if kind == "fd" { target == "/bin/probe" } else { detached }
    };
    let host: Vec<_> = links.iter().filter(|link| !harmless(link)).collect();
    ensure!(host.is_empty(), "of the host: {host:?}");
    Ok(())
}
