//! `update`: limits of a container that exists.

use super::parity::{Peer, both, cgroup_files, differences};
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Container, Ctx, Failure, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};

const V1: &[Need] = &[Need::V1("memory"), Need::V1("cpu"), Need::V1("pids")];

/// Limits at the start, the arguments of `update` and its standard input; the cgroups afterwards are to be those
/// of runc after the same.
type SameRow = (&'static str, &'static str, &'static [&'static str], &'static str);

const SAME: &[SameRow] = &[
    ("memory", "{}", &["--memory", "64m", "--memory-swap", "128m", "--memory-reservation", "32MiB"], ""),
    ("memory-unlimited", r#"{"memory":{"limit":67108864,"swap":67108864}}"#, &["--memory", "-1"], ""),
    ("memory-and-swap-raised", r#"{"memory":{"limit":33554432,"swap":33554432}}"#, &MORE_MEMORY, ""),
    ("cpu", "{}", &["--cpu-quota", "50000", "--cpu-period", "200000", "--cpu-share", "512"], ""),
    ("cpu-period", r#"{"cpu":{"quota":20000,"period":100000}}"#, &["--cpu-period", "50000"], ""),
    ("cpu-quota-lifted", r#"{"cpu":{"quota":20000,"period":100000}}"#, &["--cpu-quota", "-1"], ""),
    ("cpuset", r#"{"cpu":{"cpus":"0","mems":"0"}}"#, &["--cpuset-cpus", "0-1", "--cpuset-mems", "0"], ""),
    ("pids", r#"{"pids":{"limit":20}}"#, &["--pids-limit", "-1"], ""),
    ("nothing", r#"{"memory":{"limit":67108864},"pids":{"limit":20}}"#, &[], ""),
    (
        "empty-values",
        r#"{"memory":{"limit":67108864},"cpu":{"shares":512}}"#,
        &["--memory=", "--cpu-share=", "--cpuset-cpus="],
        "",
    ),
    (
        "document",
        r#"{"memory":{"limit":67108864},"cpu":{"shares":512}}"#,
        &["--resources=-"],
        r#"{"memory":{"limit":0,"reservation":33554432},"cpu":{"shares":0,"quota":30000,"cpus":""},
            "pids":{"limit":31},"devices":[{"allow":true,"access":"rwm"}],"unknown":{}}"#,
    ),
    ("document-short", "{}", &["-r", "-"], r#"{"pids":{"limit":31}}"#),
];

const MORE_MEMORY: [&str; 4] = ["--memory", "128m", "--memory-swap", "256m"];

/// Arguments that are refused, and a word that the error has.
type BadRow = (&'static str, &'static [&'static str], &'static str, &'static str);

const BAD: &[BadRow] = &[
    ("memory-garbage", &["--memory", "1x"], "", "memory"),
    ("memory-negative", &["--memory", "-2"], "", "memory"),
    ("quota-garbage", &["--cpu-quota", "fast"], "", "cpu-quota"),
    ("period-out-of-range", &["--cpu-period", "1"], "", "period"),
    ("share-garbage", &["--cpu-share", "-5"], "", "cpu-share"),
    ("pids-garbage", &["--pids-limit", "many"], "", "pids-limit"),
    ("cpus-absent", &["--cpuset-cpus", "4094"], "", "cpus"),
    ("swap-below-memory", &["--memory", "64m", "--memory-swap", "32m"], "", "sw"),
    ("cache-schema", &["--l3-cache-schema", "L3:0=f"], "", "rdt"),
    ("bandwidth-schema", &["--mem-bw-schema", "MB:0=20"], "", "rdt"),
    ("document-absent", &["--resources", "/nonexistent/file"], "", "no such file"),
    ("document-empty", &["--resources=-"], "", "eof"),
    ("document-type", &["--resources=-"], r#"{"memory":{"limit":"1g"}}"#, "memory.limit"),
    ("document-truncated", &["--resources=-"], r#"{"memory":{"#, "eof"),
];

pub fn cases() -> Vec<Case> {
    let case =
        |name, body: fn(&Ctx) -> Verdict| Case::new(format!("update/{name}"), &["UPD-01"], body).practice();
    let mut cases = vec![
        case("all-or-nothing", all_or_nothing).needs(V1),
        case("starts-from-the-last", starts_from_the_last).needs(V1),
        case("flags-win", flags_win).needs(V1),
        case("every-status", every_status).needs(&[Need::V1("pids"), Need::V1("freezer")]),
        case("exec-afterwards", exec_afterwards).needs(&[Need::V1("pids")]),
        case("no-such-container", no_such_container),
        case("idle-and-back", idle_and_back).needs(&[Need::V1File("cpu", "cpu.shares"), Need::Kernel(5, 15)]),
    ];
    cases.extend(SAME.iter().map(|row| {
        let name = format!("update/same-as-runc-{}", row.0);
        Case::new(name, &["UPD-01"], |ctx| same(ctx, row)).practice().needs(V1).needs(&[Need::Runc])
    }));
    cases.extend(BAD.iter().map(|row| {
        let name = format!("update/refused-{}", row.0);
        Case::new(name, &["UPD-01"], |ctx| refused(ctx, row)).practice().needs(V1)
    }));
    cases
}

fn same(ctx: &Ctx, row: &SameRow) -> Verdict {
    let (_, limits, arguments, stdin) = *row;
    let limits: Value = serde_json::from_str(limits)?;
    let [ours, runc] = both(ctx, |runtime| {
        let mut b = ctx.bundle()?;
        for (member, value) in limits.as_object().into_iter().flatten() {
            b.set(&format!("/linux/resources/{member}"), value.clone());
        }
        b.steps(&[&["sleep"]]);
        let c = Peer::start(ctx, runtime, &b)?;
        let out = c.cmd(&["update"]).args(arguments).arg(&c.id).stdin(stdin).run()?.ok()?;
        let pid = c.cmd(&["state", &c.id]).ok()?.json()?["pid"].as_i64().unwrap_or(0);
        let mut seen = json!({"stdout": out.stdout});
        for controller in ["memory", "cpu", "cpuset", "pids", "blkio", "devices"] {
            seen[controller] = cgroup_files(pid as i32, controller);
        }
        Ok(seen)
    })?;
    ensure!(ours["memory"]["memory.limit_in_bytes"].is_array(), "nothing was compared: {ours}");
    differences(&ours, &runc)
}

fn refused(ctx: &Ctx, row: &BadRow) -> Verdict {
    let (_, arguments, stdin, word) = *row;
    let c = ctx.sleeper()?;
    let before = settings(&c);
    c.cmd(&["update"]).args(arguments).stdin(stdin).run()?.fails_with(word)?;
    ensure_eq!(settings(&c), before, "limits after a refused update");
    Ok(())
}

fn settings(c: &Container<'_>) -> Value {
    let of = |controller| cgroup_files(c.pid, controller);
    json!([of("memory"), of("cpu"), of("cpuset"), of("pids")])
}

/// The value that the kernel refuses comes after others that it takes.
fn all_or_nothing(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let before = settings(&c);
    let out = c.cmd(&["update", "--memory", "64m", "--cpu-share", "77", "--cpuset-cpus", "4094"]).run()?;
    out.refused(&["cpuset"])?;
    ensure_eq!(settings(&c), before, "limits after a refused update");
    // Nothing of it is remembered either.
    c.cmd(&["update", "--memory-swap", "32m", "--memory", "16m"]).ok()?;
    ensure_eq!(cgroup::read(&c.cgroup("cpu")?, "cpu.shares")?, "1024", "cpu.shares");
    Ok(())
}

fn starts_from_the_last(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    c.cmd(&["update", "--memory", "64m", "--memory-swap", "96m"]).ok()?;
    // More memory than there is memory and swap.
    c.cmd(&["update", "--memory", "128m"]).run()?.refused(&["memory"])?;
    c.cmd(&["update", "--memory", "80m"]).ok()?;
    let dir = c.cgroup("memory")?;
    ensure_eq!(cgroup::read(&dir, "memory.limit_in_bytes")?, "83886080", "limit");
    ensure_eq!(cgroup::read(&dir, "memory.memsw.limit_in_bytes")?, "100663296", "memory and swap");
    Ok(())
}

fn flags_win(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let document = json!({"pids": {"limit": 20}, "cpu": {"shares": 300}}).to_string();
    c.cmd(&["update", "--pids-limit", "30", "--resources", "-"]).stdin(document).ok()?;
    ensure_eq!(cgroup::read(&c.cgroup("pids")?, "pids.max")?, "30", "pids.max");
    ensure_eq!(cgroup::read(&c.cgroup("cpu")?, "cpu.shares")?, "300", "cpu.shares");
    Ok(())
}

fn every_status(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    let c = ctx.create(&b)?;
    let dir = c.cgroup("pids")?;
    let to = |limit: &str| -> Verdict {
        c.cmd(&["update", "--pids-limit", limit]).ok()?;
        ensure_eq!(cgroup::read(&dir, "pids.max")?, limit, "pids.max");
        Ok(())
    };
    to("21")?;
    c.start()?;
    to("22")?;
    c.cmd(&["pause"]).ok()?;
    to("23")?;
    c.expect_status("paused")?;
    c.cmd(&["resume"]).ok()?;
    c.kill("KILL")?;
    c.wait_exit()?;
    c.cmd(&["update", "--pids-limit", "24"]).run()?.refused(&["not running"]).map(drop)
}

fn exec_afterwards(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let before = c.state()?;
    c.cmd(&["update", "--pids-limit", "25"]).ok()?;
    ensure_eq!(c.state()?, before, "state");
    c.exec_facts(&[]).map(drop)
}

fn no_such_container(ctx: &Ctx) -> Verdict {
    ctx.rt(["update", "--memory", "64m", "nobody"]).run()?.refused(&["does not exist"]).map(drop)
}

fn idle_and_back(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/cpu", json!({"shares": 300})).steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let dir = c.cgroup("cpu")?;
    c.cmd(&["update", "--cpu-idle", "1"]).ok()?;
    ensure_eq!(cgroup::read(&dir, "cpu.idle")?, "1", "cpu.idle");
    c.cmd(&["update", "--cpu-idle", "0"]).ok()?;
    ensure_eq!(cgroup::read(&dir, "cpu.idle")?, "0", "cpu.idle");
    ensure_eq!(cgroup::read(&dir, "cpu.shares")?, "300", "cpu.shares");
    Ok(())
}

impl crate::process::Out {
    /// Demands a failure that says this word, in how many lines soever: runc prints its usage after wrong flags.
    #[track_caller]
    fn fails_with(&self, word: &str) -> Result<(), Failure> {
        ensure!(self.code() != 0, "`{}` succeeded, want a failure", self.shown);
        let said = self.stderr.to_lowercase();
        ensure!(said.contains(word), "`{}`: stderr does not say {word:?}: {said}", self.shown);
        Ok(())
    }
}
