//! System call filters, judged by what a program gets for its calls.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, ensure, ensure_eq};
use serde_json::{Value, json};

/// `getppid` on x86-64: takes no arguments, so filters may look at any that it is given.
const GETPPID: &str = "110";
/// The same call by its i386 number.
const GETPPID_32: &str = "64";
/// What a rule answers in these cases: an errno that the call itself never gives.
const ENOSPC: i32 = 28;

/// Label, operator, value, valueTwo, argument, whether the rule applies.
type Comparison = (&'static str, &'static str, u64, u64, &'static str, bool);

const BIG: u64 = 1 << 40;

const COMPARISONS: &[Comparison] = &[
    ("eq-hit", "SCMP_CMP_EQ", 5, 0, "5", true),
    ("eq-miss", "SCMP_CMP_EQ", 5, 0, "6", false),
    ("eq-high-half", "SCMP_CMP_EQ", 5, 0, "0x100000005", false),
    ("ne-hit", "SCMP_CMP_NE", 5, 0, "0x100000005", true),
    ("ne-miss", "SCMP_CMP_NE", 5, 0, "5", false),
    ("lt-hit", "SCMP_CMP_LT", BIG, 0, "0xffffffffff", true),
    ("lt-equal", "SCMP_CMP_LT", BIG, 0, "0x10000000000", false),
    ("le-equal", "SCMP_CMP_LE", BIG, 0, "0x10000000000", true),
    ("le-miss", "SCMP_CMP_LE", BIG, 0, "0x10000000001", false),
    ("gt-hit", "SCMP_CMP_GT", BIG, 0, "0x10000000001", true),
    ("gt-equal", "SCMP_CMP_GT", BIG, 0, "0x10000000000", false),
    ("gt-unsigned", "SCMP_CMP_GT", BIG, 0, "-1", true),
    ("ge-equal", "SCMP_CMP_GE", BIG, 0, "0x10000000000", true),
    ("ge-miss", "SCMP_CMP_GE", BIG, 0, "1", false),
    ("masked-hit", "SCMP_CMP_MASKED_EQ", 0xf0, 0x50, "0x1257", true),
    ("masked-miss", "SCMP_CMP_MASKED_EQ", 0xf0, 0x50, "0x1267", false),
    ("masked-high", "SCMP_CMP_MASKED_EQ", 0xff << 40, 0x12 << 40, "0x120000000000", true),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in COMPARISONS {
        let name = format!("seccomp/compare-{}", row.0);
        let clauses: &[&str] = if row.1.ends_with("MASKED_EQ") { &["SEC-15", "SEC-16"] } else { &["SEC-15"] };
        cases.push(Case::new(name, clauses, move |ctx| comparison(ctx, row)).needs(&[Need::X86_64]));
    }
    cases.extend(actions());
    cases.extend(others());
    cases
}

fn actions() -> Vec<Case> {
    let rows = [
        ("SCMP_ACT_ERRNO", "EPERM"),
        ("SCMP_ACT_KILL", "signal 31"),
        ("SCMP_ACT_KILL_THREAD", "signal 31"),
        ("SCMP_ACT_KILL_PROCESS", "signal 31"),
        ("SCMP_ACT_TRAP", "signal 31"),
        ("SCMP_ACT_TRACE", "ENOSYS"),
        ("SCMP_ACT_LOG", "ok"),
        ("SCMP_ACT_ALLOW", "ok"),
    ];
    let case = |(action, want)| {
        Case::new(format!("seccomp/action-{action}"), &["SEC-02"], move |ctx: &Ctx| {
            let mut b = ctx.bundle()?;
            // Anything but the default, so that the rule for ALLOW is one.
            let default = if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
            b.set(
                "/linux/seccomp",
                json!({"defaultAction": default, "syscalls": [{"names": ["getppid"], "action": action}]}),
            );
            expect(ctx, &mut b, &[GETPPID], want)
        })
        .needs(&[Need::X86_64])
    };
    rows.into_iter().map(case).collect()
}

fn others() -> Vec<Case> {
    let x86 = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("seccomp/{name}"), clauses, body).needs(&[Need::X86_64])
    };
    vec![
        x86("mode-in-status", &["SEC-20"], mode),
        x86("errno-return", &["SEC-04"], errno_return),
        x86("default-errno-return", &["SEC-03"], default_errno),
        x86("default-errno-is-eperm", &["SEC-03"], default_eperm),
        x86("arguments-are-anded", &["SEC-17"], anded).practice(),
        x86("same-index-is-ored", &["SEC-17"], ored).practice(),
        x86("unconditional-wins", &["SEC-18"], unconditional).practice(),
        x86("unknown-name-is-skipped", &["SEC-14"], unknown_name).practice(),
        x86("names-empty", &["SEC-13"], |ctx| {
            refused(
                ctx,
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}),
            )
        }),
        x86("operator-unknown", &["SEC-15"], |ctx| {
            refused(ctx, rule(json!([{"index": 0, "value": 1, "op": "SCMP_CMP_FOO"}])))
        }),
        x86("index-out-of-range", &["SEC-15"], |ctx| {
            refused(ctx, rule(json!([{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])))
        }),
        x86("architecture-unknown", &["SEC-07"], |ctx| {
            refused(ctx, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_FOO"]}))
        }),
        x86("flag-unknown", &["SEC-11"], |ctx| {
            refused(
                ctx,
                json!({"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_FOO"],
                       "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ALLOW"}]}),
            )
        }),
        x86("flag-log", &["SEC-11"], flag_log),
        x86("errno-on-allow", &["SEC-05"], |ctx| {
            refused(
                ctx,
                json!({"defaultAction": "SCMP_ACT_ERRNO",
                       "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]}),
            )
        }),
        x86("foreign-architecture-is-killed", &["SEC-08"], foreign_architecture),
        x86("listed-architecture-has-own-numbers", &["SEC-09"], listed_architecture),
        x86("x32-does-not-bypass", &["SEC-10"], x32),
        x86("numbers-above-profile-are-enosys", &["SEC-19"], above_profile).practice(),
        x86("notify-without-listener", &["SECN-12"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}]}),
            );
            ctx.fails(&b).map(drop)
        })
        .practice(),
        x86("notify-listener-is-gone", &["SECN-03"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/socket",
                "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}]}),
            );
            ctx.fails(&b).map(drop)
        }),
        x86("listener-unused-is-ignored", &["SECN-04"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/socket"}),
            );
            ctx.facts(&b).map(drop)
        }),
        x86("without-capabilities-and-nnp", &["SEC-20"], without_capabilities).practice(),
        x86("docker-like-profile", &["SEC-07"], docker_like),
    ]
}

