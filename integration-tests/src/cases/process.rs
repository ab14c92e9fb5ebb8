//! `process` in config.json: arguments, environment, identity, descriptors.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("process/args", &["PROC-13"], args),
        Case::new("process/args-by-path", &["PROC-11"], args_by_path),
        Case::new("process/args-path-order", &["PROC-11"], args_path_order),
        Case::new("process/env-exact", &["PROC-10"], env_exact),
        Case::new("process/env-home", &["PROC-10"], env_home).practice(),
        Case::new("process/env-home-kept", &["PROC-10"], env_home_kept).practice(),
        Case::new("process/cwd", &["PROC-08"], cwd),
        Case::new("process/cwd-created", &["PROC-08"], cwd_created).practice(),
        Case::new("process/cwd-private-to-user", &["PROC-09"], cwd_private).practice(),
        Case::new("process/user", &["PROC-14"], user),
        Case::new("process/additional-gids", &["PROC-15"], additional_gids),
        Case::new("process/no-additional-gids", &["PROC-15"], no_additional_gids),
        Case::new("process/numeric-user-is-not-looked-up", &["PROC-14"], numeric_user).practice(),
        Case::new("process/umask", &["PROC-16"], umask),
        Case::new("process/umask-default", &["PROC-16"], |ctx| {
            ensure_eq!(ctx.facts(&ctx.bundle()?)?.status("Umask"), "0022", "umask");
            Ok(())
        })
        .practice(),
        Case::new("process/no-new-privileges", &["PROC-19"], |ctx| nnp(ctx, true)),
        Case::new("process/no-no-new-privileges", &["PROC-20"], |ctx| nnp(ctx, false)),
        Case::new("process/no-no-new-privileges-with-seccomp", &["PROC-20"], nnp_with_seccomp),
        Case::new("process/oom-score-adj", &["PROC-21"], oom_score),
        Case::new("process/oom-score-adj-unset", &["PROC-22"], oom_score_unset),
        Case::new("process/signals-default", &["PROC-26"], signals_default).practice(),
        Case::new("process/session-leader", &["PROC-02"], session_leader).practice(),
        Case::new("process/no-leftover-attributes", &["PROC-26", "CAP-09"], no_leftovers).practice(),
        Case::new("process/stdio-owner", &["PROC-17"], stdio_owner).practice(),
        Case::new("process/keyring-new", &["PROC-25"], keyring).practice(),
        Case::new("process/stdin", &["LNX-01"], stdin),
        Case::new("process/selinux-absent-refused", &["PROC-24"], selinux).practice(),
        Case::new("process/apparmor-absent-refused", &["PROC-23"], apparmor),
        Case::new("process/absent", &["PROC-01", "OPS-10"], without_process),
        Case::new("process/absent-in-run", &["PROC-01", "OPS-10"], run_without_process),
        Case::new("process/scheduler", &["SCH-01", "SCH-02"], scheduler),
        Case::new("process/io-priority", &["IOP-01", "IOP-02"], io_priority),
        Case::new("process/personality", &["PER-01"], personality),
    ];
    cases.extend(descriptors());
    cases.extend(limits());
    cases
}

fn descriptors() -> Vec<Case> {
    vec![
        Case::new("fds/only-stdio", &["LNX-01"], only_stdio),
        Case::new("fds/inherited-are-closed", &["LNX-01"], inherited_fds),
        Case::new("fds/exec-only-stdio", &["LNX-01"], exec_only_stdio),
        Case::new("fds/preserve", &["LNX-02"], preserve_fds).practice(),
        Case::new("fds/listen", &["LNX-02"], listen_fds).practice(),
    ]
}

fn args(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let want = json!(["/bin/probe", "facts", "", "a b", "*", "\u{fc}\n", "--root"]);
    b.set("/process/args", want.clone());
    ensure_eq!(*ctx.facts(&b)?.get("/argv"), want, "argv");
    Ok(())
}

fn args_by_path(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/args", json!(["probe", "facts"]));
    ensure_eq!(*ctx.facts(&b)?.get("/argv/0"), json!("probe"), "argv[0]");
    Ok(())
}

/// A file that may not be executed and a missing directory come first.
fn args_path_order(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/probe"), "not a program")?;
    b.set("/process/env", json!(["PATH=/nowhere:/etc:/bin"])).set("/process/args", json!(["probe", "facts"]));
    ctx.facts(&b).map(drop)
}

