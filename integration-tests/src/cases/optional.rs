//! What not every runtime supports, and what this machine cannot give: in effect, or refused with the name of
//! the thing. Never ignored.

use super::features::strings;
use super::process::in_effect_or_refused;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Label, clauses, pointer, value as JSON text, words one of which the refusal must contain.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str, &'static [&'static str]);

/// Wrong or impossible here: has to be refused.
const REFUSED: &[Row] = &[
    (
        "io-priority-8",
        &["IOP-02"],
        "/process/ioPriority",
        r#"{"class":"IOPRIO_CLASS_BE","priority":8}"#,
        &["ioPriority"],
    ),
    (
        "io-class-unknown",
        &["IOP-01"],
        "/process/ioPriority",
        r#"{"class":"IOPRIO_CLASS_FOO","priority":0}"#,
        &["ioPriority", "FOO"],
    ),
    (
        "scheduler-unknown",
        &["SCH-01"],
        "/process/scheduler",
        r#"{"policy":"SCHED_FOO"}"#,
        &["scheduler", "FOO"],
    ),
    (
        "scheduler-nice-out-of-range",
        &["SCH-06"],
        "/process/scheduler",
        r#"{"policy":"SCHED_OTHER","nice":40}"#,
        &["scheduler", "nice"],
    ),
    (
        "scheduler-flag-unknown",
        &["SCH-04"],
        "/process/scheduler",
        r#"{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_FOO"]}"#,
        &["scheduler", "FOO"],
    ),
    (
        "personality-unknown",
        &["PER-01"],
        "/linux/personality",
        r#"{"domain":"LINUX16"}"#,
        &["personality", "LINUX16"],
    ),
    (
        "personality-flag",
        &["PER-02"],
        "/linux/personality",
        r#"{"domain":"LINUX","flags":["ADDR_NO_RANDOMIZE"]}"#,
        &["personality", "ADDR_NO_RANDOMIZE"],
    ),
    ("cgroups-path-with-nul", &["CG-06"], "/linux/cgroupsPath", r#""/a\u0000b""#, &["cgroupsPath", "cgroup"]),
    (
        "memory-policy-unknown",
        &["MPOL-01"],
        "/linux/memoryPolicy",
        r#"{"mode":"MPOL_FOO"}"#,
        &["memoryPolicy", "FOO"],
    ),
    (
        "memory-policy-without-mode",
        &["MPOL-04"],
        "/linux/memoryPolicy",
        r#"{"nodes":"0"}"#,
        &["memoryPolicy", "mode"],
    ),
    (
        "memory-policy-bind-without-nodes",
        &["MPOL-02"],
        "/linux/memoryPolicy",
        r#"{"mode":"MPOL_BIND"}"#,
        &["memoryPolicy", "nodes"],
    ),
    (
        "net-device-missing",
        &["NET-01", "NET-03"],
        "/linux/netDevices",
        r#"{"nosuchdev0":{"name":"x"}}"#,
        &["netDevices", "nosuchdev0"],
    ),
    (
        "net-device-name-too-long",
        &["NET-11"],
        "/linux/netDevices",
        r#"{"lo":{"name":"abcdefghijklmnopq"}}"#,
        &["netDevices", "lo", "name"],
    ),
    (
        "exec-affinity-garbage",
        &["AFF-05"],
        "/process/execCPUAffinity",
        r#"{"initial":"a"}"#,
        &["execCPUAffinity", "affinity"],
    ),
    ("time-clock-unknown", &["TIM-03"], "/linux/timeOffsets", r#"{"realtime":{"secs":1}}"#, &["time"]),
    (
        "seccomp-without-default",
        &["SEC-01"],
        "/linux/seccomp",
        r#"{"syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#,
        &["defaultAction", "seccomp", "action"],
    ),
    (
        "listener-metadata-without-path",
        &["SECN-08"],
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#,
        &["listener"],
    ),
    (
        "notify-as-default",
        &["SECN-10"],
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/nowhere/s"}"#,
        &["notify", "listener", "defaultAction"],
    ),
    ("swappiness-101", &["RMEM-09"], "/linux/resources/memory", r#"{"swappiness":101}"#, &["swappiness"]),
    (
        "swap-below-limit",
        &["RMEM-04"],
        "/linux/resources/memory",
        r#"{"limit":67108864,"swap":1048576}"#,
        &["swap", "memsw", "memory"],
    ),
    (
        "burst-above-quota",
        &["RCPU-06"],
        "/linux/resources/cpu",
        r#"{"quota":10000,"period":100000,"burst":20000}"#,
        &["burst"],
    ),
    (
        "blkio-weight-device-empty",
        &["RBLK-03"],
        "/linux/resources/blockIO",
        r#"{"weightDevice":[{"major":7,"minor":0}]}"#,
        &["weight"],
    ),
    ("rdma-empty", &["RRDM-03"], "/linux/resources/rdma", r#"{"mlx5_1":{}}"#, &["rdma", "mlx5_1"]),
    (
        "rdma-without-controller",
        &["RRDM-01", "RRDM-02"],
        "/linux/resources/rdma",
        r#"{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}}"#,
        &["rdma"],
    ),
    (
        "device-rule-without-allow",
        &["RDEV-02"],
        "/linux/resources/devices",
        r#"[{"access":"rwm"}]"#,
        &["allow"],
    ),
    (
        "device-rule-type-unknown",
        &["RDEV-03"],
        "/linux/resources/devices",
        r#"[{"allow":false,"type":"z","access":"rwm"}]"#,
        &["type", "z"],
    ),
    (
        "device-rule-access-unknown",
        &["RDEV-05"],
        "/linux/resources/devices",
        r#"[{"allow":false,"access":"xyz"}]"#,
        &["access", "xyz"],
    ),
    (
        "device-number-out-of-range",
        &["RDEV-04"],
        "/linux/resources/devices",
        r#"[{"allow":true,"type":"c","major":4294967296,"minor":0,"access":"r"}]"#,
        &["major", "4294967296", "devices"],
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = REFUSED
        .iter()
        .map(|row| {
            Case::new(format!("refused/{}", row.0), row.1, move |ctx| {
                let mut b = ctx.bundle()?;
                if row.2 == "/linux/timeOffsets" {
                    b.set("/linux/namespaces/-", json!({"type": "time"}));
                }
                b.set(row.2, serde_json::from_str(row.3)?);
                ctx.refuses(&b, row.4).map(drop)
            })
        })
        .collect();
    cases.extend(here_impossible());
    cases.extend(in_effect());
    cases
}

fn here_impossible() -> Vec<Case> {
    vec![
        Case::new("refused/intel-rdt-without-resctrl", &["RDT-02"], |ctx| {
            if Path::new("/sys/fs/resctrl/schemata").exists() {
                return Err(crate::Failure::skip("resctrl is mounted"));
            }
            let mut b = ctx.bundle()?;
            b.set("/linux/intelRdt", json!({"closID": "x", "l3CacheSchema": "L3:0=f"}));
            ctx.refuses(&b, &["intelRdt", "rdt", "resctrl"]).map(drop)
        }),
        Case::new("refused/hugepages-without-controller", &["RHUG-03"], |ctx| {
            without_controller(
                ctx,
                "hugetlb",
                "hugepageLimits",
                json!([{"pageSize": "2MB", "limit": 2_097_152}]),
            )
        })
        .needs(&[Need::V1("pids")]),
        Case::new("refused/network-class-without-controller", &["RNET-01"], |ctx| {
            without_controller(ctx, "net_cls", "network", json!({"classID": 1_048_577}))
        })
        .needs(&[Need::V1("pids")]),
        Case::new("refused/network-priorities-without-controller", &["RNET-02"], |ctx| {
            without_controller(
                ctx,
                "net_prio",
                "network",
                json!({"priorities": [{"name": "lo", "priority": 5}]}),
            )
        })
        .needs(&[Need::V1("pids")]),
        Case::new("refused/without-counterpart-unified", &["UNI-05"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/resources/network", json!({"classID": 1_048_577}));
            ctx.refuses(&b, &["network", "net_cls"]).map(drop)
        })
        .needs(&[Need::Unified]),
        Case::new("refused/mount-label-without-selinux", &["LBL-01"], |ctx| {
            if Path::new("/sys/fs/selinux/enforce").exists() {
                return Err(crate::Failure::skip("this machine has SELinux"));
            }
            let mut b = ctx.bundle()?;
            b.set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c1,c2"));
            ctx.refuses(&b, &["label", "selinux", "context="]).map(drop)
        })
        .practice(),
        Case::new("refused/idmap-without-user-namespace", &["MOPT-65"], |ctx| {
            let mut b = ctx.bundle()?;
            b.mount("/tmp", "bind", "out", &["bind", "idmap"]);
            ctx.refuses(&b, &["idmap", "mounts["]).map(drop)
        })
        .needs(&[Need::Kernel(5, 12)]),
    ]
}

/// A limit for which the machine has no controller must not be taken for set.
fn without_controller(ctx: &Ctx, controller: &str, member: &str, value: Value) -> Verdict {
    if Path::new(cgroup::ROOT).join(controller).exists() {
        return Err(crate::Failure::skip(format!("this machine has the {controller} controller")));
    }
    let mut b = ctx.bundle()?;
    b.set(&format!("/linux/resources/{member}"), value);
    ctx.refuses(&b, &[controller, member]).map(drop)
}

fn in_effect() -> Vec<Case> {
    vec![
        Case::new("optional/scheduler-idle", &["SCH-01"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
            in_effect_or_refused(ctx, &b, "scheduler", |f| {
                ensure_eq!(*f.get("/process/policy"), json!(libc::SCHED_IDLE), "policy");
                Ok(())
            })
        }),
        Case::new("optional/io-class-idle", &["IOP-01"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
            in_effect_or_refused(ctx, &b, "ioPriority", |f| {
                ensure_eq!(*f.get("/process/ioprio"), json!(3 << 13), "ioprio");
                Ok(())
            })
        }),
        Case::new("optional/personality-linux", &["PER-01"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/personality", json!({"domain": "LINUX"}));
            in_effect_or_refused(ctx, &b, "personality", |f| {
                ensure_eq!(*f.get("/process/personality"), json!(0), "personality");
                Ok(())
            })
        }),
        Case::new("optional/memory-policy", &["MPOL-01", "MPOL-02"], memory_policy)
            .needs(&[Need::File("/proc/self/numa_maps")]),
        Case::new("optional/memory-policy-flag", &["MPOL-03"], memory_policy_flag)
            .needs(&[Need::File("/proc/self/numa_maps")]),
        Case::new("optional/scheduler-deadline", &["SCH-05"], deadline),
        Case::new("optional/exec-affinity", &["AFF-01", "AFF-03"], exec_affinity),
        Case::new("optional/time-namespace", &["NS-01"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/namespaces/-", json!({"type": "time"}));
            in_effect_or_refused(ctx, &b, "time", |f| {
                let own = fs::read_link("/proc/self/ns/time")?.display().to_string();
                ensure!(f.ns("time") != own, "time namespace is the runtime's");
                Ok(())
            })
        })
        .needs(&[Need::Namespace("time")]),
        Case::new("optional/empty-filter-that-kills", &["SEC-22"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}));
            ensure!(ctx.run(&b)?.code() != 0, "the program ran under a filter that kills everything");
            Ok(())
        }),
        Case::new("optional/cpu-realtime", &["RCPU-07", "RCPU-08"], realtime)
            .needs(&[Need::V1File("cpu", "cpu.rt_runtime_us")]),
        Case::new("optional/memory-hierarchy", &["RMEM-11"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/resources/memory", json!({"limit": 67_108_864, "useHierarchy": true}));
            ctx.facts(&b).map(drop)
        })
        .needs(&[Need::V1("memory")]),
        Case::new("optional/harmless-zeroes", &["RMEM-09", "RMEM-10"], harmless).practice(),
        Case::new("optional/existing-cgroup-survives", &["OPS-18"], existing_cgroup)
            .needs(&[Need::V1("pids")]),
        Case::new("optional/keep-original-groups", &["FEAT-20", "PROC-15"], keep_groups).practice(),
        Case::new("optional/warnings-change-nothing", &["LIF-14", "CAP-06"], warning),
        Case::new("features/lists-are-accepted", &["FEAT-04", "FEAT-10", "FEAT-11"], features_accepted),
        Case::new("features/seccomp-is-truthful", &["FEAT-13"], features_seccomp),
        Case::new("features/mount-options-are-accepted", &["FEAT-09"], features_mount_options),
        Case::new("features/cgroup-is-truthful", &["FEAT-12"], features_cgroup),
    ]
}

fn memory_policy(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/memoryPolicy", json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}));
    b.steps(&[&["read", "/proc/self/numa_maps"]]);
    in_effect_or_refused(ctx, &b, "memoryPolicy", |f| {
        ensure!(f.str("/text").contains("interleave"), "numa_maps: {}", crate::process::tail(f.str("/text")));
        Ok(())
    })
}

fn memory_policy_flag(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/memoryPolicy",
        json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
    );
    b.steps(&[&["read", "/proc/self/numa_maps"]]);
    in_effect_or_refused(ctx, &b, "memoryPolicy", |f| {
        ensure!(
            f.str("/text").contains("interleave=static:0"),
            "numa_maps: {}",
            crate::process::tail(f.str("/text"))
        );
        Ok(())
    })
}

/// A hundredth of one processor; the kernel may have given away more than it has of that already.
fn deadline(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 100_000_000,
                           "period": 100_000_000});
    b.set("/process/scheduler", scheduler).steps(&[&["facts"]]);
    let out = ctx.run(&b)?;
    let words = out.stderr.to_lowercase();
    if words.contains("busy") || words.contains("not permitted") {
        return Err(crate::Failure::skip(format!("the kernel refuses: {}", out.stderr.trim())));
    }
    let out = out.ok()?;
    ensure_eq!(*Facts::lines(&out.stdout)?[0].get("/process/policy"), json!(libc::SCHED_DEADLINE), "policy");
    Ok(())
}

