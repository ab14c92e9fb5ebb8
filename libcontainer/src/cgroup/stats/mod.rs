//! What a container has used: the `data` of `events --stats`, with the members and units of runc.
//!
//! Members that are zero are left out where runc leaves them out, and what a hierarchy does not count is zero.

mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::dir::Dir;
use super::layout::Kind;
use super::{Cgroup, Member, Result};

/// Statistics of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// CPUs and memory nodes (v1).
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices.
    pub blkio: BlkioStats,
    /// Huge pages, by page size.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// Cache and memory bandwidth.
    pub intel_rdt: crate::resctrl::Stats,
    /// Always null: a container's interfaces are not the runtime's.
    pub network_interfaces: Option<Vec<String>>,
}

/// CPU time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// Time used.
    pub usage: CpuUsage,
    /// Time denied.
    pub throttling: Throttling,
    /// Stalls (v2, Linux 4.20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By CPU (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, by CPU (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// Not in the kernel, by CPU (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// Not in the kernel.
    pub user: u64,
}

/// The effect of a CPU quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds that tasks had to wait.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// State of the v1 cpuset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named after the files of cpuset(7)")]
pub struct CpusetStats {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, on either version.
    pub swap: MemoryEntry,
    /// Kernel memory (v1).
    pub kernel: MemoryEntry,
    /// TCP buffers (v1).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Stalls (v2, Linux 4.20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit; no limit is a very large number.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was in use.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit (v1).
    pub failcnt: u64,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PidsStats {
    /// Present number.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Limit; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "named after the files of the blkio controller")]
pub struct BlkioStats {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Stalls (v2, Linux 4.20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One counter of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write`, `Total` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// Bytes, operations or nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HugetlbStats {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was in use (v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some tasks stalled.
    pub some: PsiLine,
    /// All tasks stalled.
    pub full: PsiLine,
}

/// Share of the time in per cent, and microseconds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PsiLine {
    /// Over 10 seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// Microseconds so far.
    pub total: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Cgroup {
    /// Reads what the container has used. Counters that the kernel does not have are zero.
    ///
    /// # Errors
    /// When the cgroup is gone.
    pub fn stats(&self) -> Result<Stats> {
        // The readers below take everything for zero, a cgroup that is gone too.
        if let Some(m) = self.process_member() {
            m.dir.open_read("cgroup.procs").map_err(|e| m.dir.error("open", "cgroup.procs", e))?;
        }
        Ok(match self.kind {
            Kind::Legacy => v1::read(self),
            Kind::Unified => self.unified().map_or_else(Stats::default, v2::read),
        })
    }
}

/// Lenient readers: a file that is not there counts nothing.
impl Member {
    fn text(&self, file: &str) -> String {
        self.dir.read(file).unwrap_or_default()
    }

    /// One number; `max` is the greatest one.
    fn number(&self, file: &str) -> Option<u64> {
        match self.dir.read(file).ok()?.trim() {
            "max" => Some(u64::MAX),
            text => text.parse().ok(),
        }
    }

    fn entry(&self, limit: &str, usage: &str, max: &str, failcnt: &str) -> MemoryEntry {
        let number = |file: &str| self.number(file).unwrap_or(0);
        MemoryEntry { limit: number(limit), usage: number(usage), max: number(max), failcnt: number(failcnt) }
    }

    fn pids(&self) -> PidsStats {
        let limit = self.number("pids.max").filter(|l| *l != u64::MAX);
        PidsStats { current: self.number("pids.current").unwrap_or(0), limit: limit.unwrap_or(0) }
    }
}

/// Lines of `key number`.
fn keyed_lines(text: &str) -> BTreeMap<String, u64> {
    let line = |l: &str| {
        let (key, value) = l.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Page sizes of which there is a file.
fn page_sizes(dir: &Dir) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.path()) else { return Vec::new() };
    let size = |e: std::io::Result<std::fs::DirEntry>| {
        let name = e.ok()?.file_name().into_string().ok()?;
        let (size, rest) = name.strip_prefix("hugetlb.")?.split_once('.')?;
        matches!(rest, "max" | "limit_in_bytes").then(|| size.to_owned())
    };
    entries.filter_map(size).collect()
}
