//! Limits as properties of a unit, so that systemd agrees with them: whatever it manages and does not know, it puts
//! back to its default the next time it looks at the cgroup (`daemon-reload`, another change of the unit).
//!
//! The source are the lowered [`Write`]s, in which `linux.resources` and its `unified` have become one. All are written
//! to the cgroup as well, because systemd only logs what the kernel refuses; so values that systemd would round are
//! rounded here, the same way.

use std::collections::BTreeMap;

use super::Property;
use super::dbus::Value;
use crate::cgroup::Result;
use crate::cgroup::layout::Kind;
use crate::cgroup::lower::{Policy, Write};
use crate::error::{ConfigError, FieldPath, Problem};

/// systemd's word for no limit, and for no value at all.
const INFINITY: u64 = u64::MAX;
const DEFAULT_PERIOD: u64 = 100_000;
const MICROSECONDS: u64 = 1_000_000;
/// systemd counts processor time in percents of a processor: in steps of 10 ms for each second.
const STEP: u64 = 10_000;

/// Since which version of systemd there is a property; older ones would refuse the whole call.
const CPU_QUOTA_PERIOD: u32 = 242;
const ALLOWED_CPUS: u32 = 244;
const CPU_IDLE: u32 = 252;
const ZSWAP_AND_OOM_POLICY: u32 = 253;
/// `/dev/block/8:0` need not exist any more.
const DEVICES_BY_NUMBER: u32 = 240;

/// What limits become.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// For systemd.
    pub properties: Vec<Property>,
    /// For the cgroup's files: all of them.
    pub writes: Vec<Write>,
}

/// Translates `writes` for a systemd of this version. `creating`: some properties cannot be changed later.
///
/// # Errors
/// A value of `unified` that systemd could not be told.
pub fn translate(writes: &[Write], kind: Kind, version: u32, creating: bool) -> Result<Translated> {
    let mut t = Translation { kind, version, creating, values: BTreeMap::new(), devices: Vec::new() };
    let mut writes = writes.to_vec();
    t.quota(&mut writes)?;
    for write in &mut writes {
        t.add(write)?;
    }
    let values = t.values.into_iter().map(|(name, value)| Property { name: name.to_owned(), value });
    let properties = values.chain(t.devices).collect();
    Ok(Translated { properties, writes })
}

struct Translation {
    kind: Kind,
    version: u32,
    creating: bool,
    /// A later write to the same file wins, as it does in the cgroup.
    values: BTreeMap<&'static str, Value>,
    devices: Vec<Property>,
}

impl Translation {
    fn set(&mut self, name: &'static str, value: Value) {
        self.values.insert(name, value);
    }

    fn has(&self, version: u32, property: &str) -> bool {
        if self.version < version {
            log::debug!("systemd {} has no {property}; the cgroup gets the value nevertheless", self.version);
        }
        self.version >= version
    }

    fn add(&mut self, write: &mut Write) -> Result<()> {
        match self.kind {
            Kind::Unified => self.add_v2(write),
            Kind::Legacy => self.add_v1(write),
        }
    }

    fn add_v2(&mut self, write: &mut Write) -> Result<()> {
        let file: &str = &write.file;
        let sizes = [
            ("memory.max", "MemoryMax"),
            ("memory.high", "MemoryHigh"),
            ("memory.low", "MemoryLow"),
            ("memory.min", "MemoryMin"),
            ("memory.swap.max", "MemorySwapMax"),
            ("memory.zswap.max", "MemoryZSwapMax"),
        ];
        if let Some((_, name)) = sizes.iter().find(|(f, _)| *f == file) {
            if *name != "MemoryZSwapMax" || self.has(ZSWAP_AND_OOM_POLICY, name) {
                self.set(name, Value::Uint64(size(write)?));
            }
            return Ok(());
        }
        match file {
            "cpu.weight" if self.values.get("CPUWeight") != Some(&Value::Uint64(0)) => {
                self.set("CPUWeight", Value::Uint64(number(write)?));
            }
            "cpu.idle" if self.has(CPU_IDLE, "CPUWeight=idle") => match number(write)? {
                1 => self.set("CPUWeight", Value::Uint64(0)),
                // Whatever weight there is comes after this, or has come before it.
                _ => _ = self.values.entry("CPUWeight").or_insert(Value::Uint64(INFINITY)),
            },
            "pids.max" => self.tasks(write)?,
            "cpuset.cpus" | "cpuset.mems" => self.cpuset(write)?,
            "io.bfq.weight" | "io.weight" => self.io_weight(write)?,
            "memory.oom.group" if self.creating && self.has(ZSWAP_AND_OOM_POLICY, "OOMPolicy") => {
                let policy = if number(write)? == 0 { "continue" } else { "kill" };
                self.set("OOMPolicy", Value::string(policy));
            }
            _ => log::debug!("systemd has no property for {file}"),
        }
        Ok(())
    }

