//! Commands for one id at the same time, from eight processes: each ends as the table of the states allows.

use crate::failure::Verdict;
use crate::process::wait_child;
use crate::registry::Case;
use crate::{Container, Ctx, Failure, ensure, host, leaks, sys};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WORKERS: u64 = 8;
/// How long one command may take, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command may say when another one was faster; in words that engines know.
const LEGAL: [&str; 14] = [
    "does not exist",
    "already exists",
    "container not running",
    "container not paused",
    "cannot start a",
    "cannot delete container",
    "cannot exec in",
    "cannot pause container",
    "cannot resume container",
    "cannot update container",
    "cannot kill container",
    "has no state yet",
    // What `delete --force` of the one before has not taken away yet.
    "cgroup is not empty",
    // Killed by `delete --force` or `kill` while it was made.
    "killed by signal 9",
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

/// Only where it is asked for: a `delete --force` that meets a `create` of the same id can still leave a cgroup behind, or
/// say a word that is not of the table.
pub fn cases() -> Vec<Case> {
    if !minutes() {
        return Vec::new();
    }
    vec![Case::new("stress/same-id", &["ST-04", "LIF-13"], same_id).practice().limit(1200)]
}

/// Ten minutes by `CORTEN_STRESS=1`.
fn minutes() -> bool {
    std::env::var("CORTEN_STRESS").is_ok_and(|v| v == "1")
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
        illegal: Mutex::new(Vec::new()),
    };
    let end = Instant::now() + Duration::from_secs(600);
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
    let (succeeded, refused) = (race.succeeded.into_inner(), race.refused.into_inner());
    println!("{succeeded} succeeded, {refused} were refused, {} ended in no legal way", illegal.len());
    ensure!(illegal.is_empty(), "{} of {}: {}", illegal.len(), succeeded + refused, illegal.join("\n"));
    ensure!(succeeded > 0 && refused > 0, "{succeeded} succeeded, {refused} were refused");
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

impl Race<'_> {
    /// Runs commands in an order of its own until it is over.
    fn work(&self, seed: u64) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while !self.over.load(Ordering::Relaxed) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let words = COMMANDS[(random % COMMANDS.len() as u64) as usize];
            if let Err(e) = self.command(seed, words) {
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

    fn command(&self, worker: u64, words: &[&str]) -> Result<(), Failure> {
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
        let Some(status) = wait_child(&mut child, LIMIT)? else {
            child.kill()?;
            child.wait()?;
            return Err(Failure::new(format!("did not end within {LIMIT:?}")));
        };
        let text = fs::read_to_string(&said)?;
        if status.success() {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let legal = LEGAL.iter().any(|words| text.contains(words)) && !text.contains("no such file");
        ensure!(legal, "{status}: {}", text.trim());
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
