//! Every member of the specification's schema is known, and says what is wrong with it by its path.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tolerance::everything;
use super::{sound, validate, with};
use crate::cgroup::{DevicePolicy, Kind, lower};
use crate::config::Config;
use crate::error::{ConfigError, FieldPath};
use crate::seccomp::{Arch, compile};

const MEMBERS: &str = include_str!("members.tsv");
const CONTRADICTIONS: &str = include_str!("contradictions.tsv");

/// Path with `[]` for an element and `*` for a name of the user's choice; a wrong value or none; where it is reported.
fn rows() -> impl Iterator<Item = (&'static str, Option<Value>, &'static str)> {
    MEMBERS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        let path = cells.next().unwrap_or_default();
        let bad = cells.next().filter(|text| *text != "-").map(|text| serde_json::from_str(text).unwrap());
        (path, bad, cells.next().unwrap_or(path))
    })
}

/// The members of a document in the notation of the table, each with its path.
fn members(value: &Value, pattern: &str, path: &str, found: &mut Vec<(String, String)>) {
    const NAMED_BY_THE_USER: [&str; 6] = [
        "annotations",
        "linux.netDevices",
        "linux.resources.rdma",
        "linux.resources.unified",
        "linux.sysctl",
        "linux.timeOffsets",
    ];
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let join = |base: &str, name: &str| {
                    if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
                };
                let path = join(path, name);
                if NAMED_BY_THE_USER.contains(&pattern) && pattern != "linux.timeOffsets" {
                    members(value, &format!("{pattern}.*"), &path, found);
                } else {
                    found.push((join(pattern, name), path.clone()));
                    members(value, &join(pattern, name), &path, found);
                }
            }
        }
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                members(element, &format!("{pattern}[]"), &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn all_members() -> Vec<(String, String)> {
    let mut found = Vec::new();
    members(&everything(), "", "", &mut found);
    found
}

/// `a.b[0].c` as JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace('[', "/").replace(']', "").replace('.', "/"))
}

#[test]
fn the_members_of_the_schema_are_those_that_are_known() {
    let known: BTreeSet<String> = all_members().into_iter().map(|(pattern, _)| pattern).collect();
    // One clock stands for both of them in the document.
    let schema: BTreeSet<String> =
        rows().map(|(path, ..)| path.to_owned()).filter(|path| !path.contains("boottime")).collect();
    assert_eq!(schema.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not known");
    assert_eq!(known.difference(&schema).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
}

#[test]
fn a_wrong_type_is_reported_with_its_path() {
    for (_, path) in all_members() {
        let at = pointer(&path);
        let right = everything().pointer(&at).unwrap().clone();
        let wrong = match right {
            Value::Array(_) => json!({}),
            Value::String(_) => json!(5.5),
            _ => json!("x"),
        };
        let document = serde_json::to_vec(&with(everything(), &at, wrong.clone())).unwrap();
        let error =
            Config::from_slice(&document).expect_err(&format!("{path}: {wrong} is of the wrong type"));
        assert_eq!(error.path.as_str(), path, "{error}");
    }
}

/// A sound document in which the member's neighbours are what it needs.
fn neighbourhood(path: &str) -> Value {
    let mapping = || json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let rate = || json!([{ "major": 8, "minor": 0, "rate": 1 }]);
    let mount = if path.contains("Mappings") {
        json!({ "destination": "/x", "source": "/s", "options": ["bind"], "uidMappings": mapping(), "gidMappings": mapping() })
    } else {
        json!({ "destination": "/x", "type": "tmpfs", "source": "t" })
    };
    let rule = json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO",
        "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] });
    let kind = path.split(['.', '[']).nth(1).unwrap_or_default().to_owned();
    let wanted: Vec<(String, Value)> = vec![
        (format!("hooks.{kind}"), json!([{ "path": "/h" }])),
        ("mounts".into(), json!([mount])),
        ("process.consoleSize".into(), json!({ "height": 1, "width": 1 })),
        ("process.ioPriority".into(), json!({ "class": "IOPRIO_CLASS_BE" })),
        ("process.scheduler".into(), json!({ "policy": "SCHED_OTHER" })),
        ("process.rlimits".into(), json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }])),
        ("linux.devices".into(), json!([{ "type": "c", "path": "/dev/x", "major": 1, "minor": 3 }])),
        ("linux.netDevices".into(), json!({ "eth0": {} })),
        ("linux.uidMappings".into(), mapping()),
        ("linux.gidMappings".into(), mapping()),
        ("linux.resources.devices".into(), json!([{ "allow": true, "access": "rwm" }])),
        ("linux.resources.blockIO.throttleReadBpsDevice".into(), rate()),
        ("linux.resources.blockIO.throttleWriteBpsDevice".into(), rate()),
        ("linux.resources.blockIO.throttleReadIOPSDevice".into(), rate()),
        ("linux.resources.blockIO.throttleWriteIOPSDevice".into(), rate()),
        ("linux.resources.blockIO.weightDevice".into(), json!([{ "major": 8, "minor": 0, "weight": 10 }])),
        ("linux.resources.cpu".into(), json!({ "quota": 10 })),
        ("linux.resources.hugepageLimits".into(), json!([{ "pageSize": "2MB", "limit": 0 }])),
        ("linux.resources.network".into(), json!({ "priorities": [{ "name": "lo", "priority": 1 }] })),
        ("linux.resources.rdma".into(), json!({ "mlx": { "hcaHandles": 1 } })),
        ("linux.seccomp".into(), json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })),
        ("linux.memoryPolicy".into(), json!({ "mode": "MPOL_BIND", "nodes": "0" })),
        ("linux.personality".into(), json!({ "domain": "LINUX" })),
        ("linux.timeOffsets".into(), json!({ "boottime": { "secs": 1 }, "monotonic": { "secs": 1 } })),
    ];
    let mut document = sound();
    let mappings = path.starts_with("linux.uidMappings") || path.starts_with("linux.gidMappings");
    for (prefix, value) in wanted {
        let both = mappings && matches!(prefix.as_str(), "linux.uidMappings" | "linux.gidMappings");
        if both || (path.starts_with(&prefix) && !prefix.ends_with('.')) {
            document = with(document, &pointer(&prefix), value);
        }
    }
    for (member, kind) in
        [("linux.timeOffsets", "time"), ("linux.uidMappings", "user"), ("linux.gidMappings", "user")]
    {
        if path.starts_with(member) {
            document = with(document, "/linux/namespaces/-", json!({ "type": kind }));
        }
    }
    if path.starts_with("process.consoleSize") {
        with(document, "/process/terminal", json!(true))
    } else {
        document
    }
}

