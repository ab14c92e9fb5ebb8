//! Scheduling, I/O priority, execution domain, memory policy and processors beyond the first process of a container.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Facts, Failure, ensure, ensure_eq};
use serde_json::json;
use std::fs;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("scheduling/exec-has-the-container's", &["SCH-01", "IOP-03", "PER-01"], inherited)
            .practice(),
        Case::new("scheduling/real-time-in-a-user-namespace", &["SCH-03", "IOP-01"], real_time)
            .practice()
            .needs(&[Need::UserNs, Need::Capability(23, "CAP_SYS_NICE")]),
        Case::new("scheduling/memory-policy-of-exec", &["MPOL-01"], memory_policy)
            .practice()
            .needs(&[Need::File("/proc/self/numa_maps")]),
        Case::new("scheduling/exec-affinity-lists", &["AFF-03", "AFF-05"], lists),
        Case::new("scheduling/exec-affinity-initial-alone", &["AFF-02", "AFF-04"], initial)
            .needs(&[Need::Kernel(6, 2)]),
        Case::new("scheduling/exec-affinity-of-a-process-file", &["AFF-03"], process_file).practice(),
    ]
}

/// A running container; without one the case is skipped if the runtime refuses the member by its name.
fn running<'c>(ctx: &'c Ctx, b: &Bundle, needles: &[&str]) -> Result<Container<'c>, Failure> {
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let out = ctx.rt(["run", "-d", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if out.code() == 0 {
        return Ok(c);
    }
    out.refused(needles)?;
    Err(Failure::skip(format!("the runtime refuses {}", needles.join(" or "))))
}

fn inherited(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
    b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 5}));
    b.set("/linux/personality", json!({"domain": "LINUX32"})).steps(&[&["sleep"]]);
    let c = running(ctx, &b, &["scheduler", "ioPriority", "personality"])?;
    let f = c.exec_facts(&[])?;
    ensure_eq!(*f.get("/process/policy"), json!(libc::SCHED_BATCH), "policy");
    ensure_eq!(*f.get("/process/nice"), json!(7), "nice");
    ensure_eq!(*f.get("/process/ioprio"), json!((2 << 13) | 5), "ioprio");
    ensure_eq!(*f.get("/process/personality"), json!(8), "personality");
    Ok(())
}

/// The kernel asks for a capability on the host, which a process in a user namespace does not have.
fn real_time(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(100_000)?;
    b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 3}));
    b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": -3}));
    super::process::in_effect_or_refused(ctx, &b, "ioPriority", |f| {
        ensure_eq!(*f.get("/process/ioprio"), json!((1 << 13) | 3), "ioprio");
        ensure_eq!(*f.get("/process/nice"), json!(-3), "nice");
        Ok(())
    })
}

fn memory_policy(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/memoryPolicy",
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
    );
    b.steps(&[&["sleep"]]);
    let c = running(ctx, &b, &["memoryPolicy"])?;
    let out = c.exec(&[], &[&["read", "/proc/self/numa_maps"]]).ok()?;
    let facts = Facts::lines(&out.stdout)?;
    let text = facts[0].str("/text");
    ensure!(text.contains("bind=static:0"), "numa_maps: {}", crate::process::tail(text));
    Ok(())
}

/// The processors that this machine lets the harness use.
fn own() -> Result<String, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    Ok(list.unwrap_or_default().trim().to_owned())
}

fn lists(ctx: &Ctx) -> Verdict {
    let all = own()?;
    for (list, want) in [(" 0 ", "0"), ("0-8191", all.as_str()), ("", all.as_str())] {
        let mut b = ctx.bundle()?;
        b.set("/process/execCPUAffinity", json!({"final": list})).steps(&[&["sleep"]]);
        let c = running(ctx, &b, &["execCPUAffinity"])?;
        ensure_eq!(c.exec_facts(&[])?.status("Cpus_allowed_list"), want, "processors of exec, for {list:?}");
    }
    Ok(())
}

/// Since Linux 6.2 a process keeps what it was given when it moves into another cgroup.
fn initial(ctx: &Ctx) -> Verdict {
    let all = own()?;
    let last = all.rsplit([',', '-']).next().unwrap_or_default();
    let mut b = ctx.bundle()?;
    b.set("/process/execCPUAffinity", json!({"initial": last})).steps(&[&["sleep"]]);
    let c = running(ctx, &b, &["execCPUAffinity"])?;
    ensure_eq!(c.exec_facts(&[])?.status("Cpus_allowed_list"), last, "processors of exec");
    Ok(())
}

/// A process that is described without the member still joins a container that has it.
fn process_file(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"})).steps(&[&["sleep"]]);
    let c = running(ctx, &b, &["execCPUAffinity"])?;
    let file = ctx.scratch().join("process.json");
    let args = crate::bundle::steps_to_args(&[&["facts"]]);
    fs::write(&file, json!({"cwd": "/", "args": args, "user": {"uid": 0, "gid": 0}}).to_string())?;
    let out = ctx.rt(["exec", "--process"]).arg(&file).arg(&c.id).ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].status("Cpus_allowed_list"), "0", "processors of exec");
    Ok(())
}