fn env_exact(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let want = ["PATH=/bin", "HOME=/x", "EMPTY=", "EQUALS=a=b", "SPACE= x ", "UNICODE=\u{e9}"];
    b.set("/process/env", json!(want));
    b.save()?;
    let out = ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).env("SECRET", "leaks").ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    let mut got: Vec<&str> =
        facts.get("/environ").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut want = want.to_vec();
    got.sort_unstable();
    want.sort_unstable();
    ensure_eq!(got, want, "environment");
    Ok(())
}

fn has_env(facts: &Facts, entry: &str) -> bool {
    facts.get("/environ").as_array().is_some_and(|e| e.iter().any(|v| v == entry))
}

fn env_home(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/passwd"), "root:x:0:0::/root:/x\nu:x:1234:1234::/home/u:/x\n")?;
    ensure!(has_env(&ctx.facts(&b)?, "HOME=/root"), "no HOME=/root for uid 0");
    b.set("/process/user", json!({"uid": 1234, "gid": 1234}));
    ensure!(has_env(&ctx.facts(&b)?, "HOME=/home/u"), "no HOME=/home/u for uid 1234");
    Ok(())
}

fn env_home_kept(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/passwd"), "root:x:0:0::/root:/x\n")?;
    b.set("/process/env", json!(["HOME=/mine"]));
    let facts = ctx.facts(&b)?;
    ensure_eq!(*facts.get("/environ"), json!(["HOME=/mine"]), "environment");
    Ok(())
}

fn cwd(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/cwd", json!("/tmp"));
    ensure_eq!(ctx.facts(&b)?.str("/cwd"), "/tmp", "cwd");
    Ok(())
}

fn cwd_created(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.writable().set("/process/cwd", json!("/made/here"));
    ensure_eq!(ctx.facts(&b)?.str("/cwd"), "/made/here", "cwd");
    Ok(())
}

fn cwd_private(ctx: &Ctx) -> Verdict {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut b = ctx.bundle()?;
    let dir = b.path("private");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    chown(&dir, Some(1234), Some(1234))?;
    b.set("/process/cwd", json!("/private"))
        .set("/process/user", json!({"uid": 1234, "gid": 1234}))
        .caps(&[]);
    ensure_eq!(ctx.facts(&b)?.str("/cwd"), "/private", "cwd");
    Ok(())
}

fn user(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/user", json!({"uid": 1234, "gid": 5678}));
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.status("Uid"), "1234 1234 1234 1234", "Uid");
    ensure_eq!(facts.status("Gid"), "5678 5678 5678 5678", "Gid");
    Ok(())
}

fn additional_gids(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/user", json!({"uid": 1234, "gid": 5678, "additionalGids": [7, 10, 40000]}));
    ensure_eq!(ctx.facts(&b)?.status("Groups"), "7 10 40000", "Groups");
    Ok(())
}

fn no_additional_gids(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/user", json!({"uid": 1234, "gid": 5678}));
    b.save()?;
    // The runtime's own groups must not get in.
    let inner = format!(
        "exec {} --root {} run -b . {}",
        ctx.settings.runtime.display(),
        ctx.state_root().display(),
        ctx.id()
    );
    let script =
        ["-c", "import os,sys; os.setgroups([4,27]); os.execv('/bin/sh',['sh','-c',sys.argv[1]])", &inner];
    let python = std::path::Path::new("/usr/bin/python3");
    if !python.exists() {
        return Err(crate::Failure::skip("needs python3 to set groups"));
    }
    let out = ctx.program(python).args(script).cwd(&b.dir).ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].status("Groups"), "", "Groups");
    Ok(())
}

/// A user whose *name* is a number (CVE-2016-3697).
fn numeric_user(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    fs::write(b.path("etc/passwd"), "1000:x:0:0::/root:/x\n")?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    ensure_eq!(c.exec_facts(&["-u", "1000"])?.status("Uid"), "1000 1000 1000 1000", "Uid");
    Ok(())
}

fn umask(ctx: &Ctx) -> Verdict {
    for (value, want) in [(0o077, "0077"), (0, "0000"), (0o027, "0027")] {
        let mut b = ctx.bundle()?;
        b.set("/process/user/umask", json!(value));
        ensure_eq!(ctx.facts(&b)?.status("Umask"), want, "umask");
    }
    Ok(())
}

fn nnp(ctx: &Ctx, value: bool) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/noNewPrivileges", json!(value));
    ensure_eq!(ctx.facts(&b)?.status("NoNewPrivs"), if value { "1" } else { "0" }, "NoNewPrivs");
    Ok(())
}

