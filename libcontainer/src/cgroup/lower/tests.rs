use super::*;

fn lowered(json: &str, kind: Kind) -> Result<Vec<Write>> {
    let resources: Resources = serde_json::from_str(json).expect("test input");
    lower(&resources, kind, &FieldPath::new("linux.resources"))
}

/// `file=value <- field` of each write, with a mark for what may be missing (?), retried (~) or replaced (|).
fn text(w: &Write) -> String {
    let field = w.field.as_str().strip_prefix("linux.resources.").expect("fields are inside resources");
    let mark = match &w.policy {
        Policy::Must => String::new(),
        Policy::IfPresent => " ?".into(),
        Policy::Reorder => " ~".into(),
        Policy::OrElse(other) => format!(" | {}={}", other.file, other.value),
        Policy::NotBelow(file) => format!(" >= {file}"),
    };
    format!("{}={} <- {field}{mark}", w.file, w.value)
}

fn texts(json: &str, kind: Kind) -> Vec<String> {
    lowered(json, kind).unwrap_or_else(|e| panic!("{json}: {e}")).iter().map(text).collect()
}

fn error(json: &str, kind: Kind) -> String {
    let e = lowered(json, kind).expect_err(json).to_string();
    e.strip_prefix("config.json: linux.resources.").expect("fields are inside resources").to_owned()
}

#[test]
fn every_field_on_version_1() {
    let table: &[(&str, &[&str])] = &[
        (r#"{}"#, &[]),
        (r#"{"memory":{"limit":1048576}}"#, &["memory.limit_in_bytes=1048576 <- memory.limit ~"]),
        (
            r#"{"memory":{"limit":-1}}"#,
            &[
                "memory.limit_in_bytes=-1 <- memory.limit ~",
                "memory.memsw.limit_in_bytes=-1 <- memory.limit ?",
            ],
        ),
        (
            r#"{"memory":{"limit":100,"swap":150,"reservation":50}}"#,
            &[
                "memory.limit_in_bytes=100 <- memory.limit ~",
                "memory.memsw.limit_in_bytes=150 <- memory.swap ~",
                "memory.soft_limit_in_bytes=50 <- memory.reservation",
            ],
        ),
        (r#"{"memory":{"swap":-1}}"#, &["memory.memsw.limit_in_bytes=-1 <- memory.swap ?"]),
        (r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0,"kernelTCP":0}}"#, &[]),
        (
            r#"{"memory":{"kernel":7,"kernelTCP":8}}"#,
            &["memory.kmem.tcp.limit_in_bytes=8 <- memory.kernelTCP"],
        ),
        (
            r#"{"memory":{"swappiness":0,"disableOOMKiller":true,"useHierarchy":true}}"#,
            &[
                "memory.use_hierarchy=1 <- memory.useHierarchy",
                "memory.swappiness=0 <- memory.swappiness",
                "memory.oom_control=1 <- memory.disableOOMKiller",
            ],
        ),
        (r#"{"memory":{"disableOOMKiller":false,"checkBeforeUpdate":true}}"#, &[]),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024 <- cpu.shares"]),
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0}}"#, &[]),
        (
            r#"{"cpu":{"quota":50000,"period":100000,"burst":1000}}"#,
            &[
                "cpu.cfs_period_us=100000 <- cpu.period ~",
                "cpu.cfs_quota_us=50000 <- cpu.quota ~",
                "cpu.cfs_burst_us=1000 <- cpu.burst ~",
            ],
        ),
        (
            r#"{"cpu":{"quota":-5,"burst":0}}"#,
            &["cpu.cfs_quota_us=-1 <- cpu.quota ~", "cpu.cfs_burst_us=0 <- cpu.burst ?"],
        ),
        (
            r#"{"cpu":{"realtimeRuntime":900,"realtimePeriod":1000}}"#,
            &[
                "cpu.rt_period_us=1000 <- cpu.realtimePeriod ~",
                "cpu.rt_runtime_us=900 <- cpu.realtimeRuntime ~",
            ],
        ),
        (
            r#"{"cpu":{"cpus":"0-3,7","mems":"0","idle":1,"shares":2}}"#,
            &[
                "cpu.shares=2 <- cpu.shares",
                "cpu.idle=1 <- cpu.idle",
                "cpuset.cpus=0-3,7 <- cpu.cpus",
                "cpuset.mems=0 <- cpu.mems",
            ],
        ),
        (r#"{"cpu":{"idle":0,"shares":2}}"#, &["cpu.idle=0 <- cpu.idle ?", "cpu.shares=2 <- cpu.shares"]),
        (r#"{"cpu":{"cpus":"","mems":""}}"#, &[]),
        (
            r#"{"blockIO":{"weight":500,"leafWeight":20}}"#,
            &[
                "blkio.bfq.weight=500 <- blockIO.weight | blkio.weight=500",
                "blkio.leaf_weight=20 <- blockIO.leafWeight",
            ],
        ),
        (
            r#"{"blockIO":{"weight":0,"weightDevice":[{"major":8,"minor":0,"weight":10,"leafWeight":1000}]}}"#,
            &[
                "blkio.bfq.weight_device=8:0 10 <- blockIO.weightDevice[0].weight | blkio.weight_device=8:0 10",
                "blkio.leaf_weight_device=8:0 1000 <- blockIO.weightDevice[0].leafWeight",
            ],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
                "throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":0}],
                "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":300},{"major":8,"minor":4,"rate":1}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":400}]}}"#,
            &[
                "blkio.throttle.read_bps_device=8:0 600 <- blockIO.throttleReadBpsDevice[0].rate",
                "blkio.throttle.write_bps_device=8:1 0 <- blockIO.throttleWriteBpsDevice[0].rate",
                "blkio.throttle.read_iops_device=8:2 300 <- blockIO.throttleReadIOPSDevice[0].rate",
                "blkio.throttle.read_iops_device=8:4 1 <- blockIO.throttleReadIOPSDevice[1].rate",
                "blkio.throttle.write_iops_device=8:3 400 <- blockIO.throttleWriteIOPSDevice[0].rate",
            ],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}"#,
            &[
                "hugetlb.2MB.limit_in_bytes=18446744073709551615 <- hugepageLimits[0].limit",
                "hugetlb.2MB.rsvd.limit_in_bytes=18446744073709551615 <- hugepageLimits[0].limit ?",
            ],
        ),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
            &[
                "net_cls.classid=1048577 <- network.classID",
                "net_prio.ifpriomap=eth0 5 <- network.priorities[0]",
            ],
        ),
        (r#"{"network":{"classID":0}}"#, &[]),
    ];
    for (json, expected) in table {
        assert_eq!(texts(json, Kind::Legacy), *expected, "{json}");
    }
}

