//! Faults at every step: a command is run again and again, and each time one system call of it, or of a process that it
//! makes, fails or is the last.
//!
//! After each the command has to have ended by itself, with success or with an error that says something; a program
//! that ran has to have found everything as it is without a fault; and `delete --force` has to leave nothing.

mod report;
mod scenario;
mod sys;
pub mod tracer;

pub use report::{Counts, Tally};
pub use scenario::{BASE, Needed, SCENARIOS, Scenario};

use crate::failure::{Failure, Verdict};
use crate::process::{Out, reap_orphans};
use crate::{Bundle, Ctx, Facts, cgroup, ensure, host, leaks};
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use tracer::{Fault, Injection, Trace, Traced};

/// What is done to a system call, with the name that reports use.
pub const FAULTS: [(Fault, &str); 7] = [
    (Fault::Kill, "SIGKILL"),
    (Fault::Errno(libc::EINTR), "EINTR"),
    (Fault::Errno(libc::EAGAIN), "EAGAIN"),
    (Fault::Errno(libc::ENOMEM), "ENOMEM"),
    (Fault::Errno(libc::ENOSPC), "ENOSPC"),
    (Fault::Errno(libc::EMFILE), "EMFILE"),
    (Fault::Errno(libc::EIO), "EIO"),
];

/// More than any command takes, on a slow machine, also one that waits for something to be over.
const LIMIT: Duration = Duration::from_secs(40);

/// Tries every `every`th fault of a scenario. What was wrong is in the tally.
///
/// # Errors
/// If the scenario does not even work without a fault.
pub fn try_all(ctx: &Ctx, scenario: &'static Scenario, every: usize) -> Result<Tally, Failure> {
    if !tracer::is_supported() {
        return Err(Failure::skip("faults cannot be injected on this processor"));
    }
    let bench = Bench::new(ctx, scenario)?;
    let (baseline, facts) = bench.baseline()?;
    let startup = Startup::of(&baseline);
    let mut tally = Tally::new(scenario.name, &baseline.calls);
    let only = std::env::var("CORTEN_FAULT").ok();
    for (number, injection) in injections(&baseline.calls).enumerate() {
        let wanted = only.as_ref().map_or(number % every == 0, |only| *only == injection.to_string());
        if wanted {
            bench.attempt(injection, startup, facts.as_ref(), &mut tally)?;
        }
    }
    bench.clear()?;
    Ok(tally)
}

/// The calls of the C library before the runtime's own code. If they fail, it ends the process as it sees fit, without a
/// word; nothing was made by then.
#[derive(Clone, Copy)]
struct Startup {
    begin: usize,
    end: usize,
}

impl Startup {
    fn of(baseline: &Trace) -> Startup {
        const OF_LIBC: [&str; 10] = [
            "brk",
            "arch_prctl",
            "set_tid_address",
            "set_robust_list",
            "rseq",
            "prlimit64",
            "readlink",
            "readlinkat",
            "getrandom",
            "mprotect",
        ];
        // corten's own, which come first, and without which it goes on.
        const BEFORE: [&str; 2] = ["mmap", "mremap"];
        let calls: &[u64] = baseline.calls.first().map_or(&[], Vec::as_slice);
        let is_one_of = |names: &[&str], call: &u64| names.contains(&report::call_name(*call).as_str());
        let begin = calls.iter().position(|call| !is_one_of(&BEFORE, call)).unwrap_or(0);
        let length = calls[begin..].iter().position(|call| !is_one_of(&OF_LIBC, call)).unwrap_or(0);
        Startup { begin, end: begin + length }
    }

    fn has(self, at: Injection) -> bool {
        at.process == 0 && (self.begin..self.end).contains(&at.call)
    }
}

/// Runs a scenario as it is, and tells what it did.
///
/// # Errors
/// If it does not work, or cannot be traced.
pub fn follow(ctx: &Ctx, scenario: &'static Scenario) -> Result<Trace, Failure> {
    let bench = Bench::new(ctx, scenario)?;
    let (trace, _) = bench.baseline()?;
    bench.clear()?;
    Ok(trace)
}

