//! Control files of version 2 (Documentation/admin-guide/cgroup-v2.rst).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::convert::{block_weight, or_max};
use super::{
    Lowering, Policy, Result, Write, conflict, hugepages, malformed, pids, rdma, shares_to_weight, throttles,
    unsupported,
};
use crate::config::{BlockIo, Cpu, Memory, Resources};
use crate::error::FieldPath;

const NO_COUNTERPART: &str = "cgroup version 2 has nothing like it";

pub(super) fn lower(out: &mut Lowering<'_>, r: &Resources) -> Result<()> {
    if let Some(m) = &r.memory {
        memory(out, m)?;
    }
    if let Some(c) = &r.cpu {
        cpu(out, c)?;
    }
    pids(out, r);
    if let Some(b) = &r.block_io {
        block_io(out, b)?;
    }
    hugepages(out, r, "max");
    rdma(out, r);
    if let Some(n) = &r.network {
        let at = out.at.field("network");
        if n.class_id.is_some_and(|id| id != 0) {
            return unsupported(at.field("classID"), NO_COUNTERPART);
        }
        if !n.priorities.is_empty() {
            return unsupported(at.field("priorities"), NO_COUNTERPART);
        }
    }
    // Last, so that what is written verbatim wins over what was converted.
    unified(out, &r.unified)
}

fn memory(out: &mut Lowering<'_>, m: &Memory) -> Result<()> {
    let at = out.at.field("memory");
    if m.kernel_tcp.is_some_and(|v| v > 0) {
        return unsupported(at.field("kernelTCP"), NO_COUNTERPART);
    }
    if m.swappiness.is_some_and(|s| s != 0) {
        return unsupported(at.field("swappiness"), NO_COUNTERPART);
    }
    if m.disable_oom_killer == Some(true) {
        return unsupported(at.field("disableOOMKiller"), NO_COUNTERPART);
    }
    swap(out, m, &at)?;
    if let Some(limit) = m.limit.filter(|l| *l != 0) {
        let write = out.add("memory.max", or_max(limit), at.field("limit"));
        if m.check_before_update == Some(true) && limit > 0 {
            write.policy = Policy::NotBelow("memory.current");
        }
    }
    if let Some(low) = m.reservation.filter(|r| *r != 0) {
        out.add("memory.low", or_max(low), at.field("reservation"));
    }
    Ok(())
}

/// `config.json` limits memory and swap together, version 2 swap alone.
fn swap(out: &mut Lowering<'_>, m: &Memory, at: &FieldPath) -> Result<()> {
    let limit = m.limit.filter(|l| *l != 0);
    let (value, field) = match (m.swap.filter(|s| *s != 0), limit) {
        (None, Some(-1)) => ("max".to_owned(), "limit"),
        (None, _) => return Ok(()),
        (Some(-1), _) => ("max".to_owned(), "swap"),
        (Some(_), None) => {
            return conflict(at.field("swap"), at.field("limit"), "needs a memory limit to be subtracted");
        }
        (Some(swap), Some(-1)) => (swap.to_string(), "swap"),
        (Some(swap), Some(limit)) => ((swap - limit).to_string(), "swap"),
    };
    // Without swap accounting in the kernel there is no file. No limit and no swap are then what is there anyhow.
    let policy = if value == "max" || value == "0" { Policy::IfPresent } else { Policy::Must };
    out.add("memory.swap.max", value, at.field(field)).policy = policy;
    Ok(())
}

fn cpu(out: &mut Lowering<'_>, c: &Cpu) -> Result<()> {
    let at = out.at.field("cpu");
    if c.realtime_runtime.is_some_and(|t| t != 0) {
        return unsupported(at.field("realtimeRuntime"), NO_COUNTERPART);
    }
    if c.realtime_period.is_some_and(|p| p != 0) {
        return unsupported(at.field("realtimePeriod"), NO_COUNTERPART);
    }
    if c.idle == Some(0) {
        // The kernel refuses a weight while the cgroup is idle.
        out.add("cpu.idle", 0, at.field("idle")).policy = Policy::IfPresent;
    }
    if let Some(s) = c.shares.filter(|s| *s != 0) {
        out.add("cpu.weight", shares_to_weight(s), at.field("shares"));
    }
    bandwidth(out, c, &at);
    if c.idle == Some(1) {
        out.add("cpu.idle", 1, at.field("idle"));
    }
    for (list, file, name) in [(&c.cpus, "cpuset.cpus", "cpus"), (&c.mems, "cpuset.mems", "mems")] {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            out.add(file, list, at.field(name));
        }
    }
    Ok(())
}

