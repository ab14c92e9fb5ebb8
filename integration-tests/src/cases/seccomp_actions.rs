//! What the kernel does for each action of a filter, seen by a program under it; and profiles that have to be refused.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for exec in [false, true] {
        for no_new_privileges in [true, false] {
            let verb = if exec { "exec" } else { "run" };
            let nnp = if no_new_privileges { "" } else { "-without-no-new-privileges" };
            let body = move |ctx: &Ctx| every_action(ctx, exec, no_new_privileges);
            let case =
                Case::new(format!("seccomp/every-action-{verb}{nnp}"), &["SEC-02", "SEC-04", "SEC-20"], body);
            cases.push(case.needs(&[Need::X86_64]));
        }
    }
    for (name, clause, members, needles) in wrong() {
        let body = move |ctx: &Ctx| {
            let mut b = ctx.bundle()?;
            b.set("/linux/seccomp", members.clone());
            ctx.refuses(&b, needles).map(drop)
        };
        cases
            .push(Case::new(format!("seccomp/wrong-{name}"), clause, body).needs(&[Need::X86_64]).practice());
    }
    cases
}

/// Calls that no runtime makes on its way to the program, with an action for each.
fn profile() -> Value {
    let rule = |name: &str, action: &str| json!({"names": [name], "action": format!("SCMP_ACT_{action}")});
    let with_errno = |name: &str, action: &str, errno: u32| {
        let mut rule = rule(name, action);
        rule["errnoRet"] = json!(errno);
        rule
    };
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        // libseccomp takes no 4095.
        with_errno("getpgrp", "ERRNO", 4094),
        with_errno("sched_get_priority_max", "ERRNO", 0),
        rule("sched_get_priority_min", "KILL_PROCESS"),
        rule("times", "KILL_THREAD"),
        rule("vhangup", "KILL"),
        rule("getpgid", "TRAP"),
        rule("getsid", "LOG"),
        with_errno("getpriority", "TRACE", 77),
    ]})
}

/// A step of the probe, where in its answer to look, and what has to be there.
type Observation = (&'static [&'static str], &'static str, Value);

fn observations() -> Vec<Observation> {
    vec![
        (&["syscall-errno", "24", "0"], "errno", json!(0)),
        (&["syscall-errno", "111", "0"], "errno", json!(4094)),
        // No such policy: the kernel itself would say EINVAL.
        (&["syscall-errno", "146", "99"], "errno", json!(0)),
        (&["syscall-thread", "147"], "result", json!("signal 31")),
        (&["syscall-thread", "100"], "result", json!("alone")),
        (&["syscall-thread", "153"], "result", json!("alone")),
        // SIGSYS with SYS_SECCOMP, the number of the call, and the filter's data for errno.
        (&["syscall-trapped", "121"], "signal", json!(31)),
        (&["syscall-trapped", "121"], "code", json!(1)),
        (&["syscall-trapped", "121"], "errno", json!(0)),
        (&["syscall-trapped", "121"], "nr", json!(121)),
        (&["syscall-errno", "124", "0"], "errno", json!(0)),
        // Without a tracer, and with one that lets the call pass.
        (&["syscall", "140"], "result", json!("ENOSYS")),
        (&["syscall-traced", "140"], "told", json!(77)),
        (&["syscall-traced", "140"], "result", json!("ok")),
    ]
}

fn every_action(ctx: &Ctx, exec: bool, no_new_privileges: bool) -> Verdict {
    let observations = observations();
    let mut steps: Vec<&[&str]> = observations.iter().map(|observation| observation.0).collect();
    steps.push(&["facts"]);
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", profile()).set("/process/noNewPrivileges", json!(no_new_privileges));
    let answers = if exec {
        b.steps(&[&["sleep"]]);
        let c = ctx.start(&b)?;
        Facts::lines(&c.exec(&[], &steps).ok()?.stdout)?
    } else {
        b.steps(&steps);
        ctx.run_steps(&b)?
    };
    ensure_eq!(answers.len(), steps.len(), "answers");
    for ((step, member, want), answer) in observations.iter().zip(&answers) {
        ensure_eq!(&answer.0[*member], want, "{member} of {step:?}");
    }
    let facts = &answers[observations.len()];
    ensure_eq!(facts.status("NoNewPrivs"), if no_new_privileges { "1" } else { "0" }, "NoNewPrivs");
    ensure!(facts.status("Seccomp") == "2", "Seccomp: {}", facts.status("Seccomp"));
    Ok(())
}

type Wrong = (&'static str, &'static [&'static str], Value, &'static [&'static str]);

/// Profiles with a mistake, and where the error has to say that it is; or how peers say it.
fn wrong() -> Vec<Wrong> {
    let with = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let arg = |index: u32, op: &str| {
        with(
            json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "args": [{"index": index, "value": 1, "op": op}]}),
        )
    };
    let flags = |flags: &[&str]| json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags});
    vec![
        (
            "action",
            &["SEC-02"],
            with(json!({"names": ["getpgrp"], "action": "SCMP_ACT_FOO"})),
            &["linux.seccomp.syscalls[0].action", "SCMP_ACT_FOO"],
        ),
        (
            "operator",
            &["SEC-15"],
            arg(0, "SCMP_CMP_FOO"),
            &["linux.seccomp.syscalls[0].args[0].op", "SCMP_CMP_FOO"],
        ),
        (
            "index",
            &["SEC-15"],
            arg(6, "SCMP_CMP_EQ"),
            &["linux.seccomp.syscalls[0].args[0].index", "rgument"],
        ),
        (
            "architecture",
            &["SEC-07"],
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_FOO"]}),
            &["linux.seccomp.architectures[1]", "SCMP_ARCH_FOO"],
        ),
        (
            "errno",
            &["SEC-06"],
            with(json!({"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
            &["linux.seccomp.syscalls[0].errnoRet"],
        ),
        (
            "default-errno",
            &["SEC-06"],
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}),
            &["linux.seccomp.defaultErrnoRet"],
        ),
        (
            "flag",
            &["SEC-11"],
            flags(&["SECCOMP_FILTER_FLAG_LOG", "LOG"]),
            &["linux.seccomp.flags[1]", "flag"],
        ),
        (
            "flags-without-listener",
            &["SEC-11"],
            flags(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
            &["linux.seccomp.flags[0]", "flag", "SECCOMP_SET_MODE_FILTER"],
        ),
        (
            "execve-denied",
            &["SEC-22"],
            with(json!({"names": ["getpgrp", "execve"], "action": "SCMP_ACT_ERRNO"})),
            &["linux.seccomp.syscalls[0]"],
        ),
    ]
}
