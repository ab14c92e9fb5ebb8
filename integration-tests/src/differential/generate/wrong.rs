//! One thing that is wrong with an otherwise ordinary configuration.

use crate::differential::change::{Change, Edit};
use crate::differential::random::Random;
use serde_json::{Value, json};

/// Values that some member must not have.
pub fn any(r: &mut Random) -> Change {
    let (pointer, value) = r.pick(&table());
    match value {
        Some(value) if pointer.ends_with("/-") => {
            Change::push("wrong", pointer.trim_end_matches("/-"), value)
        }
        Some(value) => Change::set("wrong", pointer, value),
        None => Change { about: "wrong", edits: vec![Edit::Remove(pointer.to_owned())] },
    }
}

fn table() -> Vec<(&'static str, Option<Value>)> {
    let mut rows = members();
    rows.extend(types());
    rows
}

/// Values that are of the right type.
fn members() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("/ociVersion", None),
        ("/ociVersion", Some(json!("2.0.0"))),
        ("/ociVersion", Some(json!("no version"))),
        ("/ociVersion", Some(json!("1.9.0"))),
        ("/root", None),
        ("/root/path", Some(json!("missing"))),
        ("/root/path", Some(json!(""))),
        ("/root/path", Some(json!("src/file"))),
        ("/linux", None),
        ("/process/args", Some(json!([]))),
        ("/process/args", Some(json!([""]))),
        ("/process/args", None),
        ("/process/cwd", Some(json!("relative"))),
        ("/process/cwd", Some(json!(""))),
        ("/process/cwd", Some(json!("/etc/file"))),
        ("/process/cwd", Some(json!("/loop"))),
        ("/process/cwd", None),
        ("/process/env/-", Some(json!("WITHOUT"))),
        ("/process/env/-", Some(json!("=x"))),
        ("/process/env/-", Some(json!(""))),
        ("/process/oomScoreAdj", Some(json!(1001))),
        ("/process/oomScoreAdj", Some(json!(-1001))),
        ("/process/rlimits/-", Some(json!({"type": "RLIMIT_NONE", "soft": 1, "hard": 1}))),
        ("/process/rlimits/-", Some(json!({"type": "RLIMIT_CORE", "soft": 2, "hard": 1}))),
        ("/process/rlimits/-", Some(json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}))),
        ("/process/rlimits/-", Some(json!({"type": "rlimit_core", "soft": 1, "hard": 1}))),
        ("/process/capabilities/bounding/-", Some(json!("CAP_NONE"))),
        ("/process/capabilities/effective/-", Some(json!("CAP_SYS_ADMIN"))),
        ("/process/capabilities/ambient/-", Some(json!("CAP_SYS_ADMIN"))),
        ("/process/capabilities/permitted/-", Some(json!("kill"))),
        ("/process/terminal", Some(json!(true))),
        ("/process/consoleSize", Some(json!({"height": 25, "width": 80}))),
        ("/process/apparmorProfile", Some(json!("none"))),
        ("/process/selinuxLabel", Some(json!("system_u:system_r:svirt_lxc_net_t:s0"))),
        ("/process/user/uid", Some(json!(4_294_967_295_u64))),
        ("/hostname", Some(json!("h".repeat(65)))),
        ("/mounts/0/destination", None),
        ("/mounts/0/type", Some(json!("nofs"))),
        (
            "/mounts/-",
            Some(json!({"destination": "/tmp", "type": "tmpfs", "source": "t", "options": ["nonsense"]})),
        ),
        (
            "/mounts/-",
            Some(json!({"destination": "/tmp", "type": "tmpfs", "source": "t", "options": ["size=x"]})),
        ),
        ("/mounts/-", Some(json!({"destination": "/tmp"}))),
        ("/mounts/-", Some(json!({"destination": "", "type": "tmpfs", "source": "t"}))),
        ("/mounts/-", Some(json!({"destination": "/", "type": "tmpfs", "source": "t"}))),
        ("/mounts/-", Some(json!({"destination": "/tmp", "type": "bind", "source": "/", "options": []}))),
        (
            "/mounts/-",
            Some(
                json!({"destination": "/tmp", "type": "bind", "source": "src", "options": ["bind", "rbind", "remount"]}),
            ),
        ),
        (
            "/mounts/-",
            Some(
                json!({"destination": "/tmp", "type": "bind", "source": "src", "options": ["bind", "size=1"]}),
            ),
        ),
        ("/linux/rootfsPropagation", Some(json!("nonsense"))),
        ("/linux/namespaces/-", Some(json!({"type": "nonsense"}))),
        ("/linux/namespaces/-", Some(json!({"type": "pid"}))),
        ("/linux/namespaces/-", Some(json!({"type": "network", "path": "relative"}))),
        ("/linux/namespaces", Some(json!([]))),
        ("/linux/namespaces", None),
        ("/linux/uidMappings", Some(json!([{"containerID": 0, "hostID": 1, "size": 1}]))),
        ("/linux/maskedPaths/-", Some(json!("relative"))),
        ("/linux/maskedPaths/-", Some(json!(""))),
        ("/linux/readonlyPaths/-", Some(json!("relative"))),
        ("/linux/maskedPaths/-", Some(json!("/loop"))),
        ("/linux/readonlyPaths/-", Some(json!("/loop"))),
        ("/linux/devices/-", Some(json!({"path": "/dev/foo", "type": "x", "major": 1, "minor": 3}))),
        ("/linux/devices/-", Some(json!({"path": "/dev/foo", "type": "c"}))),
        ("/linux/devices/-", Some(json!({"type": "c", "major": 1, "minor": 3}))),
        ("/linux/resources/devices/-", Some(json!({"allow": true, "type": "x", "access": "rwm"}))),
        ("/linux/resources/devices/-", Some(json!({"allow": true, "type": "c", "access": "q"}))),
        ("/linux/resources/devices/-", Some(json!({"allow": true, "type": "p", "access": "rwm"}))),
        ("/linux/seccomp", Some(json!({"defaultAction": "SCMP_ACT_NONE"}))),
        (
            "/linux/seccomp",
            Some(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONE"]})),
        ),
        ("/linux/seccomp", Some(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["NONE"]}))),
        (
            "/linux/seccomp",
            Some(
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_NONE"}]}),
            ),
        ),
        (
            "/linux/seccomp",
            Some(
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
            ),
        ),
        (
            "/linux/seccomp",
            Some(
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "EQ"}]}]}),
            ),
        ),
        ("/linux/seccomp", Some(json!({}))),
        ("/linux/intelRdt", Some(json!({"l3CacheSchema": "L3:0=f"}))),
        ("/hooks/prestart/-", Some(json!({"path": "relative"}))),
        ("/hooks/poststop/-", Some(json!({"path": "relative"}))),
        (
            "/hooks/createRuntime/-",
            Some(
                json!({"path": "$PROBE", "timeout": 0, "args": ["probe", "hook", "$BUNDLE/out/hooks", "t"]}),
            ),
        ),
        (
            "/hooks/createRuntime/-",
            Some(
                json!({"path": "$PROBE", "timeout": -1, "args": ["probe", "hook", "$BUNDLE/out/hooks", "t"]}),
            ),
        ),
        (
            "/hooks/createRuntime/-",
            Some(json!({"path": "$PROBE", "timeout": 1, "args": ["probe", "sleep", "30"]})),
        ),
        ("/annotations", Some(json!({"": "x"}))),
        ("/linux/cgroupsPath", Some(json!("/diff-$ID/../diff-$ID"))),
        ("/unknown", Some(json!({"a": 1}))),
        ("/linux/unknown", Some(json!(true))),
    ]
}

