//! Kernels without a system call that the runtime would like to use: it does the same with older ones, and as securely,
//! or says which kernel it needs.

use super::{attacks, escapes, mounts, swaps, threats};
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};

/// What can be done without.
const REPLACED: [&str; 5] = ["openat2", "clone3", "close_range", "mount_setattr", "faccessat2"];
const ALL: &str = "openat2,clone3,close_range,mount_setattr,faccessat2";
/// What corten cannot do without; another runtime may.
const NEEDED: [&str; 7] =
    ["pidfd_open", "pidfd_send_signal", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"];

pub fn cases() -> Vec<Case> {
    let case = |name: String, body: fn(&Ctx, &str) -> Verdict, calls: &'static str| {
        Case::new(name, &["KRN-01"], move |ctx: &Ctx| body(ctx, calls)).practice().needs(&[Need::X86_64])
    };
    let mut cases: Vec<Case> = REPLACED.iter().map(|c| case(format!("old-kernel/no-{c}"), same, c)).collect();
    cases.push(case("old-kernel/none-of-them".to_owned(), same, ALL));
    cases.extend(NEEDED.iter().map(|c| case(format!("old-kernel/needs-{c}"), refused_or_same, c)));
    cases.push(case("old-kernel/recursive-attributes".to_owned(), recursive, "mount_setattr"));
    let attacks =
        [threats::cases(), attacks::cases(), escapes::cases(), swaps::cases()].into_iter().flatten();
    let paths = mounts::cases().into_iter().filter(|case| case.name.contains("symlink"));
    cases.extend(attacks.chain(paths).map(again));
    cases
}

/// The same case where nothing newer is there. Much of what must not happen also does not where no container ever comes
/// about: a plain one has to.
fn again(mut case: Case) -> Case {
    let body = case.body;
    case.name = format!("old-kernel/{}", case.name);
    case.body = Box::new(move |ctx: &Ctx| {
        let old = old(ctx, ALL)?;
        old.run(&old.bundle()?)?.ok()?;
        body(&old)
    });
    case.needs.push(Need::X86_64);
    case
}

fn old(ctx: &Ctx, calls: &str) -> Result<Ctx, Failure> {
    let settings = ctx.settings.hiding(calls, ctx.scratch().join("old-runtime"))?;
    ctx.with(settings)
}

/// Every kind of path, mount, mask, device and limit.
fn bundle(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/process/cwd", json!("/tmp/made/here"));
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    b.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [10]}));
    let hosts = ctx.scratch().join("hosts");
    std::fs::write(&hosts, "")?;
    let scratch = ctx.scratch().to_string_lossy().into_owned();
    b.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "noexec", "mode=755"]);
    b.mount("/tmp/a/b", "bind", &scratch, &["rbind", "ro", "nosuid", "nodev", "noatime"]);
    b.mount("/etc/hosts", "bind", &hosts.to_string_lossy(), &["bind", "ro", "noexec"]);
    b.writable();
    Ok(b)
}

/// What differs each time, or by the filter that hides the calls.
fn facts(ctx: &Ctx, b: &Bundle) -> Result<Value, Failure> {
    let mut facts = crate::faults::lasting(&ctx.facts(b)?.0);
    for name in ["Seccomp", "Seccomp_filters"] {
        facts["status"].as_object_mut().map(|status| status.remove(name));
    }
    let fds: Vec<String> = facts["fds"].as_object().into_iter().flatten().map(|(fd, _)| fd.clone()).collect();
    facts["fds"] = json!(fds);
    // A container's id is in the paths of its cgroup.
    let text = facts.to_string();
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let id = text.split(end).find(|w| w.starts_with('h') && w.contains("z-")).unwrap_or("\0").to_owned();
    Ok(serde_json::from_str(&text.replace(&id, "ID"))?)
}

fn same(ctx: &Ctx, calls: &str) -> Verdict {
    let b = bundle(ctx)?;
    let want = facts(ctx, &b)?;
    let old = old(ctx, calls)?;
    let got = facts(&old, &b)?;
    for (key, want) in want.as_object().into_iter().flatten() {
        ensure_eq!(got[key], *want, "{key} without {calls}");
    }
    // The other commands, and processes that join.
    let mut b = old.bundle()?;
    let log = old.scratch().join("log");
    b.hook("createContainer", &old, &log, "hook", &[]).steps(&[&["sleep"]]);
    let c = old.start(&b)?;
    ensure_eq!(c.status()?, "running", "status");
    c.exec_facts(&[])?;
    for verb in ["pause", "resume"] {
        c.cmd(&[verb]).ok()?;
    }
    c.kill("KILL")?;
    c.wait_exit()?;
    c.delete()?;
    old.nothing_left(&c.id)
}

/// It says which kernel it needs; or it does without the call, and then all is as with it.
fn refused_or_same(ctx: &Ctx, calls: &str) -> Verdict {
    let old = old(ctx, calls)?;
    if old.run(&old.bundle()?)?.code() == 0 {
        return same(ctx, calls);
    }
    let out = old.refuses(&old.bundle()?, &["needs Linux 5."])?;
    ensure!(out.stderr.contains("function not implemented"), "it says {}", out.stderr);
    Ok(())
}

fn recursive(ctx: &Ctx, calls: &str) -> Verdict {
    let old = old(ctx, calls)?;
    let mut b = old.bundle()?;
    b.mount("/tmp", "bind", "/usr", &["rbind", "rro"]);
    old.refuses(&b, &["needs Linux 5.12"])?;
    Ok(())
}
