//! What validation hands on: masks, numbers, warnings.

use serde_json::json;

use super::{sound, with};
use crate::config::{Config, NamespaceKind, Process};
use crate::error::FieldPath;
use crate::validate::{capabilities, sysctl, validate, validate_process, validate_resources};

fn config(document: &serde_json::Value) -> Config {
    Config::from_slice(&serde_json::to_vec(document).unwrap()).unwrap()
}

#[test]
fn capabilities_become_masks() {
    let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_CHECKPOINT_RESTORE"]);
    let sets = json!({ "bounding": all, "effective": ["CAP_KILL"], "permitted": all, "inheritable": [] });
    let config = config(&with(sound(), "/process/capabilities", sets));
    let valid = validate(&config).unwrap();
    assert_eq!(valid.capabilities.bounding, 1 | 1 << 5 | 1 << 40);
    assert_eq!(valid.capabilities.permitted, 1 | 1 << 5 | 1 << 40);
    assert_eq!(valid.capabilities.effective, 1 << 5);
    assert_eq!((valid.capabilities.inheritable, valid.capabilities.ambient), (0, 0));
    assert!(valid.warnings.is_empty());
}

#[test]
fn capabilities_are_numbered_as_in_the_kernel() {
    assert_eq!(capabilities::number("CAP_SYS_ADMIN"), Some(21));
    assert_eq!(capabilities::number("CAP_SETFCAP"), Some(31));
    assert_eq!(capabilities::number("CAP_AUDIT_READ"), Some(37));
    assert_eq!(capabilities::number("cap_kill"), None);
    assert_eq!(capabilities::number("KILL"), None);
}

#[test]
fn unknown_capabilities_are_one_sorted_warning() {
    let sets = json!({ "bounding": ["CAP_Z", "CAP_KILL", "CAP_A"], "permitted": ["CAP_Z", "kill"] });
    let config = config(&with(sound(), "/process/capabilities", sets));
    let valid = validate(&config).unwrap();
    assert_eq!(valid.capabilities.bounding, 1 << 5);
    assert_eq!(valid.warnings, ["process.capabilities: ignoring unknown capabilities CAP_A, CAP_Z, kill"]);
}

#[test]
fn capabilities_that_cannot_be_granted_are_left_out() {
    let sets =
        json!({ "permitted": ["CAP_KILL"], "effective": ["CAP_KILL", "CAP_CHOWN"], "ambient": ["CAP_KILL"] });
    let config = config(&with(sound(), "/process/capabilities", sets));
    let valid = validate(&config).unwrap();
    assert_eq!((valid.capabilities.effective, valid.capabilities.ambient), (1 << 5, 0));
    let warnings = [
        "process.capabilities.effective: ignoring CAP_CHOWN: not in the permitted set",
        "process.capabilities.ambient: ignoring CAP_KILL: not in both the permitted and the inheritable set",
    ];
    assert_eq!(valid.warnings, warnings);
}

#[test]
fn no_capabilities_is_none() {
    let config = config(&sound());
    assert_eq!(validate(&config).unwrap().capabilities, crate::validate::CapabilitySets::default());
}

#[test]
fn rlimits_become_numbers() {
    let listed = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let rlimit = |name| json!({ "type": format!("RLIMIT_{name}"), "soft": 1, "hard": u64::MAX });
    let rlimits = json!(listed.map(rlimit));
    let config = config(&with(sound(), "/process/rlimits", rlimits));
    let expected: Vec<_> = (0..16).map(|number| (number, 1, u64::MAX)).collect();
    assert_eq!(validate(&config).unwrap().rlimits, expected);
}

#[test]
fn namespaces_are_sorted_and_split() {
    let list = json!([{ "type": "mount", "path": "" }, { "type": "network", "path": "/run/netns/x" }]);
    let config = config(&with(sound(), "/linux/namespaces", list));
    let valid = validate(&config).unwrap();
    assert!(valid.namespaces.creates(NamespaceKind::Mount));
    assert_eq!(valid.namespaces.joins(NamespaceKind::Network), Some("/run/netns/x"));
    assert!(!valid.namespaces.has(NamespaceKind::Pid));
    let kinds: Vec<_> = valid.namespaces.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [NamespaceKind::Network, NamespaceKind::Mount]);
}

#[test]
fn relative_destinations_are_warned_about() {
    let config = config(&with(sound(), "/mounts/0", json!({ "destination": "tmp2", "type": "tmpfs" })));
    let expected = ["mounts[0].destination: relative path \"tmp2\" is taken from /"];
    assert_eq!(validate(&config).unwrap().warnings, expected);
}

#[test]
fn a_limit_of_kernel_memory_is_ignored_aloud() {
    let config = config(&with(sound(), "/linux/resources", json!({ "memory": { "kernel": 4096 } })));
    let expected = ["linux.resources.memory.kernel: ignoring 4096, use memory.limit"];
    assert_eq!(validate(&config).unwrap().warnings, expected);
}

#[test]
fn a_process_by_itself() {
    let bytes = br#"{"args":["sh"],"cwd":"tmp","env":["A"]}"#;
    let process: Process = serde_json::from_slice(bytes).unwrap();
    let error = validate_process(&process, &FieldPath::root()).unwrap_err();
    assert_eq!(error.path.as_str(), "cwd");
    let process = Process { cwd: "/".to_owned(), ..process };
    let error = validate_process(&process, &FieldPath::new("process")).unwrap_err();
    assert_eq!(error.path.as_str(), "process.env[0]");
    let process = Process { env: Vec::new(), ..process };
    assert!(validate_process(&process, &FieldPath::root()).unwrap().rlimits.is_empty());
}

#[test]
fn resources_by_themselves() {
    let resources = serde_json::from_value(json!({ "memory": { "swappiness": 101 } })).unwrap();
    let error = validate_resources(&resources, &FieldPath::root()).unwrap_err();
    assert_eq!(error.path.as_str(), "memory.swappiness");
}

#[test]
fn names_of_kernel_parameters() {
    let cases = [
        ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
        ("net/ipv4/conf/eth0.1/forwarding", Some("net/ipv4/conf/eth0.1/forwarding")),
        ("net.ipv4.conf.eth0/1.forwarding", Some("net/ipv4/conf/eth0.1/forwarding")),
        ("net/../kernel/core_pattern", None),
        ("net.ipv4..x", None),
        ("net./.x", None),
        ("/net/ipv4", None),
        ("", None),
    ];
    for (key, path) in cases {
        assert_eq!(sysctl::proc_path(key).as_deref(), path, "{key:?}");
    }
}
