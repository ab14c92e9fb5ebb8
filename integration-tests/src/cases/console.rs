//! Terminals: the console socket, /dev/console, window sizes.

use crate::failure::Verdict;
use crate::process::{Cmd, Out};
use crate::registry::Case;
use crate::{Ctx, Facts, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("console/socket", &["PROC-02", "PROC-03", "PROC-04", "DEV-15"], socket),
        Case::new("console/size", &["PROC-06"], size),
        Case::new("console/size-ignored-without-terminal", &["PROC-05"], size_ignored),
        Case::new("console/user-owns-it", &["PROC-17"], user_owns).practice(),
        Case::new("console/is-controlling", &["PROC-02"], controlling).practice(),
        Case::new("console/exec", &["PROC-03"], exec),
        Case::new("console/interaction", &["PROC-02"], interaction),
        Case::new("console/terminal-without-socket", &["PROC-03"], without_socket).practice(),
        Case::new("console/socket-without-terminal", &["PROC-03"], without_terminal).practice(),
        Case::new("console/socket-is-gone", &["PROC-03"], socket_gone).practice(),
        Case::new("console/hangup", &["LIF-12"], hangup).practice(),
        Case::new("pidfd-socket/create", &["ST-10"], pidfd_of_create).practice(),
        Case::new("pidfd-socket/exec", &["ST-10"], pidfd_of_exec).practice(),
    ]
}

/// Starts a command that sends its terminal to the socket, and receives that.
pub(super) fn receive(listener: &UnixListener, cmd: Cmd) -> Result<(File, Vec<u8>, Out), Failure> {
    let running = cmd.spawn()?;
    if !sys::wait_readable(listener, Duration::from_secs(10))? {
        let out = running.finish()?;
        return Err(Failure::new(format!("nobody connected to the console socket; stderr: {}", out.stderr)));
    }
    let (stream, _) = listener.accept()?;
    ensure!(sys::wait_readable(&stream, Duration::from_secs(10))?, "nothing came over the console socket");
    let (data, mut fds) = sys::receive_fds(&stream)?;
    ensure_eq!(fds.len(), 1, "descriptors in the first message");
    ensure!(!data.is_empty() && data.len() < 4096, "{} bytes came with the descriptor", data.len());
    let out = running.finish()?.ok()?;
    Ok((File::from(fds.remove(0)), data, out))
}

/// Reads the terminal until this many JSON lines have come.
pub(super) fn read_lines(master: &mut File, count: usize) -> Result<Vec<Facts>, Failure> {
    let mut text = String::new();
    let end = crate::process::deadline(Duration::from_secs(10));
    while text.matches('\n').count() < count && Instant::now() < end {
        if !sys::wait_readable(master, Duration::from_millis(200))? {
            continue;
        }
        let mut buffer = [0u8; 65536];
        // EIO: the last process with the terminal is gone.
        let Ok(n) = master.read(&mut buffer) else { break };
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    Facts::lines(&text.replace('\r', ""))
}

pub(super) struct Session<'c> {
    pub container: crate::Container<'c>,
    pub master: File,
    message: Vec<u8>,
}

pub(super) fn open<'c>(ctx: &'c Ctx, change: impl Fn(&mut crate::Bundle)) -> Result<Session<'c>, Failure> {
    let path = ctx.scratch().join("console");
    let listener = UnixListener::bind(&path)?;
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true));
    change(&mut b);
    b.save()?;
    let container = crate::Container::new(ctx, &ctx.id());
    let cmd = ctx.rt(["create", "--console-socket"]).arg(&path).arg("-b").arg(&b.dir).arg(&container.id);
    let (master, message, _) = receive(&listener, cmd)?;
    Ok(Session { container, master, message })
}

fn socket(ctx: &Ctx) -> Verdict {
    let mut s = open(ctx, |_| {})?;
    s.container.start()?;
    let facts = read_lines(&mut s.master, 1)?.remove(0);
    ensure_eq!(*facts.get("/tty/isatty"), json!([true, true, true]), "stdio are terminals");
    let console = facts.0["dev"]["console"].clone();
    ensure_eq!(console["kind"], json!("char"), "kind of /dev/console");
    ensure!(console["rdev"].as_str().is_some_and(|r| r.starts_with("136:")), "/dev/console is {console}");
    ensure!(!s.message.is_empty(), "no name came with the descriptor");
    Ok(())
}

fn size(ctx: &Ctx) -> Verdict {
    let mut s = open(ctx, |b| {
        b.set("/process/consoleSize", json!({"height": 33, "width": 111}));
    })?;
    ensure_eq!(sys::window_size(&s.master)?, (33, 111), "window size seen from outside");
    s.container.start()?;
    let facts = read_lines(&mut s.master, 1)?.remove(0);
    ensure_eq!(
        (facts.get("/tty/rows"), facts.get("/tty/columns")),
        (&json!(33), &json!(111)),
        "window size inside"
    );
    Ok(())
}

fn size_ignored(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/consoleSize", json!({"height": 33, "width": 111}));
    ensure_eq!(*ctx.facts(&b)?.get("/tty/isatty/0"), json!(false), "stdin is a terminal");
    Ok(())
}

fn user_owns(ctx: &Ctx) -> Verdict {
    let mut s = open(ctx, |b| {
        b.set("/process/user", json!({"uid": 1234, "gid": 1234}));
    })?;
    s.container.start()?;
    let facts = read_lines(&mut s.master, 1)?.remove(0);
    ensure_eq!(*facts.get("/stdin/uid"), json!(1234), "owner of the terminal");
    Ok(())
}

