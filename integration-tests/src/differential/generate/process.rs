//! `process`, `hostname`, `domainname`, `root`.

use super::Maker;
use crate::differential::change::{Change, Edit};
use crate::differential::random::Random;
use serde_json::{Value, json};

pub const MAKERS: &[Maker] = &[
    environment,
    cwd,
    user,
    user,
    capabilities,
    capabilities,
    rlimits,
    oom_score,
    privileges,
    ending,
    hostname,
    program,
    root,
];

fn environment(r: &mut Random) -> Change {
    let pool = [
        "A=1",
        "A=2",
        "B=",
        "HOME=/somewhere",
        "HOME=",
        "PATH=/bin",
        "PATH=",
        "LANG=C.UTF-8",
        "C=a=b",
        "_=x",
        "TERM=dumb",
        "container=oci",
        "D= space ",
        "E=\u{e9}\u{4e00}",
        "A.B-C=1",
        "LISTEN_FDS=1",
        "NOTIFY_SOCKET=/nowhere",
    ];
    let chosen = r.some(&pool, 6);
    if r.percent(60) {
        let mut change = Change { about: "env", edits: Vec::new() };
        change.edits.extend(chosen.into_iter().map(|e| Edit::Push("/process/env".into(), json!(e))));
        return change;
    }
    Change::set("env", "/process/env", json!(chosen))
}

fn cwd(r: &mut Random) -> Change {
    let path = r.pick(&[
        "/tmp",
        "/new/deep",
        "/link",
        "/etc",
        "/up",
        "/proc",
        "/dev/shm",
        "/tmp/../etc",
        "//tmp/",
        "/out",
    ]);
    Change::set("cwd", "/process/cwd", json!(path)).step(&["stat", path])
}

fn user(r: &mut Random) -> Change {
    let ids = [0, 0, 1, 5, 1000, 1000, 65534, 123_456];
    let mut user = json!({"uid": r.pick(&ids), "gid": r.pick(&ids)});
    if r.percent(50) {
        user["additionalGids"] = json!(r.some(&[0, 1, 5, 5, 10, 1000, 70_000], 4));
    }
    if r.percent(40) {
        user["umask"] = json!(r.pick(&[0, 0o022, 0o027, 0o077, 0o777]));
    }
    Change::set("user", "/process/user", user)
        .step(&["create", "/tmp/made", "x"])
        .step(&["stat", "/tmp/made"])
}

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_NET_RAW",
    "CAP_NET_ADMIN",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
];

fn capabilities(r: &mut Random) -> Change {
    const AT: &str = "/process/capabilities";
    match r.below(6) {
        0 => Change { about: "capabilities", edits: vec![Edit::Remove(AT.into())] },
        1 => Change::set("capabilities", AT, json!({})),
        2 => {
            let set = r.pick(&["bounding", "effective", "permitted", "inheritable", "ambient"]);
            Change::set("capabilities", format!("{AT}/{set}"), json!(r.some(&CAPABILITIES, 8)))
        }
        3 => {
            let bounding = r.some(&CAPABILITIES, 14);
            let permitted = r.some(&bounding, 14);
            let inheritable = r.some(&permitted, 14);
            let sets = json!({"bounding": bounding, "permitted": permitted, "effective": r.some(&permitted, 14),
                              "inheritable": inheritable, "ambient": r.some(&inheritable, 14)});
            Change::set("capabilities", AT, sets)
        }
        _ => {
            let all = r.some(&CAPABILITIES, 14);
            let sets = json!({"bounding": all, "effective": all, "permitted": all});
            let mut change = Change::set("capabilities", AT, sets);
            for set in ["inheritable", "ambient"] {
                if r.percent(50) {
                    change = change.and(Edit::Set(format!("{AT}/{set}"), json!(all)));
                }
            }
            change
        }
    }
}

