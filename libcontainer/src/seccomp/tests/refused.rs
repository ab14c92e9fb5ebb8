//! One wrong profile for each mistake, and the path that the error names.

use serde_json::{Value, json};

use super::{at, profile};
use crate::seccomp::{self, Arch, Warning};

fn error_of(value: &Value) -> String {
    match seccomp::compile(&profile(&value.to_string()), &at(), Arch::X86_64) {
        Ok(filter) => panic!("compiled: {value}\n{filter}"),
        Err(error) => error.to_string(),
    }
}

/// An otherwise good profile with one rule that is changed by `members`.
fn with_rule(members: Value) -> Value {
    let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    rule.as_object_mut().expect("object").extend(members.as_object().expect("object").clone());
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}, rule]})
}

fn with_arg(arg: Value) -> Value {
    with_rule(json!({"args": [arg]}))
}

#[test]
fn every_mistake_is_named_by_its_path() {
    let ok = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    let cases = [
        (json!({"defaultAction": "SCMP_ACT_NOPE"}), "defaultAction: unknown value \"SCMP_ACT_NOPE\""),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "listenerPath: is required with SCMP_ACT_NOTIFY"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            "defaultErrnoRet: only SCMP_ACT_ERRNO",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}),
            "defaultErrnoRet: must be between 0 and 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 70000}),
            "defaultErrnoRet: must be between 0 and 65535",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "amd64"]}),
            "architectures[1]: unknown value \"amd64\"",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG", "LOG"]}),
            "flags[1]: unknown value \"LOG\"",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "listenerPath: is required when there is listenerMetadata",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            "flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is about SCMP_ACT_NOTIFY",
        ),
        (with_rule(json!({"names": []})), "syscalls[1].names: must not be empty"),
        (with_rule(json!({"names": ["read", ""]})), "syscalls[1].names[1]: must not be empty"),
        (with_rule(json!({"action": "ALLOW"})), "syscalls[1].action: unknown value \"ALLOW\""),
        (with_rule(json!({"errnoRet": 1})), "syscalls[1].errnoRet: only SCMP_ACT_ERRNO"),
        (
            with_rule(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
            "syscalls[1].errnoRet: must be between 0 and 4095, not 4096",
        ),
        (with_rule(json!({"action": "SCMP_ACT_NOTIFY"})), "listenerPath: is required with SCMP_ACT_NOTIFY"),
        (
            with_arg(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})),
            "syscalls[1].args[0].index: must be between",
        ),
        (
            with_arg(json!({"index": 0, "value": 1, "op": "=="})),
            "syscalls[1].args[0].op: unknown value \"==\"",
        ),
        (
            with_rule(json!({"args": [ok, {"index": 0, "value": 1, "op": ""}]})),
            "syscalls[1].args[1].op: unknown value \"\"",
        ),
    ];
    for (profile, expected) in cases {
        let error = error_of(&profile);
        assert!(error.contains(&format!("linux.seccomp.{expected}")), "{error}\nexpected {expected}");
    }
}

#[test]
fn too_long_a_program_is_refused() {
    let args = |i: u64| {
        json!([
            {"index": 0, "value": i << 32 | i, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": i << 32 | i, "op": "SCMP_CMP_NE"},
        ])
    };
    let rules: Vec<Value> = (1..1000)
        .map(|i| json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": i, "args": args(i)}))
        .collect();
    let profile = |n: usize| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules[..n]});
    assert!(
        error_of(&profile(999))
            .contains("linux.seccomp.syscalls: is not supported: it makes a filter of more")
    );
    let filter = super::compile(&super::profile(&profile(400).to_string()), Arch::X86_64);
    assert!(filter.program.len() <= 4096);
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let filter = super::compile(
        &profile(
            r#"{
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{
                    "names": ["foobar", "read", "break"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]
                }]
            }"#,
        ),
        Arch::X86_64,
    );
    let warnings: Vec<String> = filter.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "linux.seccomp.syscalls[0].names[0]: unknown system call \"foobar\" ignored",
            "linux.seccomp.syscalls[0].args[0]: never true, valueTwo has bits that value masks out",
        ]
    );
    assert_eq!(filter.flags, 4);
}

#[test]
fn flags_are_the_kernels() {
    let flags = |json: &str| {
        let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent"{json}}}"#);
        let filter = super::compile(&profile(&json), Arch::X86_64);
        (filter.flags, filter.notifies)
    };
    let notify = r#", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]"#;
    let all = r#", "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(flags(""), (4, false));
    assert_eq!(flags(r#", "flags": null"#), (4, false));
    assert_eq!(flags(r#", "flags": []"#), (0, false));
    assert_eq!(flags(notify), (4 | 8, true));
    assert_eq!(flags(&format!("{all}{notify}")), (2 | 4 | 8 | 32, true));
}
