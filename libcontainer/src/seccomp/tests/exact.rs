//! The exact instructions for tiny profiles.

use super::{compile, profile};
use crate::seccomp::Arch;

#[track_caller]
fn assert_code(json: &str, arch: Arch, expected: &str) {
    let filter = compile(&profile(json), arch);
    let strip =
        |text: &str| text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(strip(&filter.to_string()), strip(expected), "\n{filter}");
}

#[test]
fn empty_profile_kills_everything() {
    assert_code(
        r#"{"defaultAction": "SCMP_ACT_KILL"}"#,
        Arch::Aarch64,
        "0  ld   arch
         1  ret  KILL_THREAD",
    );
}

#[test]
fn one_call() {
    assert_code(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_ALLOW"}]}"#,
        Arch::Aarch64,
        "0  ld   arch
         1  jeq  0xc00000b7, 3, 2  ; aarch64
         2  ret  KILL_THREAD
         3  ld   nr
         4  jge  34, 6, 5
         5  ret  ERRNO(1)
         6  jeq  34, 8, 7
         7  ret  ERRNO(38)
         8  ret  ALLOW",
    );
}
