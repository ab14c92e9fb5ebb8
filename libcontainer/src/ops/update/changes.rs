//! What is asked for, by whom, and what follows from it.

use serde_json::{Value, json};

use super::{ConfigError, Error, FieldPath, Problem, Resources, Result, UpdateOptions, control};
use crate::cgroup::{self, Kind, Policy, Write};
use crate::config::{self, BlockIo, Cpu, IntelRdt, Memory};

/// Members of `linux.resources` and their flags.
const FLAGS: &[(&str, &str)] = &[
    ("memory.limit", "--memory"),
    ("memory.reservation", "--memory-reservation"),
    ("memory.swap", "--memory-swap"),
    ("memory.kernel", "--kernel-memory"),
    ("memory.kernelTCP", "--kernel-memory-tcp"),
    ("cpu.shares", "--cpu-share"),
    ("cpu.quota", "--cpu-quota"),
    ("cpu.burst", "--cpu-burst"),
    ("cpu.period", "--cpu-period"),
    ("cpu.realtimeRuntime", "--cpu-rt-runtime"),
    ("cpu.realtimePeriod", "--cpu-rt-period"),
    ("cpu.cpus", "--cpuset-cpus"),
    ("cpu.mems", "--cpuset-mems"),
    ("cpu.idle", "--cpu-idle"),
    ("pids.limit", "--pids-limit"),
    ("blockIO.weight", "--blkio-weight"),
];
const IN_CONFIG: &str = "linux.resources";

/// The changes, and where each was asked for.
pub(super) struct Changes {
    resources: Resources,
    document: Value,
    flags: Value,
}

impl Changes {
    pub fn read(options: &UpdateOptions) -> Result<Changes> {
        let of_document = match &options.document {
            Some(bytes) => config::from_slice(bytes).map_err(in_document)?,
            None => Resources::default(),
        };
        let document = without_zeros(of_document)?;
        let flags = without_zeros(options.flags.clone())?;
        let mut all = document.clone();
        merge(&mut all, &flags);
        let resources = serde_json::from_value(all).map_err(not_json)?;
        Ok(Changes { resources, document, flags })
    }

    /// Adds present values without which the new ones cannot be written: one file of version 2 has quota and period,
    /// and its limit of swap is what is left of `memory.swap` after `memory.limit`.
    pub fn complete(&mut self, present: &Resources, kind: Kind) {
        let now = present.cpu.clone().unwrap_or_default();
        if let Some(cpu) = &mut self.resources.cpu {
            if kind == Kind::Unified && cpu.period.is_some() && cpu.quota.is_none() {
                cpu.quota = now.quota;
            }
            // systemd counts a quota per second, which takes the period.
            if cpu.quota.is_some_and(|quota| quota != 0) && cpu.period.is_none() {
                cpu.period = now.period;
            }
            // The kernel puts shares to their default when a group ceases to be idle.
            if cpu.idle == Some(0) && now.idle == Some(1) && cpu.shares.is_none() {
                cpu.shares = now.shares;
            }
        }
        if let Some(memory) = &mut self.resources.memory
            && kind == Kind::Unified
            && memory.limit.is_none()
            && memory.swap.is_some_and(|swap| swap > 0)
        {
            memory.limit = present.memory.as_ref().and_then(|m| m.limit);
        }
    }

    /// What to write to the cgroup.
    pub fn lower(&self, kind: Kind) -> Result<Vec<Write>> {
        let mut writes =
            cgroup::lower(&self.resources, kind, &FieldPath::new(IN_CONFIG)).map_err(|e| self.explain(e))?;
        writes.iter_mut().for_each(|w| self.rename(w));
        Ok(writes)
    }

    /// What to remember.
    pub fn persistent(&self, present: &Resources, kind: Kind) -> Resources {
        let mut resources = self.resources.clone();
        let Some(Memory { limit: Some(limit), swap: swap @ None, .. }) = &mut resources.memory else {
            return resources;
        };
        let now = present.memory.clone().unwrap_or_default();
        if *limit == -1 {
            // Memory without a limit has none for memory and swap either.
            *swap = Some(-1);
        } else if let (Some(both @ 1..), Kind::Unified) = (now.swap, kind) {
            // Version 2 limits swap alone, and that limit has not changed.
            *swap = Some(both - now.limit.unwrap_or(0).max(0) + *limit);
        }
        resources
    }

    fn rename(&self, write: &mut Write) {
        write.field = self.asked_by(&write.field);
        if let Policy::OrElse(other) = &mut write.policy {
            self.rename(other);
        }
    }

