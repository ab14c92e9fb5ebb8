//! One failing configuration for every member outside of `linux` that can be wrong, and all that is not supported.

use serde_json::{Value, json};

use super::{EMPTY, NUL, each, refused, relative, sound, with, without};

#[test]
fn document() {
    each(vec![
        ("/ociVersion", json!(""), "ociVersion", EMPTY),
        ("/ociVersion", json!("1"), "ociVersion", "\"1\" is not a version such as 1.2.0"),
        ("/ociVersion", json!("1.2"), "ociVersion", "\"1.2\" is not a version such as 1.2.0"),
        ("/ociVersion", json!("abc"), "ociVersion", "\"abc\" is not a version such as 1.2.0"),
        ("/ociVersion", json!("1.02.0"), "ociVersion", "\"1.02.0\" is not a version such as 1.2.0"),
        ("/ociVersion", json!("1.2.0-"), "ociVersion", "\"1.2.0-\" is not a version such as 1.2.0"),
        ("/ociVersion", json!("2.0.0"), "ociVersion", "unknown value \"2.0.0\", expected a version 1.x"),
        ("/root/path", json!(""), "root.path", EMPTY),
        ("/root/path", json!("a\0b"), "root.path", NUL),
        ("/annotations", json!({ "": "x" }), "annotations", "has an empty key"),
        (
            "/annotations",
            json!({ "run.oci.mount_context_type": "x" }),
            "annotations.run.oci.mount_context_type",
            "unknown value \"x\", expected context or one of its kin",
        ),
    ]);
    refused(&without(sound(), "/root"), "root", "is required");
}

#[test]
fn types() {
    let wrong = [
        ("/annotations/a", json!(1), "annotations.a", "invalid type: integer `1`, expected a string"),
        ("/process/user/uid", json!(-1), "process.user.uid", "invalid value: integer `-1`, expected u32"),
        ("/linux/namespaces/0/type", json!("foo"), "linux.namespaces[0].type", "unknown variant `foo`"),
        ("/hooks/prestart/0", json!({}), "hooks.prestart[0]", "missing field `path`"),
        (
            "/linux/uidMappings/0",
            json!({ "hostID": 1, "size": 1 }),
            "linux.uidMappings[0]",
            "missing field `containerID`",
        ),
        ("/linux/resources/devices/0", json!({}), "linux.resources.devices[0]", "missing field `allow`"),
        ("/linux/memoryPolicy", json!({}), "linux.memoryPolicy", "missing field `mode`"),
        ("/mounts/0", json!({}), "mounts[0]", "missing field `destination`"),
        (
            "/linux/resources/hugepageLimits/0",
            json!({}),
            "linux.resources.hugepageLimits[0]",
            "missing field `pageSize`",
        ),
    ];
    for (pointer, value, path, words) in wrong {
        let error = super::outcome(&with(sound(), pointer, value)).unwrap_err();
        assert_eq!(error.path.as_str(), path);
        assert!(error.problem.to_string().starts_with(words), "{error}");
    }
}

#[test]
fn process() {
    each(vec![
        ("/process/args", json!([]), "process.args", EMPTY),
        ("/process/args", json!(["sh", "a\0"]), "process.args[1]", NUL),
        ("/process/cwd", json!(""), "process.cwd", EMPTY),
        ("/process/cwd", json!("tmp"), "process.cwd", &relative("tmp").leak()[..]),
        ("/process/cwd", json!("/\0"), "process.cwd", NUL),
        ("/process/env/1", json!("A=\0"), "process.env[1]", NUL),
        ("/process/env/1", json!("A"), "process.env[1]", "\"A\" is not of the form NAME=value"),
        ("/process/env/1", json!("=A"), "process.env[1]", "\"=A\" is not of the form NAME=value"),
        (
            "/process/user/uid",
            json!(u32::MAX),
            "process.user.uid",
            "must be between 0 and 4294967294, not 4294967295",
        ),
        (
            "/process/user/gid",
            json!(u32::MAX),
            "process.user.gid",
            "must be between 0 and 4294967294, not 4294967295",
        ),
        (
            "/process/user/additionalGids",
            json!([1, u32::MAX]),
            "process.user.additionalGids[1]",
            "must be between 0 and 4294967294, not 4294967295",
        ),
        (
            "/process/user/umask",
            json!(512),
            "process.user.umask",
            "must be between 0 and 511 (octal 777), not 512",
        ),
        ("/process/apparmorProfile", json!("\0"), "process.apparmorProfile", NUL),
        ("/process/selinuxLabel", json!("\0"), "process.selinuxLabel", NUL),
        (
            "/process/oomScoreAdj",
            json!(1001),
            "process.oomScoreAdj",
            "must be between -1000 and 1000, not 1001",
        ),
        (
            "/process/oomScoreAdj",
            json!(-1001),
            "process.oomScoreAdj",
            "must be between -1000 and 1000, not -1001",
        ),
    ]);
    let terminal = with(sound(), "/process/terminal", json!(true));
    let size = |height: u32, width: u32| {
        with(terminal.clone(), "/process/consoleSize", json!({ "height": height, "width": width }))
    };
    refused(&size(65_536, 80), "process.consoleSize.height", "must be at most 65535, not 65536");
    refused(&size(24, 65_536), "process.consoleSize.width", "must be at most 65535, not 65536");
}

