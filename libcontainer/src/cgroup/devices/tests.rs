use super::bpf::{compile, interpreter::run};
use super::v1::Table;
use super::*;

use proptest::collection::vec;
use proptest::prelude::*;

const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const M: u32 = MKNOD as u32;
const R: u32 = READ as u32;
const W: u32 = WRITE as u32;

fn rule(text: &str) -> DeviceRule {
    let mut words = text.split(' ');
    let allow = words.next() == Some("allow");
    let kind = words.next().map(str::to_owned);
    let (major, minor) = words.next().unwrap_or("*:*").split_once(':').unwrap();
    let (major, minor) = (major.parse().ok(), minor.parse().ok());
    DeviceRule { allow, kind, major, minor, access: words.next().map(str::to_owned) }
}

fn policy(rules: &[&str]) -> DevicePolicy {
    let rules: Vec<DeviceRule> = rules.iter().map(|r| rule(r)).collect();
    DevicePolicy::new(&rules, &FieldPath::new("linux.resources.devices")).unwrap()
}

/// The meaning of the list, straight from the specification: for each access the last match decides.
fn oracle(policy: &DevicePolicy, kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let kind = if kind == BLOCK { Type::Block } else { Type::Char };
    let matches = |r: &&Rule, bit: u8| {
        r.kind.is_none_or(|k| k == kind)
            && r.major.is_none_or(|n| n.cast_unsigned() == major)
            && r.minor.is_none_or(|n| n.cast_unsigned() == minor)
            && r.access & bit != 0
    };
    [MKNOD, READ, WRITE]
        .into_iter()
        .filter(|bit| access & u32::from(*bit) != 0)
        .all(|bit| policy.rules.iter().rfind(|r| matches(r, bit)).is_some_and(|r| r.allow))
}