#[test]
fn every_field_on_version_2() {
    let table: &[(&str, &[&str])] = &[
        (r#"{}"#, &[]),
        (r#"{"memory":{"limit":1048576}}"#, &["memory.max=1048576 <- memory.limit"]),
        (
            r#"{"memory":{"limit":7,"checkBeforeUpdate":true}}"#,
            &["memory.max=7 <- memory.limit >= memory.current"],
        ),
        (r#"{"memory":{"reservation":-1}}"#, &["memory.low=max <- memory.reservation"]),
        (r#"{"memory":{"reservation":5}}"#, &["memory.low=5 <- memory.reservation"]),
        (
            r#"{"memory":{"swappiness":0,"disableOOMKiller":false,"kernel":7,"kernelTCP":-1,"useHierarchy":true}}"#,
            &[],
        ),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100 <- cpu.shares"]),
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0}}"#, &[]),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.max=50000 <- cpu.quota ~"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max <- cpu.quota ~"]),
        (r#"{"cpu":{"period":20000}}"#, &["cpu.max=max 20000 <- cpu.period ~"]),
        (
            r#"{"cpu":{"quota":50000,"period":20000,"burst":9}}"#,
            &["cpu.max=50000 20000 <- cpu.quota ~", "cpu.max.burst=9 <- cpu.burst ~"],
        ),
        (r#"{"cpu":{"burst":0}}"#, &["cpu.max.burst=0 <- cpu.burst ?"]),
        (
            r#"{"cpu":{"cpus":"0","mems":"0-1","idle":1}}"#,
            &["cpu.idle=1 <- cpu.idle", "cpuset.cpus=0 <- cpu.cpus", "cpuset.mems=0-1 <- cpu.mems"],
        ),
        (r#"{"blockIO":{"weight":500}}"#, &["io.bfq.weight=500 <- blockIO.weight | io.weight=4950"]),
        (
            r#"{"blockIO":{"leafWeight":0,"weightDevice":[{"major":8,"minor":0,"weight":100}]}}"#,
            &["io.bfq.weight=8:0 100 <- blockIO.weightDevice[0].weight | io.weight=8:0 910"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
                "throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":0}],
                "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":300}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":400}]}}"#,
            &[
                "io.max=8:0 rbps=600 <- blockIO.throttleReadBpsDevice[0].rate",
                "io.max=8:1 wbps=max <- blockIO.throttleWriteBpsDevice[0].rate",
                "io.max=8:2 riops=300 <- blockIO.throttleReadIOPSDevice[0].rate",
                "io.max=8:3 wiops=400 <- blockIO.throttleWriteIOPSDevice[0].rate",
            ],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"1GB","limit":0}]}"#,
            &[
                "hugetlb.1GB.max=0 <- hugepageLimits[0].limit",
                "hugetlb.1GB.rsvd.max=0 <- hugepageLimits[0].limit ?",
            ],
        ),
        (r#"{"network":{"classID":0,"priorities":[]}}"#, &[]),
        (
            r#"{"unified":{"cgroup.max.descendants":"3","io.max":"8:0 rbps=1\n8:1 rbps=2\n","memory.max":"9"},
                "memory":{"limit":5}}"#,
            &[
                "memory.max=5 <- memory.limit",
                "cgroup.max.descendants=3 <- unified.cgroup.max.descendants",
                "io.max=8:0 rbps=1 <- unified.io.max",
                "io.max=8:1 rbps=2 <- unified.io.max",
                "memory.max=9 <- unified.memory.max",
            ],
        ),
    ];
    for (json, expected) in table {
        assert_eq!(texts(json, Kind::Unified), *expected, "{json}");
    }
}