    fn add_v1(&mut self, write: &Write) -> Result<()> {
        match &*write.file {
            "memory.limit_in_bytes" => self.set("MemoryLimit", Value::Uint64(size(write)?)),
            "cpu.shares" => self.set("CPUShares", Value::Uint64(number(write)?)),
            "blkio.bfq.weight" | "blkio.weight" => self.set("BlockIOWeight", Value::Uint64(number(write)?)),
            "pids.max" => self.tasks(write)?,
            "cpuset.cpus" | "cpuset.mems" => self.cpuset(write)?,
            file => log::debug!("systemd has no property for {file}"),
        }
        Ok(())
    }

    /// systemd does not take a limit of no tasks.
    fn tasks(&mut self, write: &Write) -> Result<()> {
        self.set("TasksMax", Value::Uint64(size(write)?.max(1)));
        Ok(())
    }

    fn cpuset(&mut self, write: &Write) -> Result<()> {
        let name = if write.file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
        if self.has(ALLOWED_CPUS, name) {
            let bits = bits(&write.value).ok_or_else(|| wrong(write, "a list such as 0-3,7"))?;
            self.set(name, Value::bytes(&bits));
        }
        Ok(())
    }

    /// Quota and period are rounded to what systemd can express; the kernel gets the same.
    fn quota(&mut self, writes: &mut [Write]) -> Result<()> {
        let (mut quota, mut period) = (None, None);
        for write in writes.iter() {
            match (self.kind, &*write.file) {
                (Kind::Unified, "cpu.max") => {
                    let mut words = write.value.split_whitespace();
                    quota = Some(size_of(words.next(), write)?);
                    period = match words.next() {
                        Some(word) => Some(size_of(Some(word), write)?),
                        None => period,
                    };
                }
                (Kind::Legacy, "cpu.cfs_quota_us") => quota = Some(size(write)?),
                (Kind::Legacy, "cpu.cfs_period_us") => period = Some(size(write)?),
                _ => {}
            }
        }
        if quota.is_none() && period.is_none() {
            return Ok(());
        }
        if let Some(period) = period
            && self.has(CPU_QUOTA_PERIOD, "CPUQuotaPeriodUSec")
        {
            self.set("CPUQuotaPeriodUSec", Value::Uint64(period));
        }
        let period = period.filter(|p| *p != 0).unwrap_or(DEFAULT_PERIOD);
        let quota = quota.filter(|q| *q != INFINITY);
        let per_second = quota.map_or(INFINITY, |q| per_second(q, period));
        self.set("CPUQuotaPerSecUSec", Value::Uint64(per_second));
        if quota.is_some() {
            let rounded = u128::from(per_second) * u128::from(period) / u128::from(MICROSECONDS);
            writes.iter_mut().for_each(|write| round(write, self.kind, rounded));
        }
        Ok(())
    }

    /// The files have scales of their own; systemd converts between them, and so does this.
    fn io_weight(&mut self, write: &mut Write) -> Result<()> {
        let is_bfq = write.file == "io.bfq.weight";
        let (device, word) = match write.value.split_once(char::is_whitespace) {
            Some((device, word)) => (device.to_owned(), word.trim()),
            None => (String::new(), write.value.trim()),
        };
        let n: u64 = word.parse().map_err(|_| wrong(write, "a weight"))?;
        let weight = if is_bfq { io_weight(n) } else { n };
        if device.is_empty() || device == "default" {
            self.set("IOWeight", Value::Uint64(weight));
        } else if self.has(DEVICES_BY_NUMBER, "IODeviceWeight by number") {
            let path = Value::String(format!("/dev/block/{device}"));
            let weights = vec![Value::Struct(vec![path, Value::Uint64(weight)])];
            let value = Value::Array("(st)".to_owned(), weights);
            self.devices.push(Property { name: "IODeviceWeight".to_owned(), value });
        }
        if let Policy::OrElse(other) = &mut write.policy {
            other.value = if device.is_empty() { weight.to_string() } else { format!("{device} {weight}") };
        }
        Ok(())
    }
}

/// Rounded up to the next percent, as in runc: not less than what was asked for.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * u128::from(MICROSECONDS) / u128::from(period);
    u64::try_from(exact).unwrap_or(INFINITY - STEP).min(INFINITY - STEP).next_multiple_of(STEP)
}

