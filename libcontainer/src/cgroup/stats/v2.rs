//! Counters of version 2.

use super::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, HugetlbStats, MemoryEntry, MemoryStats, Psi, PsiLine, Stats,
};
use super::{Member, Throttling, device, keyed_lines, page_sizes};
use crate::cgroup::dir::keyed;

pub(super) fn read(m: &Member) -> Stats {
    Stats {
        cpu: cpu(m),
        memory: memory(m),
        pids: pids(m),
        blkio: io(m),
        hugetlb: page_sizes(&m.dir).into_iter().map(|size| hugetlb(m, size)).collect(),
        ..Stats::default()
    }
}

fn cpu(m: &Member) -> CpuStats {
    let text = m.text("cpu.stat");
    let count = |key: &str| keyed(&text, key).unwrap_or(0);
    CpuStats {
        usage: CpuUsage {
            total: count("usage_usec") * 1000,
            kernel: count("system_usec") * 1000,
            user: count("user_usec") * 1000,
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: count("throttled_usec") * 1000,
        },
        psi: psi(&m.text("cpu.pressure")),
    }
}

/// Version 1 counts memory and swap together, and so do the statistics.
fn memory(m: &Member) -> MemoryStats {
    let raw = keyed_lines(&m.text("memory.stat"));
    let usage = m.entry("memory.max", "memory.current", "memory.peak", "");
    let only_swap = m.entry("memory.swap.max", "memory.swap.current", "", "");
    let swap = MemoryEntry {
        limit: only_swap.limit.saturating_add(usage.limit),
        usage: only_swap.usage + usage.usage,
        ..MemoryEntry::default()
    };
    let cache = raw.get("file").copied().unwrap_or(0);
    let psi = psi(&m.text("memory.pressure"));
    MemoryStats { cache, usage, swap, raw, psi, ..MemoryStats::default() }
}

/// Without the controller the processes are counted.
fn pids(m: &Member) -> super::PidsStats {
    let mut pids = m.pids();
    if pids.current == 0 {
        pids.current = m.text("cgroup.procs").lines().count() as u64;
    }
    pids
}

fn io(m: &Member) -> BlkioStats {
    let mut stats = BlkioStats { psi: psi(&m.text("io.pressure")), ..BlkioStats::default() };
    for line in m.text("io.stat").lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|w| w.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut stats.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut stats.io_service_bytes_recursive, "Write"),
                "rios" => (&mut stats.io_serviced_recursive, "Read"),
                "wios" => (&mut stats.io_serviced_recursive, "Write"),
                // Version 1, whose names these are, has nothing like the others.
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    stats
}

fn hugetlb(m: &Member, size: String) -> (String, HugetlbStats) {
    let file = |name: &str| format!("hugetlb.{size}.{name}");
    let usage = m.number(&file("current")).unwrap_or(0);
    let failcnt = keyed(&m.text(&file("events")), "max").unwrap_or(0);
    (size, HugetlbStats { usage, max: 0, failcnt })
}

/// Nothing if the file is empty or missing, or reading it fails with EOPNOTSUPP (`psi=0`).
pub(super) fn psi(text: &str) -> Option<Psi> {
    let line = |kind: &str| {
        let mut line = PsiLine::default();
        let words = text.lines().find_map(|l| l.strip_prefix(kind))?;
        for (key, value) in words.split_whitespace().filter_map(|w| w.split_once('=')) {
            match key {
                "avg10" => line.avg10 = value.parse().ok()?,
                "avg60" => line.avg60 = value.parse().ok()?,
                "avg300" => line.avg300 = value.parse().ok()?,
                "total" => line.total = value.parse().ok()?,
                _ => {}
            }
        }
        Some(line)
    };
    Some(Psi { some: line("some ")?, full: line("full ").unwrap_or_default() })
}