fn nnp_with_seccomp(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/noNewPrivileges", json!(false));
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    let facts = ctx.facts(&b)?;
    ensure_eq!(facts.status("Seccomp"), "2", "Seccomp");
    ensure_eq!(facts.status("NoNewPrivs"), "0", "NoNewPrivs");
    Ok(())
}

fn oom_score(ctx: &Ctx) -> Verdict {
    for value in ["500", "1000"] {
        let mut b = ctx.bundle()?;
        b.set("/process/oomScoreAdj", value.parse::<i32>().map_or(Value::Null, Value::from));
        ensure_eq!(ctx.facts(&b)?.str("/oom_score_adj"), value, "oom_score_adj");
    }
    Ok(())
}

fn oom_score_unset(ctx: &Ctx) -> Verdict {
    // Not 0, which a runtime might write.
    let before: i32 = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().unwrap_or(0);
    let own = (before + 13).min(1000).to_string();
    fs::write("/proc/self/oom_score_adj", &own)?;
    ensure_eq!(ctx.facts(&ctx.bundle()?)?.str("/oom_score_adj"), own.trim(), "oom_score_adj");
    Ok(())
}

fn signals_default(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    for field in ["SigIgn", "SigBlk", "SigCgt"] {
        ensure_eq!(own_signals(&facts, field), 0, "{field}");
    }
    Ok(())
}

/// A set of signals in `/proc/self/status`, without 32 and 33: glibc's posix_spawn, with which the harness starts the
/// runtime, ignores these for itself.
pub(super) fn own_signals(facts: &Facts, field: &str) -> u64 {
    let bits = u64::from_str_radix(facts.status(field), 16).unwrap_or(u64::MAX);
    bits & !(0b11 << 31)
}

fn session_leader(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    ensure_eq!(*facts.get("/process/sid"), json!(1), "session");
    ensure_eq!(*facts.get("/process/pgid"), json!(1), "process group");
    Ok(())
}

fn no_leftovers(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    for attribute in ["pdeathsig", "securebits", "subreaper", "policy", "personality"] {
        ensure_eq!(*facts.get(&format!("/process/{attribute}")), json!(0), "{attribute}");
    }
    // The caller's, as the harness may be run by nice(1): the field after the command's closing parenthesis that is the 17th.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let own = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).unwrap_or_default();
    ensure_eq!(facts.get("/process/nice").to_string(), own, "nice");
    Ok(())
}

fn stdio_owner(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/user", json!({"uid": 1234, "gid": 5678}));
    // Not `run`: in the foreground a runtime may put pipes between its stdio and the container's.
    let facts = ctx.start(&b)?.lines(1)?.remove(0);
    ensure_eq!(*facts.get("/stdout/uid"), json!(1234), "owner of stdout");
    ensure_eq!(*facts.get("/stdin/uid"), json!(0), "owner of stdin, which is /dev/null");
    Ok(())
}

fn keyring(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    let first = ctx.facts(&b)?.get("/process/keyring").clone();
    let second = ctx.facts(&b)?.get("/process/keyring").clone();
    ensure!(first != second, "two containers share the session keyring {first}");
    b.save()?;
    let run = || ctx.rt(["run", "--no-new-keyring", "-b"]).arg(&b.dir).arg(ctx.id()).ok();
    let (a, b) = (Facts::lines(&run()?.stdout)?.remove(0), Facts::lines(&run()?.stdout)?.remove(0));
    ensure_eq!(a.get("/process/keyring"), b.get("/process/keyring"), "keyring with --no-new-keyring");
    Ok(())
}

fn stdin(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["cat"]]);
    b.save()?;
    let out = ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).stdin("to the container").ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].str("/text"), "to the container", "stdin");
    Ok(())
}

fn selinux(ctx: &Ctx) -> Verdict {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(crate::Failure::skip("this machine has SELinux"));
    }
    let mut b = ctx.bundle()?;
    b.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0:c1,c2"));
    ctx.refuses(&b, &["selinux"]).map(drop)
}

fn apparmor(ctx: &Ctx) -> Verdict {
    if fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|v| v.starts_with('Y')) {
        return Err(crate::Failure::skip("this machine has AppArmor"));
    }
    let mut b = ctx.bundle()?;
    b.set("/process/apparmorProfile", json!("docker-default"));
    ctx.refuses(&b, &["apparmor"]).map(drop)
}

