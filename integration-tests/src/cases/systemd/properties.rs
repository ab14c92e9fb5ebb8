//! What becomes of `linux.resources` and of annotations: properties of the unit, the same in the cgroup, and both for good.

use super::{no_unit, show, sleeper, systemctl, unit_of};
use crate::cases::parity::{Peer, find_runc};
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn cases() -> Vec<Case> {
    let v2 = [Need::Unified, Need::V2("memory"), Need::V2("cpu"), Need::V2("pids")];
    let mut cases = vec![
        Case::new("systemd/outlives-daemon-reload", &["RCPU-14", "RMEM-01"], daemon_reload),
        Case::new("systemd/update", &["RCPU-14"], update),
        Case::new("systemd/refused-update-changes-nothing", &["RCPU-14"], refused_update),
    ];
    for row in ROWS {
        let (name, ..) = row;
        cases
            .push(Case::new(format!("systemd/property-{name}"), &["RCPU-14"], move |ctx| property(ctx, row)));
        let compare = move |ctx: &Ctx| as_runc(ctx, row);
        cases.push(Case::new(format!("systemd/as-runc-{name}"), &["RCPU-14"], compare).needs(&[Need::Runc]));
    }
    let mut cases: Vec<Case> = cases.into_iter().map(|case| case.needs(&v2)).collect();
    cases.push(Case::new("systemd/annotations", &["ANN-04"], annotations));
    cases.push(
        Case::new("systemd/devices-outlive-daemon-reload", &["RDEV-11", "RDEV-07"], devices)
            .needs(&[Need::Unified, Need::File("/dev/fuse")]),
    );
    cases
}

/// Name, `linux.resources`, properties, files of the cgroup, and where runc 1.1 differs.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "none",
        "{}",
        &[("MemoryMax", "infinity"), ("CPUQuotaPerSecUSec", "infinity")],
        &[("memory.max", "max")],
        &[],
    ),
    (
        "memory",
        r#"{"memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432}}"#,
        &[("MemoryMax", "67108864"), ("MemorySwapMax", "33554432"), ("MemoryLow", "33554432")],
        &[("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")],
        &[],
    ),
    (
        "memory-unlimited",
        r#"{"memory": {"limit": -1}}"#,
        &[("MemoryMax", "infinity"), ("MemorySwapMax", "infinity")],
        &[("memory.max", "max"), ("memory.swap.max", "max")],
        &[],
    ),
    // runc 1.1 converts shares by a straight line.
    (
        "cpu-shares",
        r#"{"cpu": {"shares": 512}}"#,
        &[("CPUWeight", "59")],
        &[("cpu.weight", "59")],
        &["CPUWeight"],
    ),
    (
        "cpu-quota",
        r#"{"cpu": {"quota": 50250, "period": 100000}}"#,
        &[("CPUQuotaPerSecUSec", "510ms"), ("CPUQuotaPeriodUSec", "100ms")],
        &[("cpu.max", "51000 100000")],
        &[],
    ),
    (
        "cpu-quota-alone",
        r#"{"cpu": {"quota": 20000}}"#,
        &[("CPUQuotaPerSecUSec", "200ms")],
        &[("cpu.max", "20000 100000")],
        &[],
    ),
    (
        "cpu-period-alone",
        r#"{"cpu": {"period": 50000}}"#,
        &[("CPUQuotaPerSecUSec", "infinity"), ("CPUQuotaPeriodUSec", "50ms")],
        &[("cpu.max", "max 50000")],
        &[],
    ),
    ("cpu-idle", r#"{"cpu": {"idle": 1}}"#, &[("CPUWeight", "idle")], &[("cpu.idle", "1")], &["CPUWeight"]),
    (
        "cpuset",
        r#"{"cpu": {"cpus": "0", "mems": "0"}}"#,
        &[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")],
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
        &[],
    ),
    ("pids", r#"{"pids": {"limit": 50}}"#, &[("TasksMax", "50")], &[("pids.max", "50")], &[]),
    (
        "pids-unlimited",
        r#"{"pids": {"limit": -1}}"#,
        &[("TasksMax", "infinity")],
        &[("pids.max", "max")],
        &[],
    ),
    // runc 1.1 leaves it to systemd, which has no property for BFQ.
    ("io-weight", r#"{"blockIO": {"weight": 200}}"#, &[("IOWeight", "1200")], &[], &["IOWeight"]),
    (
        "unified",
        r#"{"unified": {"memory.high": "50331648", "memory.min": "1048576", "pids.max": "40", "cpu.max": "30000 100000",
            "cpu.weight": "70", "memory.swap.max": "max", "cpuset.cpus": "0"}}"#,
        &[
            ("MemoryHigh", "50331648"),
            ("MemoryMin", "1048576"),
            ("TasksMax", "40"),
            ("CPUQuotaPerSecUSec", "300ms"),
            ("CPUWeight", "70"),
            ("AllowedCPUs", "0"),
        ],
        &[
            ("memory.high", "50331648"),
            ("memory.min", "1048576"),
            ("pids.max", "40"),
            ("cpu.max", "30000 100000"),
        ],
        &[],
    ),
    (
        "unified-oom-group",
        r#"{"unified": {"memory.oom.group": "1"}}"#,
        &[("OOMPolicy", "kill")],
        &[("memory.oom.group", "1")],
        &["OOMPolicy"],
    ),
    (
        "without-property",
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "unified": {"cpu.max.burst": "0"}}"#,
        &[],
        &[("hugetlb.2MB.max", "4194304"), ("cpu.max.burst", "0")],
        &[],
    ),
];