    /// The flag or the member of the document that a member of the configuration was asked for by.
    fn asked_by(&self, field: &FieldPath) -> FieldPath {
        match field.as_str() {
            "linux.intelRdt.l3CacheSchema" => return FieldPath::new(control::L3_CACHE),
            "linux.intelRdt.memBwSchema" => return FieldPath::new(control::MEM_BW),
            _ => {}
        }
        let Some(member) = field.as_str().strip_prefix(IN_CONFIG).and_then(|m| m.strip_prefix('.')) else {
            return field.clone();
        };
        let flag = FLAGS.iter().find(|(name, _)| *name == member).map(|(_, flag)| *flag);
        let has = |asked: &Value| asked.pointer(&format!("/{}", member.replace('.', "/"))).is_some();
        match flag {
            Some(flag) if has(&self.flags) => FieldPath::new(flag),
            Some(_) if !has(&self.document) => field.clone(),
            _ => FieldPath::new(format!("--resources: {member}")),
        }
    }

    /// An error about the configuration is one about what was asked for.
    pub fn explain(&self, error: ConfigError) -> Error {
        let field = self.asked_by(&error.path);
        let problem = match error.problem {
            Problem::Conflict { with, why } => Problem::Conflict { with: self.asked_by(&with), why },
            problem => problem,
        };
        Error::Limit { field, problem }
    }
}

fn in_document(error: ConfigError) -> Error {
    let ConfigError { path, problem } = error.in_document("--resources");
    Error::Limit { field: path, problem }
}

fn not_json(error: serde_json::Error) -> Error {
    ConfigError::new(FieldPath::root(), Problem::Json(error)).into()
}

/// Only what is asked for: no device rules, and none of the zeros and empty texts that stand for nothing.
fn without_zeros(mut resources: Resources) -> Result<Value> {
    resources.devices.clear();
    if let Some(Memory { limit, reservation, swap, kernel, kernel_tcp, .. }) = &mut resources.memory {
        for value in [limit, reservation, swap, kernel, kernel_tcp] {
            *value = value.filter(|v| *v != 0);
        }
    }
    if let Some(Cpu { shares, quota, period, realtime_runtime, realtime_period, cpus, mems, .. }) =
        &mut resources.cpu
    {
        for value in [shares, period, realtime_period] {
            *value = value.filter(|v| *v != 0);
        }
        for value in [quota, realtime_runtime] {
            *value = value.filter(|v| *v != 0);
        }
        for list in [cpus, mems] {
            *list = list.take().filter(|l| !l.is_empty());
        }
    }
    if let Some(BlockIo { weight, leaf_weight, .. }) = &mut resources.block_io {
        for value in [weight, leaf_weight] {
            *value = value.filter(|v| *v != 0);
        }
    }
    serde_json::to_value(resources).map_err(not_json)
}

/// The configuration `before` with these resources, and everything else as it was, also what is unknown here.
pub(super) fn merged(before: &[u8], resources: &Resources, rdt: Option<&IntelRdt>) -> Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(before).map_err(not_json)?;
    let mut linux = json!({"resources": serde_json::to_value(resources).map_err(not_json)?});
    for (member, schema) in [
        ("l3CacheSchema", rdt.and_then(|r| r.l3_cache_schema.as_ref())),
        ("memBwSchema", rdt.and_then(|r| r.mem_bw_schema.as_ref())),
    ] {
        if let Some(schema) = schema {
            linux["intelRdt"][member] = json!(schema);
        }
    }
    merge(&mut config, &json!({"linux": linux}));
    serde_json::to_vec(&config).map_err(not_json)
}

/// Objects by their members, lists of named things (devices, page sizes, interfaces) by their names; everything else
/// is replaced.
fn merge(old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                merge(old.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for element in new {
                match old.iter_mut().find(|o| is_same_thing(o, element)) {
                    Some(same) => merge(same, element),
                    None => old.push(element.clone()),
                }
            }
        }
        (old, new) => *old = new.clone(),
    }
}

