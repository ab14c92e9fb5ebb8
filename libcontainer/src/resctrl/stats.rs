//! What a container has of the cache and of the memory bandwidth, under the names that runc's `events` has.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{Groups, schemata};

/// Member `intel_rdt` of the statistics; empty without groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// What the cache allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// The line of the root group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// The line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// What the memory allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    /// The line of the root group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// The line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// Bandwidth in use, by cache domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<BandwidthUse>,
    /// Cache in use, by cache domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<CacheUse>,
}

/// `info/L3`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheInfo {
    /// All of the cache, as a mask.
    pub cbm_mask: String,
    /// The least number of bits in a mask.
    pub min_cbm_bits: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// `info/MB`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BandwidthInfo {
    /// Step of the percentage.
    pub bandwidth_gran: u64,
    /// Whether the scale is linear.
    pub delay_linear: u64,
    /// The least percentage.
    pub min_bandwidth: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// Bytes of memory traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BandwidthUse {
    /// All of it.
    pub mbm_total_bytes: u64,
    /// Within the domain.
    pub mbm_local_bytes: u64,
}

/// Bytes of cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CacheUse {
    /// In use.
    pub llc_occupancy: u64,
}

impl Groups {
    /// What the container has and uses; what the hardware does not tell is left out.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let info = self.root.join("info");
        let line = |dir: &Path, resource| {
            let text = fs::read_to_string(dir.join("schemata")).unwrap_or_default();
            schemata::same_resource(&text, resource).unwrap_or_default().to_owned()
        };
        let counting = self.monitor.as_deref().unwrap_or(&self.class).join("mon_data");
        let (mbm_stats, cmt_stats) = domains(&counting);
        Stats {
            l3_cache_info: cache(&info.join("L3")),
            l3_cache_schema_root: line(&self.root, "L3"),
            l3_cache_schema: line(&self.class, "L3"),
            mem_bw_info: bandwidth(&info.join("MB")),
            mem_bw_schema_root: line(&self.root, "MB"),
            mem_bw_schema: line(&self.class, "MB"),
            mbm_stats,
            cmt_stats,
        }
    }
}

fn text(dir: &Path, file: &str) -> Option<String> {
    fs::read_to_string(dir.join(file)).ok().map(|t| t.trim().to_owned())
}

/// A counter may also say `Unavailable` or `Error`.
fn number(dir: &Path, file: &str) -> Option<u64> {
    text(dir, file)?.parse().ok()
}

fn cache(dir: &Path) -> Option<CacheInfo> {
    let cbm_mask = text(dir, "cbm_mask")?;
    let number = |file| number(dir, file).unwrap_or(0);
    Some(CacheInfo { cbm_mask, min_cbm_bits: number("min_cbm_bits"), num_closids: number("num_closids") })
}

fn bandwidth(dir: &Path) -> Option<BandwidthInfo> {
    let num_closids = number(dir, "num_closids")?;
    let number = |file| number(dir, file).unwrap_or(0);
    Some(BandwidthInfo {
        bandwidth_gran: number("bandwidth_gran"),
        delay_linear: number("delay_linear"),
        min_bandwidth: number("min_bandwidth"),
        num_closids,
    })
}

/// Directories `mon_L3_00` and so on, in the order of their numbers.
fn domains(dir: &Path) -> (Vec<BandwidthUse>, Vec<CacheUse>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_cache = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("mon_L3_"));
    let mut dirs: Vec<_> = entries.filter(|p| is_cache(p)).collect();
    dirs.sort();
    let bandwidth = dirs.iter().filter_map(|d| {
        let (total, local) = (number(d, "mbm_total_bytes"), number(d, "mbm_local_bytes"));
        (total.is_some() || local.is_some()).then(|| BandwidthUse {
            mbm_total_bytes: total.unwrap_or(0),
            mbm_local_bytes: local.unwrap_or(0),
        })
    });
    let cache = dirs.iter().filter_map(|d| Some(CacheUse { llc_occupancy: number(d, "llc_occupancy")? }));
    (bandwidth.collect(), cache.collect())
}
