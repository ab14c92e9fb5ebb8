//! The features document: of the form that the specification says, and true.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let case =
        |name: &str, clauses, body: fn(&Ctx) -> Verdict| Case::new(format!("features/{name}"), clauses, body);
    vec![
        case("only-members-of-the-specification", &["FEAT-01", "FEAT-06"], members),
        case("security-modules", &["FEAT-14"], security_modules),
        case("memory-policy-is-truthful", &["FEAT-15"], memory_policy),
        case("intel-rdt", &["FEAT-16"], intel_rdt),
        case("idmap-is-truthful", &["FEAT-17"], idmap).needs(&[Need::Kernel(5, 12)]),
        case("net-devices-are-truthful", &["FEAT-18"], net_devices),
        case("the-same-in-every-place", &["FEAT-02"], same_everywhere).should(),
    ]
}

/// Members of features.md and features-linux.md, version 1.3. `*` is any name.
const MEMBERS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ociVersionMin",
            "ociVersionMax",
            "hooks",
            "mountOptions",
            "linux",
            "annotations",
            "potentiallyUnsafeConfigAnnotations",
        ],
    ),
    (
        "/linux",
        &[
            "namespaces",
            "capabilities",
            "cgroup",
            "seccomp",
            "apparmor",
            "selinux",
            "intelRdt",
            "mountExtensions",
            "netDevices",
            "memoryPolicy",
        ],
    ),
    ("/linux/cgroup", &["v1", "v2", "systemd", "systemdUser", "rdma"]),
    ("/linux/seccomp", &["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"]),
    ("/linux/apparmor", &["enabled"]),
    ("/linux/selinux", &["enabled"]),
    ("/linux/intelRdt", &["enabled", "schemata", "monitoring"]),
    ("/linux/mountExtensions", &["idmap"]),
    ("/linux/mountExtensions/idmap", &["enabled"]),
    ("/linux/netDevices", &["enabled"]),
    ("/linux/memoryPolicy", &["modes", "flags"]),
];

/// Members that are lists of words; those that are objects are above, and all the others are booleans.
const LISTS: [&str; 12] = [
    "hooks",
    "mountOptions",
    "potentiallyUnsafeConfigAnnotations",
    "namespaces",
    "capabilities",
    "actions",
    "operators",
    "archs",
    "knownFlags",
    "supportedFlags",
    "modes",
    "flags",
];

fn document(ctx: &Ctx) -> Result<Value, Failure> {
    ctx.bare().arg("features").ok()?.json()
}

pub fn strings(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn members(ctx: &Ctx) -> Verdict {
    let document = document(ctx)?;
    for (at, known) in MEMBERS {
        let Some(object) = document.pointer(at) else { continue };
        let object = object.as_object().ok_or_else(|| Failure::new(format!("{at} is no object")))?;
        for (name, value) in object {
            ensure!(known.contains(&name.as_str()), "{at}/{name} is not in the specification");
            let is_object = MEMBERS.iter().any(|(inner, _)| *inner == format!("{at}/{name}"));
            let words = || value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
            let fits = match name.as_str() {
                "ociVersionMin" | "ociVersionMax" => value.is_string(),
                "annotations" => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
                name if LISTS.contains(&name) => words(),
                _ if is_object => value.is_object(),
                _ => value.is_boolean(),
            };
            ensure!(fits || value.is_null(), "{at}/{name} is of another type: {value}");
        }
    }
    Ok(())
}

/// A member that is there says yes or no; one that is not there says nothing.
fn yes_or_no(document: &Value, pointer: &str) -> Result<Option<bool>, Failure> {
    match document.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(is)) => Ok(Some(*is)),
        Some(other) => Err(Failure::new(format!("{pointer}: {other}"))),
    }
}

/// Whether the runtime was built with them, not whether the kernel has them.
fn security_modules(ctx: &Ctx) -> Verdict {
    let document = document(ctx)?;
    for module in ["apparmor", "selinux"] {
        let known = yes_or_no(&document, &format!("/linux/{module}/enabled"))?;
        ensure!(known.is_some(), "linux.{module}.enabled is not announced");
    }
    Ok(())
}