fn injections(calls: &[Vec<u64>]) -> impl Iterator<Item = Injection> {
    let places =
        calls.iter().enumerate().flat_map(|(process, calls)| (0..calls.len()).map(move |c| (process, c)));
    let all = places.flat_map(|(process, call)| FAULTS.map(|(fault, _)| Injection { process, call, fault }));
    all.filter(|at| !tells_of_another(calls[at.process][at.call], at.fault))
}

/// flock(2) that would block says that somebody else has the lock, and with it what is locked: whoever believes that leaves
/// it to them.
fn tells_of_another(call: u64, fault: Fault) -> bool {
    fault == Fault::Errno(libc::EAGAIN) && report::call_name(call) == "flock"
}

/// One scenario, set up.
struct Bench<'c> {
    ctx: &'c Ctx,
    scenario: &'static Scenario,
    bundle: Bundle,
    id: String,
    output: PathBuf,
    errors: PathBuf,
}

impl Bench<'_> {
    fn new<'c>(ctx: &'c Ctx, scenario: &'static Scenario) -> Result<Bench<'c>, Failure> {
        let bundle = (scenario.bundle)(ctx)?;
        bundle.save()?;
        let (output, errors) = (ctx.scratch().join("traced.out"), ctx.scratch().join("traced.err"));
        let bench = Bench { ctx, scenario, bundle, id: ctx.id(), output, errors };
        if scenario.keeps_container {
            bench.prepare()?;
        }
        Ok(bench)
    }

    /// Brings the container to where the command begins. Gives its first process.
    fn prepare(&self) -> Result<Option<i32>, Failure> {
        if self.scenario.needs == Needed::Nothing {
            return Ok(None);
        }
        let pid_file = self.ctx.scratch().join("pid");
        let create = self.ctx.rt(["create", "-b"]).arg(&self.bundle.dir);
        create.arg("--pid-file").arg(&pid_file).arg(&self.id).ok()?;
        if self.scenario.needs != Needed::Created {
            self.command(&["start"]).ok()?;
        }
        if self.scenario.needs == Needed::Paused {
            self.command(&["pause"]).ok()?;
        }
        Ok(fs::read_to_string(&pid_file)?.parse().ok())
    }

    fn command(&self, verb: &[&str]) -> crate::process::Cmd {
        self.ctx.rt(verb).arg(&self.id)
    }

    fn traced(&self, init: Option<i32>) -> Result<Traced, Failure> {
        let settings = &self.ctx.settings;
        let mut argv = vec![settings.runtime.clone().into_os_string(), "--root".into()];
        argv.push(self.ctx.state_root().into());
        let limits = host::limits_memory();
        for word in self.scenario.words.iter().filter(|word| limits || !scenario::LIMITS.contains(word)) {
            argv.push(match *word {
                "ID" => self.id.clone().into(),
                "BUNDLE" => self.bundle.dir.clone().into(),
                "PIDFILE" => self.ctx.scratch().join("pid").into(),
                word => word.into(),
            });
        }
        let argv = argv.iter().map(|w| CString::new(w.as_bytes())).collect::<Result<_, _>>();
        let file = |path: &PathBuf| File::options().create(true).truncate(true).write(true).open(path);
        let null = File::open("/dev/null")?;
        let stdio: [OwnedFd; 3] = [null.into(), file(&self.output)?.into(), file(&self.errors)?.into()];
        let other = if self.scenario.follows_init { init } else { None };
        Ok(Traced {
            argv: argv.map_err(|_| Failure::new("an argument with a null byte"))?,
            envp: vec![CString::from(c"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")],
            stdio,
            other,
            limit: LIMIT,
        })
    }

    /// Without a fault: what calls there are, and what a program finds. Twice, since the first time is not like others.
    fn baseline(&self) -> Result<(Trace, Option<Value>), Failure> {
        let mut last = None;
        for _ in 0..2 {
            let init = self.prepare_again()?;
            let trace = tracer::run(&self.traced(init)?, None)?;
            let text = fs::read_to_string(&self.errors)?;
            ensure!(trace.status == 0, "{} without a fault: {:#x} {text}", self.scenario.name, trace.status);
            let facts = if self.scenario.prints_facts { Some(self.facts()?) } else { None };
            self.clear_again()?;
            last = Some((trace, facts));
        }
        last.ok_or_else(|| Failure::new("no baseline"))
    }

    fn prepare_again(&self) -> Result<Option<i32>, Failure> {
        if self.scenario.keeps_container { Ok(None) } else { self.prepare() }
    }

    fn clear_again(&self) -> Verdict {
        if self.scenario.keeps_container { Ok(()) } else { self.clear() }
    }

    /// What the program printed, without what differs each time.
    fn facts(&self) -> Result<Value, Failure> {
        let text = fs::read_to_string(&self.output)?;
        let facts = Facts::lines(&text)?;
        let first = facts.first().ok_or_else(|| Failure::new("the program printed nothing"))?;
        Ok(lasting(&first.0))
    }

    fn attempt(
        &self,
        injection: Injection,
        startup: Startup,
        facts: Option<&Value>,
        tally: &mut Tally,
    ) -> Verdict {
        let init = self.prepare_again()?;
        let trace = tracer::run(&self.traced(init)?, Some(injection))?;
        tally.count(injection, &trace);
        let mut wrong =
            if startup.has(injection) { Vec::new() } else { self.judge(injection, &trace, facts) };
        wrong.extend(self.judge_container(injection, &trace));
        if !self.scenario.keeps_container {
            wrong.extend(self.judge_removal());
        }
        for text in wrong {
            tally.wrong(injection, trace.hit, text);
        }
        Ok(())
    }

    /// The command itself: how it ended, and what it said.
    fn judge(&self, at: Injection, trace: &Trace, facts: Option<&Value>) -> Vec<String> {
        let mut wrong = Vec::new();
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let killed = at.fault == Fault::Kill && at.process == 0 && trace.hit.is_some();
        let succeeded = trace.status == 0;
        // The last steps before the program runs look from outside like the program's.
        let program_was_killed = at.fault == Fault::Kill && at.process > 0 && trace.status == 137 << 8;
        if trace.hung {
            wrong.push(format!("did not end within {LIMIT:?}: {errors}"));
        } else if killed && !libc::WIFSIGNALED(trace.status) {
            wrong.push(format!("outlived SIGKILL: {:#x}", trace.status));
        } else if errors.contains("memory allocation of") {
            // What Rust says and does when there is no memory.
        } else if !killed && libc::WIFSIGNALED(trace.status) {
            wrong.push(format!("ended by signal {}: {errors}", libc::WTERMSIG(trace.status)));
        } else if !killed && !succeeded && errors.trim().is_empty() && !program_was_killed {
            wrong.push(format!("failed without a word: {:#x}", trace.status));
        }
        if ["panicked", "internal error", "RUST_BACKTRACE"].iter().any(|word| errors.contains(word)) {
            wrong.push(format!("said {errors:?}"));
        }
        if succeeded && let Some(want) = facts {
            match self.facts() {
                Ok(got) if got == *want => {}
                Ok(got) => wrong.push(format!("the program found other things: {}", difference(want, &got))),
                Err(e) => wrong.push(e.message),
            }
        }
        wrong
    }

    /// What the command must not have done to the container; and what failed must not have left one behind.
    fn judge_container(&self, at: Injection, trace: &Trace) -> Vec<String> {
        let failed = trace.status != 0 && !trace.hung;
        let killed = at.fault == Fault::Kill && at.process == 0;
        if self.scenario.needs == Needed::Nothing {
            let left = if failed && !killed { self.left() } else { Vec::new() };
            return left.into_iter().map(|l| format!("failed, and left {l}")).collect();
        }
        let Some(status) = self.scenario.leaves else { return Vec::new() };
        match self.command(&["state"]).run() {
            Ok(Out { stdout, .. }) if stdout.contains(&format!("\"{status}\"")) => Vec::new(),
            Ok(out) => vec![format!("the container is not {status} any more: {} {}", out.stdout, out.stderr)],
            Err(e) => vec![e.message],
        }
    }

    /// What is left of the container, a moment later.
    fn left(&self) -> Vec<String> {
        let me = std::process::id() as i32;
        self.ctx.wait_for(Duration::from_secs(5), || {
            reap_orphans();
            leaks::descendants(me).is_empty()
        });
        let entries = fs::read_dir(self.ctx.state_root()).into_iter().flatten().flatten();
        // crun's filters, which belong to no container.
        let entries = entries.filter(|e| e.file_name() != ".cache");
        let mut left: Vec<String> = entries.map(|e| format!("state {}", e.path().display())).collect();
        left.extend(leaks::descendants(me).iter().map(|pid| format!("process {pid}")));
        left.extend(cgroup::find(&self.id).iter().map(|dir| format!("cgroup {}", dir.display())));
        left
    }

    fn judge_removal(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let deleted = self.command(&["delete", "--force"]).limit(LIMIT).spawn();
        match deleted.and_then(crate::process::Running::finish_reaping) {
            Ok(out) if out.code() == 0 => {}
            Ok(out) => wrong.push(format!("delete --force: {} {}", out.code(), out.stderr)),
            Err(e) => wrong.push(e.message),
        }
        let left = self.left();
        if !left.is_empty() {
            wrong.push(format!("delete --force left {left:?}"));
            self.sweep();
        }
        wrong
    }

    /// Takes away what should not be there, so that the next attempt is judged for itself.
    fn sweep(&self) {
        leaks::thaw(&self.id);
        leaks::kill_all(&leaks::descendants(std::process::id() as i32));
        reap_orphans();
        leaks::cgroups_left(&self.id);
        for entry in fs::read_dir(self.ctx.state_root()).into_iter().flatten().flatten() {
            // The case's own leak check has the last word.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    fn clear(&self) -> Verdict {
        let wrong = self.judge_removal();
        ensure!(wrong.is_empty(), "without a fault: {wrong:?}");
        Ok(())
    }
}

