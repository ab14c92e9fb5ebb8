//! What must not be refused: null for absent, unknown members, other platforms, every bundle that we ship.

use std::path::Path;

use serde_json::{Value, json};

use super::{outcome, sound, with};
use crate::config::Config;

/// Every member of every object at least once. It parses; that it asks for things not supported is another matter.
pub(super) fn everything() -> Value {
    let hook = json!([{ "path": "/bin/hook", "args": ["hook"], "env": ["A=b"], "timeout": 3 }]);
    let mapping = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let rate = json!([{ "major": 8, "minor": 0, "rate": 1000 }]);
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/data", "type": "none", "source": "/src", "options": ["bind"],
            "uidMappings": mapping, "gidMappings": mapping }],
        "process": {
            "terminal": true, "consoleSize": { "height": 24, "width": 80 },
            "user": { "uid": 1, "gid": 1, "umask": 18, "additionalGids": [5] },
            "args": ["sh"], "env": ["A=b"], "cwd": "/",
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"] },
            "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
            "noNewPrivileges": true, "apparmorProfile": "p", "selinuxLabel": "l", "oomScoreAdj": 5,
            "scheduler": { "policy": "SCHED_DEADLINE", "nice": 1, "priority": 1,
                "flags": ["SCHED_FLAG_RECLAIM"], "runtime": 1, "deadline": 2, "period": 3 },
            "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 4 },
            "execCPUAffinity": { "initial": "0", "final": "1" }
        },
        "hostname": "h", "domainname": "d",
        "hooks": { "prestart": hook, "createRuntime": hook, "createContainer": hook,
            "startContainer": hook, "poststart": hook, "poststop": hook },
        "annotations": { "a": "b" },
        "linux": {
            "namespaces": [{ "type": "time", "path": "/proc/1/ns/time" }],
            "uidMappings": mapping, "gidMappings": mapping,
            "timeOffsets": { "monotonic": { "secs": 1, "nanosecs": 2 } },
            "devices": [{ "type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0 }],
            "netDevices": { "eth0": { "name": "eth1" } },
            "cgroupsPath": "/x",
            "resources": {
                "devices": [{ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }],
                "memory": { "limit": 1, "reservation": 1, "swap": 1, "kernel": 1, "kernelTCP": 1, "swappiness": 1,
                    "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true },
                "cpu": { "shares": 2, "quota": 1, "burst": 1, "period": 1000, "realtimeRuntime": 1,
                    "realtimePeriod": 1, "cpus": "0", "mems": "0", "idle": 1 },
                "pids": { "limit": 5 },
                "blockIO": { "weight": 10, "leafWeight": 10,
                    "weightDevice": [{ "major": 8, "minor": 0, "weight": 10, "leafWeight": 10 }],
                    "throttleReadBpsDevice": rate, "throttleWriteBpsDevice": rate,
                    "throttleReadIOPSDevice": rate, "throttleWriteIOPSDevice": rate },
                "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }],
                "network": { "classID": 1, "priorities": [{ "name": "eth0", "priority": 1 }] },
                "rdma": { "mlx": { "hcaHandles": 1, "hcaObjects": 1 } },
                "unified": { "memory.high": "1" }
            },
            "intelRdt": { "closID": "c", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f",
                "memBwSchema": "MB:0=5", "enableMonitoring": true },
            "memoryPolicy": { "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] },
            "sysctl": { "net.ipv4.ip_forward": "1" },
            "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "architectures": ["SCMP_ARCH_X86_64"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "listenerPath": "/run/agent", "listenerMetadata": "m",
                "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2,
                    "args": [{ "index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ" }] }] },
            "rootfsPropagation": "slave", "maskedPaths": ["/a"], "readonlyPaths": ["/b"],
            "mountLabel": "l", "personality": { "domain": "LINUX", "flags": ["x"] }
        }
    })
}

/// Objects that are maps with names of the user's choice.
const MAPS: [&str; 6] = [
    "/annotations",
    "/linux/timeOffsets",
    "/linux/netDevices",
    "/linux/resources/rdma",
    "/linux/resources/unified",
    "/linux/sysctl",
];

