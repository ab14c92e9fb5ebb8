//! Control files of version 1.

use super::{Lowering, Policy, Result, Write, hugepages, out_of_range, pids, rdma, throttles, unsupported};
use crate::config::{BlockIo, Cpu, Memory, Network, Resources};
use crate::error::FieldPath;

pub(super) fn lower(out: &mut Lowering<'_>, r: &Resources) -> Result<()> {
    if let Some(key) = r.unified.keys().next() {
        return unsupported(out.at.field("unified").field(key), "this machine's cgroups are version 1");
    }
    if let Some(m) = &r.memory {
        memory(out, m);
    }
    if let Some(c) = &r.cpu {
        cpu(out, c)?;
    }
    pids(out, r);
    if let Some(b) = &r.block_io {
        block_io(out, b);
    }
    hugepages(out, r, "limit_in_bytes");
    rdma(out, r);
    if let Some(n) = &r.network {
        network(out, n);
    }
    Ok(())
}

fn memory(out: &mut Lowering<'_>, m: &Memory) {
    let at = out.at.field("memory");
    if let Some(hierarchy) = m.use_hierarchy {
        // Linux 5.11 and later: 1 is all there is, and 0 is refused.
        let value = u8::from(hierarchy);
        out.add("memory.use_hierarchy", value, at.field("useHierarchy"));
    }
    if let Some(limit) = set(m.limit) {
        out.add("memory.limit_in_bytes", limit, at.field("limit")).policy = Policy::Reorder;
    }
    match set(m.swap) {
        Some(-1) => memsw(out, -1, at.field("swap")).policy = Policy::IfPresent,
        Some(swap) => memsw(out, swap, at.field("swap")).policy = Policy::Reorder,
        // The memory limit can be lifted only together with the one of memory and swap, if the kernel has that.
        None if m.limit == Some(-1) => memsw(out, -1, at.field("limit")).policy = Policy::IfPresent,
        None => {}
    }
    // Not `kernel`: Linux 5.16 has given up that limit, and the specification advises against it.
    for (value, file, name) in [
        (m.reservation, "memory.soft_limit_in_bytes", "reservation"),
        (m.kernel_tcp, "memory.kmem.tcp.limit_in_bytes", "kernelTCP"),
    ] {
        if let Some(v) = set(value) {
            out.add(file, v, at.field(name));
        }
    }
    if let Some(s) = m.swappiness {
        out.add("memory.swappiness", s, at.field("swappiness"));
    }
    if m.disable_oom_killer == Some(true) {
        out.add("memory.oom_control", 1, at.field("disableOOMKiller"));
    }
}

fn memsw<'a>(out: &'a mut Lowering<'_>, value: i64, field: FieldPath) -> &'a mut Write {
    out.add("memory.memsw.limit_in_bytes", value, field)
}

fn cpu(out: &mut Lowering<'_>, c: &Cpu) -> Result<()> {
    let at = out.at.field("cpu");
    if c.idle == Some(0) {
        // The kernel refuses shares while the cgroup is idle.
        out.add("cpu.idle", 0, at.field("idle")).policy = Policy::IfPresent;
    }
    match c.shares {
        None | Some(0) => {}
        Some(s @ 2..=262_144) => _ = out.add("cpu.shares", s, at.field("shares")),
        // The kernel would take it and use the nearest bound.
        Some(s) => return out_of_range(at.field("shares"), s, "between 2 and 262144"),
    }
    if let Some(p) = c.realtime_period.filter(|p| *p != 0) {
        out.add("cpu.rt_period_us", p, at.field("realtimePeriod")).policy = Policy::Reorder;
    }
    if let Some(t) = c.realtime_runtime.filter(|t| *t != 0) {
        out.add("cpu.rt_runtime_us", t, at.field("realtimeRuntime")).policy = Policy::Reorder;
    }
    if let Some(p) = c.period.filter(|p| *p != 0) {
        out.add("cpu.cfs_period_us", p, at.field("period")).policy = Policy::Reorder;
    }
    if let Some(q) = c.quota.filter(|q| *q != 0) {
        out.add("cpu.cfs_quota_us", q.max(-1), at.field("quota")).policy = Policy::Reorder;
    }
    if let Some(b) = c.burst {
        // 0 is what there is anyhow on a kernel without the file.
        let policy = if b == 0 { Policy::IfPresent } else { Policy::Reorder };
        out.add("cpu.cfs_burst_us", b, at.field("burst")).policy = policy;
    }
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

fn block_io(out: &mut Lowering<'_>, b: &BlockIo) {
    let at = out.at.field("blockIO");
    // CFQ's files went away with Linux 5.0, BFQ's came with 4.12 and changed their names since.
    if let Some(w) = b.weight.filter(|w| *w != 0) {
        either(out, "blkio.bfq.weight", "blkio.weight", w.to_string(), at.field("weight"));
    }
    if let Some(w) = b.leaf_weight.filter(|w| *w != 0) {
        out.add("blkio.leaf_weight", w, at.field("leafWeight"));
    }
    for (i, d) in b.weight_device.iter().enumerate() {
        let at = at.field("weightDevice").index(i);
        let line = |w: u16| format!("{}:{} {w}", d.major, d.minor);
        if let Some(w) = d.weight.filter(|w| *w != 0) {
            either(out, "blkio.bfq.weight_device", "blkio.weight_device", line(w), at.field("weight"));
        }
        if let Some(w) = d.leaf_weight.filter(|w| *w != 0) {
            out.add("blkio.leaf_weight_device", line(w), at.field("leafWeight"));
        }
    }
    for (list, name, file, _) in throttles(b) {
        for (i, d) in list.iter().enumerate() {
            let line = format!("{}:{} {}", d.major, d.minor, d.rate);
            out.add(file, line, at.field(name).index(i).field("rate"));
        }
    }
}

/// One file, or the other if the first does not exist.
fn either(out: &mut Lowering<'_>, file: &'static str, other: &'static str, value: String, field: FieldPath) {
    let write = out.add(file, value, field);
    let fallback = Write { file: other.into(), ..write.clone() };
    write.policy = Policy::OrElse(Box::new(fallback));
}

fn network(out: &mut Lowering<'_>, n: &Network) {
    let at = out.at.field("network");
    if let Some(id) = n.class_id.filter(|id| *id != 0) {
        out.add("net_cls.classid", id, at.field("classID"));
    }
    for (i, p) in n.priorities.iter().enumerate() {
        let line = format!("{} {}", p.name, p.priority);
        out.add("net_prio.ifpriomap", line, at.field("priorities").index(i));
    }
}

/// The value, unless it is the zero by which engines say that there is none.
fn set(value: Option<i64>) -> Option<i64> {
    value.filter(|v| *v != 0)
}