/// A container that is used by every kind of step.
fn rich(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    b.set("/process/user/additionalGids", json!([10, 20]));
    b.set("/process/oomScoreAdj", json!(100));
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    if host::limits_memory() {
        b.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    }
    b.set(
        "/linux/devices",
        json!([{"path": "/dev/ours", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]),
    );
    b.set("/linux/namespaces/-", json!({"type": "cgroup"}));
    b.out();
    b.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "mode=700", "size=64k"]);
    Ok(b)
}

/// The same facts without numbers that are others each time.
pub(crate) fn lasting(facts: &Value) -> Value {
    let mut facts = facts.clone();
    let Some(map) = facts.as_object_mut() else { return facts };
    map.remove("ns");
    map.remove("process");
    map.remove("pid");
    if let Some(status) = map.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("NSpid");
    }
    if let Some(mounts) = map.get("mountinfo").and_then(Value::as_str) {
        // Without the ids of the mount, its parent, its device, and its peers.
        let rest = |line: &str| {
            let words =
                line.split(' ').skip(3).filter(|w| !w.starts_with("master:") && !w.starts_with("shared:"));
            let words: Vec<&str> = words.collect();
            // A mask is the container's null device or the host's.
            if words.first() == Some(&"/null") { words[..2].join(" ") } else { words.join(" ") }
        };
        let mounts: Vec<String> = mounts.lines().map(rest).collect();
        map.insert("mountinfo".into(), json!(mounts));
    }
    facts
}

fn difference(want: &Value, got: &Value) -> String {
    let (Some(want), Some(got)) = (want.as_object(), got.as_object()) else { return "no object".into() };
    let other = want.iter().filter(|(key, value)| got.get(*key) != Some(*value));
    let texts: Vec<String> = other
        .map(|(key, value)| format!("{key}: {} instead of {value}", got.get(key).unwrap_or(&Value::Null)))
        .collect();
    texts.join("; ")
}
