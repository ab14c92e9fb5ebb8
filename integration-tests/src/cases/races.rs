//! Commands for one id at the same time, from eight processes: each ends as the table of the states allows.

use super::stress::Random;
use super::swaps::SECONDS_VARIABLE;
use crate::driver::FIGURES;
use crate::failure::Verdict;
use crate::process::wait_child;
use crate::registry::Case;
use crate::{Bundle, Container, Ctx, Failure, cgroup, ensure, ensure_eq, host, leaks, sys};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WORKERS: u64 = 8;
/// How long one command may take, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(60);

/// What any command may say when another one was faster; in words that engines know.
const LEGAL: [&str; 2] = ["does not exist", "has no state yet"];

/// What a command may say beyond that. A process may be killed by `kill` or `delete --force` while it is made.
const LEGAL_FOR: [(&str, &[&str]); 10] = [
    ("create", &["already exists", "killed by signal 9"]),
    ("run", &["already exists", "killed by signal 9"]),
    ("start", &["cannot start a", "container not running", "killed by signal 9"]),
    ("exec", &["container not running", "cannot exec in", "killed by signal 9"]),
    ("kill", &["container not running", "cannot kill container"]),
    ("pause", &["container not running", "cannot pause container"]),
    ("resume", &["container not paused"]),
    ("update", &["container not running", "cannot update container"]),
    ("state", &[]),
    ("delete", &["cannot delete container"]),
];

const COMMANDS: [&[&str]; 13] = [
    &["create", "-b", "BUNDLE", "ID"],
    &["create", "-b", "BUNDLE", "ID"],
    &["start", "ID"],
    &["start", "ID"],
    &["run", "-d", "-b", "BUNDLE", "ID"],
    &["exec", "-d", "ID", "/bin/probe", "facts"],
    &["kill", "ID", "KILL"],
    &["pause", "ID"],
    &["resume", "ID"],
    &["update", "--memory", "67108864", "ID"],
    &["state", "ID"],
    &["delete", "ID"],
    &["delete", "--force", "ID"],
];

/// What `update` is not given where there is nothing to limit.
const LIMITS: [&str; 2] = ["--memory", "67108864"];

pub fn cases() -> Vec<Case> {
    let same_id = Case::new("stress/same-id", &["ST-04", "LIF-13"], same_id).practice();
    vec![
        same_id.limit(duration().as_secs() + 300),
        Case::new("race/create-while-another-hangs", &["ST-04", "LIF-13"], create_twice).practice(),
        Case::new("race/delete-while-create-is-stopped", &["OPS-20"], stopped_create).practice(),
        Case::new("race/hook-of-start-pauses", &["OPS-20"], hook_of_start_pauses).practice(),
    ]
}

/// Ten minutes with `CORTEN_STRESS=1`, or as long as any race is asked for.
fn duration() -> Duration {
    let asked = std::env::var(SECONDS_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    let minutes = std::env::var("CORTEN_STRESS").is_ok_and(|v| v == "1");
    Duration::from_secs(asked.unwrap_or(if minutes { 600 } else { 6 }))
}

struct Race<'a> {
    runtime: &'a Path,
    root: PathBuf,
    bundle: &'a Path,
    scratch: &'a Path,
    id: &'a str,
    over: AtomicBool,
    succeeded: AtomicUsize,
    refused: AtomicUsize,
    killed: AtomicUsize,
    illegal: Mutex<Vec<String>>,
}

