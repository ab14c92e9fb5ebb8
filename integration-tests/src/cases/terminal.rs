//! Terminals in the foreground: the harness sits at the keyboard of the runtime's own terminal.

use crate::failure::Verdict;
use crate::process::{Cmd, Running, tail};
use crate::pty::Pty;
use crate::registry::Case;
use crate::{Bundle, Ctx, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// 10 MB in lines of 16 bytes.
const LINES: u32 = 655_360;

pub fn cases() -> Vec<Case> {
    let practice = |name: &str, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("terminal/{name}"), &["PROC-02"], body).practice()
    };
    vec![
        practice("echo", echo),
        practice("ctrl-c", ctrl_c),
        practice("size", size),
        practice("size-configured", size_configured),
        practice("raw-and-restored", restored),
        practice("restored-after-kill", restored_after_kill),
        practice("restored-after-failure", restored_after_failure),
        practice("signals", signals),
        practice("exit-code", exit_code),
        practice("much-output-run", much_run).limit(120),
        practice("much-output-exec", much_exec).limit(120),
        practice("stalled-reader", stalled),
        practice("closed-inside", closed_inside),
        practice("survivor-inside", survivor),
        practice("hangup", hangup),
        practice("stdin-is-file", stdin_file),
        practice("stdin-without-newline", stdin_partial),
        practice("detached-without-socket", detached),
        practice("exec-socket-without-terminal", exec_socket),
        practice("exec-binary", binary),
    ]
}

fn bundle(ctx: &Ctx, steps: &[&[&str]]) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true)).steps(steps);
    Ok(b)
}

fn run(ctx: &Ctx, b: &Bundle, options: &[&str]) -> Result<Cmd, Failure> {
    b.save()?;
    Ok(ctx.rt(["run"]).args(options).arg("-b").arg(&b.dir).arg(ctx.id()))
}

/// `run` on a new terminal, with these steps.
fn sit_down(ctx: &Ctx, steps: &[&[&str]]) -> Result<(Pty, Running), Failure> {
    let pty = Pty::open(24, 80)?;
    let running = pty.spawn(run(ctx, &bundle(ctx, steps)?, &[])?)?;
    Ok((pty, running))
}