#[test]
fn same_on_both() {
    let table: &[(&str, &[&str])] = &[
        (r#"{"pids":{}}"#, &[]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max <- pids.limit"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=1 <- pids.limit"]),
        (r#"{"pids":{"limit":32771}}"#, &["pids.max=32771 <- pids.limit"]),
        (
            r#"{"rdma":{"mlx4_0":{"hcaHandles":3,"hcaObjects":0},"mlx5_1":{"hcaObjects":10000}}}"#,
            &[
                "rdma.max=mlx4_0 hca_handle=3 hca_object=0 <- rdma.mlx4_0",
                "rdma.max=mlx5_1 hca_object=10000 <- rdma.mlx5_1",
            ],
        ),
    ];
    for kind in [Kind::Legacy, Kind::Unified] {
        for (json, expected) in table {
            assert_eq!(texts(json, kind), *expected, "{json}");
        }
    }
}

#[test]
fn swap_on_version_2() {
    // (limit, swap) -> memory.swap.max
    let table: &[(&str, Option<&str>)] = &[
        (r#"{"swap":-1}"#, Some("max ?")),
        (r#"{"limit":100,"swap":-1}"#, Some("max ?")),
        (r#"{"limit":100}"#, None),
        (r#"{"limit":100,"swap":0}"#, None),
        (r#"{"limit":-1}"#, Some("max ?")),
        (r#"{"limit":-1,"swap":50}"#, Some("50")),
        (r#"{"limit":100,"swap":100}"#, Some("0 ?")),
        (r#"{"limit":100,"swap":150}"#, Some("50")),
    ];
    for (memory, expected) in table {
        let writes = lowered(&format!(r#"{{"memory":{memory}}}"#), Kind::Unified).expect(memory);
        let swap = writes.iter().find(|w| w.file == "memory.swap.max");
        let mark = |w: &Write| if w.policy == Policy::IfPresent { " ?" } else { "" };
        assert_eq!(swap.map(|w| format!("{}{}", w.value, mark(w))).as_deref(), *expected, "{memory}");
    }
    let e = error(r#"{"memory":{"swap":50}}"#, Kind::Unified);
    assert_eq!(e, "memory.swap: needs a memory limit to be subtracted (linux.resources.memory.limit)");
}

#[test]
fn refused_on_both() {
    let table = [
        (r#"{"memory":{"limit":-2}}"#, "memory.limit: must be -1 or more"),
        (r#"{"memory":{"limit":100,"swap":50}}"#, "memory.swap: must not be less than the memory limit"),
        (r#"{"memory":{"swappiness":101}}"#, "memory.swappiness: must be between 0 and 100"),
        (r#"{"cpu":{"idle":2}}"#, "cpu.idle: must be 0 or 1"),
        (r#"{"cpu":{"burst":11,"quota":10}}"#, "cpu.burst: must not be more than the quota"),
        (r#"{"cpu":{"cpus":"0\n1"}}"#, "cpu.cpus: "),
        (r#"{"cpu":{"mems":"all"}}"#, "cpu.mems: "),
        (r#"{"pids":{"limit":-2}}"#, "pids.limit: must be -1 or more"),
        (r#"{"blockIO":{"weight":9}}"#, "blockIO.weight: must be between 10 and 1000"),
        (r#"{"blockIO":{"leafWeight":1001}}"#, "blockIO.leafWeight: must be"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#,
            "blockIO.weightDevice[0].weight: is required",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":-8,"minor":0,"weight":10}]}}"#,
            "blockIO.weightDevice[0].major: ",
        ),
        (
            r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":-1,"rate":1}]}}"#,
            "blockIO.throttleReadIOPSDevice[0].minor: ",
        ),
        (r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#, "hugepageLimits[0].pageSize: "),
        (r#"{"hugepageLimits":[{"pageSize":"2M","limit":1}]}"#, "hugepageLimits[0].pageSize: "),
        (r#"{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}"#, "hugepageLimits[0].pageSize: "),
        (r#"{"rdma":{"x":{}}}"#, "rdma.x.hcaHandles: is required without hcaObjects"),
        (r#"{"rdma":{"x\ny":{"hcaHandles":1}}}"#, "rdma.x\ny: "),
        (r#"{"network":{"priorities":[{"name":"a b","priority":1}]}}"#, "network.priorities[0].name: "),
    ];
    for kind in [Kind::Legacy, Kind::Unified] {
        for (json, expected) in table {
            let e = error(json, kind);
            assert!(e.starts_with(expected), "{json}: {e}");
        }
    }
}

#[test]
fn refused_on_one() {
    let v1 = [
        (r#"{"cpu":{"shares":1}}"#, "cpu.shares: must be between 2 and 262144"),
        (r#"{"cpu":{"shares":262145}}"#, "cpu.shares: must be between"),
        (r#"{"unified":{"memory.max":"1"}}"#, "unified.memory.max: is not supported: this machine's cgroups"),
    ];
    let v2 = [
        (r#"{"memory":{"kernelTCP":1}}"#, "memory.kernelTCP: is not supported"),
        (r#"{"memory":{"swappiness":60}}"#, "memory.swappiness: is not supported"),
        (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller: is not supported"),
        (r#"{"cpu":{"realtimeRuntime":1}}"#, "cpu.realtimeRuntime: is not supported"),
        (r#"{"cpu":{"realtimePeriod":1}}"#, "cpu.realtimePeriod: is not supported"),
        (r#"{"blockIO":{"leafWeight":10}}"#, "blockIO.leafWeight: is not supported"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}"#,
            "blockIO.weightDevice[0].leafWeight: is not supported",
        ),
        (r#"{"network":{"classID":1}}"#, "network.classID: is not supported"),
        (
            r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
            "network.priorities: is not supported",
        ),
        (r#"{"unified":{"../x.y":"1"}}"#, "unified.../x.y: "),
        (r#"{"unified":{"sub/memory.max":"1"}}"#, "unified.sub/memory.max: "),
        (r#"{"unified":{"":"1"}}"#, "unified.: "),
        (r#"{"unified":{"..":"1"}}"#, "unified...: "),
        (r#"{"unified":{"memory":"1"}}"#, "unified.memory: "),
        (r#"{"unified":{"memory.max\u0000":"1"}}"#, "unified.memory.max\0: "),
        (
            r#"{"unified":{"cgroup.procs":"0"}}"#,
            "unified.cgroup.procs: is not supported: the file is not a limit",
        ),
    ];
    for (kind, table) in [(Kind::Legacy, &v1[..]), (Kind::Unified, &v2[..])] {
        for (json, expected) in table {
            let e = error(json, kind);
            assert!(e.starts_with(expected), "{json}: {e}");
        }
    }
}

#[test]
fn shares_vectors() {
    let table = [
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (256, 35),
        (512, 59),
        (1000, 99),
        (1024, 100),
        (2048, 174),
        (4096, 303),
        (10240, 639),
        (65536, 3023),
        (131_072, 5478),
        (262_144, 10_000),
        (u64::MAX, 10_000),
        (1, 1),
    ];
    for (shares, weight) in table {
        assert_eq!(shares_to_weight(shares), weight, "{shares}");
    }
}

#[test]
fn conversions_are_monotonous_and_in_range() {
    let mut last = 1;
    for shares in 2..=262_144 {
        let weight = shares_to_weight(shares);
        assert!((last..=10_000).contains(&weight), "{shares} -> {weight}");
        last = weight;
    }
    let mut last = 1;
    for w in 10..=1000 {
        let weight = convert::block_weight(w);
        assert!((last..=10_000).contains(&weight), "{w} -> {weight}");
        last = weight;
    }
    assert_eq!([10, 100, 500, 1000].map(convert::block_weight), [1, 910, 4950, 10_000]);
}