fn rule(args: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW",
           "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSPC, "args": args}]})
}

/// The result of one raw call, made by the program of a bundle.
fn expect(ctx: &Ctx, b: &mut Bundle, call: &[&str], want: &str) -> Verdict {
    let mut step = vec!["syscall"];
    step.extend_from_slice(call);
    b.steps(&[&step]);
    ensure_eq!(ctx.facts(b)?.result(), want, "call {call:?}");
    Ok(())
}

fn refused(ctx: &Ctx, seccomp: Value) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", seccomp);
    ctx.fails(&b).map(drop)
}

fn comparison(ctx: &Ctx, row: &Comparison) -> Verdict {
    let (_, op, value, value_two, argument, hit) = *row;
    for index in [0, 5] {
        let mut b = ctx.bundle()?;
        b.set(
            "/linux/seccomp",
            rule(json!([{"index": index, "op": op, "value": value, "valueTwo": value_two}])),
        );
        let mut call = vec![GETPPID, "0", "0", "0", "0", "0", "0"];
        call[1 + index] = argument;
        expect(ctx, &mut b, &call, if hit { "ENOSPC" } else { "ok" })?;
    }
    Ok(())
}

fn mode(ctx: &Ctx) -> Verdict {
    let without = ctx.facts(&ctx.bundle()?)?;
    ensure_eq!(without.status("Seccomp"), "0", "Seccomp without a filter");
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", rule(json!([])));
    let with = ctx.facts(&b)?;
    ensure_eq!(with.status("Seccomp"), "2", "Seccomp");
    ensure_eq!(with.status("Seccomp_filters"), "1", "Seccomp_filters");
    Ok(())
}