/// A container without a process can be created, and not started; that it was tried changes nothing.
fn without_process(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.remove("/process");
    let c = ctx.create(&b)?;
    c.expect_status("created")?;
    c.cmd(&["start"]).run()?.refused(&["process"])?;
    c.expect_status("created")?;
    ensure!(c.alive(), "the container's process has ended");
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn run_without_process(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.remove("/process");
    b.save()?;
    let id = ctx.id();
    ctx.rt(["run", "-b"]).arg(&b.dir).arg(&id).run()?.refused(&["process"])?;
    ctx.nothing_left(&id)
}

/// A setting that is newer than some runtimes: in effect, or refused with its name, never ignored. A refusal shows
/// nothing of what the setting does, and the case is skipped.
pub fn in_effect_or_refused(
    ctx: &Ctx,
    bundle: &crate::Bundle,
    needle: &str,
    check: impl Fn(&Facts) -> Verdict,
) -> Verdict {
    let out = ctx.run(bundle)?;
    if out.code() != 0 {
        out.refused(&[needle])?;
        return Err(crate::Failure::skip(format!("the runtime refuses {needle}")));
    }
    check(&Facts::lines(&out.stdout)?[0])
}

fn scheduler(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}));
    in_effect_or_refused(ctx, &b, "scheduler", |f| {
        ensure_eq!(*f.get("/process/policy"), json!(libc::SCHED_BATCH), "policy");
        ensure_eq!(*f.get("/process/nice"), json!(5), "nice");
        Ok(())
    })
}

fn io_priority(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    in_effect_or_refused(ctx, &b, "ioPriority", |f| {
        ensure_eq!(*f.get("/process/ioprio"), json!((2 << 13) | 6), "ioprio");
        Ok(())
    })
}

fn personality(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/linux/personality", json!({"domain": "LINUX32"}));
    in_effect_or_refused(ctx, &b, "personality", |f| {
        ensure_eq!(*f.get("/process/personality"), json!(8), "personality");
        Ok(())
    })
}

fn expect_fds(facts: &Facts, want: &[&str]) -> Verdict {
    let open: Vec<&String> = facts.get("/fds").as_object().into_iter().flat_map(|m| m.keys()).collect();
    ensure_eq!(open, want, "open descriptors ({})", facts.get("/fds"));
    Ok(())
}

fn only_stdio(ctx: &Ctx) -> Verdict {
    expect_fds(&ctx.facts(&ctx.bundle()?)?, &["0", "1", "2"])
}

/// The runtime as started by a careless caller, with descriptors 3 to 9 open.
fn with_descriptors(ctx: &Ctx, args: &[&str]) -> Result<crate::process::Out, crate::Failure> {
    let shell = "exec \"$@\" 3</dev/null 4</etc 5</ 6</etc/hostname 7</ 8</dev/null 9</dev/zero";
    let cmd = ctx.program(std::path::Path::new("/bin/sh")).args(["-c", shell, "sh"]);
    cmd.arg(&ctx.settings.runtime).arg("--root").arg(ctx.state_root()).args(args).run()
}

fn inherited_fds(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let dir = b.dir.to_string_lossy().into_owned();
    let out = with_descriptors(ctx, &["run", "-b", &dir, &ctx.id()])?.ok()?;
    expect_fds(&Facts::lines(&out.stdout)?[0], &["0", "1", "2"])
}

fn exec_only_stdio(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let out = with_descriptors(ctx, &["exec", &c.id, "/bin/probe", "facts"])?.ok()?;
    expect_fds(&Facts::lines(&out.stdout)?[0], &["0", "1", "2"])
}

fn preserve_fds(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let dir = b.dir.to_string_lossy().into_owned();
    let out = with_descriptors(ctx, &["run", "--preserve-fds", "2", "-b", &dir, &ctx.id()])?.ok()?;
    expect_fds(&Facts::lines(&out.stdout)?[0], &["0", "1", "2", "3", "4"])
}

fn listen_fds(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    let shell = "LISTEN_PID=$$; export LISTEN_PID; exec \"$@\" 3</dev/null 4</etc 5</";
    let cmd = ctx.program(std::path::Path::new("/bin/sh")).args(["-c", shell, "sh"]).env("LISTEN_FDS", "1");
    let cmd = cmd.arg(&ctx.settings.runtime).arg("--root").arg(ctx.state_root());
    let out = cmd.args(["run", "-b"]).arg(&b.dir).arg(ctx.id()).ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    expect_fds(&facts, &["0", "1", "2", "3"])?;
    ensure!(has_env(&facts, "LISTEN_FDS=1"), "no LISTEN_FDS=1 in {}", facts.get("/environ"));
    ensure!(has_env(&facts, "LISTEN_PID=1"), "no LISTEN_PID=1 in {}", facts.get("/environ"));
    Ok(())
}

