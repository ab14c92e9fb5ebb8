//! `linux.resources` on cgroup v1.

use super::Maker;
use crate::differential::change::Change;
use crate::differential::random::Random;
use serde_json::{Value, json};

pub const MAKERS: &[Maker] = &[memory, memory, cpu, cpu, pids, blkio, devices, devices, others];

const MIB: i64 = 1 << 20;

/// The name of a member, its ordinary values, and its odd ones.
type Member<'a> = (&'a str, &'a [Value], &'a [Value]);

fn members(r: &mut Random, about: &'static str, at: &str, pool: &[Member<'_>], most: usize) -> Change {
    let mut object = serde_json::Map::new();
    for (name, ordinary, odd) in r.some(pool, most) {
        let value = match (ordinary, odd) {
            ([], _) if !r.is_odd() => continue,
            ([], only) | (only, []) => r.pick(only),
            _ => r.usually(ordinary, odd),
        };
        object.insert(name.to_owned(), value);
    }
    Change::set(about, at, Value::Object(object))
}

fn memory(r: &mut Random) -> Change {
    let sizes = [json!(64 * MIB), json!(256 * MIB), json!(64 * MIB + 1), json!(0), json!(1_i64 << 40)];
    let pool: &[Member<'_>] = &[
        ("limit", &sizes, &[json!(-1)]),
        ("limit", &sizes, &[json!(-1)]),
        ("reservation", &sizes, &[json!(-1)]),
        (
            "swap",
            &[json!(1_i64 << 40), json!(1_i64 << 41), json!(-1), json!(0)],
            &[json!(256 * MIB), json!(1000)],
        ),
        ("swappiness", &[json!(0), json!(60), json!(100)], &[json!(101)]),
        ("disableOOMKiller", &[json!(false), json!(true)], &[]),
        ("useHierarchy", &[json!(true)], &[json!(false)]),
        ("checkBeforeUpdate", &[json!(true), json!(false)], &[]),
        ("kernelTCP", &[json!(64 * MIB)], &[]),
    ];
    members(r, "memory", "/linux/resources/memory", pool, 4)
}

fn cpu(r: &mut Random) -> Change {
    let pool: &[Member<'_>] = &[
        ("shares", &[json!(0), json!(2), json!(1), json!(512), json!(262_144), json!(1_i64 << 40)], &[]),
        ("quota", &[json!(50_000), json!(-1), json!(0), json!(1000), json!(200_000)], &[json!(999)]),
        (
            "period",
            &[json!(100_000), json!(0), json!(1000), json!(1_000_000)],
            &[json!(999), json!(2_000_000)],
        ),
        (
            "cpus",
            &[json!("0"), json!("0-1"), json!("1"), json!(""), json!("0,1")],
            &[json!("9000"), json!("x")],
        ),
        ("mems", &[json!("0"), json!("")], &[json!("7")]),
        ("idle", &[json!(0), json!(1)], &[]),
        ("realtimePeriod", &[json!(0)], &[json!(1_000_000)]),
        ("realtimeRuntime", &[json!(0)], &[]),
    ];
    members(r, "cpu", "/linux/resources/cpu", pool, 4)
}

fn pids(r: &mut Random) -> Change {
    Change::set(
        "pids",
        "/linux/resources/pids",
        json!({"limit": r.usually(&[64, 0, -1, 100_000], &[1_000_000_000, -5])}),
    )
}

fn blkio(r: &mut Random) -> Change {
    let rate = json!([{"major": 254, "minor": 0, "rate": 1_000_000}]);
    let pool: &[Member<'_>] = &[
        ("weight", &[json!(0)], &[json!(10), json!(500), json!(1000), json!(5)]),
        // Not in every kernel, like weights.
        ("leafWeight", &[], &[json!(500)]),
        (
            "throttleReadBpsDevice",
            &[rate.clone(), json!([])],
            &[json!([{"major": 1, "minor": 3, "rate": 1}])],
        ),
        ("throttleWriteIOPSDevice", &[rate], &[]),
    ];
    members(r, "blockIO", "/linux/resources/blockIO", pool, 2)
}

fn devices(r: &mut Random) -> Change {
    let mut rules = Vec::new();
    for _ in 0..r.below(5) {
        // runc takes a rule without a type, or about `a`, for one about everything.
        let kind = r.pick(&["c", "c", "c", "b", "a"]);
        let mut rule = json!({"allow": r.percent(60), "type": kind, "access": "rwm"});
        if kind != "a" {
            rule["access"] = json!(r.pick(&["rwm", "r", "w", "m", "rw", "rwm", "wr"]));
            rule["major"] = r.pick(&[json!(1), json!(10), json!(-1), Value::Null]);
            rule["minor"] = r.pick(&[json!(3), json!(7), json!(229), json!(-1), Value::Null]);
        }
        rules.push(rule);
    }
    if r.percent(70) {
        rules.insert(0, json!({"allow": false, "access": "rwm"}));
    }
    Change::set("device rules", "/linux/resources/devices", json!(rules))
        .step(&["open", "/dev/null", "rw"])
        .step(&["open", "/dev/full", "r"])
        .step(&["mknod", "/tmp/node", "c", "10", "229"])
        .step(&["open", "/tmp/node", "r"])
}

/// Controllers that a machine seldom has.
fn others(r: &mut Random) -> Change {
    match if r.is_odd() { r.below(6) } else { 5 } {
        0 => Change::set(
            "hugepageLimits",
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": r.pick(&["2MB", "2M", "3MB", "1GB"]), "limit": 4_194_304}]),
        ),
        1 => Change::set("network", "/linux/resources/network", json!({"classID": 1_048_577})),
        2 => Change::set(
            "network",
            "/linux/resources/network",
            json!({"priorities": [{"name": "lo", "priority": 5}]}),
        ),
        3 => Change::set("unified", "/linux/resources/unified", json!({"memory.high": "64000000"})),
        4 => Change::set("rdma", "/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}})),
        _ => Change {
            about: "no resources",
            edits: vec![crate::differential::change::Edit::Remove("/linux/resources".into())],
        },
    }
}