fn bandwidth(out: &mut Lowering<'_>, c: &Cpu, at: &FieldPath) {
    let (quota, period) = (c.quota.filter(|q| *q != 0), c.period.filter(|p| *p != 0));
    let quota_text = match quota {
        Some(q) if q > 0 => q.to_string(),
        _ => "max".to_owned(),
    };
    match (quota, period) {
        (None, None) => {}
        // The kernel keeps its period, which is 100000 in a new cgroup.
        (Some(_), None) => {
            out.add("cpu.max", quota_text, at.field("quota")).policy = Policy::Reorder;
        }
        (quota, Some(period)) => {
            let field = if quota.is_some() { "quota" } else { "period" };
            out.add("cpu.max", format!("{quota_text} {period}"), at.field(field)).policy = Policy::Reorder;
        }
    }
    if let Some(b) = c.burst {
        // 0 is what there is anyhow on a kernel without the file.
        let policy = if b == 0 { Policy::IfPresent } else { Policy::Reorder };
        out.add("cpu.max.burst", b, at.field("burst")).policy = policy;
    }
}

fn block_io(out: &mut Lowering<'_>, b: &BlockIo) -> Result<()> {
    let at = out.at.field("blockIO");
    if b.leaf_weight.is_some_and(|w| w != 0) {
        return unsupported(at.field("leafWeight"), NO_COUNTERPART);
    }
    if let Some(w) = b.weight.filter(|w| *w != 0) {
        weight(out, "", w, at.field("weight"));
    }
    for (i, d) in b.weight_device.iter().enumerate() {
        let at = at.field("weightDevice").index(i);
        if d.leaf_weight.is_some_and(|w| w != 0) {
            return unsupported(at.field("leafWeight"), NO_COUNTERPART);
        }
        if let Some(w) = d.weight.filter(|w| *w != 0) {
            weight(out, &format!("{}:{} ", d.major, d.minor), w, at.field("weight"));
        }
    }
    for (list, name, _, key) in throttles(b) {
        for (i, d) in list.iter().enumerate() {
            // Version 1 lifts a limit with 0, version 2 refuses that.
            let rate = if d.rate == 0 { "max".to_owned() } else { d.rate.to_string() };
            let line = format!("{}:{} {key}={rate}", d.major, d.minor);
            out.add("io.max", line, at.field(name).index(i).field("rate"));
        }
    }
    Ok(())
}

/// BFQ's file takes the number as it is; the one of io.cost has a range of its own.
fn weight(out: &mut Lowering<'_>, device: &str, w: u16, field: FieldPath) {
    let write = out.add("io.bfq.weight", format!("{device}{w}"), field);
    let value = format!("{device}{}", block_weight(w));
    let fallback = Write { file: "io.weight".into(), value, ..write.clone() };
    write.policy = Policy::OrElse(Box::new(fallback));
}

/// Files that every cgroup has and that are the runtime's to write, not limits.
const RESERVED: [&str; 6] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.type",
    "cgroup.subtree_control",
];

fn unified(out: &mut Lowering<'_>, files: &BTreeMap<String, String>) -> Result<()> {
    for (file, value) in files {
        let field = out.at.field("unified").field(file);
        let controller = match file.split_once('.') {
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => controller,
            _ => return malformed(field, file, "the name of a control file such as memory.max"),
        };
        if file.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            return malformed(field, file, "the name of a control file, which is not a path");
        }
        if RESERVED.contains(&file.as_str()) {
            return unsupported(field, "the file is not a limit");
        }
        // The kernel takes one line per write, and nothing from the rest.
        for line in value.split('\n').filter(|l| !l.is_empty()) {
            let (controller, file) = (Cow::Owned(controller.to_owned()), Cow::Owned(file.clone()));
            out.push(controller, file, line.to_owned(), field.clone());
        }
    }
    Ok(())
}