/// Names in `/proc/self/limits` and values that need no privilege to set.
const LIMITS: [(&str, &str, u64, u64); 16] = [
    ("RLIMIT_AS", "Max address space", 1 << 40, 1 << 41),
    ("RLIMIT_CORE", "Max core file size", 0, 1 << 20),
    ("RLIMIT_CPU", "Max cpu time", 600, 1200),
    ("RLIMIT_DATA", "Max data size", 1 << 40, 1 << 41),
    ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
    ("RLIMIT_LOCKS", "Max file locks", 100, 200),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4096, 8192),
    ("RLIMIT_NICE", "Max nice priority", 0, 0),
    ("RLIMIT_NOFILE", "Max open files", 100, 200),
    ("RLIMIT_NPROC", "Max processes", 1000, 2000),
    ("RLIMIT_RSS", "Max resident set", 1 << 40, 1 << 41),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000, 2_000_000),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200),
    ("RLIMIT_STACK", "Max stack size", 1 << 22, 1 << 23),
];

fn limits() -> Vec<Case> {
    let mut cases: Vec<Case> = LIMITS
        .into_iter()
        .map(|(kind, name, soft, hard)| {
            Case::new(format!("rlimit/{kind}"), &["RLIM-02", "RLIM-03", "RLIM-05"], move |ctx| {
                let mut b = ctx.bundle()?;
                b.set("/process/rlimits", json!([{"type": kind, "soft": soft, "hard": hard}]));
                let want = json!([soft.to_string(), hard.to_string()]);
                ensure_eq!(ctx.facts(&b)?.0["limits"][name], want, "{kind}");
                Ok(())
            })
        })
        .collect();
    cases.push(Case::new("rlimit/duplicate", &["RLIM-04"], |ctx| {
        let mut b = ctx.bundle()?;
        let one = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200});
        b.set("/process/rlimits", json!([one, one]));
        ctx.refuses(&b, &["RLIMIT_NOFILE"]).map(drop)
    }));
    cases.push(Case::new("rlimit/absent-is-untouched", &["RLIM-02"], |ctx| {
        let mut b = ctx.bundle()?;
        b.remove("/process/rlimits");
        let own = fs::read_to_string("/proc/self/limits")?;
        let line = own.lines().find(|l| l.starts_with("Max open files")).unwrap_or("");
        let want: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
        ensure_eq!(ctx.facts(&b)?.0["limits"]["Max open files"], json!(want), "limit");
        Ok(())
    }));
    cases.push(
        Case::new("rlimit/infinity", &["RLIM-06"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX}]));
            ensure_eq!(
                ctx.facts(&b)?.0["limits"]["Max core file size"],
                json!(["unlimited", "unlimited"]),
                "core"
            );
            Ok(())
        })
        .practice(),
    );
    cases.push(
        Case::new("rlimit/raise", &["RLIM-06"], |ctx| {
            let mut b = ctx.bundle()?;
            b.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 30000, "hard": 40000}]));
            ensure_eq!(ctx.facts(&b)?.0["limits"]["Max open files"], json!(["30000", "40000"]), "open files");
            Ok(())
        })
        .needs(&[Need::Capability(24, "CAP_SYS_RESOURCE")])
        .practice(),
    );
    cases.push(
        Case::new("rlimit/raise-in-user-namespace", &["RLIM-06"], raise_in_user_namespace)
            .needs(&[Need::Capability(24, "CAP_SYS_RESOURCE"), Need::UserNs, Need::File("/usr/bin/prlimit")])
            .practice(),
    );
    cases
}

/// For whom the kernel asks for a capability of the host's user namespace; by a runtime that has less itself.
fn raise_in_user_namespace(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(200_000)?;
    b.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 30000, "hard": 40000}]));
    let with_less = |args: &[&str]| {
        let cmd = ctx.program(Path::new("/usr/bin/prlimit")).args(["--nofile=1000:2000", "--"]);
        cmd.arg(&ctx.settings.runtime).arg("--root").arg(ctx.state_root()).args(args).ok()
    };
    b.steps(&[&["facts"]]).save()?;
    let run = with_less(&["run", "--bundle", &b.dir.to_string_lossy(), &ctx.id()])?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    let exec = with_less(&["exec", &c.id, "/bin/probe", "facts"])?;
    for out in [run, exec] {
        let facts = Facts::lines(&out.stdout)?.remove(0);
        ensure_eq!(facts.0["limits"]["Max open files"], json!(["30000", "40000"]), "open files");
    }
    c.delete_force().map(drop)
}
