//! What the kernel has after a write.

use std::fs;
use std::path::Path;

use libcontainer::cgroup::DevicePolicy;
use libcontainer::config::DeviceRule;
use libcontainer::error::FieldPath;

use crate::fixture::{on_every_layout, until};

/// Configuration, controller, file, and what the kernel says then.
type Row = (&'static str, &'static str, &'static str, &'static str);

const V1: &[Row] = &[
    (r#"{"memory":{"limit":16777216}}"#, "memory", "memory.limit_in_bytes", "16777216"),
    (r#"{"memory":{"reservation":8388608}}"#, "memory", "memory.soft_limit_in_bytes", "8388608"),
    (r#"{"memory":{"swappiness":7}}"#, "memory", "memory.swappiness", "7"),
    (r#"{"memory":{"useHierarchy":true}}"#, "memory", "memory.use_hierarchy", "1"),
    (r#"{"cpu":{"shares":1000}}"#, "cpu", "cpu.shares", "1000"),
    (r#"{"cpu":{"quota":50000,"period":200000}}"#, "cpu", "cpu.cfs_quota_us", "50000"),
    (r#"{"cpu":{"quota":5000,"period":20000}}"#, "cpu", "cpu.cfs_period_us", "20000"),
    (r#"{"cpu":{"quota":5000,"burst":3000}}"#, "cpu", "cpu.cfs_burst_us", "3000"),
    (r#"{"cpu":{"quota":-1}}"#, "cpu", "cpu.cfs_quota_us", "-1"),
    (r#"{"cpu":{"idle":1}}"#, "cpu", "cpu.idle", "1"),
    (r#"{"cpu":{"idle":0,"shares":7}}"#, "cpu", "cpu.shares", "7"),
    (r#"{"cpu":{"cpus":"0","mems":"0"}}"#, "cpuset", "cpuset.cpus", "0"),
    (r#"{"pids":{"limit":77}}"#, "pids", "pids.max", "77"),
    (r#"{"pids":{"limit":0}}"#, "pids", "pids.max", "1"),
    (r#"{"pids":{"limit":-1}}"#, "pids", "pids.max", "max"),
    (r#"{"blockIO":{"weight":300}}"#, "blkio", "blkio.bfq.weight", "300"),
];

const V2: &[Row] = &[
    (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#, "hugetlb", "hugetlb.2MB.max", "4194304"),
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#,
        "hugetlb",
        "hugetlb.2MB.rsvd.max",
        "2097152",
    ),
    (r#"{"unified":{"cgroup.max.depth":"3"}}"#, "cgroup", "cgroup.max.depth", "3"),
    (r#"{"unified":{"hugetlb.2MB.max":"max"}}"#, "hugetlb", "hugetlb.2MB.max", "max"),
    (r#"{"memory":{"limit":16777216}}"#, "memory", "memory.max", "16777216"),
    (r#"{"cpu":{"shares":1024}}"#, "cpu", "cpu.weight", "100"),
    (r#"{"cpu":{"quota":5000,"period":20000}}"#, "cpu", "cpu.max", "5000 20000"),
    (r#"{"pids":{"limit":77}}"#, "pids", "pids.max", "77"),
];

#[test]
fn limits_are_in_the_kernel() {
    on_every_layout("limits", |mut f| {
        f.create();
        for (json, controller, name, expected) in if f.is_v2() { V2 } else { V1 } {
            let Some(path) = f.file(controller, name) else {
                println!("skipped: the kernel has no {name} here");
                continue;
            };
            f.apply(json).unwrap_or_else(|e| panic!("{json}: {e}"));
            let text = fs::read_to_string(&path).expect("read");
            assert_eq!(text.trim(), *expected, "{json}: {}", path.display());
        }
    });
}

#[test]
fn dependent_limits_up_and_down() {
    on_every_layout("order", |mut f| {
        f.create();
        if let Some(memsw) = f.file("memory", "memory.memsw.limit_in_bytes") {
            for (limit, swap) in [(20, 30), (40, 50), (10, 15), (60, 60), (8, -1), (70, 80)] {
                let bytes = |n: i64| if n < 0 { -1 } else { n << 20 };
                let (limit, swap) = (bytes(limit), bytes(swap));
                f.apply(&format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#)).expect("memory");
                let text = fs::read_to_string(&memsw).expect("read");
                assert!(swap < 0 || text.trim() == swap.to_string(), "{limit} {swap}: {text}");
            }
            f.apply(r#"{"memory":{"limit":-1}}"#).expect("unlimited");
        } else {
            println!("skipped: the kernel has no memory.memsw.limit_in_bytes here");
        }
        if f.file("cpu", "cpu.cfs_burst_us").or_else(|| f.file("cpu", "cpu.max.burst")).is_none() {
            println!("skipped: the kernel has no cpu burst here");
            return;
        }
        for (quota, period, burst) in [(50000, 100_000, 40000), (5000, 10000, 5000), (90000, 100_000, 90000)]
        {
            let json = format!(r#"{{"cpu":{{"quota":{quota},"period":{period},"burst":{burst}}}}}"#);
            f.apply(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
        }
    });
}

#[test]
fn refusals_name_field_file_value_and_reason() {
    on_every_layout("refused", |mut f| {
        f.create();
        let refused = |json: &str| f.apply(json).expect_err(json);
        if f.is_v2() {
            let e = refused(r#"{"unified":{"foo.bar":"1"}}"#);
            assert_eq!(e, "linux.resources.unified.foo.bar: the cgroup controller \"foo\" is not available");
            let e = refused(r#"{"unified":{"cgroup.max.depth":"x"}}"#);
            assert!(e.starts_with("linux.resources.unified.cgroup.max.depth: write \"x\" to /sys/fs"), "{e}");
            assert!(e.ends_with("/cgroup.max.depth: invalid argument"), "{e}");
            let e = refused(r#"{"unified":{"cgroup.nothing":"x"}}"#);
            assert!(e.ends_with("/cgroup.nothing: no such file or directory"), "{e}");
            return;
        }
        let e = refused(r#"{"rdma":{"mlx":{"hcaHandles":1}}}"#);
        if f.file("rdma", "rdma.max").is_none() {
            assert_eq!(e, "linux.resources.rdma.mlx: the cgroup controller \"rdma\" is not available");
        }
        let e = refused(r#"{"cpu":{"cpus":"4000"}}"#);
        assert!(e.starts_with("linux.resources.cpu.cpus: write \"4000\" to /sys/fs/cgroup/"), "{e}");
        // Deferred in the hope for a quota, and refused in the end.
        let e = refused(r#"{"cpu":{"period":1}}"#);
        assert!(e.starts_with("linux.resources.cpu.period: write \"1\" to /sys/fs/cgroup/"), "{e}");
        assert!(e.ends_with("/cpu.cfs_period_us: invalid argument"), "{e}");
    });
}

#[test]
fn a_refused_update_changes_nothing() {
    on_every_layout("update", |mut f| {
        f.create();
        let (before, after, files): (_, _, &[(&str, &str)]) = if f.is_v2() {
            let before = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
            let after = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}],"unified":{"cgroup.max.depth":"x"}}"#;
            (before, after, &[("hugetlb", "hugetlb.2MB.max"), ("hugetlb", "hugetlb.2MB.rsvd.max")])
        } else {
            let before = r#"{"memory":{"limit":33554432},"cpu":{"quota":5000,"period":10000,"shares":500}}"#;
            let after = r#"{"memory":{"limit":16777216,"swap":16777216},
                "cpu":{"quota":70000,"period":90000,"shares":7,"cpus":"4000"}}"#;
            let cpu = [("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us")];
            let memory = [("memory", "memory.limit_in_bytes"), ("memory", "memory.memsw.limit_in_bytes")];
            (before, after, &[cpu[0], cpu[1], cpu[2], memory[0], memory[1]])
        };
        if files.iter().any(|(c, name)| f.file(c, name).is_none()) {
            println!("skipped: the kernel does not have all of {files:?} here");
            return;
        }
        let read = || -> Vec<String> {
            let text =
                |(c, name): &(&str, &str)| fs::read_to_string(f.file(c, name).expect(name)).expect(name);
            files.iter().map(text).collect()
        };
        f.apply(before).expect("before");
        let old = read();
        let e = f.update(after).expect_err("one is refused");
        assert!(e.starts_with("linux.resources.") && !e.contains("old values"), "{e}");
        assert_eq!(read(), old);
    });
}

fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
    let (major, minor) = (Some(major), Some(minor));
    DeviceRule { allow, kind: Some(kind.into()), major, minor, access: Some(access.into()) }
}

#[test]
fn devices() {
    on_every_layout("devices", |mut f| {
        if !Path::new("/dev/kmsg").exists() {
            println!("skipped: there is no /dev/kmsg to try");
            return;
        }
        f.create();
        let set = |rules: &[DeviceRule]| {
            let at = FieldPath::new("linux.resources.devices");
            let policy = DevicePolicy::new(rules, &at).expect("rules");
            f.cgroup().apply_devices(&policy, false).expect("devices");
        };
        let deny = || rule(false, "a", -1, -1, "rwm");
        assert!(f.can("exec 3</dev/kmsg"), "before");

        set(&[deny()]);
        assert!(!f.can("exec 3</dev/kmsg"), "denied");
        assert!(f.can("exec 3<>/dev/null && exec 3</dev/zero && exec 3</dev/urandom"), "always allowed");

        // An update takes the place of what was there.
        set(&[deny(), rule(true, "c", 1, 11, "r")]);
        assert!(f.can("exec 3</dev/kmsg"), "may read");
        assert!(!f.can("exec 3>/dev/kmsg"), "may not write");
        assert!(!f.can("exec 3<>/dev/kmsg"), "may not do both");

        set(&[]);
        assert!(!f.can("exec 3</dev/kmsg"), "what is not mentioned is denied");
    });
}

#[test]
fn oom_kill_is_seen() {
    on_every_layout("oom", |mut f| {
        f.create();
        if f.file("memory", "memory.limit_in_bytes").or_else(|| f.file("memory", "memory.max")).is_none() {
            println!("skipped: no memory controller in this hierarchy");
            return;
        }
        f.apply(r#"{"memory":{"limit":4194304,"swap":4194304}}"#)
            .or_else(|_| f.apply(r#"{"memory":{"limit":4194304}}"#))
            .expect("memory");
        assert!(!f.cgroup().oom_killed());
        assert!(!f.can("x=$(head -c 60000000 /dev/zero | tr '\\0' x); exit 0"), "killed");
        until("oom_kill", || f.cgroup().oom_killed());
        let memory = f.cgroup().memory();
        assert_eq!(memory.limit, Some(4_194_304));
        assert!(memory.peak.is_some_and(|p| p > 2_000_000), "{memory:?}");
    });
}

#[test]
fn statistics() {
    on_every_layout("stats", |mut f| {
        f.create();
        let limited = f.file("pids", "pids.max").is_some();
        if limited {
            f.apply(r#"{"pids":{"limit":77}}"#).expect("pids");
        }
        // A sleeping process may have used no time at all since it came into the cgroup.
        let mut child = f.spawn("sh", &["-c", "while :; do :; done"]);
        until("cpu time", || f.cgroup().stats().expect("stats").cpu.usage.total > 0);
        let stats = f.cgroup().stats().expect("stats");
        assert_eq!(stats.pids.current, 1);
        assert_eq!(stats.pids.limit, if limited { 77 } else { 0 });
        if f.file("memory", "memory.usage_in_bytes").or_else(|| f.file("memory", "memory.current")).is_some()
        {
            let usage = stats.memory.usage;
            assert!(usage.usage > 0 && usage.max >= usage.usage && usage.limit > usage.max, "{stats:?}");
            assert!(stats.memory.swap.usage >= usage.usage, "{stats:?}");
            assert!(stats.memory.raw.contains_key("pgfault"), "{stats:?}");
        }
        if f.file("cpuset", "cpuset.cpu_exclusive").is_some() {
            assert!(!stats.cpuset.cpus.is_empty() && !stats.cpuset.mems.is_empty(), "{stats:?}");
        }
        if f.is_v2() && Path::new("/proc/pressure/cpu").exists() {
            assert!(stats.cpu.psi.is_some(), "{stats:?}");
        }
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        child.wait().expect("wait");
        f.cgroup().destroy().expect("destroy");
        let e = f.cgroup().stats().expect_err("gone");
        assert!(e.to_string().starts_with("open /sys/fs/cgroup"), "{e}");
    });
}