/// What is compared with runc.
const COMPARED: [&str; 28] = [
    "Slice",
    "Delegate",
    "DelegateControllers",
    "MemoryAccounting",
    "CPUAccounting",
    "IOAccounting",
    "TasksAccounting",
    "DefaultDependencies",
    "MemoryMax",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMin",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "CPUWeight",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "TasksMax",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "IOWeight",
    "IODeviceWeight",
    "DevicePolicy",
    "DeviceAllow",
    "OOMPolicy",
    "KillMode",
    "TimeoutStopUSec",
    "CollectMode",
];

fn with_resources(b: &mut crate::Bundle, resources: &str) -> Verdict {
    let resources: Value = serde_json::from_str(resources)?;
    for (name, value) in resources.as_object().into_iter().flatten() {
        b.set(&format!("/linux/resources/{name}"), value.clone());
    }
    Ok(())
}

fn property(ctx: &Ctx, (_, resources, properties, files, differs): &Row) -> Verdict {
    let mut b = sleeper(ctx, &format!(":row:{}", ctx.id()))?;
    with_resources(&mut b, resources)?;
    let c = ctx.create(&b)?;
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let (unit, dir) = (unit_of(&c)?, c.cgroup("")?);
    for time in ["after create", "after daemon-reload"] {
        let seen = show(ctx, &unit, &names)?;
        for (name, value) in *properties {
            if ctx.settings.name == "runc" && differs.contains(name) {
                continue;
            }
            ensure_eq!(seen.get(*name).map_or("", String::as_str), *value, "{name} {time}");
        }
        for (file, value) in *files {
            let read = cgroup::read(&dir, file)?;
            // systemd has no use for a period without a quota, and some time after a reload it writes its own.
            let own_period = time != "after create" && value.starts_with("max ") && read == "max 100000";
            if (ctx.settings.name == "corten" || differs.is_empty()) && !own_period {
                ensure_eq!(read, *value, "{file} {time}");
            }
        }
        systemctl(ctx, &["daemon-reload"])?;
    }
    c.delete_force()?;
    no_unit(ctx, &unit)
}

fn as_runc(ctx: &Ctx, (_, resources, _, _, differs): &Row) -> Verdict {
    let seen = |runtime: &std::path::Path| -> Result<BTreeMap<String, String>, Failure> {
        let name = ctx.id();
        let mut b = sleeper(ctx, &format!(":as:{name}"))?;
        with_resources(&mut b, resources)?;
        let _peer = Peer::start(ctx, runtime, &b)?;
        show(ctx, &format!("as-{name}.scope"), &COMPARED)
    };
    let (ours, theirs) = (seen(&ctx.settings.runtime)?, seen(&find_runc()?)?);
    ensure_eq!(ours["Delegate"], "yes", "the unit was found");
    for name in COMPARED.iter().filter(|name| !differs.contains(name)) {
        let sorted = |of: &BTreeMap<String, String>| {
            // The order of a list is systemd's. runc 1.1 names the driver of terminals, and not its number.
            let text = of.get(*name).cloned().unwrap_or_default().replace("char-pts", "char-136");
            let mut list: Vec<String> = text.split("; ").map(str::to_owned).collect();
            list.sort();
            list
        };
        ensure_eq!(sorted(&ours), sorted(&theirs), "{name}, not as runc");
    }
    Ok(())
}

fn annotations(ctx: &Ctx) -> Verdict {
    let mut b = sleeper(ctx, &format!(":notes:{}", ctx.id()))?;
    b.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.RuntimeMaxSec": "600",
            "org.systemd.property.After": "['basic.target']",
            "org.systemd.property.TasksMax": "uint64 99",
            "org.example": "not a property",
        }),
    );
    let c = ctx.create(&b)?;
    let names = ["TimeoutStopUSec", "CollectMode", "RuntimeMaxUSec", "TasksMax"];
    let seen = show(ctx, &unit_of(&c)?, &names)?;
    let want = ["2min 3.456789s", "inactive-or-failed", "10min", "99"].map(str::to_owned);
    ensure_eq!(names.map(|name| seen[name].clone()), want, "properties");
    Ok(())
}

