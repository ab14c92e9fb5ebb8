//! One failing configuration for every limit that can be wrong.

use serde_json::{Value, json};

use super::{EMPTY, refused, sound, with};

/// One member of `linux.resources`.
#[track_caller]
fn resource(pointer: &str, value: Value, path: &str, words: &str) {
    let document = with(sound(), &format!("/linux/resources{pointer}"), value);
    refused(&document, &format!("linux.resources.{path}"), words);
}

#[test]
fn device_rules() {
    resource(
        "/devices/0",
        json!({ "allow": true, "type": "u" }),
        "devices[0].type",
        "unknown value \"u\", expected a, b or c",
    );
    resource("/devices/0", json!({ "allow": true, "access": "" }), "devices[0].access", EMPTY);
    resource(
        "/devices/0",
        json!({ "allow": true, "access": "rx" }),
        "devices[0].access",
        "\"rx\" is not a combination of r, w and m",
    );
    resource(
        "/devices/0",
        json!({ "allow": true, "major": 4096 }),
        "devices[0].major",
        "must be between 0 and 4095, not 4096",
    );
}

#[test]
fn memory_and_cpu() {
    for member in ["limit", "reservation", "swap", "kernel", "kernelTCP"] {
        let words = "must be -1 for unlimited, or not negative, not -2";
        resource(&format!("/memory/{member}"), json!(-2), &format!("memory.{member}"), words);
    }
    resource(
        "/memory",
        json!({ "swappiness": 101 }),
        "memory.swappiness",
        "must be between 0 and 100, not 101",
    );
    resource(
        "/memory",
        json!({ "limit": 100, "swap": 50 }),
        "memory.swap",
        "swap counts memory and swap together, and cannot be less than the limit (linux.resources.memory.limit)",
    );
    resource(
        "/cpu",
        json!({ "period": 999 }),
        "cpu.period",
        "must be between 1000 and 1000000 microseconds, not 999",
    );
    resource(
        "/cpu",
        json!({ "quota": 1000, "burst": 1001 }),
        "cpu.burst",
        "the burst is above the quota (linux.resources.cpu.quota)",
    );
    resource(
        "/cpu",
        json!({ "realtimeRuntime": 2, "realtimePeriod": 1 }),
        "cpu.realtimeRuntime",
        "the real-time share is above its period (linux.resources.cpu.realtimePeriod)",
    );
    resource("/cpu", json!({ "idle": 2 }), "cpu.idle", "must be 0 or 1, not 2");
    resource("/cpu", json!({ "cpus": "0-" }), "cpu.cpus", "\"0-\" is not a list of CPUs such as 0-3,7");
    resource(
        "/cpu",
        json!({ "mems": "+1" }),
        "cpu.mems",
        "\"+1\" is not a list of memory nodes such as 0-1,3",
    );
    resource(
        "/pids",
        json!({ "limit": -2 }),
        "pids.limit",
        "must be -1 for unlimited, or not negative, not -2",
    );
}

#[test]
fn other_controllers() {
    let weight = "must be between 10 and 1000, not 9";
    let device = |member: &str, value: u64| json!({ "major": 8, "minor": 0, member: value });
    resource("/blockIO/weight", json!(9), "blockIO.weight", weight);
    resource("/blockIO/leafWeight", json!(9), "blockIO.leafWeight", weight);
    resource("/blockIO/weightDevice/0", device("weight", 9), "blockIO.weightDevice[0].weight", weight);
    resource(
        "/blockIO/weightDevice/0",
        device("leafWeight", 9),
        "blockIO.weightDevice[0].leafWeight",
        weight,
    );
    resource(
        "/blockIO/weightDevice/0",
        json!({ "major": 8, "minor": 0 }),
        "blockIO.weightDevice[0].weight",
        "is required unless leafWeight is given",
    );
    let lists = [
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ];
    for list in lists {
        let rate = json!({ "major": -8, "minor": 0, "rate": 1 });
        let words = "must be between 0 and 4095, not -8";
        resource(&format!("/blockIO/{list}/0"), rate, &format!("blockIO.{list}[0].major"), words);
    }
    let size = |text: &str| json!({ "pageSize": text, "limit": 0 });
    for text in ["2M", "3MB", "0KB", "+1GB", "MB", "2 MB"] {
        let words = format!("{text:?} is not a size of huge pages such as 64KB, 2MB or 1GB");
        resource("/hugepageLimits/0", size(text), "hugepageLimits[0].pageSize", &words);
    }
    resource(
        "/hugepageLimits",
        json!([size("2MB"), size("2MB")]),
        "hugepageLimits[1].pageSize",
        "duplicate \"2MB\"",
    );
    resource(
        "/network/priorities/0",
        json!({ "name": "", "priority": 1 }),
        "network.priorities[0].name",
        "\"\" is not the name of a network interface",
    );
    resource("/rdma/mlx", json!({}), "rdma.mlx.hcaHandles", "is required unless hcaObjects is given");
    resource("/rdma/a~1b", json!({ "hcaObjects": 1 }), "rdma.a/b", "\"a/b\" is not a file name");
    resource("/unified/..~1x", json!("1"), "unified.../x", "\"../x\" is not a file name");
    resource("/unified/..", json!("1"), "unified...", "\"..\" is not a file name");
}