fn is_same_thing(a: &Value, b: &Value) -> bool {
    ["major", "minor", "pageSize", "name"].iter().all(|key| a.get(key) == b.get(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(document: Option<&str>, flags: Value) -> UpdateOptions {
        let flags = serde_json::from_value(flags).unwrap();
        let document = document.map(|d| d.as_bytes().to_vec());
        UpdateOptions { id: "c1".into(), document, flags, ..UpdateOptions::default() }
    }

    fn changes(document: &str, flags: Value) -> Changes {
        Changes::read(&options(Some(document), flags)).unwrap()
    }

    fn resources(json: Value) -> Resources {
        serde_json::from_value(json).unwrap()
    }

    fn written(changes: &Changes, kind: Kind) -> Vec<String> {
        let line = |w: Write| format!("{}={} {}", w.file, w.value, w.field);
        changes.lower(kind).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn flags_win_over_the_document_and_zeros_are_nothing() {
        let document = r#"{"memory":{"limit":1048576,"swap":0,"reservation":5},"cpu":{"shares":0,"cpus":""},
            "devices":[{"allow":false}],"blockIO":{"weight":0},"pids":null}"#;
        let changes = changes(document, json!({"memory": {"limit": 2097152}, "pids": {"limit": 7}}));
        assert_eq!(
            written(&changes, Kind::Unified),
            [
                "memory.max=2097152 --memory",
                "memory.low=5 --resources: memory.reservation",
                "pids.max=7 --pids-limit"
            ]
        );
    }

    #[test]
    fn a_period_keeps_the_quota_and_swap_is_counted_from_the_present_limit() {
        let present = resources(json!({"cpu": {"quota": 5000, "period": 10000}, "memory": {"limit": 100}}));
        let flags = json!({"cpu": {"period": 20000}, "memory": {"swap": 150}});
        let mut both = changes("{}", flags.clone());
        both.complete(&present, Kind::Unified);
        assert_eq!(
            written(&both, Kind::Unified),
            [
                "memory.swap.max=50 --memory-swap",
                "memory.max=100 linux.resources.memory.limit",
                "cpu.max=5000 20000 linux.resources.cpu.quota"
            ]
        );
        let mut both = changes("{}", flags);
        both.complete(&present, Kind::Legacy);
        assert_eq!(
            written(&both, Kind::Legacy),
            ["memory.memsw.limit_in_bytes=150 --memory-swap", "cpu.cfs_period_us=20000 --cpu-period"]
        );
    }

    #[test]
    fn a_quota_keeps_the_period() {
        let present = resources(json!({"cpu": {"quota": 50000, "period": 50000}}));
        let mut half = changes("{}", json!({"cpu": {"quota": 25000}}));
        half.complete(&present, Kind::Unified);
        assert_eq!(written(&half, Kind::Unified), ["cpu.max=25000 50000 --cpu-quota"]);
        half.complete(&present, Kind::Legacy);
        assert_eq!(
            written(&half, Kind::Legacy),
            ["cpu.cfs_period_us=50000 linux.resources.cpu.period", "cpu.cfs_quota_us=25000 --cpu-quota"]
        );
    }

    #[test]
    fn shares_return_with_the_end_of_idleness() {
        let mut awake = changes("{}", json!({"cpu": {"idle": 0}}));
        awake.complete(&resources(json!({"cpu": {"idle": 1, "shares": 512}})), Kind::Legacy);
        assert_eq!(
            written(&awake, Kind::Legacy),
            ["cpu.idle=0 --cpu-idle", "cpu.shares=512 linux.resources.cpu.shares"]
        );
    }

    #[test]
    fn what_is_remembered_is_what_holds() {
        let present = resources(json!({"memory": {"limit": 100, "swap": 150}}));
        let swap = |limit: i64, kind| {
            let memory = changes("{}", json!({"memory": {"limit": limit}})).persistent(&present, kind).memory;
            memory.unwrap().swap
        };
        assert_eq!(swap(120, Kind::Unified), Some(170));
        assert_eq!(swap(120, Kind::Legacy), None);
        assert_eq!(swap(-1, Kind::Unified), Some(-1));
        assert_eq!(swap(-1, Kind::Legacy), Some(-1));
    }

    #[test]
    fn the_configuration_keeps_what_is_not_changed() {
        let before = json!({"ociVersion": "1.2.0", "x": 1, "linux": {"y": 2, "resources": {
            "z": 3, "memory": {"limit": 5, "swap": 9}, "devices": [{"allow": false}],
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}}});
        let change = resources(json!({"memory": {"limit": 6},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 7}, {"major": 8, "minor": 0, "rate": 2}]},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 4}]}));
        let after: Value =
            serde_json::from_slice(&merged(before.to_string().as_bytes(), &change, None).unwrap()).unwrap();
        let expected = json!({"ociVersion": "1.2.0", "x": 1, "linux": {"y": 2, "resources": {
            "z": 3, "memory": {"limit": 6, "swap": 9}, "devices": [{"allow": false}],
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}, {"major": 8, "minor": 16, "rate": 7}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 4}]}}});
        assert_eq!(after, expected);
        let bare: Value =
            serde_json::from_slice(&merged(br#"{"linux":null}"#, &change, None).unwrap()).unwrap();
        assert_eq!(bare["linux"]["resources"]["memory"], json!({"limit": 6}));
    }

    #[test]
    fn errors_name_the_flag_or_the_member() {
        let error = |document, flags| match Changes::read(&options(document, flags)) {
            Ok(changes) => changes.lower(Kind::Legacy).unwrap_err().to_string(),
            Err(e) => e.to_string(),
        };
        let text = error(Some(r#"{"memory":{"limit":"1g"}}"#), json!({}));
        assert!(text.starts_with("--resources: memory.limit: invalid type: string"), "{text}");
        let text = error(Some("{"), json!({}));
        assert!(text.starts_with("--resources: EOF while parsing"), "{text}");
        let text = error(None, json!({"memory": {"limit": 20, "swap": 10}}));
        assert_eq!(text, "--memory-swap: must not be less than the memory limit (--memory)");
        let text = error(Some(r#"{"pids":{"limit":-2}}"#), json!({}));
        assert_eq!(text, "--resources: pids.limit: must be -1 or more, not -2");
        let text = error(Some(r#"{"unified":{"memory.max":"1"}}"#), json!({}));
        assert!(text.starts_with("--resources: unified.memory.max: is not supported"), "{text}");
    }
}