fn echo(ctx: &Ctx) -> Verdict {
    let (mut pty, running) = sit_down(ctx, &[&["say", "prompt"], &["cat"]])?;
    pty.expect("prompt")?;
    pty.press("typed\r")?;
    pty.expect("typed\r\n")?;
    pty.press("\x04")?;
    pty.attend(running)?.ok()?;
    ensure!(pty.text().contains(r#""text":"typed\n""#), "the program read something else: {:?}", pty.text());
    ensure_eq!(pty.text().matches("typed\r\n").count(), 1, "times that the input was echoed");
    Ok(())
}

fn ctrl_c(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let mut pty = Pty::open(24, 80)?;
    let running = pty.spawn(c.exec(&["-t"], &[&["say", "ready"], &["sleep"]]))?;
    pty.expect("ready")?;
    pty.press("\x03")?;
    pty.attend(running)?.exits(130)?;
    c.expect_status("running")
}

fn size(ctx: &Ctx) -> Verdict {
    let mut pty = Pty::open(31, 97)?;
    let b = bundle(ctx, &[&["wait-size", "31", "97"], &["wait-size", "45", "133"]])?;
    let running = pty.spawn(run(ctx, &b, &[])?)?;
    pty.expect("\"rows\":31")?;
    pty.resize(45, 133)?;
    pty.expect("\"rows\":45")?;
    pty.attend(running)?.ok()?;
    let c = ctx.sleeper()?;
    let running = pty.spawn(c.exec(&["-t"], &[&["facts"]]))?;
    pty.screen.clear();
    pty.attend(running)?.ok()?;
    ensure!(pty.text().contains("\"rows\":45"), "exec begins with another size: {}", tail(&pty.text()));
    Ok(())
}

fn size_configured(ctx: &Ctx) -> Verdict {
    let mut pty = Pty::open(31, 97)?;
    let mut b = bundle(ctx, &[&["facts"]])?;
    b.set("/process/consoleSize", json!({"height": 33, "width": 111}));
    let running = pty.spawn(run(ctx, &b, &[])?)?;
    pty.attend(running)?.ok()?;
    ensure!(pty.text().contains("\"rows\":33"), "the program saw another size: {}", tail(&pty.text()));
    Ok(())
}

/// `ICANON`, `ECHO` and `ISIG` of the local modes.
fn is_raw(pty: &Pty) -> Result<bool, Failure> {
    let local = pty.modes()?[3];
    Ok(local & (libc::ICANON | libc::ECHO | libc::ISIG) == 0)
}

fn restored(ctx: &Ctx) -> Verdict {
    let before = Pty::open(24, 80)?.modes()?;
    let (mut pty, running) = sit_down(ctx, &[&["say", "ready"], &["cat"]])?;
    pty.expect("ready")?;
    let raw = ctx.wait_for(Duration::from_secs(5), || is_raw(&pty).unwrap_or(false));
    ensure!(raw, "the terminal is not raw while the container runs: {:?}", pty.modes()?);
    pty.press("\x04")?;
    pty.attend(running)?.ok()?;
    ensure_eq!(pty.modes()?, before, "modes afterwards");
    Ok(())
}

fn restored_after_kill(ctx: &Ctx) -> Verdict {
    let mut pty = Pty::open(24, 80)?;
    let before = pty.modes()?;
    let pid_file = ctx.scratch().join("pid");
    let b = bundle(ctx, &[&["say", "ready"], &["sleep"]])?;
    let running = pty.spawn(run(ctx, &b, &["--pid-file", &pid_file.to_string_lossy()])?)?;
    pty.expect("ready")?;
    let pid = ctx.wait_file(&pid_file)?.parse().map_err(|_| Failure::new("no number in the pid file"))?;
    sys::kill(pid, libc::SIGKILL)?;
    pty.attend(running)?.exits(137)?;
    ensure_eq!(pty.modes()?, before, "modes afterwards");
    Ok(())
}

fn restored_after_failure(ctx: &Ctx) -> Verdict {
    let mut pty = Pty::open(24, 80)?;
    let before = pty.modes()?;
    let mut b = bundle(ctx, &[])?;
    b.set("/process/args", json!(["/nowhere"]));
    let running = pty.spawn(run(ctx, &b, &[])?)?;
    pty.attend(running)?.exits(1)?;
    ensure_eq!(pty.modes()?, before, "modes after run");
    let c = ctx.sleeper()?;
    let running = pty.spawn(c.cmd(&["exec", "-t"]).arg("/nowhere"))?;
    pty.attend(running)?.exits(255)?;
    ensure_eq!(pty.modes()?, before, "modes after exec");
    Ok(())
}

/// What is sent to the runtime reaches the program; the runtime ends after it, and leaves the terminal in order.
fn signals(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let mut pty = Pty::open(24, 80)?;
    let before = pty.modes()?;
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        pty.screen.clear();
        let running = pty.spawn(c.exec(&["-t"], &[&["say", "ready"], &["sleep"]]))?;
        pty.expect("ready")?;
        sys::kill(running.pid(), signal)?;
        pty.attend(running)?.exits(128 + signal)?;
        ensure_eq!(pty.modes()?, before, "modes after signal {signal}");
    }
    Ok(())
}

fn exit_code(ctx: &Ctx) -> Verdict {
    let (mut pty, running) = sit_down(ctx, &[&["exit", "9"]])?;
    pty.attend(running)?.exits(9)?;
    let c = ctx.sleeper()?;
    let running = pty.spawn(c.exec(&["-t"], &[&["exit", "8"]]))?;
    pty.attend(running)?.exits(8).map(drop)
}

/// The lines of the step `flood`, as they appear on a terminal.
fn check_flood(screen: &str, lines: u32) -> Verdict {
    let mut seen = screen.lines();
    for i in 0..lines {
        let want = format!("{i:015}");
        // runc prints "\r\r\n" until it has changed the modes inside: ugly, but nothing is lost.
        let line = seen.next().map(|line| line.trim_end_matches('\r'));
        ensure!(line == Some(&want), "line {i} of {lines} is {line:?}");
    }
    ensure!(seen.next().is_some_and(|l| l.contains("\"flood\"")), "the end is missing");
    Ok(())
}

fn much_run(ctx: &Ctx) -> Verdict {
    let (mut pty, running) = sit_down(ctx, &[&["flood", &LINES.to_string()]])?;
    pty.attend(running)?.ok()?;
    check_flood(&pty.text(), LINES)
}

fn much_exec(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let mut pty = Pty::open(24, 80)?;
    let running = pty.spawn(c.exec(&["--tty"], &[&["flood", &LINES.to_string()]]))?;
    pty.attend(running)?.ok()?;
    check_flood(&pty.text(), LINES)
}

/// Processor time of a process so far, in ticks of 10 ms.
fn ticks(pid: i32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum())
}

