//! Namespaces: new, joined, inherited; host names; id mappings; time offsets.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Name in config.json, name in `/proc/PID/ns`.
const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, link) in KINDS {
        let new =
            Case::new(format!("namespace/new-{kind}"), &["NS-01", "NS-02"], move |ctx| new(ctx, kind, link));
        cases.push(new.needs(&[Need::Namespace(link)]));
        // A container without a mount namespace of its own would work on the harness's mounts.
        if kind != "mount" {
            let name = format!("namespace/inherited-{kind}");
            cases.push(Case::new(name, &["NS-06"], move |ctx| inherited(ctx, kind, link)));
        }
        let joined =
            Case::new(format!("namespace/path-{kind}"), &["NS-03"], move |ctx| joined(ctx, kind, link));
        cases.push(joined.needs(&[Need::Namespace(link)]));
    }
    cases.extend(others());
    cases.extend(user_namespaces());
    cases
}

fn others() -> Vec<Case> {
    vec![
        Case::new("namespace/path-of-wrong-type", &["NS-05"], wrong_type),
        Case::new("namespace/path-is-no-namespace", &["NS-05"], no_namespace),
        Case::new("namespace/path-missing", &["NS-05"], path_missing),
        Case::new("namespace/loopback-is-up", &["NS-10"], loopback).practice(),
        Case::new("namespace/cgroup-root", &["NS-12"], cgroup_root).practice(),
        Case::new("namespace/mask-without-mount-namespace", &["NS-11"], mask_without_mount).practice(),
        Case::new("namespace/host-pid", &["NS-06"], host_pid),
        Case::new("namespace/time-offsets", &["TIM-01"], time_offsets).needs(&[Need::Namespace("time")]),
        Case::new("namespace/time-offsets-without-namespace", &["TIM-04"], offsets_without).practice(),
        Case::new("hostname/set", &["UTS-01"], hostname),
        Case::new("hostname/without-uts-namespace", &["UTS-03"], hostname_without_uts).practice(),
        Case::new("domainname/set", &["UTS-02"], domainname),
        Case::new("sysctl/ipc", &["SYS-01"], |ctx| {
            sysctl(ctx, "kernel.shmmni", "/proc/sys/kernel/shmmni", "123")
        }),
        Case::new("sysctl/net", &["SYS-01"], |ctx| {
            sysctl(ctx, "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward", "1")
        }),
        Case::new("sysctl/mqueue", &["SYS-01"], |ctx| {
            sysctl(ctx, "fs.mqueue.msg_max", "/proc/sys/fs/mqueue/msg_max", "7")
        }),
        Case::new("sysctl/slashes", &["SYS-03"], |ctx| {
            sysctl(ctx, "net/ipv4/conf/lo/forwarding", "/proc/sys/net/ipv4/conf/lo/forwarding", "1")
        })
        .practice(),
        Case::new("sysctl/unknown-key", &["SYS-04"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/sysctl", json!({"net.ipv4.no_such_key": "1"}));
            ctx.refuses(&b, &["no_such_key"]).map(drop)
        })
        .practice(),
        Case::new("sysctl/net-in-host-namespace", &["SYS-02"], |ctx| {
            let mut b = ctx.bundle()?;
            b.without_namespace("network").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
            ctx.refuses(&b, &["net.ipv4.ip_forward", "network namespace"]).map(drop)
        })
        .practice(),
        Case::new("sysctl/ipc-in-host-namespace", &["SYS-02"], |ctx| {
            let mut b = ctx.bundle()?;
            b.without_namespace("ipc").set("/linux/sysctl", json!({"kernel.shmmni": "123"}));
            ctx.refuses(&b, &["kernel.shmmni", "ipc namespace"]).map(drop)
        })
        .practice(),
    ]
}