fn errno_return(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["sched_yield"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    b.steps(&[&["syscall", GETPPID], &["syscall", "111"], &["syscall", "24"]]);
    let steps = ctx.run_steps(&b)?;
    let results: Vec<&str> = steps.iter().map(|s| s.result()).collect();
    ensure_eq!(results, ["ENOSPC", "ENOSYS", "EPERM"], "getppid, getpgrp, sched_yield");
    Ok(())
}

/// A profile that allows what the runtime's last steps and the probe need.
fn allow_list(extra: Value) -> Value {
    let names = [
        "access",
        "alarm",
        "arch_prctl",
        "brk",
        "capget",
        "capset",
        "chdir",
        "clock_gettime",
        "clone",
        "clone3",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "epoll_wait",
        "eventfd2",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "faccessat",
        "faccessat2",
        "fchdir",
        "fchown",
        "fcntl",
        "fork",
        "fstat",
        "fstatfs",
        "futex",
        "getcwd",
        "getdents64",
        "getegid",
        "geteuid",
        "getgid",
        "getgroups",
        "getpgid",
        "getpgrp",
        "getpid",
        "getpriority",
        "getrandom",
        "getsid",
        "gettid",
        "getuid",
        "ioctl",
        "ioprio_get",
        "keyctl",
        "kill",
        "lseek",
        "lstat",
        "madvise",
        "membarrier",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "personality",
        "pipe",
        "pipe2",
        "poll",
        "ppoll",
        "prctl",
        "pread64",
        "prlimit64",
        "pselect6",
        "pwrite64",
        "read",
        "readlink",
        "readlinkat",
        "recvfrom",
        "recvmsg",
        "restart_syscall",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_getaffinity",
        "sched_getparam",
        "sched_getscheduler",
        "sched_yield",
        "seccomp",
        "sendmsg",
        "sendto",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setgroups",
        "setresgid",
        "setresuid",
        "setsid",
        "setuid",
        "sigaltstack",
        "stat",
        "statfs",
        "statx",
        "tgkill",
        "timer_create",
        "timer_settime",
        "umask",
        "uname",
        "wait4",
        "waitid",
        "write",
        "writev",
    ];
    let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO",
                             "syscalls": [{"names": names.as_slice(), "action": "SCMP_ACT_ALLOW"}]});
    for (key, value) in extra.as_object().into_iter().flatten() {
        profile[key] = value.clone();
    }
    profile
}

fn default_errno(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", allow_list(json!({"defaultErrnoRet": ENOSPC})));
    expect(ctx, &mut b, &[GETPPID], "ENOSPC")
}

fn default_eperm(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", allow_list(json!({})));
    expect(ctx, &mut b, &[GETPPID], "EPERM")
}

fn anded(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let eq = |index, value| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    b.set("/linux/seccomp", rule(json!([eq(0, 1), eq(1, 2)])));
    expect(ctx, &mut b, &[GETPPID, "1", "2"], "ENOSPC")?;
    expect(ctx, &mut b, &[GETPPID, "1", "3"], "ok")?;
    expect(ctx, &mut b, &[GETPPID, "0", "2"], "ok")
}

fn ored(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let eq = |index, value| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    b.set("/linux/seccomp", rule(json!([eq(0, 1), eq(0, 2)])));
    expect(ctx, &mut b, &[GETPPID, "1"], "ENOSPC")?;
    expect(ctx, &mut b, &[GETPPID, "2"], "ENOSPC")?;
    expect(ctx, &mut b, &[GETPPID, "3"], "ok")
}

fn unconditional(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSPC, "args": args},
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSPC}]}),
    );
    expect(ctx, &mut b, &[GETPPID, "7"], "ENOSPC")
}

fn unknown_name(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["no_such_call", "getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSPC}]}),
    );
    expect(ctx, &mut b, &[GETPPID], "ENOSPC")
}

fn flag_log(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let mut profile = rule(json!([]));
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
    b.set("/linux/seccomp", profile);
    expect(ctx, &mut b, &[GETPPID], "ENOSPC")
}

