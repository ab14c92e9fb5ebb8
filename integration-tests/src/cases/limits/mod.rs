//! `limits/*`: not which file holds which number, but what happens to a container that reaches its limit. The same
//! cases run on version 1 and 2, and with cgroups made by systemd.

mod cpu;
mod io;
mod memory;
mod pids;

use crate::bundle::OUT;
use crate::failure::{Failure, Verdict};
use crate::registry::Case;
use crate::{Container, Ctx, cgroup};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

pub fn cases() -> Vec<Case> {
    let mut cases = memory::cases();
    cases.extend(cpu::cases());
    cases.extend(pids::cases());
    cases.extend(io::cases());
    cases
}

fn case(name: &str, clauses: &'static [&'static str], body: fn(&Ctx) -> Verdict) -> Case {
    Case::new(format!("limits/{name}"), clauses, body).limit(120)
}

/// Skips where nobody offers the controller, which has a name of its own on each version.
fn requires(v1: &str, v2: &str) -> Verdict {
    let root = Path::new(cgroup::ROOT);
    let (there, name) = if cgroup::is_unified() {
        let list = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        (list.split_whitespace().any(|word| word == v2), v2)
    } else {
        (root.join(v1).join("cgroup.procs").exists(), v1)
    };
    if there { Ok(()) } else { Err(Failure::skip(format!("no cgroup controller {name}"))) }
}

/// A control file of the container, on either version.
fn read(c: &Container<'_>, (controller, v1): (&str, &str), v2: &str) -> Result<String, Failure> {
    if cgroup::is_unified() {
        cgroup::read(&c.cgroup("")?, v2)
    } else {
        cgroup::read(&c.cgroup(controller)?, v1)
    }
}

/// One number of a control file with a key on every line.
fn keyed(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// A running container with these resources, which executes these steps.
fn start<'c>(ctx: &'c Ctx, resources: Value, steps: &[&[&str]]) -> Result<Container<'c>, Failure> {
    let mut b = ctx.bundle()?;
    for (member, value) in resources.as_object().into_iter().flatten() {
        b.set(&format!("/linux/resources/{member}"), value.clone());
    }
    let shared = shared(ctx);
    fs::create_dir_all(&shared)?;
    b.mount(OUT, "bind", &shared.to_string_lossy(), &["rbind", "rw"]).steps(steps);
    ctx.start(&b)
}

fn shared(ctx: &Ctx) -> PathBuf {
    ctx.scratch().join("shared")
}

/// Tells the case's container to go on from `wait-file /out/go`.
fn go(ctx: &Ctx) -> Verdict {
    Ok(fs::write(shared(ctx).join("go"), "")?)
}

/// `update` with a document.
fn update(c: &Container<'_>, resources: &Value) -> Result<crate::process::Out, Failure> {
    c.cmd(&["update", "--resources=-"]).stdin(resources.to_string()).run()
}
