//! The same configuration under the runtime and under runc: what `/proc` says inside, field by field.

use crate::bundle::Bundle;
use crate::differential::Plan;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, Failure, mountinfo};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, change: fn(&mut Bundle) -> Verdict| {
        let body = move |ctx: &Ctx| compare(ctx, change);
        Case::new(format!("parity/{name}"), &["OPS-05"], body).practice().needs(&[Need::Runc])
    };
    vec![
        case("spec", |_| Ok(())),
        case("docker", docker),
        case("user", user),
        case("host-namespaces", host_namespaces),
        case("userns", |b| b.user_namespace(200_000).map(drop)),
        case("cgroup-namespace", |b| {
            b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
            Ok(())
        }),
        case("resources", resources),
        case("seccomp", seccomp),
        case("no-capabilities", |b| {
            b.remove("/process/capabilities");
            Ok(())
        }),
        Case::new("parity/exec", &["OPS-05"], exec).practice().needs(&[Need::Runc]),
        Case::new("parity/unified", &["OPS-05"], |ctx| compare(ctx, docker))
            .practice()
            .needs(&[Need::Runc, Need::Unified]),
        Case::new("parity/random", &["OPS-05"], random)
            .practice()
            .needs(&[Need::Runc, Need::V1("memory")])
            .limit(600),
        Case::new("parity/outside", &["OPS-05"], outside).practice().needs(&[Need::Runc]),
    ]
}

/// What dockerd writes for `docker run`, in the parts that can be seen.
fn docker(b: &mut Bundle) -> Verdict {
    let caps = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    for set in ["bounding", "effective", "permitted"] {
        b.set(&format!("/process/capabilities/{set}"), json!(caps));
    }
    b.remove("/process/capabilities/ambient").remove("/process/rlimits");
    b.writable().set("/process/noNewPrivileges", json!(false)).set("/process/oomScoreAdj", json!(0));
    b.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [0, 10]}));
    b.set("/hostname", json!("d0c7e1"));
    fs::write(b.dir.join("hosts"), "127.0.0.1 localhost\n")?;
    b.mount("/etc/hosts", "bind", "hosts", &["rbind", "rprivate"]);
    b.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}),
    );
    b.set("/linux/rootfsPropagation", json!("rprivate"));
    Ok(())
}

fn user(b: &mut Bundle) -> Verdict {
    b.set("/process/user", json!({"uid": 1234, "gid": 5678, "additionalGids": [9, 10], "umask": 0o027}));
    b.set("/process/cwd", json!("/tmp")).set("/process/oomScoreAdj", json!(321));
    b.caps(&["CAP_NET_RAW", "CAP_KILL"]);
    Ok(())
}

fn host_namespaces(b: &mut Bundle) -> Verdict {
    b.without_namespace("network").without_namespace("ipc").without_namespace("uts").remove("/hostname");
    Ok(())
}

fn resources(b: &mut Bundle) -> Verdict {
    b.set("/linux/resources/memory", json!({"limit": 134_217_728}));
    b.set("/linux/resources/cpu", json!({"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0"}));
    b.set("/linux/resources/pids", json!({"limit": 64}));
    Ok(())
}

fn seccomp(b: &mut Bundle) -> Verdict {
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    b.set("/process/noNewPrivileges", json!(false));
    Ok(())
}

/// Differences that are meant, each with its reason.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "/sys/fs/cgroup tmpfs from tmpfs",
        "runc 1.1 leaves the tmpfs around v1 hierarchies writable although `ro` is asked",
    ),
    (" root /null ", "a mask that does not depend on the container's own /dev/null resists CVE-2025-31133"),
    (
        "/dev/mqueue/gid: 0 | 65534",
        "runc mounts the message queues as the container's user, but as the host's group",
    ),
    ("/sys/fs/cgroup cgroup2 from cgroup root /ID [", OWN_CGROUP),
    ("/data/hugetlb/1GB: {\"failcnt\":0} | null", NO_HUGE_PAGES),
    ("/data/hugetlb/2MB: {\"failcnt\":0} | null", NO_HUGE_PAGES),
    ("/cpu.weight: [\"59\"] | [\"20\"]", "runc 1.1 is older than the present formula from shares to weight"),
    ("only ours: \"/sys/fs/cgroup cgroup2 from cgroup root / [", SAME_TREE),
    ("only runc: \"/sys/fs/cgroup cgroup2 from cgroup root / [", SAME_TREE),
];