fn daemon_reload(ctx: &Ctx) -> Verdict {
    let mut b = sleeper(ctx, &format!(":reload:{}", ctx.id()))?;
    with_resources(
        &mut b,
        r#"{"memory": {"limit": 67108864}, "cpu": {"quota": 12345}, "pids": {"limit": 30}}"#,
    )?;
    let c = ctx.start(&b)?;
    let (unit, dir) = (unit_of(&c)?, c.cgroup("")?);
    let files =
        || ["memory.max", "cpu.max", "pids.max", "cpu.weight"].map(|file| cgroup::read(&dir, file).ok());
    let before = files();
    systemctl(ctx, &["daemon-reload"])?;
    // A change of something else makes systemd write all that it knows of.
    systemctl(ctx, &["set-property", "--runtime", &unit, "MemoryHigh=60000000", "CPUWeight=33"])?;
    let weight = cgroup::read(&dir, "cpu.weight")?;
    ensure_eq!(weight, "33", "cpu.weight after set-property");
    ensure_eq!(files()[..3], before[..3], "limits");
    Ok(())
}

const NODE: &[&str] = &["mknod", "/dev/mine", "c", "10", "229"];

/// systemd loads its own program anew: what is denied stays denied, and what is allowed is not lost.
fn devices(ctx: &Ctx) -> Verdict {
    let deny = json!({"allow": false, "access": "rwm"});
    let fuse = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"});
    let no_writing = json!({"allow": false, "type": "c", "major": 10, "access": "w"});
    let all = json!({"allow": true, "access": "rwm"});
    for (rules, reading, writing) in [
        (json!([deny]), "EPERM", "EPERM"),
        (json!([deny, fuse]), "ok", "ok"),
        // No list of what is allowed can express this.
        (json!([all, no_writing]), "ok", "EPERM"),
    ] {
        let mut b = sleeper(ctx, &format!(":devices:{}", ctx.id()))?;
        b.caps(&["CAP_MKNOD", "CAP_DAC_OVERRIDE"]).set("/linux/resources/devices", rules.clone());
        b.set("/root/readonly", json!(false));
        let c = ctx.start(&b)?;
        c.exec(&[], &[NODE]).ok()?;
        for time in ["at first", "after daemon-reload"] {
            let steps: [&[&str]; 3] =
                [&["open", "/dev/mine", "r"], &["open", "/dev/mine", "w"], &["open", "/dev/null", "rw"]];
            let out = c.exec(&[], &steps).ok()?;
            let lines = crate::Facts::lines(&out.stdout)?;
            let results: Vec<&str> = lines.iter().map(crate::Facts::result).collect();
            ensure_eq!(results, [reading, writing, "ok"], "{rules} {time}");
            systemctl(ctx, &["daemon-reload"])?;
        }
    }
    Ok(())
}

fn update(ctx: &Ctx) -> Verdict {
    let mut b = sleeper(ctx, &format!(":update:{}", ctx.id()))?;
    with_resources(&mut b, r#"{"memory": {"limit": 67108864}, "cpu": {"quota": 20000, "period": 50000}}"#)?;
    let c = ctx.start(&b)?;
    let (unit, dir) = (unit_of(&c)?, c.cgroup("")?);
    c.cmd(&["update", "--memory", "50331648", "--cpu-quota", "12345", "--pids-limit", "60"]).ok()?;
    for time in ["at once", "after daemon-reload"] {
        let seen = show(ctx, &unit, &["MemoryMax", "CPUQuotaPerSecUSec", "TasksMax"])?;
        let got = [&seen["MemoryMax"], &seen["CPUQuotaPerSecUSec"], &seen["TasksMax"]];
        ensure_eq!(got, ["50331648", "250ms", "60"], "properties {time}");
        for (file, want) in [("memory.max", "50331648"), ("cpu.max", "12500 50000"), ("pids.max", "60")] {
            ensure_eq!(cgroup::read(&dir, file)?, want, "{file} {time}");
        }
        systemctl(ctx, &["daemon-reload"])?;
    }
    Ok(())
}

fn refused_update(ctx: &Ctx) -> Verdict {
    if ctx.settings.name == "runc" {
        return Err(Failure::skip("runc leaves what it has written by then"));
    }
    let mut b = sleeper(ctx, &format!(":half:{}", ctx.id()))?;
    with_resources(&mut b, r#"{"memory": {"limit": 67108864}, "pids": {"limit": 30}}"#)?;
    let c = ctx.start(&b)?;
    let (unit, dir) = (unit_of(&c)?, c.cgroup("")?);
    // The kernel has no such processor; systemd has no such weight.
    for update in [
        r#"{"memory": {"limit": 50331648}, "cpu": {"cpus": "3000"}}"#,
        r#"{"memory": {"limit": 50331648}, "unified": {"memory.high": "0", "pids.max": "31"}, "pids": {"limit": 32}, "cpu": {"cpus": "2999"}}"#,
    ] {
        let out = c.cmd(&["update", "-r", "-"]).stdin(update).run()?;
        ensure!(out.code() != 0, "the update succeeded");
        for (file, want) in [("memory.max", "67108864"), ("pids.max", "30"), ("memory.high", "max")] {
            ensure_eq!(cgroup::read(&dir, file)?, want, "{file}");
        }
        let seen = show(ctx, &unit, &["MemoryMax", "TasksMax", "AllowedCPUs"])?;
        ensure_eq!(
            [&seen["MemoryMax"], &seen["TasksMax"], &seen["AllowedCPUs"]],
            ["67108864", "30", ""],
            "properties"
        );
    }
    Ok(())
}