fn user_namespaces() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("userns/{name}"), clauses, body).needs(&[Need::UserNs])
    };
    vec![
        case("new", &["IDM-01", "IDM-02", "NS-02"], userns),
        case("several-mappings", &["IDM-01", "IDM-02"], several_mappings),
        case("owner-of-rootfs-unchanged", &["IDM-04"], owner_unchanged).should(),
        case("user-and-groups", &["PROC-14", "PROC-15"], userns_user),
        case("devices-are-bound", &["DEV-18"], userns_devices).practice(),
        case("path", &["NS-03"], userns_path),
        case("path-with-equal-mappings", &["IDM-07"], userns_path_and_mappings).practice(),
        case("mapping-incomplete", &["IDM-03"], mapping_incomplete),
        case("full-capabilities-inside", &["CAP-01"], userns_capabilities),
        case("exec", &["NS-03"], userns_exec),
        case("network-belongs-to-it", &["NS-02"], userns_network).practice(),
        case("runtime-is-in-another", &["NS-02"], runtime_in_userns).practice().needs(&[
            Need::UserNs,
            Need::Root,
            Need::File("/usr/bin/unshare"),
        ]),
    ]
}

fn own(link: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{link}")).map(|p| p.display().to_string()).unwrap_or_default()
}

fn new(ctx: &Ctx, kind: &str, link: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    if kind == "cgroup" {
        b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    }
    let facts = ctx.facts(&b)?;
    ensure!(
        !facts.ns(link).is_empty() && facts.ns(link) != own(link),
        "{link} is the runtime's: {}",
        facts.ns(link)
    );
    Ok(())
}

/// A sysfs mount belongs to a network namespace and an mqueue one to an ipc namespace: both still work when
/// those are the host's, since the harness is root there.
fn inherited(ctx: &Ctx, kind: &str, link: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace(kind);
    if kind == "uts" {
        b.remove("/hostname");
    }
    ensure_eq!(ctx.facts(&b)?.ns(link), own(link), "{link} namespace");
    Ok(())
}

fn joined(ctx: &Ctx, kind: &str, link: &str) -> Verdict {
    let mut b = ctx.bundle()?;
    if kind == "cgroup" {
        b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    }
    b.steps(&[&["facts"], &["sleep"]]);
    let holder = ctx.start(&b)?;
    let want = holder.lines(1)?[0].ns(link).to_owned();
    let mut b = ctx.bundle()?;
    b.without_namespace(kind);
    let path = format!("/proc/{}/ns/{link}", holder.pid);
    b.set("/linux/namespaces/-", json!({"type": kind, "path": path}));
    match kind {
        "uts" => drop(b.remove("/hostname")),
        // Mounts are made where the rootfs is: the joined mount namespace must see it.
        "mount" => return joined_mount(ctx, b, &want),
        _ => {}
    }
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.ns(link), want, "{link} namespace");
    if kind == "pid" {
        ensure!(facts.get("/pid").as_u64() > Some(1), "pid {} in a joined pid namespace", facts.get("/pid"));
    }
    Ok(())
}

/// runc and crun refuse or fail to set up a root in somebody else's mount namespace unless it sees the
/// bundle; both answers are legal, a half-made container is not.
fn joined_mount(ctx: &Ctx, b: crate::Bundle, want: &str) -> Verdict {
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        ensure!(!out.stderr.trim().is_empty(), "failed without a word");
        return Ok(());
    }
    ensure_eq!(Facts::lines(&out.stdout)?[0].ns("mnt"), want, "mnt namespace");
    Ok(())
}

fn set_path(ctx: &Ctx, kind: &str, path: &str) -> Result<crate::Bundle, crate::Failure> {
    let mut b = ctx.bundle()?;
    b.without_namespace(kind).set("/linux/namespaces/-", json!({"type": kind, "path": path}));
    Ok(b)
}

fn wrong_type(ctx: &Ctx) -> Verdict {
    ctx.fails(&set_path(ctx, "network", "/proc/self/ns/uts")?).map(drop)
}

fn no_namespace(ctx: &Ctx) -> Verdict {
    ctx.fails(&set_path(ctx, "network", "/etc/hostname")?).map(drop)
}

fn path_missing(ctx: &Ctx) -> Verdict {
    ctx.refuses(&set_path(ctx, "network", "/nowhere/ns")?, &["/nowhere/ns"]).map(drop)
}

fn loopback(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["read", "/sys/class/net/lo/flags"]]);
    ensure_eq!(ctx.facts(&b)?.str("/text").trim(), "0x9", "flags of lo (UP, LOOPBACK)");
    Ok(())
}