fn controlling(ctx: &Ctx) -> Verdict {
    let mut s = open(ctx, |b| {
        b.steps(&[&["facts"], &["open", "/dev/tty", "rw"]]);
    })?;
    s.container.start()?;
    let lines = read_lines(&mut s.master, 2)?;
    ensure_eq!(lines[1].result(), "ok", "opening /dev/tty");
    ensure_eq!(*lines[0].get("/tty/foreground"), *lines[0].get("/process/pgid"), "foreground process group");
    Ok(())
}

fn exec(ctx: &Ctx) -> Verdict {
    let c = ctx.sleeper()?;
    let path = ctx.scratch().join("console");
    let listener = UnixListener::bind(&path)?;
    let socket = path.to_string_lossy().into_owned();
    let cmd = c.exec(&["--tty", "--detach", "--console-socket", &socket], &[&["facts"], &["sleep"]]);
    let (mut master, _, _) = receive(&listener, cmd)?;
    let facts = read_lines(&mut master, 1)?.remove(0);
    ensure_eq!(*facts.get("/tty/isatty"), json!([true, true, true]), "stdio are terminals");
    Ok(())
}

fn interaction(ctx: &Ctx) -> Verdict {
    let mut s = open(ctx, |b| {
        b.steps(&[&["cat"]]);
    })?;
    s.container.start()?;
    // A line, then end of file.
    s.master.write_all(b"typed\n\x04")?;
    let mut text = String::new();
    let end = crate::process::deadline(Duration::from_secs(10));
    while !text.contains("\"cat\"") && Instant::now() < end {
        let mut buffer = [0u8; 4096];
        if sys::wait_readable(&s.master, Duration::from_millis(200))? {
            let Ok(n) = s.master.read(&mut buffer) else { break };
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    }
    ensure!(text.contains("\"text\":\"typed\\n\""), "the program read something else: {text:?}");
    Ok(())
}

fn without_socket(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true));
    ctx.refuses(&b, &["console socket", "console-socket", "tty", "terminal"]).map(drop)
}

fn without_terminal(ctx: &Ctx) -> Verdict {
    let path = ctx.scratch().join("console");
    let _listener = UnixListener::bind(&path)?;
    let b = ctx.bundle()?;
    b.save()?;
    let id = ctx.id();
    let out = ctx.rt(["create", "--console-socket"]).arg(&path).arg("-b").arg(&b.dir).arg(&id).run()?;
    out.refused(&["console socket", "console-socket", "terminal", "tty"])?;
    ctx.nothing_left(&id)
}

fn socket_gone(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/terminal", json!(true));
    b.save()?;
    let id = ctx.id();
    let out = ctx.rt(["create", "--console-socket", "/nowhere/socket", "-b"]).arg(&b.dir).arg(&id).run()?;
    out.refused(&["/nowhere/socket"])?;
    ctx.nothing_left(&id)
}

/// Closing the terminal hangs up on the session leader, which dies of it.
fn hangup(ctx: &Ctx) -> Verdict {
    let s = open(ctx, |b| {
        b.without_namespace("pid").steps(&[&["sleep"]]);
    })?;
    s.container.start()?;
    drop(s.master);
    s.container.wait_status("stopped")
}

/// Not every runtime has the flag (runc since 1.2).
fn pidfd_listener(ctx: &Ctx, verb: &str) -> Result<UnixListener, Failure> {
    let help = ctx.rt([verb, "--help"]).run()?;
    if !help.stdout.contains("--pidfd-socket") {
        return Err(Failure::skip(format!("the runtime has no `{verb} --pidfd-socket`")));
    }
    Ok(UnixListener::bind(ctx.scratch().join("pidfd"))?)
}

/// The pid that a pidfd stands for, as the kernel tells it.
fn pid_of(pidfd: &File) -> Result<i32, Failure> {
    let path = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(pidfd));
    let info = std::fs::read_to_string(path)?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    pid.ok_or_else(|| Failure::new(format!("not a pidfd: {info}")))
}

fn pidfd_of_create(ctx: &Ctx) -> Verdict {
    let listener = pidfd_listener(ctx, "create")?;
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]).save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let cmd = ctx
        .rt(["create", "--pidfd-socket"])
        .arg(ctx.scratch().join("pidfd"))
        .arg("-b")
        .arg(&b.dir)
        .arg(&c.id);
    let (pidfd, _, _) = receive(&listener, cmd)?;
    let state = c.state()?;
    ensure_eq!(state["pid"].as_i64(), Some(i64::from(pid_of(&pidfd)?)), "pid of the pidfd");
    c.delete_force()?;
    Ok(())
}

fn pidfd_of_exec(ctx: &Ctx) -> Verdict {
    let listener = pidfd_listener(ctx, "exec")?;
    let c = ctx.sleeper()?;
    let pid_file = ctx.scratch().join("exec.pid");
    let cmd = ctx.rt(["exec", "-d", "--pidfd-socket"]).arg(ctx.scratch().join("pidfd"));
    let cmd = cmd.arg("--pid-file").arg(&pid_file).arg(&c.id).args(["/bin/probe", "sleep"]);
    let (pidfd, _, _) = receive(&listener, cmd)?;
    ensure_eq!(std::fs::read_to_string(&pid_file)?, pid_of(&pidfd)?.to_string(), "pid of the pidfd");
    Ok(())
}