fn same_id(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    let c = Container::new(ctx, &ctx.id());
    let race = Race {
        runtime: &ctx.settings.runtime,
        root: ctx.state_root(),
        bundle: &b.dir,
        scratch: ctx.scratch(),
        id: &c.id,
        over: AtomicBool::new(false),
        succeeded: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        killed: AtomicUsize::new(0),
        illegal: Mutex::new(Vec::new()),
    };
    let end = Instant::now() + duration();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=WORKERS)
            .map(|n| {
                scope.spawn({
                    let race = &race;
                    move || race.work(n)
                })
            })
            .collect();
        while workers.iter().any(|w| !w.is_finished()) {
            if Instant::now() > end {
                race.over.store(true, Ordering::Relaxed);
            }
            race.reap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let illegal = race.illegal.into_inner().unwrap_or_default();
    let [succeeded, refused, killed] =
        [race.succeeded, race.refused, race.killed].map(AtomicUsize::into_inner);
    let all = succeeded + refused + killed;
    let bad = illegal.len();
    eprintln!(
        "{FIGURES}{all} commands: {succeeded} succeeded, {refused} refused, {killed} killed, {bad} illegal"
    );
    ensure!(illegal.is_empty(), "{bad} of {all}: {}", illegal.join("\n"));
    ensure!(succeeded > 0 && refused > 0, "{succeeded} succeeded, {refused} were refused");
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

impl Race<'_> {
    /// Runs commands in an order of its own until it is over. One in eight is killed at some moment of its life.
    fn work(&self, seed: u64) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        while !self.over.load(Ordering::Relaxed) {
            let words = COMMANDS[random.below(COMMANDS.len() as u64) as usize];
            let life = (random.below(8) == 0).then(|| Duration::from_micros(random.below(40_000)));
            if let Err(e) = self.command(seed, words, life) {
                self.note(format!("{}: {e}", words.join(" ")));
            }
        }
    }

    fn note(&self, text: String) {
        if let Ok(mut illegal) = self.illegal.lock()
            && illegal.len() < 20
        {
            illegal.push(text);
        }
    }

    fn command(&self, worker: u64, words: &[&str], life: Option<Duration>) -> Result<(), Failure> {
        let said = self.scratch.join(format!("race{worker}"));
        let mut command = Command::new(self.runtime);
        command.arg("--root").arg(&self.root);
        let limits = host::limits_memory();
        for word in words.iter().filter(|word| limits || !LIMITS.contains(word)) {
            match *word {
                "ID" => command.arg(self.id),
                "BUNDLE" => command.arg(self.bundle),
                word => command.arg(word),
            };
        }
        // Not a pipe: what is left behind in the background would keep it open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        let mut child = command.spawn()?;
        let Some(status) = wait_child(&mut child, life.unwrap_or(LIMIT))? else {
            child.kill()?;
            child.wait()?;
            ensure!(life.is_some(), "did not end within {LIMIT:?}");
            self.killed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let text = fs::read_to_string(&said)?;
        if status.success() {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let own = LEGAL_FOR.iter().find(|(verb, _)| *verb == words[0]).map_or(&[][..], |(_, own)| own);
        let mut legal = LEGAL.iter().chain(own);
        ensure!(
            legal.any(|words| text.contains(words)) && !text.contains("no such file"),
            "{status}: {}",
            text.trim()
        );
        Ok(())
    }

    /// What an engine does: reaps the containers' processes; not the commands, whom their workers wait for.
    fn reap(&self) {
        let me = std::process::id() as i32;
        let name = self.runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name: String = name.chars().take(15).collect();
        for pid in leaks::descendants(me) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ended = status.contains("\nState:\tZ") && status.contains(&format!("\nPPid:\t{me}\n"));
            let is_command = status.lines().next() == Some(&format!("Name:\t{name}"));
            if ended && !is_command {
                sys::reap(pid);
            }
        }
    }
}

/// A bundle whose first process sleeps, with a shell script as a hook.
fn hooked(ctx: &Ctx, kind: &str, script: &str) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    b.steps(&[&["sleep"]]).set(&format!("/hooks/{kind}"), json!([hook])).save()?;
    Ok(b)
}

/// A `create` hangs in a hook, its container is deleted, and somebody else creates one of the same id: that one is his, and
/// the first `create` leaves it alone when it goes on.
fn create_twice(ctx: &Ctx) -> Verdict {
    let (begun, go) = (ctx.scratch().join("begun"), ctx.scratch().join("go"));
    let wait = format!("echo 1 > {}; until [ -e {} ]; do sleep 0.02; done", begun.display(), go.display());
    let hanging = hooked(ctx, "createRuntime", &wait)?;
    let c = Container::new(ctx, &ctx.id());
    let first = ctx.rt(["create", "-b"]).arg(&hanging.dir).arg(&c.id).spawn()?;
    ctx.wait_file(&begun)?;
    c.cmd(&["delete", "--force"]).limit(Duration::from_secs(10)).ok()?;
    ensure_eq!(leaks::state_left(&ctx.state_root()), Vec::<String>::new(), "state left behind");
    ensure!(cgroup::find(&c.id).is_empty(), "cgroups left behind: {:?}", cgroup::find(&c.id));

    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?.finish_reaping()?.ok()?;
    fs::write(&go, "")?;
    ensure!(first.finish()?.code() != 0, "create succeeded although its container was deleted");
    c.expect_status("created")?;
    c.start()?;
    c.expect_status("running")?;
    c.exec(&[], &[&["exit", "0"]]).ok()?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

/// Whoever stops a `create` in a hook does not make its container last for ever.
fn stopped_create(ctx: &Ctx) -> Verdict {
    let begun = ctx.scratch().join("begun");
    let stop = format!("kill -STOP $PPID; echo $PPID > {}; exit 0", begun.display());
    let b = hooked(ctx, "createRuntime", &stop)?;
    let c = Container::new(ctx, &ctx.id());
    let create = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    let stopped: i32 = ctx.wait_file(&begun)?.trim().parse().unwrap_or_default();
    ensure_eq!(stopped, create.pid(), "parent of the hook");
    let deleted = c.cmd(&["delete", "--force"]).limit(Duration::from_secs(15)).ok();
    sys::kill(stopped, libc::SIGCONT)?;
    deleted?;
    ensure!(create.finish()?.code() != 0, "create succeeded although its container was deleted");
    ctx.nothing_left(&c.id)
}

/// A `poststart` hook may call the runtime: it is not the container's owner that waits for it.
fn hook_of_start_pauses(ctx: &Ctx) -> Verdict {
    let c = Container::new(ctx, &ctx.id());
    let (runtime, root) = (ctx.settings.runtime.display(), ctx.state_root());
    let call = |verb| format!("{runtime} --root {} {verb} {} || exit 9; ", root.display(), c.id);
    let b = hooked(ctx, "poststart", &(call("pause") + &call("resume")))?;
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?.finish_reaping()?.ok()?;
    c.cmd(&["start"]).limit(Duration::from_secs(15)).ok()?;
    c.expect_status("running")?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}