/// Everything that looks at the configuration alone.
fn check(document: &Value) -> Result<(), ConfigError> {
    let config = Config::from_slice(&serde_json::to_vec(document).unwrap())?;
    validate(&config)?;
    let Some(linux) = &config.linux else { return Ok(()) };
    if let Some(seccomp) = &linux.seccomp {
        compile(seccomp, &FieldPath::new("linux.seccomp"), Arch::native().unwrap())?;
    }
    if let Some(resources) = &linux.resources {
        let at = FieldPath::new("linux.resources");
        DevicePolicy::new(&resources.devices, &at.field("devices"))?;
        let kind = if resources.unified.is_empty() { Kind::Legacy } else { Kind::Unified };
        lower(resources, kind, &at)?;
    }
    Ok(())
}

#[test]
fn a_wrong_value_is_reported_with_its_path() {
    let mut accepted = Vec::new();
    for (pattern, bad, reported) in rows() {
        let Some(bad) = bad else { continue };
        let instance = |pattern: &str| {
            let name = if pattern.contains("rdma") { "mlx" } else { "eth0" };
            pattern.replace("[]", "[0]").replace('*', name)
        };
        let document = neighbourhood(pattern);
        check(&document).unwrap_or_else(|e| panic!("{pattern}: the neighbourhood is not sound: {e}"));
        match check(&with(document, &pointer(&instance(pattern)), bad.clone())) {
            Ok(()) => accepted.push(format!("{pattern} = {bad}")),
            Err(error) => {
                let path = error.path.as_str();
                if path != instance(reported) {
                    accepted.push(format!("{pattern} = {bad} is reported as {error}"));
                }
            }
        }
    }
    assert_eq!(accepted, Vec::<String>::new());
}

#[test]
fn a_contradiction_is_reported_with_its_path() {
    let mut wrong = Vec::new();
    for line in CONTRADICTIONS.lines().filter(|line| !line.starts_with('#')) {
        let (reported, members) = line.split_once('\t').unwrap();
        let members: serde_json::Map<String, Value> = serde_json::from_str(members).unwrap();
        let document =
            members.iter().fold(sound(), |document, (at, value)| with(document, at, value.clone()));
        match check(&document) {
            Ok(()) => wrong.push(format!("accepted: {line}")),
            Err(error) if error.path.as_str() != reported => wrong.push(format!("{error}: {line}")),
            Err(_) => (),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
