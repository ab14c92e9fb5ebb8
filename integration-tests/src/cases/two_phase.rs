//! `exec --wait-fifo`: a process that is made first and runs on a word. No other runtime has it.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("two-phase/{name}"), &["CLI-01"], body).practice().needs(&[Need::Root])
    };
    vec![
        case("waits-for-the-word", waits),
        case("failures-come-first", failures_first),
        case("ends-with-its-container", ends_with_container),
    ]
}

fn fifo(ctx: &Ctx) -> Result<PathBuf, Failure> {
    let help = ctx.rt(["exec", "--help"]).run()?;
    if !help.stdout.contains("--wait-fifo") {
        return Err(Failure::skip("the runtime has no `exec --wait-fifo`"));
    }
    let path = ctx.scratch().join("go");
    crate::sys::mkfifo(&path, 0o600)?;
    Ok(path)
}

fn say(path: &Path) -> Verdict {
    Ok(fs::write(path, "go")?)
}

fn waits(ctx: &Ctx) -> Verdict {
    let path = fifo(ctx)?;
    let c = ctx.sleeper()?;
    let options = ["--wait-fifo".to_owned(), path.display().to_string()];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let running = c.exec(&options, &[&["say", "went"], &["exit", "3"]]).spawn()?;
    let listed = || -> usize {
        let ps = ctx.rt(["ps", "--format", "json", &c.id]).run();
        ps.ok().and_then(|out| out.json().ok()).and_then(|pids| pids.as_array().map(Vec::len)).unwrap_or(0)
    };
    ensure!(ctx.wait_for(Duration::from_secs(5), || listed() == 2), "the process is not made");
    ensure!(!running.stdout_so_far().contains("went"), "the program ran before the word");
    say(&path)?;
    let out = running.finish()?;
    ensure_eq!(out.code(), 3, "exit code");
    ensure!(out.stdout.contains("went"), "output: {}", out.stdout);
    Ok(())
}

/// What can be known beforehand is reported without the word.
fn failures_first(ctx: &Ctx) -> Verdict {
    let path = fifo(ctx)?;
    let c = ctx.sleeper()?;
    let out = ctx.rt(["exec", "--wait-fifo"]).arg(&path).arg(&c.id).arg("/no/such").run()?;
    ensure_eq!(out.code(), 255, "exit code for a missing program");
    ensure!(out.stderr.contains("no such file"), "{}", out.stderr);
    let out = ctx.rt(["exec", "--wait-fifo"]).arg(ctx.scratch()).arg(&c.id).arg("/bin/probe").run()?;
    ensure_eq!(out.code(), 255, "exit code for something else than a FIFO");
    ensure!(out.stderr.contains("--wait-fifo"), "{}", out.stderr);
    Ok(())
}

fn ends_with_container(ctx: &Ctx) -> Verdict {
    let path = fifo(ctx)?;
    let c = ctx.sleeper()?;
    let cmd = ctx.rt(["exec", "--wait-fifo"]).arg(&path).arg(&c.id).args(["/bin/probe", "say", "x"]);
    let running = cmd.spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    c.delete_force()?;
    let out = running.finish()?;
    ensure_eq!(out.code(), 255, "exit code");
    ensure!(out.stderr.contains("container not running"), "{}", out.stderr);
    Ok(())
}