const NO_HUGE_PAGES: &str =
    "runc 1.1.15 counts no huge pages on version 2, though the files are in its cgroup";

const SAME_TREE: &str = "in the host's cgroup namespace the host's mount is bound: a new one, as runc 1.1 makes, takes \
                         nsdelegate and memory_recursiveprot away from the host";

const OWN_CGROUP: &str =
    "where a fresh cgroup2 mount is refused, the container gets its own cgroup and not the host's whole tree";

/// Both runtimes, each with a bundle of its own, `create` and `start` so that stdio is passed on as it is.
fn compare(ctx: &Ctx, change: fn(&mut Bundle) -> Verdict) -> Verdict {
    let [ours, runc] = both(ctx, |runtime| {
        let mut b = ctx.bundle()?;
        change(&mut b)?;
        b.steps(&[&["facts"], &["sleep"]]);
        let c = Peer::start(ctx, runtime, &b)?;
        let facts = c.facts()?;
        Ok(normalise(ctx, &b, &c.id, facts))
    })?;
    differences(&ours, &runc)
}

/// A few random configurations, always the same; `corten-differential` compares thousands.
fn random(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    crate::differential::enter()?;
    let plan = Plan::new(&ctx.settings, &find_runc()?, ctx.scratch().join("random"), ctx.id())?;
    let summary = Plan { seed: 1, count: 30, ..plan }.run(|_, _| {})?;
    let found: Vec<String> = summary.findings.iter().map(ToString::to_string).collect();
    if found.is_empty() { Ok(()) } else { Err(Failure::new(found.join("; "))) }
}

fn exec(ctx: &Ctx) -> Verdict {
    let [ours, runc] = both(ctx, |runtime| {
        let mut b = ctx.bundle()?;
        docker(&mut b)?;
        b.steps(&[&["say", "up"], &["sleep"]]);
        let c = Peer::start(ctx, runtime, &b)?;
        let args = ["exec", "-u", "12:34", "-e", "A=b", "--cwd", "/tmp", &c.id, "/bin/probe", "facts"];
        let out = c.cmd(&args).ok()?;
        let mut seen = normalise(ctx, &b, &c.id, Facts::lines(&out.stdout)?.remove(0));
        // How many processes a runtime needed before is its own business.
        // So is what it puts between its own stdio and an attached process.
        for pointer in ["/pid", "/process/pgid", "/process/sid", "/status/NSpid", "/stdin", "/stdout"] {
            if let Some(value) = seen.pointer_mut(pointer) {
                *value = json!("some");
            }
        }
        Ok(seen)
    })?;
    differences(&ours, &runc)
}

/// What the host sees: the devices cgroup, the state's members, the process's own files.
fn outside(ctx: &Ctx) -> Verdict {
    let [ours, runc] = both(ctx, |runtime| {
        let mut b = ctx.bundle()?;
        docker(&mut b)?;
        resources(&mut b)?;
        b.steps(&[&["say", "up"], &["sleep"]]);
        let c = Peer::start(ctx, runtime, &b)?;
        let state = c.cmd(&["state", &c.id]).ok()?.json()?;
        let pid = state["pid"].as_i64().unwrap_or(0);
        let members: Vec<&String> = state.as_object().into_iter().flat_map(|m| m.keys()).collect();
        let read = |f: &str| fs::read_to_string(format!("/proc/{pid}/{f}")).unwrap_or_default();
        let mut seen =
            json!({"members": members, "oom_score_adj": read("oom_score_adj"), "limits": read("limits")});
        for line in read("cgroup").lines() {
            let name = line.split(':').nth(1).unwrap_or("").trim_start_matches("name=").to_owned();
            seen[format!("cgroup {name}")] = cgroup_files(pid as i32, &name);
        }
        Ok(seen)
    })?;
    differences(&ours, &runc)
}