fn cgroup_root(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    let facts = ctx.facts(&b)?;
    for line in facts.str("/cgroup").lines() {
        ensure!(line.ends_with(":/"), "not the root of its cgroup namespace: {line}");
    }
    Ok(())
}

fn mask_without_mount(ctx: &Ctx) -> Verdict {
    // If the runtime does not refuse, it must not do its mounts on the machine's.
    ctx.change_mounts();
    let mut b = ctx.bundle()?;
    b.without_namespace("mount");
    ctx.refuses(&b, &["mount", "mnt"]).map(drop)
}

fn host_pid(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("pid").steps(&[&["facts"], &["sleep"]]);
    let c = ctx.start(&b)?;
    ensure_eq!(*c.lines(1)?[0].get("/pid"), json!(c.pid), "pid seen inside");
    Ok(())
}

fn time_offsets(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "time"}));
    b.set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 86400}}),
    );
    super::process::in_effect_or_refused(ctx, &b, "time", |f| {
        let offsets: Vec<Vec<&str>> =
            f.str("/timens_offsets").lines().map(|l| l.split_whitespace().collect()).collect();
        ensure_eq!(offsets, [["monotonic", "1000", "5"], ["boottime", "86400", "0"]], "timens_offsets");
        ensure!(f.ns("time") != own("time"), "time namespace is the runtime's");
        Ok(())
    })
}

fn offsets_without(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1000}}));
    ctx.refuses(&b, &["time"]).map(drop)
}

fn hostname(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/hostname", json!("rusty-host"));
    ensure_eq!(ctx.facts(&b)?.str("/hostname"), "rusty-host", "hostname");
    Ok(())
}

fn hostname_without_uts(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.without_namespace("uts");
    ctx.refuses(&b, &["hostname", "uts"]).map(drop)
}

fn domainname(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/domainname", json!("rusty.example"));
    super::process::in_effect_or_refused(ctx, &b, "domainname", |f| {
        ensure_eq!(f.str("/domainname"), "rusty.example", "domainname");
        Ok(())
    })
}

fn sysctl(ctx: &Ctx, key: &str, file: &str, value: &str) -> Verdict {
    let before = fs::read_to_string(file)?;
    let mut b = ctx.bundle()?;
    b.set("/linux/sysctl", json!({key: value})).steps(&[&["read", file]]);
    ensure_eq!(ctx.facts(&b)?.str("/text").trim(), value, "{key} inside");
    ensure_eq!(fs::read_to_string(file)?, before, "{key} on the host");
    Ok(())
}

const HOST_ID: u32 = 200_000;

fn words(map: &str) -> Vec<Vec<&str>> {
    map.lines().map(|l| l.split_whitespace().collect()).collect()
}

fn userns(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?;
    let facts = ctx.facts(&b)?;
    ensure!(facts.ns("user") != own("user"), "user namespace is the runtime's");
    for map in ["/uid_map", "/gid_map"] {
        ensure_eq!(words(facts.str(map)), [["0", "200000", "65536"]], "{map}");
    }
    ensure_eq!(facts.status("Uid"), "0 0 0 0", "Uid");
    Ok(())
}

fn several_mappings(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?;
    let map = json!([{"containerID": 0, "hostID": 200000, "size": 1000},
                     {"containerID": 5000, "hostID": 300000, "size": 10},
                     {"containerID": 70000, "hostID": 1000, "size": 1}]);
    b.set("/linux/uidMappings", map.clone());
    let facts = ctx.facts(&b)?;
    let want = [["0", "200000", "1000"], ["5000", "300000", "10"], ["70000", "1000", "1"]];
    ensure_eq!(words(facts.str("/uid_map")), want, "uid_map");
    ensure_eq!(words(facts.str("/gid_map")), [["0", "200000", "65536"]], "gid_map");
    Ok(())
}

fn owner_unchanged(ctx: &Ctx) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?;
    fs::write(b.path("etc/file"), "")?;
    let before = fs::metadata(b.path("etc/file"))?;
    ctx.facts(&b)?;
    let after = fs::metadata(b.path("etc/file"))?;
    ensure_eq!(
        (after.uid(), after.gid(), after.mode()),
        (before.uid(), before.gid(), before.mode()),
        "owner and mode"
    );
    Ok(())
}