fn round(write: &mut Write, kind: Kind, quota: u128) {
    match (kind, &*write.file) {
        (Kind::Unified, "cpu.max") => {
            let period = write.value.split_whitespace().nth(1);
            write.value = period.map_or_else(|| quota.to_string(), |period| format!("{quota} {period}"));
        }
        (Kind::Legacy, "cpu.cfs_quota_us") => write.value = quota.to_string(),
        _ => {}
    }
}

/// systemd's scale of 1 to 10000 for BFQ's weight of 1 to 1000; 100 is the default of both.
fn io_weight(bfq: u64) -> u64 {
    if bfq <= 100 { bfq } else { 100 + (bfq.min(1000) - 100) * 11 }
}

fn wrong(write: &Write, expected: &'static str) -> crate::cgroup::Error {
    let problem = Problem::Malformed { value: write.value.clone(), expected };
    ConfigError::new(FieldPath::new(write.field.as_str()), problem).into()
}

fn number(write: &Write) -> Result<u64> {
    write.value.trim().parse().map_err(|_| wrong(write, "a number"))
}

fn size(write: &Write) -> Result<u64> {
    size_of(Some(&write.value), write)
}

/// A number as the kernel takes it, with K, M, G or T after it; or the words for no limit.
fn size_of(word: Option<&str>, write: &Write) -> Result<u64> {
    let word = word.unwrap_or_default().trim();
    if word == "max" || word == "-1" {
        return Ok(INFINITY);
    }
    let units = ["kK", "mM", "gG", "tT"];
    let unit = units.iter().position(|unit| word.ends_with(|c| unit.contains(c)));
    let digits = if unit.is_some() { &word[..word.len() - 1] } else { word };
    let n =
        Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
    let factor = unit.map_or(1, |at| 1 << (10 * (at + 1)));
    n.and_then(|n| n.checked_mul(factor)).ok_or_else(|| wrong(write, "a number or \"max\""))
}