/// Every file of the container's cgroup that holds a setting and not a measurement.
pub(super) fn cgroup_files(pid: i32, name: &str) -> Value {
    let controller = if name == "systemd" { "name=systemd" } else { name };
    let Ok(dir) = crate::cgroup::dir_of(pid, controller) else { return Value::Null };
    let settings = [
        "limit_in_bytes",
        ".max",
        "shares",
        "cfs_quota_us",
        "cfs_period_us",
        "cpuset.cpus",
        "cpuset.mems",
        "devices.list",
        "swappiness",
        "freezer.state",
        "cpu.weight",
        "memory.low",
        "clone_children",
        "subtree_control",
    ];
    let mut files = Map::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if settings.iter().any(|s| file.ends_with(s))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.insert(file, sorted_lines(&text));
        }
    }
    Value::Object(files)
}

fn sorted_lines(text: &str) -> Value {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    json!(lines)
}

pub(super) fn both(ctx: &Ctx, run: impl Fn(&Path) -> Result<Value, Failure>) -> Result<[Value; 2], Failure> {
    let peer = run(&find_runc()?).map_err(|e| Failure::skip(format!("runc itself fails here: {e}")))?;
    Ok([run(&ctx.settings.runtime)?, peer])
}

/// The runc on PATH.
pub(super) fn find_runc() -> Result<std::path::PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let runc = std::env::split_paths(&path).map(|d| d.join("runc")).find(|p| p.is_file());
    runc.ok_or_else(|| Failure::skip("runc is not on PATH"))
}

/// A container of either runtime, deleted at the end.
pub(super) struct Peer<'c> {
    ctx: &'c Ctx,
    runtime: std::path::PathBuf,
    pub(super) id: String,
    output: std::path::PathBuf,
}

impl<'c> Peer<'c> {
    pub(super) fn start(ctx: &'c Ctx, runtime: &Path, b: &Bundle) -> Result<Self, Failure> {
        b.save()?;
        let mut peer = Peer { ctx, runtime: runtime.to_path_buf(), id: ctx.id(), output: b.dir.clone() };
        let dir = b.dir.to_string_lossy().into_owned();
        let running = peer.cmd(&["create", "-b", &dir, &peer.id]).spawn()?;
        peer.output = running.output_path();
        running.finish()?.ok()?;
        peer.cmd(&["start", &peer.id]).ok()?;
        Ok(peer)
    }

    pub(super) fn cmd(&self, args: &[&str]) -> crate::process::Cmd {
        let systemd = self.ctx.settings.systemd.then_some("--systemd-cgroup");
        let cmd = self.ctx.program(&self.runtime).arg("--root").arg(self.ctx.state_root());
        cmd.args(systemd).args(args)
    }

    fn facts(&self) -> Result<Facts, Failure> {
        let text = || fs::read_to_string(&self.output).unwrap_or_default();
        self.ctx.wait_for(std::time::Duration::from_secs(10), || text().contains('\n'));
        let mut lines = Facts::lines(&text())?;
        if lines.is_empty() {
            return Err(Failure::new("the program printed nothing"));
        }
        Ok(lines.remove(0))
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // The leak check has the last word.
        let _ = self.cmd(&["delete", "--force", &self.id]).spawn().and_then(|r| r.finish_reaping());
        // Except of what the other runtime leaves: runc does now and then, and it is not the one that is judged.
        if self.runtime != self.ctx.settings.runtime {
            self.ctx.wait_for(std::time::Duration::from_secs(5), || {
                crate::leaks::cgroups_left(&self.id);
                crate::cgroup::find(&self.id).is_empty()
            });
        }
    }
}