fn userns_user(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}));
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.status("Uid"), "1000 1000 1000 1000", "Uid");
    ensure_eq!(facts.status("Gid"), "1001 1001 1001 1001", "Gid");
    ensure_eq!(facts.status("Groups"), "5 6", "Groups");
    Ok(())
}

fn userns_devices(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?.steps(&[
        &["facts"],
        &["open", "/dev/null", "rw"],
        &["open", "/dev/zero", "r"],
    ]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(*steps[0].get("/dev/null/rdev"), json!("1:3"), "/dev/null");
    ensure_eq!((steps[1].result(), steps[2].result()), ("ok", "ok"), "opening /dev/null and /dev/zero");
    steps[0].mount("/dev/null").map(drop)
}

fn holder(ctx: &Ctx) -> Result<(crate::Container<'_>, String), crate::Failure> {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?.steps(&[&["facts"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let link = c.lines(1)?[0].ns("user").to_owned();
    Ok((c, link))
}

fn userns_path(ctx: &Ctx) -> Verdict {
    let (holder, want) = holder(ctx)?;
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?;
    b.without_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    let path = format!("/proc/{}/ns/user", holder.pid);
    b.set("/linux/namespaces/-", json!({"type": "user", "path": path}));
    ensure_eq!(ctx.facts(&b)?.ns("user"), want, "user namespace");
    Ok(())
}

fn userns_path_and_mappings(ctx: &Ctx) -> Verdict {
    let (holder, want) = holder(ctx)?;
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?.without_namespace("user");
    let path = format!("/proc/{}/ns/user", holder.pid);
    b.set("/linux/namespaces/-", json!({"type": "user", "path": path}));
    ensure_eq!(ctx.facts(&b)?.ns("user"), want, "user namespace");
    Ok(())
}

fn mapping_incomplete(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?.remove("/linux/uidMappings/0/size");
    ctx.fails(&b).map(drop)
}

fn userns_capabilities(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(HOST_ID)?.caps(&["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    let facts = ctx.facts(&b)?;
    for field in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
        ensure_eq!(facts.status(field), "0000000000200001", "{field}");
    }
    Ok(())
}

/// The files of `lo` belong to what is id 0 of the owner when the network namespace is made: to nobody without ids.
fn userns_network(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(100_000)?;
    b.steps(&[&["stat", "/sys/class/net/lo/mtu"], &["read", "/sys/class/net/lo/flags"]]);
    let out = ctx.run(&b)?.ok()?;
    let lines = Facts::lines(&out.stdout)?;
    ensure_eq!(*lines[0].get("/stat/uid"), json!(0), "owner of lo's files");
    ensure_eq!(lines[1].str("/text").trim(), "0x9", "flags of lo (UP, LOOPBACK)");
    Ok(())
}

/// As under an engine of an ordinary user: the runtime is root of a user namespace that does not own the network namespace
/// it is in. Whoever leaves that does not get back.
fn runtime_in_userns(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    b.remove("/linux/resources").set("/mounts/2/options", json!(["newinstance", "ptmxmode=0666"]));
    b.save()?;
    let id = ctx.id();
    let cmd = ctx.program(Path::new("/usr/bin/unshare")).args(["-Urm", "--"]).arg(&ctx.settings.runtime);
    let cmd = cmd.arg("--root").arg(ctx.scratch().join("inside")).args(["run", "-b"]).arg(&b.dir).arg(&id);
    let facts = Facts::lines(&cmd.ok()?.stdout)?.remove(0);
    ensure!(facts.ns("net") != own("net"), "in the network namespace of the runtime");
    Ok(())
}

fn userns_exec(ctx: &Ctx) -> Verdict {
    let (holder, want) = holder(ctx)?;
    let facts = holder.exec_facts(&["-u", "1000:1001"])?;
    ensure_eq!(facts.ns("user"), want, "user namespace");
    ensure_eq!(facts.status("Uid"), "1000 1000 1000 1000", "Uid");
    Ok(())
}
