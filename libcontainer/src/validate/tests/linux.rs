//! One failing configuration for every member of `linux` that can be wrong; limits have a file of their own.

use serde_json::{Value, json};

use super::{EMPTY, NUL, each, refused, relative, sound, with};

#[test]
fn namespaces() {
    let long = "x".repeat(65);
    each(vec![
        ("/linux/namespaces/5", json!({ "type": "pid" }), "linux.namespaces[5].type", "duplicate \"pid\""),
        (
            "/linux/namespaces/0/path",
            json!("ns/pid"),
            "linux.namespaces[0].path",
            &relative("ns/pid").leak()[..],
        ),
        ("/linux/namespaces/0/path", json!("/\0"), "linux.namespaces[0].path", NUL),
        ("/hostname", json!("a\0"), "hostname", NUL),
        ("/hostname", json!(long), "hostname", "must not be longer than 64 bytes"),
        ("/domainname", json!(long), "domainname", "must not be longer than 64 bytes"),
    ]);
    let bare = with(sound(), "/linux/namespaces", json!([]));
    let needs = [
        ("/hostname", json!("a"), "the host would be renamed without a UTS namespace"),
        ("/domainname", json!("a"), "the host would be renamed without a UTS namespace"),
        ("/linux/maskedPaths", json!(["/a"]), "paths cannot be protected without a mount namespace"),
        ("/linux/readonlyPaths", json!(["/a"]), "paths cannot be protected without a mount namespace"),
        (
            "/linux/rootfsPropagation",
            json!("slave"),
            "the host's root would be changed without a mount namespace",
        ),
        ("/root/readonly", json!(true), "the root cannot be made read-only without a mount namespace"),
        (
            "/linux/uidMappings/0",
            json!({ "containerID": 0, "hostID": 0, "size": 1 }),
            "ids cannot be mapped without a user namespace",
        ),
        (
            "/linux/gidMappings/0",
            json!({ "containerID": 0, "hostID": 0, "size": 1 }),
            "ids cannot be mapped without a user namespace",
        ),
        (
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1 } }),
            "clocks cannot be set off without a time namespace",
        ),
        ("/linux/netDevices", json!({ "eth0": {} }), "devices cannot be moved without a network namespace"),
        (
            "/mounts/0",
            json!({ "destination": "/a" }),
            "mounts would be made on the host without a mount namespace",
        ),
    ];
    for (pointer, value, why) in needs {
        let path = pointer.trim_start_matches('/').trim_end_matches("/0").replace('/', ".");
        refused(&with(bare.clone(), pointer, value), &path, &format!("{why} (linux.namespaces)"));
    }
}

#[test]
fn mappings() {
    let user = with(sound(), "/linux/namespaces/-", json!({ "type": "user" }));
    let extent = |inside: u32, outside: u32, size: u32| json!({ "containerID": inside, "hostID": outside, "size": size });
    let mapped = |uids: Value, gids: Value| {
        with(with(user.clone(), "/linux/uidMappings", uids), "/linux/gidMappings", gids)
    };
    let one = json!([extent(0, 1000, 1)]);
    super::outcome(&mapped(one.clone(), one.clone())).unwrap();

    refused(&user, "linux.uidMappings", "is required with a new user namespace");
    refused(&mapped(one.clone(), json!([])), "linux.gidMappings", "is required with a new user namespace");
    refused(
        &mapped(json!([extent(0, 0, 0)]), one.clone()),
        "linux.uidMappings[0].size",
        "must be at least 1, not 0",
    );
    let beyond = "the ids run beyond 4294967294 (linux.uidMappings[0].size)";
    refused(
        &mapped(json!([extent(2, 0, u32::MAX)]), one.clone()),
        "linux.uidMappings[0].containerID",
        beyond,
    );
    refused(&mapped(json!([extent(0, 2, u32::MAX)]), one.clone()), "linux.uidMappings[0].hostID", beyond);
    refused(
        &mapped(json!([extent(5, 0, 9), extent(0, 100, 6)]), one.clone()),
        "linux.uidMappings[1].containerID",
        "the ids overlap (linux.uidMappings[0].containerID)",
    );
    refused(
        &mapped(one.clone(), json!([extent(0, 7, 3), extent(10, 9, 1)])),
        "linux.gidMappings[1].hostID",
        "the ids overlap (linux.gidMappings[0].hostID)",
    );
    let many: Vec<Value> = (0..341).map(|i| extent(i, i, 1)).collect();
    refused(
        &mapped(json!(many), one.clone()),
        "linux.uidMappings",
        "must not have more than 340 elements, and has 341",
    );

    let base = mapped(one.clone(), one);
    let uid = "the id is not mapped in the user namespace (linux.uidMappings)";
    let gid = "the id is not mapped in the user namespace (linux.gidMappings)";
    refused(&with(base.clone(), "/process/user/uid", json!(1)), "process.user.uid", uid);
    refused(&with(base.clone(), "/process/user/gid", json!(1)), "process.user.gid", gid);
    let groups = with(base, "/process/user/additionalGids", json!([0, 5]));
    refused(&groups, "process.user.additionalGids[1]", gid);
}