/// Values of the wrong type, and null.
fn types() -> Vec<(&'static str, Option<Value>)> {
    let members = [
        "/process/args",
        "/process/env",
        "/process/cwd",
        "/process/user",
        "/process/user/uid",
        "/process/capabilities",
        "/process/rlimits",
        "/process/oomScoreAdj",
        "/process/noNewPrivileges",
        "/root/readonly",
        "/hostname",
        "/mounts",
        "/mounts/0/options",
        "/mounts/0/source",
        "/hooks",
        "/hooks/prestart",
        "/annotations",
        "/linux/namespaces",
        "/linux/uidMappings",
        "/linux/devices",
        "/linux/cgroupsPath",
        "/linux/resources",
        "/linux/resources/memory",
        "/linux/resources/memory/limit",
        "/linux/resources/devices",
        "/linux/resources/pids",
        "/linux/resources/cpu/shares",
        "/linux/rootfsPropagation",
        "/linux/seccomp",
        "/linux/sysctl",
        "/linux/maskedPaths",
        "/linux/readonlyPaths",
        "/linux/mountLabel",
    ];
    let values = [
        json!(5),
        json!("text"),
        json!(null),
        json!([]),
        json!({}),
        json!(true),
        json!(-1),
        json!(1.5),
        json!([null]),
    ];
    members.into_iter().flat_map(|m| values.iter().map(move |v| (m, Some(v.clone())))).collect()
}