#[test]
fn rlimits() {
    let core = json!({ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 });
    each(vec![
        (
            "/process/rlimits/0",
            json!({ "type": "RLIMIT_FOO", "soft": 1, "hard": 1 }),
            "process.rlimits[0].type",
            "unknown value \"RLIMIT_FOO\", expected RLIMIT_NOFILE or another limit of getrlimit(2)",
        ),
        ("/process/rlimits", json!([core, core]), "process.rlimits[1].type", "duplicate \"RLIMIT_CORE\""),
        (
            "/process/rlimits/0",
            json!({ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }),
            "process.rlimits[0].soft",
            "the soft limit is above the hard limit (process.rlimits[0].hard)",
        ),
    ]);
}

#[test]
fn scheduling() {
    let fair =
        |member: &str, value: Value| with(json!({ "policy": "SCHED_OTHER" }), &format!("/{member}"), value);
    let policy = "unknown value \"fast\", expected a policy such as SCHED_OTHER";
    let flag = "unknown value \"F\", expected a flag such as SCHED_FLAG_RESET_ON_FORK";
    let class = "unknown value \"X\", expected IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE";
    let at = "/process/scheduler";
    let why = "only SCHED_FIFO and SCHED_RR have a priority (process.scheduler.policy)";
    each(vec![
        (at, json!({ "policy": "fast" }), "process.scheduler.policy", policy),
        (at, fair("flags", json!(["F"])), "process.scheduler.flags[0]", flag),
        (at, fair("nice", json!(20)), "process.scheduler.nice", "must be between -20 and 19, not 20"),
        (at, fair("priority", json!(100)), "process.scheduler.priority", "must be between 0 and 99, not 100"),
        (at, fair("priority", json!(1)), "process.scheduler.priority", why),
        (
            at,
            fair("runtime", json!(1)),
            "process.scheduler.runtime",
            "only SCHED_DEADLINE has deadlines (process.scheduler.policy)",
        ),
        ("/process/ioPriority", json!({ "class": "X" }), "process.ioPriority.class", class),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "process.ioPriority.priority",
            "must be between 0 and 7, not 8",
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "a" }),
            "process.execCPUAffinity.initial",
            "\"a\" is not a list of CPUs such as 0-3,7",
        ),
        (
            "/process/execCPUAffinity",
            json!({ "final": "3-1" }),
            "process.execCPUAffinity.final",
            "\"3-1\" is not a list of CPUs such as 0-3,7",
        ),
    ]);
}

#[test]
fn mounts() {
    let tmpfs = |member: &str, value: Value| {
        let base = json!({ "destination": "/x", "type": "tmpfs", "source": "tmpfs" });
        with(base, &format!("/{member}"), value)
    };
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 0 }]);
    let root = "is not allowed: the root of the container cannot be mounted over";
    let proc = "is not allowed: files in /proc that the runtime relies on cannot be mounted over";
    each(vec![
        ("/mounts/0", tmpfs("destination", json!("")), "mounts[0].destination", EMPTY),
        ("/mounts/0", tmpfs("destination", json!("/a\0")), "mounts[0].destination", NUL),
        ("/mounts/0", tmpfs("destination", json!("/")), "mounts[0].destination", root),
        ("/mounts/0", tmpfs("destination", json!("/a/./../..")), "mounts[0].destination", root),
        ("/mounts/0", tmpfs("destination", json!("/proc/self")), "mounts[0].destination", proc),
        ("/mounts/0", tmpfs("destination", json!("//proc/x/../self/attr")), "mounts[0].destination", proc),
        ("/mounts/0", tmpfs("type", json!("\0")), "mounts[0].type", NUL),
        ("/mounts/0", tmpfs("type", json!("")), "mounts[0].type", "is required unless options has \"bind\""),
        ("/mounts/0", tmpfs("source", json!("\0")), "mounts[0].source", NUL),
        ("/mounts/0", tmpfs("options", json!(["ro", "\0"])), "mounts[0].options[1]", NUL),
        (
            "/mounts/0",
            json!({ "destination": "/x", "options": ["rbind"] }),
            "mounts[0].source",
            "is required for a bind mount",
        ),
        (
            "/mounts/0",
            tmpfs("uidMappings", mapping.clone()),
            "mounts[0].gidMappings",
            "is required with uidMappings",
        ),
        (
            "/mounts/0",
            tmpfs("gidMappings", mapping.clone()),
            "mounts[0].uidMappings",
            "is required with gidMappings",
        ),
        (
            "/mounts/0",
            with(tmpfs("gidMappings", mapping.clone()), "/uidMappings", mapping),
            "mounts[0].uidMappings[0].size",
            "must be at least 1, not 0",
        ),
    ]);
}

#[test]
fn hooks() {
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        let hooks = json!([{ "path": "/ok" }, { "path": "hook" }]);
        let document = with(sound(), &format!("/hooks/{kind}"), hooks);
        refused(&document, &format!("hooks.{kind}[1].path"), &relative("hook"));
    }
    each(vec![
        ("/hooks/prestart/0", json!({ "path": "" }), "hooks.prestart[0].path", EMPTY),
        ("/hooks/prestart/0", json!({ "path": "/\0" }), "hooks.prestart[0].path", NUL),
        ("/hooks/prestart/0", json!({ "path": "/a", "args": ["\0"] }), "hooks.prestart[0].args[0]", NUL),
        ("/hooks/prestart/0", json!({ "path": "/a", "env": ["\0"] }), "hooks.prestart[0].env[0]", NUL),
        (
            "/hooks/prestart/0",
            json!({ "path": "/a", "timeout": 0 }),
            "hooks.prestart[0].timeout",
            "must be at least 1 second, not 0",
        ),
        (
            "/hooks/poststop/0",
            json!({ "path": "/a", "timeout": -1 }),
            "hooks.poststop[0].timeout",
            "must be at least 1 second, not -1",
        ),
    ]);
}
