//! `linux`: namespaces, mappings, sysctl, seccomp; and annotations and hooks.

use super::Maker;
use crate::differential::change::{Change, Edit};
use crate::differential::random::Random;
use serde_json::{Value, json};

pub const MAKERS: &[Maker] = &[
    namespaces,
    namespaces,
    user_namespace,
    sysctl,
    seccomp,
    seccomp,
    annotations,
    hooks,
    hooks,
    cgroups_path,
];

fn namespaces(r: &mut Random) -> Change {
    let kind = r.usually(&["pid", "network", "ipc", "uts", "cgroup"], &["mount", "time"]);
    match r.below(10) {
        0..=5 if kind == "cgroup" => Change { about: "namespaces", edits: vec![Edit::NoNamespace("cgroup")] }
            .and(Edit::Push("/linux/namespaces".into(), json!({"type": "cgroup"}))),
        0..=3 => {
            let change = Change { about: "namespaces", edits: vec![Edit::NoNamespace(kind)] };
            if kind == "uts" { change.and(Edit::Remove("/hostname".into())) } else { change }
        }
        4 if r.is_odd() => Change { about: "namespaces", edits: vec![Edit::NoNamespace("uts")] },
        // The comparison's own namespaces, which are apart from the machine's; and never its mounts.
        5 | 6 if kind != "mount" => {
            let file = if kind == "network" { "net" } else { kind };
            let file = if r.is_odd() && r.percent(20) { "none" } else { file };
            let entry = json!({"type": kind, "path": format!("/proc/self/ns/{file}")});
            let edits = vec![Edit::NoNamespace(kind), Edit::Push("/linux/namespaces".into(), entry)];
            Change { about: "namespace path", edits }
        }
        _ => {
            let change = Change::push("namespaces", "/linux/namespaces", json!({"type": kind}));
            if r.is_odd() {
                change
            } else {
                Change { about: "namespaces", edits: vec![Edit::NoNamespace(kind)] }
                    .and(change.edits[0].clone())
            }
        }
    }
}

fn user_namespace(r: &mut Random) -> Change {
    let whole = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let maps = [
        whole.clone(),
        whole,
        json!([{"containerID": 0, "hostID": 100_000, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 2000}]),
        json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 65_535}]),
    ];
    let odd = [
        json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 5, "hostID": 200_000, "size": 10}]),
        json!([{"containerID": 1000, "hostID": 100_000, "size": 10}]),
        json!([]),
    ];
    let mut change = Change::push("user namespace", "/linux/namespaces", json!({"type": "user"}));
    let map = r.usually(&maps, &odd);
    change = change.and(Edit::Set("/linux/uidMappings".into(), map.clone()));
    let other = if r.percent(80) { map.clone() } else { r.usually(&maps, &odd) };
    change = change.and(Edit::Set("/linux/gidMappings".into(), other));
    match map[0]["hostID"].as_u64() {
        Some(host) if r.percent(90) => change.and(Edit::Owner(host as u32)),
        _ => change,
    }
}

fn sysctl(r: &mut Random) -> Change {
    let pool = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net/ipv4/ip_forward", "1"),
        ("net.core.somaxconn", "300"),
        ("net.ipv4.ping_group_range", "0 100"),
        ("kernel.msgmax", "4096"),
        ("kernel.shmmni", "128"),
        ("kernel.sem", "32000 1024000000 500 32000"),
        ("kernel.shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "20"),
        ("kernel.domainname", "by-sysctl"),
    ];
    let odd = [
        ("net.none", "1"),
        ("net.core.somaxconn", "words"),
        ("net.core.somaxconn", ""),
        ("kernel.hostname", "by-sysctl"),
        ("vm.swappiness", "60"),
        ("kernel.none", "1"),
        ("", "1"),
        ("net.ipv4.conf.lo/x.forwarding", "1"),
    ];
    let mut chosen = r.some(&pool, 3);
    if r.is_odd() {
        chosen.push(r.pick(&odd));
    }
    let mut change = Change { about: "sysctl", edits: Vec::new() };
    for (name, value) in chosen {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
        change = change.and(Edit::Push("/linux/-sysctl".into(), json!([escaped, value])));
        change = change.step(&["read", &format!("/proc/sys/{path}")]);
    }
    // The pairs are put together here, because a name may hold a slash and so be no pointer.
    let pairs: serde_json::Map<String, Value> = change
        .edits
        .iter()
        .filter_map(|e| match e {
            Edit::Push(_, pair) => Some((pair[0].as_str()?.replace("~1", "/"), pair[1].clone())),
            _ => None,
        })
        .collect();
    change.edits.retain(|e| !matches!(e, Edit::Push(..)));
    change.and(Edit::Set("/linux/sysctl".into(), Value::Object(pairs)))
}

