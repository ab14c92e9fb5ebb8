//! Counters of version 1.

use super::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, CpusetStats, HugetlbStats, MemoryStats, Stats, Throttling,
};
use super::{Member, device, keyed_lines, page_sizes};
use crate::cgroup::Cgroup;
use crate::cgroup::dir::keyed;

/// `cpuacct.stat` counts in units of `USER_HZ`, which is 100 on every architecture (alpha and ia64 had others).
const TICK: u64 = 10_000_000;

pub(super) fn read(cgroup: &Cgroup) -> Stats {
    let mut stats = Stats::default();
    if let Some(m) = cgroup.member_of("cpuacct") {
        stats.cpu.usage = usage(m);
    }
    if let Some(m) = cgroup.member_of("cpu") {
        let text = m.text("cpu.stat");
        let count = |key: &str| keyed(&text, key).unwrap_or(0);
        let throttling = Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: count("throttled_time"),
        };
        stats.cpu = CpuStats { throttling, ..stats.cpu };
    }
    if let Some(m) = cgroup.member_of("cpuset") {
        stats.cpuset = cpuset(m);
    }
    if let Some(m) = cgroup.member_of("memory") {
        stats.memory = memory(m);
    }
    if let Some(m) = cgroup.member_of("pids") {
        stats.pids = m.pids();
    }
    if let Some(m) = cgroup.member_of("blkio") {
        stats.blkio = blkio(m);
    }
    if let Some(m) = cgroup.member_of("hugetlb") {
        stats.hugetlb = page_sizes(&m.dir).into_iter().map(|size| hugetlb(m, size)).collect();
    }
    stats
}

fn usage(m: &Member) -> CpuUsage {
    let ticks = m.text("cpuacct.stat");
    let nanoseconds = |key: &str| keyed(&ticks, key).unwrap_or(0) * TICK;
    // «cpu user system», one line for each.
    let all = m.text("cpuacct.usage_all");
    let column = |n: usize| all.lines().skip(1).filter_map(|l| l.split(' ').nth(n)?.parse().ok()).collect();
    CpuUsage {
        total: m.number("cpuacct.usage").unwrap_or(0),
        percpu: m.text("cpuacct.usage_percpu").split_whitespace().filter_map(|n| n.parse().ok()).collect(),
        percpu_user: column(1),
        percpu_kernel: column(2),
        kernel: nanoseconds("system"),
        user: nanoseconds("user"),
    }
}

fn cpuset(m: &Member) -> CpusetStats {
    let number = |file: &str| m.number(file).unwrap_or(0);
    CpusetStats {
        cpus: list(&m.text("cpuset.cpus")),
        cpu_exclusive: number("cpuset.cpu_exclusive"),
        mems: list(&m.text("cpuset.mems")),
        mem_hardwall: number("cpuset.mem_hardwall"),
        mem_exclusive: number("cpuset.mem_exclusive"),
        memory_migrate: number("cpuset.memory_migrate"),
        memory_spread_page: number("cpuset.memory_spread_page"),
        memory_spread_slab: number("cpuset.memory_spread_slab"),
        memory_pressure: number("cpuset.memory_pressure"),
        sched_load_balance: number("cpuset.sched_load_balance"),
        sched_relax_domain_level: m.text("cpuset.sched_relax_domain_level").trim().parse().unwrap_or(0),
    }
}

/// `0-2,7` as numbers.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn memory(m: &Member) -> MemoryStats {
    let raw = keyed_lines(&m.text("memory.stat"));
    let entry = |kind: &str| {
        let file = |name: &str| format!("memory.{kind}{name}");
        m.entry(
            &file("limit_in_bytes"),
            &file("usage_in_bytes"),
            &file("max_usage_in_bytes"),
            &file("failcnt"),
        )
    };
    MemoryStats {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry(""),
        swap: entry("memsw."),
        kernel: entry("kmem."),
        kernel_tcp: entry("kmem.tcp."),
        raw,
        psi: None,
    }
}

/// BFQ counts for its own devices; the throttling layer counts for all.
fn blkio(m: &Member) -> BlkioStats {
    let entries = |file: &str| entries(&m.text(file));
    let bytes = entries("blkio.bfq.io_service_bytes_recursive");
    if bytes.is_empty() {
        return BlkioStats {
            io_service_bytes_recursive: entries("blkio.throttle.io_service_bytes_recursive"),
            io_serviced_recursive: entries("blkio.throttle.io_serviced_recursive"),
            ..BlkioStats::default()
        };
    }
    BlkioStats {
        io_service_bytes_recursive: bytes,
        io_serviced_recursive: entries("blkio.bfq.io_serviced_recursive"),
        io_queued_recursive: entries("blkio.bfq.io_queued_recursive"),
        io_service_time_recursive: entries("blkio.bfq.io_service_time_recursive"),
        io_wait_time_recursive: entries("blkio.bfq.io_wait_time_recursive"),
        io_merged_recursive: entries("blkio.bfq.io_merged_recursive"),
        io_time_recursive: entries("blkio.bfq.time_recursive"),
        sectors_recursive: entries("blkio.bfq.sectors_recursive"),
        psi: None,
    }
}

/// Lines of `8:0 Read 4096`, or `8:0 17` for counters without an operation; not the last one, the sum of all devices.
pub(super) fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let (op, value) = match (words.next()?, words.next()) {
            (op, Some(value)) => (op.to_owned(), value),
            (value, None) => (String::new(), value),
        };
        Some(BlkioEntry { major, minor, op, value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

fn hugetlb(m: &Member, size: String) -> (String, HugetlbStats) {
    let number = |name: &str| m.number(&format!("hugetlb.{size}.{name}")).unwrap_or(0);
    let stats = HugetlbStats {
        usage: number("usage_in_bytes"),
        max: number("max_usage_in_bytes"),
        failcnt: number("failcnt"),
    };
    (size, stats)
}
