//! Filters in the kernel: what it does is what the profile says.

mod sys;

use std::ffi::{c_int, c_void};
use std::os::unix::process::ExitStatusExt;

use libcontainer::error::FieldPath;
use libcontainer::seccomp::{Arch, Filter, compile, number_of};
use serde_json::{Value, json};

use sys::{answered, catch_sigsys, confined, errno_of, in_a_thread, under};

const DEFAULT: &str = include_str!("../../../seccomp-profiles/profiles/default.json");

fn native() -> Arch {
    Arch::native().expect("an architecture with seccomp")
}

fn filter(profile: &Value) -> Filter {
    let profile = serde_json::from_value(profile.clone()).expect("a profile");
    compile(&profile, &FieldPath::root(), native()).expect("a good profile")
}

/// Everything is allowed but getsid(2).
fn for_getsid(members: Value) -> Filter {
    let mut rule = json!({"names": ["getsid"]});
    rule.as_object_mut().expect("object").extend(members.as_object().expect("object").clone());
    filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "syscalls": [rule]}))
}

fn nr(name: &str) -> u32 {
    number_of(native(), name).expect("a system call")
}

fn getsid() -> c_int {
    errno_of(nr("getsid"), [0, 0])
}

extern "C" fn getsid_in_thread(_: *mut c_void) -> c_int {
    getsid()
}

#[test]
fn allow_and_log_let_the_call_through() {
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        assert_eq!(under(&for_getsid(json!({"action": action})), getsid).code(), Some(0), "{action}");
    }
}

#[test]
fn errno_is_the_rules() {
    let filter = for_getsid(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77}));
    assert_eq!(under(&filter, getsid).code(), Some(77));
    let filter = for_getsid(json!({"action": "SCMP_ACT_ERRNO"}));
    assert_eq!(under(&filter, getsid).code(), Some(libc::EPERM));
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    let filter = for_getsid(json!({"action": "SCMP_ACT_TRACE", "errnoRet": 7}));
    assert_eq!(under(&filter, getsid).code(), Some(libc::ENOSYS));
}

#[test]
fn kill_process_and_thread() {
    let both = || {
        in_a_thread(getsid_in_thread);
        9
    };
    let filter = for_getsid(json!({"action": "SCMP_ACT_KILL_PROCESS"}));
    assert_eq!(under(&filter, getsid).signal(), Some(libc::SIGSYS));
    assert_eq!(under(&filter, both).signal(), Some(libc::SIGSYS));
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let filter = for_getsid(json!({"action": action}));
        assert_eq!(under(&filter, getsid).signal(), Some(libc::SIGSYS), "{action}");
        assert_eq!(under(&filter, both).code(), Some(9), "{action}: the other thread goes on");
    }
}

#[test]
fn trap_is_a_signal() {
    let caught = || {
        catch_sigsys();
        getsid()
    };
    let filter = for_getsid(json!({"action": "SCMP_ACT_TRAP"}));
    assert_eq!(under(&filter, getsid).signal(), Some(libc::SIGSYS));
    assert_eq!(under(&filter, caught).code(), Some(sys::CAUGHT));
}

#[test]
fn an_agent_is_asked() {
    let filter = for_getsid(json!({"action": "SCMP_ACT_NOTIFY"}));
    assert!(filter.notifies);
    let (status, asked) = answered(&filter, getsid, 66);
    assert_eq!((status.code(), asked as u32), (Some(66), nr("getsid")));
}

#[test]
fn all_bits_of_arguments_count() {
    let on = |op: &str, value: u64, two: u64| {
        for_getsid(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77,
            "args": [{"index": 0, "op": op, "value": value, "valueTwo": two}]}))
    };
    // The kernel itself drops the high half of a pid: without a filter all of these succeed.
    let high = || errno_of(nr("getsid"), [1 << 32, 0]);
    assert_eq!(under(&on("SCMP_CMP_EQ", 0, 0), getsid).code(), Some(77));
    assert_eq!(under(&on("SCMP_CMP_EQ", 0, 0), high).code(), Some(0));
    assert_eq!(under(&on("SCMP_CMP_GE", 1 << 32, 0), getsid).code(), Some(0));
    assert_eq!(under(&on("SCMP_CMP_GE", 1 << 32, 0), high).code(), Some(77));
    assert_eq!(under(&on("SCMP_CMP_MASKED_EQ", 3 << 32, 1 << 32), high).code(), Some(77));
    assert_eq!(under(&on("SCMP_CMP_LT", 1 << 32, 0), high).code(), Some(0));
}

#[test]
fn unknown_numbers_are_enosys() {
    let filter = filter(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["exit_group", "gettid"], "action": "SCMP_ACT_ALLOW"},
    ]}));
    assert_eq!(under(&filter, || errno_of(9999, [0, 0])).code(), Some(libc::ENOSYS));
    assert_eq!(under(&filter, || errno_of(nr("gettid") - 1, [0, 0])).code(), Some(libc::EPERM));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_architectures_are_kept_out() {
    const GETPID_I386: u32 = 20;
    const GETPGID_I386: u32 = 132;
    let any = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    assert_eq!(
        under(&filter(&any), || errno_of(0x4000_0000 | 39, [0, 0])).signal(),
        Some(libc::SIGSYS),
        "x32"
    );

    let with_x86 = filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
    "syscalls": [
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78},
        {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 79,
            "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]},
    ]}));
    let getpid = || sys::int80(GETPID_I386, 0).wrapping_neg();
    let status = under(&with_x86, getpid);
    if status.signal() == Some(libc::SIGSEGV) {
        println!("not run: this kernel has no 32-bit system calls");
        return;
    }
    assert_eq!(status.code(), Some(78));
    assert_eq!(under(&filter(&any), getpid).signal(), Some(libc::SIGSYS), "i386");
    // The kernel drops the high half, and so does the filter: it cannot be told another number than the call.
    let hidden = || sys::int80(GETPGID_I386, 1 << 32 | 5).wrapping_neg();
    assert_eq!(under(&with_x86, hidden).code(), Some(79));
}

#[test]
fn programs_run_under_the_default_profile() {
    let default = || filter(&serde_json::from_str(DEFAULT).expect("JSON"));
    let script = "echo one two | tr a-z A-Z; ls / >/dev/null; (sleep 0 & wait)";
    let output = confined("/bin/sh", default()).args(["-c", script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ONE TWO\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(under(&default(), || errno_of(nr("unshare"), [0x1000_0000, 0])).code(), Some(libc::EPERM));
    assert_eq!(under(&default(), || errno_of(nr("clone3"), [0, 0])).code(), Some(libc::ENOSYS));
}