/// Calls that the probe does without, by name and number (x86-64).
const CALLS: [(&str, &str); 8] = [
    ("sethostname", "170"),
    ("getppid", "110"),
    ("getpriority", "140"),
    ("sync", "162"),
    ("personality", "135"),
    ("chroot", "161"),
    ("getsid", "124"),
    ("mkdir", "83"),
];

fn seccomp(r: &mut Random) -> Change {
    let action = |r: &mut Random| {
        let errno = json!({"action": "SCMP_ACT_ERRNO"});
        let mut rule = r.pick(&[
            errno.clone(),
            errno,
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
            json!({"action": "SCMP_ACT_KILL"}),
            json!({"action": "SCMP_ACT_KILL_PROCESS"}),
            json!({"action": "SCMP_ACT_KILL_THREAD"}),
            json!({"action": "SCMP_ACT_TRAP"}),
            json!({"action": "SCMP_ACT_LOG"}),
            json!({"action": "SCMP_ACT_ALLOW"}),
            json!({"action": "SCMP_ACT_TRACE", "errnoRet": 7}),
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}),
        ]);
        if r.percent(35) {
            let op = r.pick(&[
                "SCMP_CMP_EQ",
                "SCMP_CMP_NE",
                "SCMP_CMP_LT",
                "SCMP_CMP_LE",
                "SCMP_CMP_GE",
                "SCMP_CMP_GT",
                "SCMP_CMP_MASKED_EQ",
            ]);
            rule["args"] = json!([{"index": r.pick(&[0, 0, 0, 1]), "value": r.pick(&[0u64, 1, 5, 1 << 33]), "valueTwo": 0, "op": op}]);
        }
        rule
    };
    let chosen = r.some(&CALLS, 4);
    let mut rules = Vec::new();
    // One rule: what counts where two with conditions meet is up to the compiler of the filter.
    let mut names: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
    if r.percent(15) {
        names.push("no_such_call");
    }
    if names.is_empty() && !r.is_odd() {
        names.push("sync");
    }
    let mut rule = action(r);
    rule["names"] = json!(names);
    rules.push(rule);
    let mut profile = json!({"defaultAction": r.pick(&["SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]), "syscalls": rules});
    if r.percent(60) {
        profile["architectures"] = json!(r.some(
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"],
            4
        ));
    }
    if r.percent(20) {
        profile["flags"] = json!(r.some(
            &["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
            2
        ));
    }
    let change = Change::set("seccomp", "/linux/seccomp", profile);
    chosen.iter().fold(change, |c, (_, nr)| {
        let value = r.pick(&["0", "1", "5", "0x200000000"]);
        c.step(&["syscall", nr, value, "0", "0", "0", "0", "0"])
    })
}

fn annotations(r: &mut Random) -> Change {
    let keys = ["a", "org.example.key", "org.opencontainers.x", "a.b", "k e y", "run.oci.none"];
    let mut map = serde_json::Map::new();
    for key in r.some(&keys, 4) {
        map.insert(key.to_owned(), json!(r.pick(&["", "v", "two words", "\u{e9}"])));
    }
    Change::set("annotations", "/annotations", Value::Object(map))
}

/// Hooks that write down how they were called, and some that fail.
fn hooks(r: &mut Random) -> Change {
    let mut change = Change { about: "hooks", edits: Vec::new() };
    for _ in 0..1 + r.below(3) {
        let kind = r.pick(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]);
        let (path, log) = match kind {
            "startContainer" => ("/bin/probe", "/out/hooks"),
            _ => ("$PROBE", "$BUNDLE/out/hooks"),
        };
        let mut args = vec!["probe", "hook", log, kind];
        // Where a hook fails there is no container.
        if (kind == "poststop" || r.is_odd()) && r.percent(20) {
            args.extend(["exit", "3"]);
        }
        let mut hook = json!({"path": path, "args": args});
        match r.below(10) {
            0 if r.is_odd() => hook["path"] = json!("/missing/hook"),
            1 => drop(hook.as_object_mut().map(|h| h.remove("args"))),
            2 | 3 => hook["env"] = json!(["A=1", "A=2", "B="]),
            4 => hook["timeout"] = json!(10),
            _ => {}
        }
        change = change.and(Edit::Push(format!("/hooks/{kind}"), hook));
    }
    change
}

fn cgroups_path(r: &mut Random) -> Change {
    let path = r.usually(
        &["/diff-$ID", "diff-$ID", "/diff-$ID/sub/deep", "", "/diff-$ID/", "./diff-$ID"],
        &["/diff-$ID/../diff-$ID", "/../diff-$ID"],
    );
    Change::set("cgroupsPath", "/linux/cgroupsPath", json!(path))
}