#[test]
fn time() {
    let new = with(sound(), "/linux/namespaces/-", json!({ "type": "time" }));
    let joined = with(sound(), "/linux/namespaces/-", json!({ "type": "time", "path": "/proc/1/ns/time" }));
    let offsets = |base: &Value, offsets: Value| with(base.clone(), "/linux/timeOffsets", offsets);
    refused(
        &offsets(&joined, json!({ "boottime": { "secs": 1 } })),
        "linux.timeOffsets",
        "the offsets of a time namespace that is joined cannot be changed (linux.namespaces)",
    );
    refused(
        &offsets(&new, json!({ "realtime": { "secs": 1 } })),
        "linux.timeOffsets.realtime",
        "unknown value \"realtime\", expected monotonic or boottime",
    );
    refused(
        &offsets(&new, json!({ "boottime": { "nanosecs": 1_000_000_000 } })),
        "linux.timeOffsets.boottime.nanosecs",
        "must be below one second, not 1000000000",
    );
}

#[test]
fn paths() {
    each(vec![
        ("/linux/maskedPaths", json!(["/ok", "proc"]), "linux.maskedPaths[1]", &relative("proc").leak()[..]),
        ("/linux/maskedPaths", json!(["/\0"]), "linux.maskedPaths[0]", NUL),
        ("/linux/readonlyPaths", json!(["proc"]), "linux.readonlyPaths[0]", &relative("proc").leak()[..]),
        ("/linux/readonlyPaths", json!([""]), "linux.readonlyPaths[0]", EMPTY),
        ("/linux/cgroupsPath", json!("/a\0"), "linux.cgroupsPath", NUL),
        (
            "/linux/rootfsPropagation",
            json!("foo"),
            "linux.rootfsPropagation",
            "unknown value \"foo\", expected [r]private, [r]shared, [r]slave or [r]unbindable",
        ),
    ]);
}

#[test]
fn devices() {
    let device = |member: &str, value: Value| {
        with(json!({ "type": "c", "path": "/dev/x", "major": 1, "minor": 3 }), &format!("/{member}"), value)
    };
    let at = "/linux/devices/0";
    let id = "must be between 0 and 4294967294, not 4294967295";
    each(vec![
        (
            at,
            device("type", json!("x")),
            "linux.devices[0].type",
            "unknown value \"x\", expected c, b, u or p",
        ),
        (at, device("path", json!("dev/x")), "linux.devices[0].path", &relative("dev/x").leak()[..]),
        (at, device("path", json!("/\0")), "linux.devices[0].path", NUL),
        (at, device("path", json!("/..")), "linux.devices[0].path", "is not allowed: this is a directory"),
        (at, device("major", Value::Null), "linux.devices[0].major", "is required unless type is \"p\""),
        (at, device("minor", Value::Null), "linux.devices[0].minor", "is required unless type is \"p\""),
        (at, device("major", json!(-1)), "linux.devices[0].major", "must be between 0 and 4095, not -1"),
        (
            at,
            device("minor", json!(1 << 20)),
            "linux.devices[0].minor",
            "must be between 0 and 1048575, not 1048576",
        ),
        (
            at,
            device("fileMode", json!(0o60_666)),
            "linux.devices[0].fileMode",
            "must be permission bits, at most 4095 (octal 7777), not 25014",
        ),
        (at, device("uid", json!(u32::MAX)), "linux.devices[0].uid", id),
        (at, device("gid", json!(u32::MAX)), "linux.devices[0].gid", id),
    ]);
}

#[test]
fn net_devices() {
    let name = "\"a/b\" is not the name of a network interface";
    each(vec![
        ("/linux/netDevices/a~1b", json!({}), "linux.netDevices.a/b", name),
        ("/linux/netDevices/eth0", json!({ "name": "a/b" }), "linux.netDevices.eth0.name", name),
        (
            "/linux/netDevices/sixteen-bytes-xx",
            json!({}),
            "linux.netDevices.sixteen-bytes-xx",
            "\"sixteen-bytes-xx\" is not the name of a network interface",
        ),
    ]);
}