fn rlimits(r: &mut Random) -> Change {
    let kinds = [
        "RLIMIT_AS",
        "RLIMIT_CORE",
        "RLIMIT_CPU",
        "RLIMIT_DATA",
        "RLIMIT_FSIZE",
        "RLIMIT_LOCKS",
        "RLIMIT_MEMLOCK",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
        "RLIMIT_RSS",
        "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
        "RLIMIT_SIGPENDING",
        "RLIMIT_STACK",
    ];
    // Enough for the probe, whatever it is a limit of.
    let sizes: [u64; 5] = [1 << 33, 1 << 34, 1 << 35, u64::MAX - 1, u64::MAX];
    let small: [u64; 5] = [0, 1, 64, 512, 1024];
    // A limit above the machine's own needs a capability.
    let raised = r.is_odd();
    let entries: Vec<Value> = r
        .some(&kinds, 4)
        .into_iter()
        .map(|kind| {
            let pool = match kind {
                "RLIMIT_NICE" | "RLIMIT_RTPRIO" if !raised => [0; 5],
                "RLIMIT_CORE" | "RLIMIT_LOCKS" | "RLIMIT_NICE" | "RLIMIT_RTPRIO" | "RLIMIT_MSGQUEUE" => small,
                "RLIMIT_NOFILE" => [64, 512, 1024, 2048, 4096],
                "RLIMIT_NPROC" | "RLIMIT_SIGPENDING" if !raised => [512, 1024, 2048, 3000, 4096],
                "RLIMIT_MEMLOCK" if !raised => [0, 4096, 16_384, 32_768, 65_536],
                _ => sizes,
            };
            let (a, b) = (r.pick(&pool), r.pick(&pool));
            json!({"type": kind, "soft": a.min(b), "hard": a.max(b)})
        })
        .collect();
    Change::set("rlimits", "/process/rlimits", json!(entries))
}

fn oom_score(r: &mut Random) -> Change {
    Change::set(
        "oomScoreAdj",
        "/process/oomScoreAdj",
        json!(r.usually(&[0, 1, 100, 999, 1000], &[-1000, -1])),
    )
}

fn privileges(r: &mut Random) -> Change {
    Change::set("noNewPrivileges", "/process/noNewPrivileges", json!(r.percent(50)))
}

fn ending(r: &mut Random) -> Change {
    let change = Change { about: "ending", edits: Vec::new() };
    match r.below(4) {
        0 => change.step(&["die", r.pick(&["9", "15", "6"])]),
        _ => change.step(&["exit", r.pick(&["0", "1", "2", "42", "127", "255"])]),
    }
}

fn hostname(r: &mut Random) -> Change {
    match r.below(4) {
        0 => Change { about: "hostname", edits: vec![Edit::Remove("/hostname".into())] },
        1 => Change::set("domainname", "/domainname", json!(r.pick(&["", "example.org", "d"]))),
        _ => {
            let long = "h".repeat(64);
            Change::set(
                "hostname",
                "/hostname",
                json!(r.pick(&["", "h", "a.b.c", "With Space", "\u{e9}", &long])),
            )
        }
    }
}

/// The program under other names, and programs that cannot be executed.
fn program(r: &mut Random) -> Change {
    let name = r.usually(
        &["probe", "./bin/probe", "../bin/probe", "/link/../bin/probe", "//bin//probe", "/bin/../bin/probe"],
        &["bin/probe", "/bin/none", "none", "/tmp", "/etc/file", "/etc/script", "/bin/probe/x", "/loop"],
    );
    let mut change = Change::set("args", "/process/args", json!([name, "facts"]));
    if r.percent(30) {
        change = change.and(Edit::Set(
            "/process/env/0".into(),
            json!(r.usually(&["PATH=/bin", "PATH=/etc:/bin", "PATH=/none:/bin:/x"], &["PATH=bin", "PATH="])),
        ));
    }
    change
}

fn root(r: &mut Random) -> Change {
    let step: &[&str] = &["create", "/etc/new", "x"];
    match r.below(4) {
        0 => Change { about: "root", edits: vec![Edit::Remove("/root/readonly".into())] }.step(step),
        1 => Change::set(
            "root",
            "/root/path",
            json!(r.pick(&["$BUNDLE/rootfs", "./rootfs", "rootfs/", "src/../rootfs"])),
        )
        .step(step),
        _ => Change::set("root", "/root/readonly", json!(r.percent(30))).step(step),
    }
}