/// `0-2,5` as bits, the lowest first; nothing for an empty list or one of numbers that no machine has.
fn bits(list: &str) -> Option<Vec<u8>> {
    // Of systemd's.
    const MOST: usize = 8192;
    let mut bits = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|n| bits[n / 8] |= 1 << (n % 8));
    }
    Some(bits).filter(|bits: &Vec<u8>| !bits.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cgroup::lower;

    fn translated(resources: serde_json::Value, kind: Kind, version: u32) -> Result<Translated> {
        let resources = serde_json::from_value(resources).unwrap();
        translate(&lower(&resources, kind, &FieldPath::new("r")).unwrap(), kind, version, true)
    }

    fn shown(resources: serde_json::Value, kind: Kind, version: u32) -> Vec<String> {
        let t = translated(resources, kind, version).unwrap();
        t.properties.iter().map(|p| format!("{}={:?}", p.name, p.value)).collect()
    }

    fn written(resources: serde_json::Value, kind: Kind, file: &str) -> String {
        let t = translated(resources, kind, 257).unwrap();
        t.writes.iter().find(|w| w.file == file).unwrap().value.clone()
    }

    #[test]
    fn properties_of_version_2() {
        let max = u64::MAX.to_string();
        for (resources, expected) in [
            (
                json!({"memory": {"limit": 100, "swap": 150, "reservation": 50}}),
                &["MemoryLow=50", "MemoryMax=100", "MemorySwapMax=50"][..],
            ),
            (
                json!({"memory": {"limit": -1}}),
                &[&format!("MemoryMax={max}"), &format!("MemorySwapMax={max}")],
            ),
            (json!({"cpu": {"shares": 1024}}), &["CPUWeight=100"]),
            (json!({"cpu": {"shares": 512, "idle": 1}}), &["CPUWeight=0"]),
            (json!({"cpu": {"shares": 1024, "idle": 0}}), &["CPUWeight=100"]),
            (json!({"cpu": {"idle": 0}}), &[&format!("CPUWeight={max}")]),
            (
                json!({"cpu": {"cpus": "0-2,9", "mems": "0"}}),
                &["AllowedCPUs=[7, 2]", "AllowedMemoryNodes=[1]"],
            ),
            (json!({"pids": {"limit": 0}}), &["TasksMax=1"]),
            (json!({"pids": {"limit": -1}}), &[&format!("TasksMax={max}")]),
            (json!({"blockIO": {"weight": 200}}), &["IOWeight=1200"]),
            (
                json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 50}]}}),
                &["IODeviceWeight=[(\"/dev/block/8:0\", 50)]"],
            ),
            (
                json!({"unified": {"memory.high": "1M", "memory.min": "0", "memory.zswap.max": "max"}}),
                &["MemoryHigh=1048576", "MemoryMin=0", &format!("MemoryZSwapMax={max}")],
            ),
            (json!({"memory": {"limit": 100}, "unified": {"memory.max": "7"}}), &["MemoryMax=7"]),
            (
                json!({"unified": {"io.weight": "default 20\n8:16 30", "memory.oom.group": "1"}}),
                &["IOWeight=20", "OOMPolicy=\"kill\"", "IODeviceWeight=[(\"/dev/block/8:16\", 30)]"],
            ),
            (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 5}]}), &[]),
        ] {
            assert_eq!(shown(resources.clone(), Kind::Unified, 257), expected, "{resources}");
        }
    }

    #[test]
    fn properties_of_version_1() {
        let resources = json!({"memory": {"limit": 100}, "cpu": {"shares": 512, "quota": 5000, "period": 10000, "cpus": "1"},
            "blockIO": {"weight": 300}, "pids": {"limit": 5}});
        assert_eq!(
            shown(resources, Kind::Legacy, 257),
            [
                "AllowedCPUs=[2]",
                "BlockIOWeight=300",
                "CPUQuotaPerSecUSec=500000",
                "CPUQuotaPeriodUSec=10000",
                "CPUShares=512",
                "MemoryLimit=100",
                "TasksMax=5"
            ]
        );
    }

    #[test]
    fn quotas_are_rounded_up_to_percents() {
        let table = [
            (json!({"quota": 50000, "period": 100_000}), 500_000, "50000 100000"),
            // runc's example: 0.5025 of a processor is 51 %.
            (json!({"quota": 50250, "period": 100_000}), 510_000, "51000 100000"),
            (json!({"quota": 1, "period": 100_000}), 10_000, "1000 100000"),
            (json!({"quota": 12345}), 130_000, "13000"),
            (json!({"period": 50000}), u64::MAX, "max 50000"),
            (json!({"quota": -1}), u64::MAX, "max"),
        ];
        for (cpu, per_second, line) in table {
            let resources = json!({"cpu": cpu});
            let properties = shown(resources.clone(), Kind::Unified, 241);
            assert_eq!(properties, [format!("CPUQuotaPerSecUSec={per_second}")], "{resources}");
            assert_eq!(written(resources, Kind::Unified, "cpu.max"), line);
        }
        let v1 = json!({"cpu": {"quota": 50250, "period": 100_000}});
        assert_eq!(written(v1.clone(), Kind::Legacy, "cpu.cfs_quota_us"), "51000");
        assert_eq!(written(v1, Kind::Legacy, "cpu.cfs_period_us"), "100000");
        let unified = json!({"unified": {"cpu.max": "max 20000"}});
        assert_eq!(
            shown(unified, Kind::Unified, 257),
            [format!("CPUQuotaPerSecUSec={}", u64::MAX), "CPUQuotaPeriodUSec=20000".into()]
        );
    }

    #[test]
    fn weights_are_what_systemd_would_write() {
        let weight = |w: u64| json!({"blockIO": {"weight": w}});
        let fallback = |w: u64| {
            let t = translated(weight(w), Kind::Unified, 257).unwrap();
            match &t.writes[0].policy {
                Policy::OrElse(other) => (t.writes[0].value.clone(), other.value.clone()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(fallback(10), ("10".into(), "10".into()));
        assert_eq!(fallback(1000), ("1000".into(), "10000".into()));
    }

    #[test]
    fn old_versions_are_asked_for_less() {
        let resources = json!({"cpu": {"cpus": "0", "idle": 1, "period": 5000}, "unified": {"memory.zswap.max": "1",
            "memory.oom.group": "1"}});
        assert_eq!(shown(resources, Kind::Unified, 239), [format!("CPUQuotaPerSecUSec={}", u64::MAX)]);
    }

    #[test]
    fn what_systemd_cannot_be_told_names_its_member() {
        for (file, value) in [
            ("memory.max", "1X"),
            ("memory.high", "-2"),
            ("cpu.max", ""),
            ("cpu.max", "x 5"),
            ("cpu.weight", "a"),
            ("cpuset.cpus", "3-1"),
            ("cpuset.cpus", "99999999"),
            ("pids.max", "99999999999999999999"),
            ("io.weight", "8:0 x"),
        ] {
            let Err(error) = translated(json!({"unified": {file: value}}), Kind::Unified, 257) else {
                // An empty value is no write at all.
                assert_eq!(value, "");
                continue;
            };
            let expected = format!("config.json: r.unified.{file}: \"{value}\" is not ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}
