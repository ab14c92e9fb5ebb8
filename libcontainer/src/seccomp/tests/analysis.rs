//! What is told of a filter, against what it does.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::random::{probes, profile};
use super::{cases, compile};
use crate::seccomp::analysis::Reason;
use crate::seccomp::sim::{outcomes, run};
use crate::seccomp::{Action, Arch, calls_of, number_of};

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn explanations_are_true(
        profile in profile(),
        native in select(Arch::all().filter(|arch| *arch != Arch::X32).collect::<Vec<_>>()),
    ) {
        let filter = compile(&profile, native);
        let analysis = filter.analyse();
        for data in probes(&profile, native).into_iter().step_by(3) {
            let Some(arch) = Arch::all().find(|arch| arch.token() == data.arch) else { continue };
            let does = run(&filter.program, &data).map(Action::from_ret).expect("a program");
            let told = analysis.explain(arch, data.nr, &data.args.map(Some));
            prop_assert_eq!(told.outcomes.len(), 1, "{:?}", told);
            prop_assert_eq!(told.outcomes[0].0, does, "{:?} {:x?}\n{}", told, data, filter);
            let verdict = analysis.verdict(told.arch, data.nr);
            let args = if arch.wide() { data.args } else { data.args.map(|arg| u64::from(arg as u32)) };
            prop_assert_eq!(verdict.action(&args), does, "{} {:x?}\n{}", verdict, data, filter);
            if told.cached {
                prop_assert_eq!(does, Action::Allow);
            }
            if let Reason::Rule(path) = &told.outcomes[0].1 {
                let rule = told.rules.iter().find(|rule| rule.path == *path && rule.action == does);
                prop_assert!(rule.is_some_and(|rule| told.rules.iter().any(|r| r.path == rule.path && r.holds() == Some(true))), "{:?}", told);
            }
        }
    }

    #[test]
    fn nothing_that_can_happen_is_left_out(profile in profile()) {
        let filter = compile(&profile, Arch::X86_64);
        let analysis = filter.analyse();
        for arch in [Arch::X86_64, Arch::X86] {
            for (nr, name) in calls_of(arch) {
                let told = analysis.explain(arch, nr, &[None; 6]);
                let can = outcomes(&filter.program, arch, nr, &[None; 6]).expect("a program");
                for ret in can {
                    let action = Action::from_ret(ret);
                    prop_assert!(told.outcomes.iter().any(|(a, _)| *a == action), "{} {:?}\n{}", name, told, filter);
                }
            }
        }
    }

    #[test]
    fn annotations_fit(profile in profile()) {
        for native in [Arch::X86_64, Arch::S390x] {
            let filter = compile(&profile, native);
            let analysis = filter.analyse();
            prop_assert_eq!(analysis.annotate().to_string().lines().count(), filter.program.len());
            prop_assert_eq!(analysis.diff(&filter.analyse(), native), vec![]);
        }
    }
}

fn sample(json: serde_json::Value) -> crate::seccomp::Filter {
    compile(&super::profile(&json.to_string()), Arch::X86_64)
}

#[test]
fn each_line_says_whose_it_is() {
    let filter = sample(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write", "close"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 0x7e02_0000, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["execve"], "action": "SCMP_ACT_KILL"},
    ]}));
    let text = filter.analyse().annotate().to_string();
    let line = |start: &str| {
        text.lines().find(|l| l[6..].starts_with(start)).unwrap_or_else(|| panic!("{start}\n{text}"))
    };
    assert!(line("ret  ALLOW").contains("; x86_64: 0-1 read...write, 3 close"), "{text}");
    assert!(line("ret  ALLOW").contains("(syscalls[0], syscalls[1]"), "{text}");
    assert!(line("ld   args[0]+0").ends_with("; x86_64: 56 clone (syscalls[1], defaultAction)"), "{text}");
    assert!(line("ret  KILL_THREAD").contains("59 execve (syscalls[2])"), "{text}");
    assert!(line("ret  ERRNO(38)").contains("newer than the profile"), "{text}");
}

#[test]
fn differences() {
    let rule =
        |action: &str, args: serde_json::Value| json!({"names": ["socket"], "action": action, "args": args});
    let is = |value: u64, op: &str| json!([{"index": 0, "value": value, "op": op}]);
    let profile =
        |rules: Vec<serde_json::Value>| sample(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    let allow = "SCMP_ACT_ALLOW";
    // Not 38 is less and more.
    let a = profile(vec![rule(allow, is(38, "SCMP_CMP_NE"))]);
    let b = profile(vec![rule(allow, is(38, "SCMP_CMP_LT")), rule(allow, is(38, "SCMP_CMP_GT"))]);
    assert_eq!(a.analyse().diff(&b.analyse(), Arch::X86_64), []);
    let c = profile(vec![rule(allow, is(38, "SCMP_CMP_LT"))]);
    let changes = a.analyse().diff(&c.analyse(), Arch::X86_64);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].call, Some((number_of(Arch::X86_64, "socket").unwrap(), "socket")));
    assert_eq!(changes[0].before.to_string(), "ALLOW if args[0] != 38, else ERRNO(1 EPERM)");
    assert_eq!(changes[0].after.to_string(), "ALLOW if args[0] < 38, else ERRNO(1 EPERM)");
    // Another newest number: all in between differ, and unknown ones do not.
    let d = sample(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        rule(allow, is(38, "SCMP_CMP_NE")), {"names": ["bind"], "action": allow}]}));
    let changes = a.analyse().diff(&d.analyse(), Arch::X86_64);
    let names: Vec<_> = changes.iter().map(|c| c.call.unwrap().1).collect();
    assert_eq!(names.first(), Some(&"connect"));
    assert!(names.contains(&"bind") && !names.contains(&"listen"), "{names:?}");
    let e =
        sample(json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": [rule(allow, is(38, "SCMP_CMP_NE"))]}));
    assert!(a.analyse().diff(&e.analyse(), Arch::X86_64).iter().all(|c| c.call.is_some()));
}