/// Takes out what differs between any two containers: ids, inode numbers, device numbers of anonymous
/// filesystems, the order of sets.
fn normalise(ctx: &Ctx, b: &Bundle, id: &str, facts: Facts) -> Value {
    let mounts = json!(facts.mounts().iter().map(mount_line).collect::<Vec<_>>());
    let Facts(mut v) = facts;
    for (kind, link) in v["ns"].as_object_mut().into_iter().flatten() {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).map(|p| p.display().to_string());
        *link = if own.is_ok_and(|o| json!(o) == *link) { json!("host") } else { json!("own") };
    }
    v["mountinfo"] = mounts;
    // glibc's posix_spawn, with which the harness starts a runtime, ignores its internal 32 and 33.
    let ignored = v["status"]["SigIgn"].as_str().and_then(|h| u64::from_str_radix(h, 16).ok());
    v["status"]["SigIgn"] = json!(ignored.map(|bits| bits & !(0b11 << 31)));
    v["process"]["keyring"] = json!(v["process"]["keyring"].as_i64() > Some(0));
    for fd in ["0", "1", "2"] {
        v["fds"][fd] = json!("given");
    }
    for list in ["environ"] {
        if let Some(list) = v[list].as_array_mut() {
            list.sort_by_key(|e| e.to_string());
        }
    }
    v["cgroup"] = sorted_lines(v["cgroup"].as_str().unwrap_or(""));
    strip_sizes(&mut v["dev"]);
    strip_sizes(&mut v["root"]);
    let text = v.to_string().replace(&*b.dir.to_string_lossy(), "BUNDLE").replace(id, "ID");
    let text = text.replace(&*ctx.scratch().to_string_lossy(), "SCRATCH");
    // Where systemd makes the cgroups, the runtime's name is in the unit's.
    let text = text.replace("system.slice/corten-ID.scope", "ID").replace("system.slice/runc-ID.scope", "ID");
    // Without a path of its own, version 2 has the container beside the harness.
    let text = text.replace(&format!("{}/ID", own_parent_cgroup()), "/ID");
    serde_json::from_str(&text).unwrap_or(v)
}

/// The cgroup above the harness's own on the unified hierarchy; empty for the root.
fn own_parent_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    own.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())
}

/// A directory's size depends on what was in it.
fn strip_sizes(tree: &mut Value) {
    for (_, entry) in tree.as_object_mut().into_iter().flatten() {
        entry.as_object_mut().map(|e| e.remove("size"));
    }
}

fn mount_line(m: &mountinfo::Mount) -> String {
    let propagation: Vec<&str> = m.propagation.iter().map(|p| p.split(':').next().unwrap_or(p)).collect();
    let root = m.root.rsplit_once("/rootfs").map_or(m.root.as_str(), |(_, below)| below);
    let mut parts = [m.options.clone(), m.super_options.clone()];
    parts.iter_mut().for_each(|p| p.sort());
    // A bind of the host's mount of the hierarchy has the name that the host gave it.
    let source = if m.fstype == "cgroup2" { "cgroup" } else { &m.source };
    format!(
        "{} {} from {source} root {root} [{}] [{}] {}",
        m.target,
        m.fstype,
        parts[0].join(","),
        parts[1].join(","),
        propagation.join(",")
    )
}

/// Every leaf where the two differ, in one message.
pub(super) fn differences(ours: &Value, runc: &Value) -> Verdict {
    let mut found = Vec::new();
    walk("", ours, runc, &mut found);
    found.retain(|f| !ACCEPTED.iter().any(|(text, _reason)| f.contains(text)));
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} differences (ours | runc): {}", found.len(), found.join("; "))))
}

/// Notes every leaf where the two differ.
pub(super) fn walk(at: &str, ours: &Value, runc: &Value, found: &mut Vec<String>) {
    match (ours, runc) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let (x, y) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                walk(&format!("{at}/{key}"), x, y, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if at.ends_with("/mountinfo") || at.ends_with("/cgroup") => {
            found.extend(a.iter().filter(|x| !b.contains(x)).map(|x| format!("{at}: only ours: {x}")));
            found.extend(b.iter().filter(|x| !a.contains(x)).map(|x| format!("{at}: only runc: {x}")));
        }
        _ if ours != runc => found.push(format!("{at}: {ours} | {runc}")),
        _ => {}
    }
}
