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

#[test]
fn x32_is_kept_out() {
    assert_code(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
        Arch::X86_64,
        "0  ld   arch
         1  jeq  0xc000003e, 2, 8  ; x86_64
         2  ld   nr
         3  jge  84, 6, 4
         4  jeq  83, 5, 9
         5  ret  ERRNO(1)
         6  jge  0x40000000, 7, 9
         7  jeq  0xffffffff, 9, 8
         8  ret  KILL_THREAD
         9  ret  ALLOW",
    );
}

#[test]
fn x32_shares_the_map_of_x86_64() {
    assert_code(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32"],
            "syscalls": [{"names": ["mkdir", "ioctl"], "action": "SCMP_ACT_ERRNO"}]}"#,
        Arch::X86_64,
        "0  ld   arch
         1  jeq  0xc000003e, 3, 2  ; x86_64
         2  ret  KILL_THREAD
         3  ld   nr
         4  and  0xbfffffff
         5  jeq  16, 6, 8
         6  ld   nr
         7  jset 0x40000000, 12, 13
         8  jeq  83, 13, 9
         9  jeq  514, 10, 12
        10  ld   nr
        11  jset 0x40000000, 13, 12
        12  ret  ALLOW
        13  ret  ERRNO(1)",
    );
}

/// The code of one condition on the first argument of close(2), from the load on.
#[track_caller]
fn assert_condition(arch: Arch, condition: &str, expected: &str) {
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{{"names": ["close"], "action": "SCMP_ACT_TRAP", "args": [{{"index": 0, {condition}}}]}}]}}"#
    );
    let text = compile(&profile(&json), arch).to_string();
    let code: Vec<&str> = text.lines().map(str::trim).skip_while(|line| !line.contains("args")).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(code, expected, "\n{text}");
}

#[test]
fn both_halves_are_compared() {
    assert_condition(
        Arch::Aarch64,
        r#""op": "SCMP_CMP_EQ", "value": 4294967301"#,
        "5  ld   args[0]+4
         6  jeq  1, 7, 9
         7  ld   args[0]+0
         8  jeq  5, 10, 9
         9  ret  ALLOW
        10  ret  TRAP",
    );
    assert_condition(
        Arch::Aarch64,
        r#""op": "SCMP_CMP_GT", "value": 5"#,
        "5  ld   args[0]+4
         6  jeq  0, 7, 10
         7  ld   args[0]+0
         8  jge  6, 10, 9
         9  ret  ALLOW
        10  ret  TRAP",
    );
    assert_condition(
        Arch::Aarch64,
        r#""op": "SCMP_CMP_MASKED_EQ", "value": 2114060288"#,
        "5  ld   args[0]+0
         6  jset 0x7e020000, 8, 7
         7  ret  TRAP
         8  ret  ALLOW",
    );
    assert_condition(
        Arch::Aarch64,
        r#""op": "SCMP_CMP_MASKED_EQ", "value": 17179869187, "valueTwo": 17179869185"#,
        "5  ld   args[0]+4
         6  and  0x4
         7  jeq  4, 8, 11
         8  ld   args[0]+0
         9  and  0x3
        10  jeq  1, 12, 11
        11  ret  ALLOW
        12  ret  TRAP",
    );
}

#[test]
fn only_the_low_half_counts_on_32_bit_architectures() {
    assert_condition(
        Arch::Arm,
        r#""op": "SCMP_CMP_LE", "value": 5"#,
        "5  ld   args[0]+0
         6  jge  6, 8, 7
         7  ret  TRAP
         8  ret  ALLOW",
    );
    // Big-endian: the low half is the second one.
    assert_condition(
        Arch::Ppc,
        r#""op": "SCMP_CMP_EQ", "value": 5"#,
        "5  ld   args[0]+4
         6  jeq  5, 8, 7
         7  ret  ALLOW
         8  ret  TRAP",
    );
}

#[test]
fn many_values_of_one_argument_are_searched() {
    let rule = |value| {
        format!(
            r#"{{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#
        )
    };
    let rules: Vec<String> = [1, 2, 3, 5, 7, 10, 16].into_iter().map(rule).collect();
    let json = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#, rules.join(","));
    assert_code(
        &json,
        Arch::Aarch64,
        "0  ld   arch
         1  jeq  0xc00000b7, 3, 2  ; aarch64
         2  ret  KILL_THREAD
         3  ld   nr
         4  jge  198, 5, 17
         5  jeq  198, 7, 6
         6  ret  ERRNO(38)
         7  ld   args[0]+4
         8  jeq  0, 9, 17
         9  ld   args[0]+0
        10  jge  7, 14, 11
        11  jeq  0, 17, 12
        12  jeq  4, 17, 13
        13  jeq  6, 17, 18
        14  jeq  7, 18, 15
        15  jeq  10, 18, 16
        16  jeq  16, 18, 17
        17  ret  ERRNO(1)
        18  ret  ALLOW",
    );
}