fn call32(ctx: &Ctx, seccomp: Option<Value>) -> Result<String, crate::Failure> {
    let mut b = ctx.bundle()?;
    if let Some(seccomp) = seccomp {
        b.set("/linux/seccomp", seccomp);
    }
    b.steps(&[&["syscall32", GETPPID_32]]);
    Ok(ctx.facts(&b)?.result().to_owned())
}

fn foreign_architecture(ctx: &Ctx) -> Verdict {
    if call32(ctx, None)? != "ok" {
        return Err(crate::Failure::skip("no 32-bit system calls on this kernel"));
    }
    let mut profile = rule(json!([]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    ensure_eq!(call32(ctx, Some(profile))?, "signal 31", "an i386 call");
    Ok(())
}

/// Number 64 is getppid on i386 and semget on x86-64.
fn listed_architecture(ctx: &Ctx) -> Verdict {
    if call32(ctx, None)? != "ok" {
        return Err(crate::Failure::skip("no 32-bit system calls on this kernel"));
    }
    let mut profile = rule(json!([]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    ensure_eq!(call32(ctx, Some(profile.clone()))?, "ENOSPC", "getppid by its i386 number");
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", profile).steps(&[&["syscall", "64", "0", "1", "0x3b6"]]);
    let facts = ctx.facts(&b)?;
    ensure!(facts.result() != "ENOSPC", "semget was taken for getppid");
    Ok(())
}

fn x32(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", allow_list(json!({"architectures": ["SCMP_ARCH_X86_64"]})));
    // getpid by its x32 number: on a kernel with x32 it would succeed.
    b.steps(&[&["syscall", "0x40000027"]]);
    let result = ctx.facts(&b)?.result().to_owned();
    ensure!(["signal 31", "EPERM", "ENOSYS"].contains(&result.as_str()), "an x32 call: {result}");
    Ok(())
}

/// A C library that probes for a call newer than the profile must see ENOSYS and fall back.
fn above_profile(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/seccomp", allow_list(json!({"architectures": ["SCMP_ARCH_X86_64"]})));
    expect(ctx, &mut b, &["9999"], "ENOSYS")
}

/// Without no_new_privs the filter needs CAP_SYS_ADMIN when it is loaded, which the program does not have.
fn without_capabilities(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/noNewPrivileges", json!(false))
        .caps(&[])
        .set("/process/user", json!({"uid": 1234, "gid": 1234}));
    // The filter is in force before the runtime's last steps: it must not hit those.
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.status("Seccomp"), "2", "Seccomp");
    ensure_eq!(facts.status("NoNewPrivs"), "0", "NoNewPrivs");
    ensure_eq!(facts.status("Uid"), "1234 1234 1234 1234", "Uid");
    Ok(())
}

/// The shape of Docker's profile: three architectures, masked clone flags, ENOSYS for clone3.
fn docker_like(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let mut profile =
        allow_list(json!({"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}));
    if let Some(names) = profile["syscalls"][0]["names"].as_array_mut() {
        names.retain(|n| n != "clone" && n != "clone3" && n != "personality");
    }
    let personality = |value: u64| {
        json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
    };
    let mut rules = profile["syscalls"].as_array().cloned().unwrap_or_default();
    rules.extend([0x0, 0x0008, 0x20000, 0x20008, 0xffff_ffff].map(personality));
    rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 2114060288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}));
    rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    profile["syscalls"] = json!(rules);
    b.set("/linux/seccomp", profile);
    b.steps(&[
        &["syscall", "435", "0", "0"],
        &["syscall", "135", "0x400000"],
        &["syscall", "135", "0x20008"],
        &["syscall", "272", "0x10000000"],
        &["syscall", "39"],
    ]);
    let steps = ctx.run_steps(&b)?;
    let results: Vec<&str> = steps.iter().map(|s| s.result()).collect();
    ensure_eq!(
        results,
        ["ENOSYS", "EPERM", "ok", "EPERM", "ok"],
        "clone3, personality twice, unshare, getpid"
    );
    Ok(())
}