/// The process does nothing for a second, though nothing keeps it from spinning.
fn is_idle(pid: i32) -> Verdict {
    std::thread::sleep(Duration::from_millis(500));
    let before = ticks(pid)?;
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(pid)? - before;
    ensure!(used < 20, "the runtime used {used} ticks of processor time in a second of waiting");
    Ok(())
}

/// Nobody reads for a while: the runtime waits, and has lost nothing when it goes on.
fn stalled(ctx: &Ctx) -> Verdict {
    let (mut pty, running) = sit_down(ctx, &[&["flood", "60000"]])?;
    is_idle(running.pid())?;
    pty.attend(running)?.ok()?;
    check_flood(&pty.text(), 60_000)?;
    // And one that is stalled for good can still be told to end.
    let c = ctx.sleeper()?;
    let pty = Pty::open(24, 80)?;
    let running = pty.spawn(c.exec(&["-t"], &[&["flood", "60000"]]))?;
    is_idle(running.pid())?;
    sys::kill(running.pid(), libc::SIGTERM)?;
    std::thread::sleep(Duration::from_millis(200));
    // The program has died of it; now it is about the output that is left.
    let _ = sys::kill(running.pid(), libc::SIGTERM);
    running.finish()?.exits(143).map(drop)
}

/// A program may close its terminal and go on.
fn closed_inside(ctx: &Ctx) -> Verdict {
    let steps: &[&[&str]] = &[&["say", "ready"], &["close-stdio"], &["sleep", "2.5"], &["exit", "4"]];
    let (mut pty, running) = sit_down(ctx, steps)?;
    pty.expect("ready")?;
    is_idle(running.pid())?;
    pty.attend(running)?.exits(4).map(drop)
}

/// The runtime ends with its process, even if another one keeps the terminal.
fn survivor(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let mut pty = Pty::open(24, 80)?;
    let sighup = libc::SIGHUP.to_string();
    let running =
        pty.spawn(c.exec(&["-t"], &[&["ignore", &sighup], &["children", "1", "keep"], &["exit", "3"]]))?;
    pty.attend(running)?.exits(3)?;
    ensure!(pty.text().contains("\"made\":1"), "output is missing: {:?}", pty.text());
    Ok(())
}

/// The caller's terminal is gone: the one inside hangs up, and the program cannot print any more.
fn hangup(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let mut pty = Pty::open(24, 80)?;
    let running = pty.spawn(c.exec(&["-t"], &[&["say", "ready"], &["sleep"]]))?;
    pty.expect("ready")?;
    drop(pty);
    running.finish()?.exits(129).map(drop)
}

fn stdin_file(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &[&["cat"]])?;
    let out = run(ctx, &b, &[])?.stdin("from a file\n").ok()?;
    ensure!(
        out.stdout.contains(r#""text":"from a file\n""#),
        "the program read something else: {}",
        out.stdout
    );
    let c = ctx.sleeper()?;
    let out = c.exec(&["-t"], &[&["cat"]]).ok()?;
    ensure!(out.stdout.contains(r#""text":"""#), "the program read something else: {}", out.stdout);
    ensure!(!out.stdout.contains('\r'), "carriage returns in a file: {:?}", out.stdout);
    Ok(())
}

fn stdin_partial(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &[&["cat"]])?;
    let out = run(ctx, &b, &[])?.stdin("one\ntwo").ok()?;
    ensure!(out.stdout.contains(r#""text":"one\ntwo""#), "the program read something else: {}", out.stdout);
    Ok(())
}

fn detached(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &[&["sleep"]])?;
    run(ctx, &b, &["-d"])?.run()?.refused(&["console-socket", "console socket"])?;
    let c = ctx.sleeper()?;
    let out = c.exec(&["-t", "-d"], &[&["sleep"]]).run()?;
    out.refused_with(255, &["console-socket", "console socket"]).map(drop)
}

fn exec_socket(ctx: &Ctx) -> Verdict {
    let path = ctx.scratch().join("console");
    let _listener = std::os::unix::net::UnixListener::bind(&path)?;
    let c = ctx.sleeper()?;
    let out = c.exec(&["-d", "--console-socket", &path.to_string_lossy()], &[&["sleep"]]).run()?;
    out.refused_with(255, &["console socket"]).map(drop)
}

/// Without a terminal nothing is changed on the way.
fn binary(ctx: &Ctx) -> Verdict {
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
    let c = ctx.sleeper()?;
    let running = c.exec(&[], &[&["copy"]]).stdin(bytes.clone()).spawn()?;
    let path = running.output_path();
    running.finish()?.ok()?;
    ensure!(fs::read(path)? == bytes, "the bytes that came back are others");
    Ok(())
}