#[test]
fn sysctls() {
    let host = "is not allowed: no namespace keeps this kernel parameter from the host";
    let name = |key: &str| &*format!("{key:?} is not the name of a kernel parameter").leak();
    each(vec![
        ("/linux/sysctl/kernel.panic", json!("1"), "linux.sysctl.kernel.panic", host),
        ("/linux/sysctl/vm.swappiness", json!("1"), "linux.sysctl.vm.swappiness", host),
        ("/linux/sysctl/net", json!("1"), "linux.sysctl.net", host),
        ("/linux/sysctl/net.x", json!("1\0"), "linux.sysctl.net.x", NUL),
        ("/linux/sysctl/net..x", json!("1"), "linux.sysctl.net..x", name("net..x")),
        ("/linux/sysctl/net~1..~1kernel", json!("1"), "linux.sysctl.net/../kernel", name("net/../kernel")),
        (
            "/linux/sysctl/kernel.hostname",
            json!("a"),
            "linux.sysctl.kernel.hostname",
            "has a member of its own (hostname)",
        ),
        (
            "/linux/sysctl/user.max_user_namespaces",
            json!("a"),
            "linux.sysctl.user.max_user_namespaces",
            "this is the host's without a user namespace (linux.namespaces)",
        ),
    ]);
    let bare = with(sound(), "/linux/namespaces", json!([]));
    let kinds = [
        ("kernel.shmmax", "an IPC"),
        ("fs.mqueue.msg_max", "an IPC"),
        ("kernel.domainname", "a UTS"),
        ("net.core.somaxconn", "a network"),
    ];
    for (key, kind) in kinds {
        let words = format!("this is the host's without {kind} namespace (linux.namespaces)");
        refused(
            &with(bare.clone(), &format!("/linux/sysctl/{key}"), json!("1")),
            &format!("linux.sysctl.{key}"),
            &words,
        );
    }
}

#[test]
fn machine() {
    let policy = |mode: &str, nodes: &str| json!({ "mode": mode, "nodes": nodes });
    let domain = "unknown value \"BSD\", expected LINUX or LINUX32";
    let flag = "unknown value \"x\", expected none: the specification defines no flag";
    each(vec![
        ("/linux/personality", json!({ "domain": "BSD" }), "linux.personality.domain", domain),
        (
            "/linux/personality",
            json!({ "domain": "LINUX", "flags": ["x"] }),
            "linux.personality.flags[0]",
            flag,
        ),
        (
            "/linux/memoryPolicy",
            policy("X", ""),
            "linux.memoryPolicy.mode",
            "unknown value \"X\", expected a mode such as MPOL_BIND",
        ),
        (
            "/linux/memoryPolicy",
            policy("MPOL_BIND", ""),
            "linux.memoryPolicy.nodes",
            "is required with this mode",
        ),
        (
            "/linux/memoryPolicy",
            policy("MPOL_BIND", "a"),
            "linux.memoryPolicy.nodes",
            "\"a\" is not a list of memory nodes such as 0-1,3",
        ),
        (
            "/linux/memoryPolicy",
            policy("MPOL_LOCAL", "0"),
            "linux.memoryPolicy.nodes",
            "this mode has no nodes (linux.memoryPolicy.mode)",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_DEFAULT", "flags": ["F"] }),
            "linux.memoryPolicy.flags[0]",
            "unknown value \"F\", expected a flag such as MPOL_F_STATIC_NODES",
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": ".." }),
            "linux.intelRdt.closID",
            "\"..\" is not the name of a directory, or /",
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": "a/b" }),
            "linux.intelRdt.closID",
            "\"a/b\" is not the name of a directory, or /",
        ),
        (
            "/linux/intelRdt",
            json!({ "l3CacheSchema": "MB:" }),
            "linux.intelRdt.l3CacheSchema",
            "\"MB:\" is not one line that begins with L3:",
        ),
        (
            "/linux/intelRdt",
            json!({ "memBwSchema": "MB:0=1\n" }),
            "linux.intelRdt.memBwSchema",
            "\"MB:0=1\\n\" is not one line that begins with MB:",
        ),
        (
            "/linux/intelRdt",
            json!({ "schemata": ["\n"] }),
            "linux.intelRdt.schemata[0]",
            "\"\\n\" is not one line",
        ),
    ]);
}

#[test]
fn seccomp_listener() {
    let at = "/linux/seccomp";
    each(vec![
        (
            at,
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "\0" }),
            "linux.seccomp.listenerPath",
            NUL,
        ),
        (
            at,
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m" }),
            "linux.seccomp.listenerPath",
            "is required with listenerMetadata",
        ),
    ]);
}