/// JSON pointers of all objects of a document.
fn objects(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.clone());
            members.iter().for_each(|(name, value)| objects(value, format!("{at}/{name}"), found));
        }
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(i, value)| objects(value, format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

fn all_objects() -> Vec<String> {
    let mut found = Vec::new();
    objects(&everything(), String::new(), &mut found);
    found.retain(|at| !MAPS.contains(&at.as_str()));
    assert!(found.len() > 40);
    found
}

fn parse(document: &Value) -> Option<Config> {
    Config::from_slice(&serde_json::to_vec(document).unwrap()).ok()
}

#[test]
fn nothing_of_everything_is_lost() {
    let parsed = parse(&everything()).expect("everything parses");
    assert_eq!(serde_json::to_value(&parsed).unwrap(), everything());
}

#[test]
fn null_is_absent() {
    for at in all_objects() {
        let members: Vec<String> =
            everything().pointer(&at).unwrap().as_object().unwrap().keys().cloned().collect();
        for member in members {
            let mut absent = everything();
            absent.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(&member);
            let mut null = everything();
            null.pointer_mut(&at).unwrap().as_object_mut().unwrap().insert(member.clone(), Value::Null);
            assert_eq!(parse(&null), parse(&absent), "{at}/{member}");
        }
    }
}

#[test]
fn unknown_members_are_ignored() {
    let plain = parse(&everything());
    for at in all_objects() {
        let mut document = everything();
        let object = document.pointer_mut(&at).unwrap().as_object_mut().unwrap();
        object.insert("x-foo".to_owned(), json!({ "a": [1, null, { "b": "c" }] }));
        assert_eq!(parse(&document), plain, "{at}");
    }
}

#[test]
fn other_platforms_are_ignored() {
    for platform in ["windows", "solaris", "vm", "zos", "freebsd"] {
        outcome(&with(sound(), &format!("/{platform}"), json!({ "anything": [7] }))).unwrap();
    }
    outcome(&with(sound(), "/process/commandLine", json!("cmd.exe"))).unwrap();
    outcome(&with(sound(), "/process/user/username", json!("nobody"))).unwrap();
}

/// `/a/0/b` as path of a member.
fn path(pointer: &str) -> String {
    let step = |step: &str| match step.parse::<usize>() {
        Ok(index) => format!("[{index}]"),
        Err(_) => format!(".{step}"),
    };
    pointer.split('/').skip(1).map(step).collect::<String>().trim_start_matches('.').to_owned()
}

#[test]
fn an_array_is_no_object() {
    let mut all = Vec::new();
    objects(&everything(), String::new(), &mut all);
    assert!(MAPS.iter().all(|map| all.iter().any(|at| at == map)));
    for at in all {
        let members = everything().pointer(&at).unwrap().as_object().unwrap().clone();
        let in_order = members.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        for wrong in [json!([]), json!(in_order)] {
            let document = serde_json::to_vec(&with(everything(), &at, wrong)).unwrap();
            let error = Config::from_slice(&document).expect_err(&at);
            assert_eq!(error.path.as_str(), path(&at), "{error}");
            assert!(error.problem.to_string().starts_with("invalid type: sequence, expected a"), "{error}");
        }
    }
}

#[test]
fn an_object_is_no_word() {
    let error =
        outcome(&with(sound(), "/linux/namespaces/0/type", json!({ "pid": null }))).expect_err("not a word");
    assert_eq!(error.path.as_str(), "linux.namespaces[0].type");
    assert!(error.problem.to_string().starts_with("invalid type: map, expected a string"), "{error}");
}

#[test]
fn members_twice_are_refused() {
    let error = Config::from_slice(br#"{"ociVersion":"1.0.0","hostname":"a","hostname":"b"}"#).unwrap_err();
    assert!(error.to_string().starts_with("config.json: hostname: duplicate field `hostname`"), "{error}");
}

#[test]
fn what_is_no_json_is_placed() {
    let cases = [
        ("{", ""),
        ("{]", ""),
        ("[]", ""),
        ("", ""),
        ("{\"root\": {,", "root"),
        ("{\"mounts\": [{]", "mounts[0]"),
    ];
    for (text, path) in cases {
        let error = Config::from_slice(text.as_bytes()).unwrap_err();
        assert_eq!(error.path.as_str(), path, "{text}: {error}");
    }
}

#[test]
fn text_is_utf8() {
    Config::from_slice(b"{\"ociVersion\":\"1.0.0\",\"hostname\":\"\xff\"}").unwrap_err();
}

#[test]
fn empty_text_is_absent_where_go_writes_it() {
    let members = [
        "/hostname",
        "/domainname",
        "/process/apparmorProfile",
        "/process/selinuxLabel",
        "/linux/mountLabel",
        "/linux/rootfsPropagation",
        "/linux/cgroupsPath",
        "/linux/namespaces/0/path",
        "/linux/resources/cpu/cpus",
        "/linux/resources/cpu/mems",
    ];
    for member in members {
        outcome(&with(sound(), member, json!(""))).unwrap_or_else(|e| panic!("{e}"));
    }
    outcome(&with(sound(), "/process/execCPUAffinity", json!({ "initial": "", "final": "" }))).unwrap();
    outcome(&with(
        sound(),
        "/linux/resources/devices/0",
        json!({ "allow": false, "type": "", "access": "rwm" }),
    ))
    .unwrap();
}

#[test]
fn every_1_x_version_is_taken() {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0", "1.3.0+dev", "1.2.0-rc.1", "1.99.0"] {
        outcome(&with(sound(), "/ociVersion", json!(version))).unwrap_or_else(|e| panic!("{version}: {e}"));
    }
}

#[test]
fn what_is_allowed() {
    let allowed = [
        ("/mounts/0", json!({ "destination": "data", "type": "tmpfs" })),
        (
            "/mounts/0",
            json!({ "destination": "/data", "type": "xyz", "source": "src", "options": ["rbind"] }),
        ),
        ("/mounts/0", json!({ "destination": "/data", "options": ["rslave"] })),
        ("/mounts/0", json!({ "destination": "/proc", "type": "proc", "source": "proc" })),
        ("/mounts/0", json!({ "destination": "/proc/cpuinfo", "source": "/x", "options": ["bind"] })),
        ("/linux/devices/0", json!({ "type": "p", "path": "/run/fifo" })),
        (
            "/linux/devices/0",
            json!({ "type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 8630 }),
        ),
        ("/linux/resources/devices/0", json!({ "allow": false, "access": "rwm" })),
        (
            "/linux/resources/devices/0",
            json!({ "allow": true, "type": "c", "major": 1, "minor": -1, "access": "m" }),
        ),
        ("/linux/resources/memory", json!({ "limit": -1, "swap": -1 })),
        ("/linux/resources/memory", json!({ "limit": 1000, "swap": 0, "swappiness": 0 })),
        (
            "/linux/resources/cpu",
            json!({ "shares": 0, "quota": -1, "period": 0, "burst": 5, "cpus": "0-1, 3" }),
        ),
        ("/linux/resources/pids", json!({})),
        ("/linux/resources/pids", json!({ "limit": 0 })),
        ("/linux/resources/blockIO", json!({ "weight": 0 })),
        ("/linux/sysctl", json!({ "net/ipv4/conf/eth0.1/forwarding": "1", "kernel.domainname": "d" })),
        ("/linux/rootfsPropagation", json!("runbindable")),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nobody/listens" })),
        ("/process/consoleSize", json!({ "height": 100_000, "width": 1 })),
    ];
    for (pointer, value) in allowed {
        outcome(&with(sound(), pointer, value.clone()))
            .unwrap_or_else(|e| panic!("{pointer} = {value}: {e}"));
    }
}

#[test]
fn mappings_beside_a_user_namespace_that_is_joined() {
    let mapping = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let joined = with(sound(), "/linux/namespaces/-", json!({ "type": "user", "path": "/proc/1/ns/user" }));
    outcome(&joined).unwrap();
    let both = with(with(joined, "/linux/uidMappings", mapping.clone()), "/linux/gidMappings", mapping);
    outcome(&both).unwrap();
}

#[test]
fn every_bundle_is_sound() {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let mut seen = 0;
    for entry in std::fs::read_dir(bundles).unwrap() {
        let path = entry.unwrap().path().join("config.json");
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let config = Config::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        super::validate(&config).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += 1;
    }
    assert!(seen > 0, "no bundle found");
}