fn exec_affinity(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"})).steps(&[&["facts"], &["sleep"]]);
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let out = ctx.rt(["run", "-d", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if out.code() != 0 {
        out.refused(&["execCPUAffinity", "affinity"])?;
        return Err(crate::Failure::skip("the runtime refuses execCPUAffinity"));
    }
    let allowed = |pid: &str| -> Result<String, crate::Failure> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        Ok(list.unwrap_or_default().trim().to_owned())
    };
    ensure_eq!(allowed(&c.state()?["pid"].to_string())?, allowed("self")?, "processors of init");
    ensure_eq!(c.exec_facts(&[])?.status("Cpus_allowed_list"), "0", "processors of exec");
    Ok(())
}

fn realtime(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/cpu", json!({"realtimeRuntime": 0, "realtimePeriod": 1_000_000}));
    let out = ctx.run(&b)?;
    if out.code() != 0 { out.refused(&["realtime", "rt_", "cpu"]).map(drop) } else { Ok(()) }
}

/// Docker writes these for everybody; on no hierarchy may they be an error.
fn harmless(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/resources/memory",
        json!({"swappiness": null, "disableOOMKiller": false, "kernel": 0, "limit": 0}),
    );
    b.set("/linux/resources/cpu", json!({"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}));
    b.set("/linux/resources/blockIO", json!({"weight": 0, "weightDevice": []}));
    b.set("/linux/resources/hugepageLimits", json!([]));
    b.set("/linux/resources/network", json!({}));
    b.set("/linux/resources/unified", json!({}));
    ctx.create(&b).map(drop)
}

/// A cgroup that somebody else made is not the runtime's to remove, though runc and crun do if it is empty.
fn existing_cgroup(ctx: &Ctx) -> Verdict {
    let name = ctx.id();
    let dir = Path::new(cgroup::ROOT).join("pids").join(&name);
    fs::create_dir(&dir)?;
    let mut b = ctx.bundle()?;
    b.set("/linux/cgroupsPath", json!(format!("/{name}")));
    let c = ctx.create(&b);
    let survived = c.and_then(|c| c.delete_force()).map(|_| dir.exists());
    if dir.exists() {
        fs::remove_dir(&dir)?;
    }
    ensure!(survived?, "the cgroup that was there before is gone");
    Ok(())
}

/// The annotation by which podman lets a container keep the caller's groups.
fn keep_groups(ctx: &Ctx) -> Verdict {
    crate::sys::set_groups(&[4242])?;
    let mut b = ctx.bundle()?;
    ensure_eq!(ctx.facts(&b)?.status("Groups"), "", "groups without the annotation");
    b.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    ensure_eq!(ctx.facts(&b)?.status("Groups"), "4242", "groups with it");
    let listed = strings(&features(ctx)?, "/potentiallyUnsafeConfigAnnotations");
    ensure!(listed.iter().any(|a| a.starts_with("run.oci.")), "not announced: {listed:?}");
    Ok(())
}

fn warning(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.caps(&["CAP_KILL", "CAP_OF_THE_FUTURE"]).steps(&[&["exit", "6"]]);
    ctx.run(&b)?.exits(6).map(drop)
}

fn features(ctx: &Ctx) -> Result<Value, crate::Failure> {
    ctx.bare().arg("features").ok()?.json()
}

/// Every namespace and capability that is announced works in one container.
fn features_accepted(ctx: &Ctx) -> Verdict {
    let f = features(ctx)?;
    let mut b = ctx.bundle()?;
    let caps = strings(&f, "/linux/capabilities");
    ensure!(caps.len() > 30, "{} capabilities are announced", caps.len());
    b.set("/process/capabilities/bounding", json!(caps));
    let kinds = strings(&f, "/linux/namespaces");
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).filter(|k| *k != "user").collect();
    b.namespaces(&kinds);
    ctx.facts(&b).map(drop)
}

fn features_seccomp(ctx: &Ctx) -> Verdict {
    let f = features(ctx)?;
    let actions = strings(&f, "/linux/seccomp/actions");
    ensure!(actions.iter().any(|a| a == "SCMP_ACT_ERRNO"), "actions: {actions:?}");
    for action in actions.iter().filter(|a| *a != "SCMP_ACT_NOTIFY") {
        let mut b = ctx.bundle()?;
        b.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": action}]}),
        );
        ctx.facts(&b)?;
    }
    // One by one: libseccomp cannot mix byte orders in one filter.
    for arch in strings(&f, "/linux/seccomp/archs").iter().filter(|a| a.contains("X86") || a.contains("X32"))
    {
        let mut b = ctx.bundle()?;
        b.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch],
                   "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
        );
        ctx.facts(&b)?;
    }
    for operator in strings(&f, "/linux/seccomp/operators") {
        let mut b = ctx.bundle()?;
        b.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                   "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]}]}),
        );
        ctx.facts(&b)?;
    }
    Ok(())
}

/// Options that are announced are not handed to the filesystem as data, which would refuse them.
fn features_mount_options(ctx: &Ctx) -> Verdict {
    let options = strings(&features(ctx)?, "/mountOptions");
    ensure!(options.len() > 20, "{} mount options are announced", options.len());
    let special =
        ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup", "defaults", "ratime", "iversion"];
    for option in options.iter().filter(|o| !special.contains(&o.as_str())) {
        let mut b = ctx.bundle()?;
        b.mount("/tmp", "tmpfs", "t", &[option]);
        ctx.facts(&b)?;
    }
    Ok(())
}

fn features_cgroup(ctx: &Ctx) -> Verdict {
    let f = features(ctx)?;
    let here = if ctx.unified() { "v2" } else { "v1" };
    ensure_eq!(f["linux"]["cgroup"][here], json!(true), "cgroup {here}, which is in use here");
    for member in ["systemd", "systemdUser"] {
        ensure!(f["linux"]["cgroup"][member].is_boolean(), "{member} is not announced");
    }
    Ok(())
}