fn memory_policy(ctx: &Ctx) -> Verdict {
    let document = document(ctx)?;
    for mode in strings(&document, "/linux/memoryPolicy/modes") {
        let mut b = ctx.bundle()?;
        let nodes = if matches!(mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        b.set("/linux/memoryPolicy", json!({"mode": mode, "nodes": nodes}));
        b.steps(&[&["say", "x"]]);
        recognised(ctx, &b, &mode)?;
    }
    for flag in strings(&document, "/linux/memoryPolicy/flags") {
        let mut b = ctx.bundle()?;
        b.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
        b.steps(&[&["say", "x"]]);
        recognised(ctx, &b, &flag)?;
    }
    Ok(())
}

/// It works, or it is the kernel that does not take it.
fn recognised(ctx: &Ctx, b: &crate::Bundle, word: &str) -> Verdict {
    let out = ctx.run(b)?;
    let by_kernel = ["set_mempolicy", "invalid argument", "not implemented", "not permitted"];
    let said = out.stderr.to_lowercase();
    ensure!(
        out.code() == 0 || by_kernel.iter().any(|words| said.contains(words)),
        "{word} is announced and not recognised: {}",
        out.stderr
    );
    Ok(())
}

fn intel_rdt(ctx: &Ctx) -> Verdict {
    let document = document(ctx)?;
    for member in ["enabled", "schemata", "monitoring"] {
        yes_or_no(&document, &format!("/linux/intelRdt/{member}"))?;
    }
    ensure!(
        yes_or_no(&document, "/linux/intelRdt/enabled")?.is_some(),
        "linux.intelRdt.enabled is not announced"
    );
    Ok(())
}

fn idmap(ctx: &Ctx) -> Verdict {
    let announced = yes_or_no(&document(ctx)?, "/linux/mountExtensions/idmap/enabled")?;
    let mut b = ctx.bundle()?;
    b.out();
    let last = b.config["mounts"].as_array().map_or(0, Vec::len) - 1;
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    b.set(&format!("/mounts/{last}/uidMappings"), map.clone());
    b.set(&format!("/mounts/{last}/gidMappings"), map);
    b.set(&format!("/mounts/{last}/options"), json!(["bind", "idmap"]));
    b.steps(&[&["stat", "/out"]]);
    let out = ctx.run(&b)?;
    match announced {
        Some(true) => {
            let stat = crate::Facts::lines(&out.ok()?.stdout)?.remove(0);
            ensure_eq!(*stat.get("/stat/uid"), json!(1000), "owner of an id-mapped directory");
        }
        Some(false) => {
            ensure!(out.code() != 0, "works, and is announced as missing");
        }
        None => {}
    }
    Ok(())
}

fn net_devices(ctx: &Ctx) -> Verdict {
    let announced = yes_or_no(&document(ctx)?, "/linux/netDevices/enabled")?;
    crate::net::pair("v0", 1500)?;
    let mut b = ctx.bundle()?;
    b.set("/linux/netDevices", json!({"v0": {}})).steps(&[&["read", "/sys/class/net/v0/mtu"]]);
    let out = ctx.run(&b)?;
    let works = out.code() == 0 && out.stdout.contains("1500");
    ensure!(announced.is_none_or(|is| is == works), "announced: {announced:?}, works: {works}");
    Ok(())
}

/// The document is about the build: neither root nor cgroups nor the directory have a say in it.
fn same_everywhere(ctx: &Ctx) -> Verdict {
    let here = document(ctx)?;
    let user =
        ctx.bare().arg("features").cwd("/").env_clear().user(crate::context::USER, crate::context::USER);
    let there = user.run()?;
    if there.code() == 127 || there.code() == 126 {
        return Err(Failure::skip("an ordinary user cannot execute the runtime"));
    }
    ensure_eq!(there.ok()?.json()?, here, "the document, for an ordinary user");
    Ok(())
}