#[test]
fn program_agrees_with_the_rules() {
    let lists: &[&[&str]] = &[
        &[],
        &["deny a *:* rwm"],
        &["allow a *:* rwm"],
        &["allow a *:* rwm", "deny c 10:* w"],
        &["deny a *:* rwm", "allow c 10:229 rw"],
        &["allow c 10:229 rw", "deny a *:* rwm"],
        &["deny a", "allow b 8:* r", "allow b *:1 w", "deny b 8:1 w", "allow a 8:3 m"],
        &["allow b 8:0 r", "allow b 8:0 w", "deny c *:3 m"],
        &["deny c 1:3 rwm"],
        &["allow a *:5 rw", "deny b 8:5 w", "allow c *:200 m", "deny c 10:* w"],
    ];
    for list in lists {
        let policy = policy(list);
        let program = compile(&policy.rules);
        for kind in [BLOCK, CHAR] {
            for access in 1..8 {
                for major in [0, 1, 5, 8, 10, 136, 4095] {
                    for minor in [0, 1, 2, 3, 5, 200, 229, 0xfffff] {
                        assert_eq!(
                            run(&program, kind, access, major, minor),
                            oracle(&policy, kind, access, major, minor),
                            "{list:?}: kind {kind} access {access} {major}:{minor}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn defaults_survive_a_denial_of_everything() {
    let program = compile(&policy(&["deny a *:* rwm"]).rules);
    for (major, minor) in
        [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 0), (136, 77), (10, 200)]
    {
        assert!(run(&program, CHAR, R | W, major, minor), "{major}:{minor}");
    }
    assert!(run(&program, CHAR, M, 99, 1) && run(&program, BLOCK, M, 8, 0));
    assert!(!run(&program, CHAR, R, 10, 229) && !run(&program, BLOCK, R, 8, 0));
    assert!(!run(&program, CHAR, R | W | M, 10, 229));
}

#[test]
fn denied_write_is_not_let_through_with_a_read() {
    let program = compile(&policy(&["allow c 10:229 rwm", "deny c 10:229 w"]).rules);
    assert!(run(&program, CHAR, R, 10, 229));
    assert!(!run(&program, CHAR, W, 10, 229));
    assert!(!run(&program, CHAR, R | W, 10, 229));
}

#[test]
fn exact_instructions() {
    let rules = [
        Rule { builtin: false, access: READ, ..default(Some(10), None) },
        Rule { builtin: false, ..default(Some(10), Some(200)) },
    ];
    let show = |i: &sys::Insn| format!("{:02x} {:02x} {} {}", i.code, i.registers, i.offset, i.imm);
    let text: Vec<String> = compile(&rules).iter().map(show).collect();
    let expected = [
        "61 12 0 0",     // type = context.access_type
        "bc 23 0 0",     // wanted = type
        "74 03 0 16",    // wanted >>= 16
        "54 02 0 65535", // type &= 0xffff
        "61 14 4 0",     // major
        "61 15 8 0",     // minor
        "15 02 2 1",     // if type == block goto block
        "15 04 2 10",    // if major == 10 goto 10
        "05 00 3 0",     // goto nothing
        "05 00 2 0",     // block: goto nothing
        "15 05 8 200",   // 10: if minor == 200 goto everything
        "05 00 2 0",     // goto read
        "b4 00 0 0",     // nothing: return 0
        "95 00 0 0",
        "45 03 2 5", // read: if wanted & (m | w) return 0
        "b4 00 0 1",
        "95 00 0 0",
        "b4 00 0 0",
        "95 00 0 0",
        "b4 00 0 1", // everything: return 1
        "95 00 0 0",
    ];
    assert_eq!(text, expected);
}

#[test]
fn rules_that_cannot_matter_are_dropped() {
    let all = policy(&[
        "allow c 5:1 r",
        "allow c 1:3 rwm",
        "deny a *:* rwm",
        "allow c 10:229 r",
        "allow c 10:229 rw",
    ]);
    let list: Vec<_> =
        all.rules.iter().filter(|r| !r.builtin).map(|r| (r.allow, r.minor, r.access)).collect();
    assert_eq!(list, [(false, None, ALL), (true, Some(229), READ | WRITE)]);
    assert!(policy(&["deny c 1:1 r", "allow a *:* rwm"]).allows_everything());
    assert!(!policy(&["allow a *:* rwm", "deny c 1:1 r"]).allows_everything());
    assert!(!policy(&["allow a *:* rw"]).allows_everything());
    assert!(!policy(&[]).allows_everything());
}

fn v1(rules: &[&str]) -> (bool, Vec<String>) {
    let table = Table::of(&policy(rules)).unwrap();
    // The defaults are the same every time.
    let lines = table.exceptions.iter().map(v1::Exception::line);
    let defaults = Table::of(&policy(&[])).unwrap();
    let known: Vec<String> = defaults.exceptions.iter().map(v1::Exception::line).collect();
    (table.allow, lines.filter(|l| !known.contains(l)).collect())
}

#[test]
fn version_1_table() {
    assert_eq!(v1(&["deny a *:* rwm"]), (false, vec![]));
    assert_eq!(v1(&["deny a", "allow c 10:229 rw"]), (false, vec!["c 10:229 rw".into()]));
    assert_eq!(v1(&["allow a", "deny b 8:0 w"]), (true, vec!["b 8:0 w".into()]));
    assert_eq!(v1(&["allow b 8:1 r", "allow b 8:1 w"]), (false, vec!["b 8:1 rw".into()]));
    assert_eq!(v1(&["allow b 8:1 rw", "deny b 8:* w"]), (false, vec!["b 8:1 r".into()]));
    assert_eq!(v1(&["allow a 8:1 r"]), (false, vec!["b 8:1 r".into(), "c 8:1 r".into()]));
    assert_eq!(v1(&["allow c 5:1 rwm", "deny a"]), (false, vec![]));
    // The default devices stay allowed, and so the default has to become "deny".
    assert_eq!(v1(&["allow a", "deny c *:* rw"]), (false, vec!["b *:* rwm".into()]));
    assert_eq!(v1(&["allow a", "deny a *:* rw", "allow c 10:229 rw"]), (false, vec!["c 10:229 rw".into()]));
    assert_eq!(
        Table::of(&policy(&[])).unwrap().exceptions.iter().map(v1::Exception::line).collect::<Vec<_>>(),
        [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
            "c 10:200 rwm"
        ]
    );
}

#[test]
fn version_1_refuses_what_the_kernel_would_ignore() {
    for rules in [&["allow c 10:* rw", "deny c 10:229 w"][..], &["allow a", "deny b 8:* r", "allow b 8:1 r"]]
    {
        let e = Table::of(&policy(rules)).unwrap_err().to_string();
        assert!(e.contains("linux.resources.devices: is not supported: cgroup version 1"), "{e}");
    }
}

#[test]
fn malformed_rules() {
    let at = FieldPath::new("d");
    let cases = [
        (DeviceRule { kind: Some("u".into()), ..rule("allow c 1:1 r") }, "d[0].type"),
        (DeviceRule { access: Some(String::new()), ..rule("allow c 1:1 r") }, "d[0].access"),
        (DeviceRule { access: Some("rx".into()), ..rule("allow c 1:1 r") }, "d[0].access"),
        (DeviceRule { major: Some(1 << 31), ..rule("allow c 1:1 r") }, "d[0].major"),
        (DeviceRule { minor: Some(1 << 40), ..rule("allow c 1:1 r") }, "d[0].minor"),
    ];
    for (bad, field) in cases {
        assert_eq!(DevicePolicy::new(&[bad], &at).unwrap_err().path.as_str(), field);
    }
    let wild = DeviceRule { major: Some(-1), minor: None, ..rule("allow c 1:1 r") };
    assert_eq!(DevicePolicy::new(&[wild], &at).unwrap().rules[0].major, None);
}

/// Few numbers, so that rules meet each other.
fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let kind = prop::sample::select(vec!["a", "b", "c"]);
    let number = || prop::option::of(prop::sample::select(vec![1_i64, 3, 10, 200]));
    let access = prop::sample::select(vec!["r", "w", "m", "rw", "rwm", "rwm"]);
    (any::<bool>(), kind, number(), number(), access).prop_map(|(allow, kind, major, minor, access)| {
        DeviceRule { allow, kind: Some(kind.to_owned()), major, minor, access: Some(access.to_owned()) }
    })
}

proptest! {
    #[test]
    fn any_program_agrees_with_its_rules(
        rules in vec(any_rule(), 0..12),
        asked in vec((1_u32..3, 1_u32..8, prop::sample::select(vec![1_u32, 3, 7, 10, 136, 200]), 0_u32..202), 20),
    ) {
        let policy = DevicePolicy::new(&rules, &FieldPath::root()).unwrap();
        let program = compile(&policy.rules);
        let table = Table::of(&policy);
        for (kind, access, major, minor) in asked {
            let expected = oracle(&policy, kind, access, major, minor);
            prop_assert_eq!(run(&program, kind, access, major, minor), expected);
            // Version 1 wants all of a request from one exception, so only single accesses compare.
            if let (Ok(table), true) = (&table, access.is_power_of_two()) {
                let kind = if kind == BLOCK { Type::Block } else { Type::Char };
                let request = (kind, major.cast_signed(), minor.cast_signed(), access as u8);
                // The defaults are left out where the rest cannot be combined with them.
                prop_assert!(table.answer(request) == expected || (expected && table.allow));
            }
        }
    }
}
