//! Whether the runtime's own last calls get through.

use serde_json::{Value, json};

use super::{compile, profile};
use crate::seccomp::{Arch, InitCall, check_init};

const EXECVE: u32 = 59;
const SENDMSG: u32 = 46;
const PRCTL: u32 = 157;

fn call(nr: u32, args: [Option<u64>; 6]) -> InitCall {
    InitCall { nr, args, before_agent: nr == SENDMSG }
}

fn check(profile_json: Value, calls: &[InitCall]) -> Result<(), String> {
    let filter = compile(&profile(&profile_json.to_string()), Arch::X86_64);
    check_init(&filter, calls).map_err(|error| error.to_string())
}

fn refused(profile_json: Value, calls: &[InitCall], expected: &str) {
    let error = check(profile_json, calls).expect_err("has to be refused");
    assert!(error.contains(expected), "{error}\nexpected {expected}");
}

#[test]
fn default_action_at_fault() {
    let calls = [call(EXECVE, [None; 6])];
    refused(
        json!({"defaultAction": "SCMP_ACT_KILL"}),
        &calls,
        "linux.seccomp.defaultAction: answers execve with KILL_THREAD",
    );
    let nothing = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["exit"], "action": "SCMP_ACT_ALLOW"}]});
    refused(nothing, &calls, "linux.seccomp.defaultAction: answers execve with ERRNO(1)");
    assert_eq!(check(json!({"defaultAction": "SCMP_ACT_LOG"}), &calls), Ok(()));
}

#[test]
fn rule_at_fault() {
    let denies = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL"},
        {"names": ["mkdirat", "execve"], "action": "SCMP_ACT_ERRNO"},
    ]});
    refused(denies, &[call(EXECVE, [None; 6])], "linux.seccomp.syscalls[1]: answers execve with ERRNO(1)");
}

#[test]
fn known_arguments_count() {
    let denies = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["prctl"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 15, "op": "SCMP_CMP_EQ"}]},
        {"names": ["prctl"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 22, "op": "SCMP_CMP_EQ"}]},
    ]});
    let prctl = |option| call(PRCTL, [option, None, None, None, None, None]);
    assert_eq!(check(denies.clone(), &[prctl(Some(38))]), Ok(()));
    refused(denies.clone(), &[prctl(Some(22))], "linux.seccomp.syscalls[1]: answers prctl with KILL_THREAD");
    refused(denies, &[prctl(None)], "linux.seccomp.syscalls[");
}

#[test]
fn notifications_need_an_agent() {
    let notify = |name: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
        "syscalls": [{"names": [name], "action": "SCMP_ACT_NOTIFY"}]})
    };
    let calls = [call(SENDMSG, [None; 6]), call(EXECVE, [None; 6])];
    assert_eq!(check(notify("execve"), &calls), Ok(()));
    refused(notify("sendmsg"), &calls, "linux.seccomp.syscalls[0]: answers sendmsg with NOTIFY");
}
