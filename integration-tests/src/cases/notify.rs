//! sd_notify(3): the harness is the service manager, the probe the service.

use crate::failure::Verdict;
use crate::process::{Cmd, Running};
use crate::pty::Pty;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    let practice = |name: &str, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("notify/{name}"), &[], body).practice().needs(&[Need::Root])
    };
    vec![
        practice("foreground", foreground),
        practice("abstract", abstract_name),
        practice("detached", detached),
        practice("start", start),
        practice("dies-before-ready", dies),
        practice("status-and-stopping", status),
        practice("terminal", terminal),
        practice("not-for-others", not_for_others),
        practice("user-namespace", user_namespace).needs(&[Need::UserNs]),
        practice("mount", mount),
        practice("in-the-way", in_the_way),
        practice("no-manager", no_manager),
        practice("unset", unset),
    ]
}

struct Manager {
    socket: UnixDatagram,
    address: String,
    heard: String,
}

impl Manager {
    fn new(ctx: &Ctx) -> Result<Manager, Failure> {
        let path = ctx.scratch().join("manager");
        let socket = UnixDatagram::bind(&path)?;
        Ok(Manager { socket, address: path.to_string_lossy().into_owned(), heard: String::new() })
    }

    /// Listens until this has been said.
    #[track_caller]
    fn expect(&mut self, line: &str) -> Result<(), Failure> {
        let end = crate::process::deadline(Duration::from_secs(10));
        while !self.heard.lines().any(|heard| heard == line) {
            ensure!(Instant::now() < end, "the manager was not told {line}, only {:?}", self.heard);
            self.listen(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Takes one message, if one comes in time. Its descriptor is closed, as one of `BARRIER=1` should be.
    fn listen(&mut self, limit: Duration) -> Result<bool, Failure> {
        if !sys::wait_readable(&self.socket, limit)? {
            return Ok(false);
        }
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer)?;
        self.heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        self.heard.push('\n');
        Ok(true)
    }

    /// Takes all that has come.
    fn drain(&mut self) -> Result<&str, Failure> {
        while self.listen(Duration::ZERO)? {}
        Ok(&self.heard)
    }
}

/// A command that does not bring the manager to hear all of this is killed.
fn tells(m: &mut Manager, running: Running, lines: &[&str]) -> Result<Running, Failure> {
    match lines.iter().try_for_each(|line| m.expect(line)) {
        Ok(()) => Ok(running),
        Err(e) => running.kill().and(Err(e)),
    }
}

fn run(ctx: &Ctx, b: &Bundle, m: &Manager, options: &[&str], id: &str) -> Result<Cmd, Failure> {
    b.save()?;
    Ok(ctx.rt(["run"]).args(options).arg("-b").arg(&b.dir).arg(id).env("NOTIFY_SOCKET", &m.address))
}

fn bundle(ctx: &Ctx, steps: &[&[&str]]) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.writable().steps(steps);
    Ok(b)
}

fn ready_in_foreground(ctx: &Ctx, m: &mut Manager) -> Verdict {
    let b = bundle(ctx, &[&["notify", "READY=1"], &["sleep", "0.3"], &["exit", "7"]])?;
    let id = ctx.id();
    let running = run(ctx, &b, m, &[], &id)?.spawn()?;
    m.expect("READY=1")?;
    // The runtime ends as the container does: it is what the manager goes on watching.
    m.expect(&format!("MAINPID={}", running.pid()))?;
    m.drain()?;
    running.finish()?.exits(7)?;
    ctx.nothing_left(&id)
}

fn foreground(ctx: &Ctx) -> Verdict {
    ready_in_foreground(ctx, &mut Manager::new(ctx)?)
}

fn abstract_name(ctx: &Ctx) -> Verdict {
    let name = format!("corten-harness-{}", ctx.id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    ready_in_foreground(ctx, &mut Manager { socket, address: format!("@{name}"), heard: String::new() })
}

/// A service that gets ready when a file appears.
fn slow(ctx: &Ctx) -> Result<(Bundle, PathBuf), Failure> {
    let mut b = bundle(ctx, &[&["wait-file", "/out/go"], &["notify", "READY=1"], &["sleep"]])?;
    let out = b.out();
    Ok((b, out.join("go")))
}

/// The command ends only after the service is ready, and says whom to watch.
fn ends_when_ready(ctx: &Ctx, m: &mut Manager, cmd: Cmd, go: &Path, pid_file: &Path) -> Verdict {
    let running = cmd.spawn()?;
    let pid = ctx.wait_file(pid_file)?;
    std::thread::sleep(Duration::from_millis(300));
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid()))?;
    ensure!(!stat.contains(") Z "), "the command did not wait for READY=1");
    ensure_eq!(m.drain()?, "", "what the manager was told before");
    fs::write(go, "")?;
    m.expect("READY=1")?;
    m.expect(&format!("MAINPID={pid}"))?;
    // `BARRIER=1`, which the command waits to see read.
    while m.listen(Duration::from_millis(300))? {}
    running.finish()?.ok().map(drop)
}

fn detached(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let (b, go) = slow(ctx)?;
    let c = Container::new(ctx, &ctx.id());
    let pid_file = ctx.scratch().join("pid");
    let cmd = run(ctx, &b, &m, &["-d", "--pid-file", &pid_file.to_string_lossy()], &c.id)?;
    ends_when_ready(ctx, &mut m, cmd, &go, &pid_file)?;
    c.expect_status("running")?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn start(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let (b, go) = slow(ctx)?;
    b.save()?;
    let c = Container::new(ctx, &ctx.id());
    let pid_file = ctx.scratch().join("pid");
    let create = ctx.rt(["create", "--pid-file"]).arg(&pid_file).arg("-b").arg(&b.dir).arg(&c.id);
    create.env("NOTIFY_SOCKET", &m.address).ok()?;
    let cmd = c.cmd(&["start"]).env("NOTIFY_SOCKET", &m.address);
    ends_when_ready(ctx, &mut m, cmd, &go, &pid_file)?;
    c.expect_status("running")?;
    c.delete_force()?;
    ctx.nothing_left(&c.id)
}

fn dies(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let b = bundle(ctx, &[&["exit", "3"]])?;
    let c = Container::new(ctx, &ctx.id());
    let running = run(ctx, &b, &m, &["-d"], &c.id)?.spawn()?;
    let end = crate::process::deadline(Duration::from_secs(5));
    while Instant::now() < end && c.cmd(&["state"]).run()?.json().is_ok_and(|s| s["status"] != "stopped") {
        m.listen(Duration::from_millis(50))?;
    }
    m.listen(Duration::from_millis(300))?;
    running.finish()?.ok()?;
    ensure!(!m.drain()?.contains("READY"), "the manager was told {:?}", m.heard);
    c.delete()?;
    ctx.nothing_left(&c.id)
}

const TALKATIVE: &[&[&str]] = &[
    &["notify", "STATUS=begins"],
    &["notify", "STATUS=works\nREADY=1"],
    &["notify", "RELOADING=1\nMONOTONIC_USEC=5"],
    &["notify", "WATCHDOG=1"],
    &["notify", "STOPPING=1"],
];

const TALK: &[&str] = &[
    "STATUS=begins",
    "STATUS=works",
    "READY=1",
    "RELOADING=1",
    "MONOTONIC_USEC=5",
    "WATCHDOG=1",
    "STOPPING=1",
];

fn status(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let c = Container::new(ctx, &ctx.id());
    let running = run(ctx, &bundle(ctx, TALKATIVE)?, &m, &[], &c.id)?.spawn()?;
    tells(&mut m, running, TALK)?.finish()?.ok()?;
    ctx.nothing_left(&c.id)
}

fn terminal(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let mut b = bundle(ctx, TALKATIVE)?;
    b.set("/process/terminal", json!(true));
    let c = Container::new(ctx, &ctx.id());
    let mut pty = Pty::open(24, 80)?;
    let running = pty.spawn(run(ctx, &b, &m, &[], &c.id)?)?;
    let running = tells(&mut m, running, TALK)?;
    pty.attend(running)?.ok()?;
    ctx.nothing_left(&c.id)
}

/// The manager trusts the runtime, so a container must not speak through it about other processes or about the unit.
fn not_for_others(ctx: &Ctx) -> Verdict {
    let mut m = Manager::new(ctx)?;
    let others = "MAINPID=1\nFDSTORE=1\nNOTIFYACCESS=all\nREADY=1";
    let b = bundle(ctx, &[&["notify", "MAINPID=1"], &["notify", others], &["sleep", "0.3"]])?;
    let c = Container::new(ctx, &ctx.id());
    let running = run(ctx, &b, &m, &[], &c.id)?.spawn()?;
    let own = format!("MAINPID={}", running.pid());
    tells(&mut m, running, &[&own])?.finish()?.ok()?;
    let heard = m.drain()?;
    for word in ["MAINPID=1\n", "FDSTORE", "NOTIFYACCESS"] {
        ensure!(!heard.contains(word), "the manager was told {word:?}: {heard:?}");
    }
    ctx.nothing_left(&c.id)
}

/// Neither root inside nor an ordinary user there is anybody outside.
fn user_namespace(ctx: &Ctx) -> Verdict {
    for uid in [0, 1000] {
        let socket = UnixDatagram::bind(ctx.scratch().join(format!("manager{uid}")))?;
        let address = ctx.scratch().join(format!("manager{uid}")).to_string_lossy().into_owned();
        let mut m = Manager { socket, address, heard: String::new() };
        let mut b = bundle(ctx, &[&["notify", "READY=1"], &["sleep", "0.3"]])?;
        b.user_namespace(100_000)?.set("/process/user", json!({"uid": uid, "gid": uid}));
        let id = ctx.id();
        let running = run(ctx, &b, &m, &[], &id)?.spawn()?;
        m.expect("READY=1")?;
        m.drain()?;
        running.finish()?.ok()?;
        ctx.nothing_left(&id)?;
    }
    Ok(())
}

/// The probe of a service that looks at itself and says that it is ready.
fn look(ctx: &Ctx, b: &mut Bundle) -> Result<crate::Facts, Failure> {
    let mut m = Manager::new(ctx)?;
    b.steps(&[&["facts"], &["notify", "READY=1"]]);
    let id = ctx.id();
    let running = run(ctx, b, &m, &[], &id)?.spawn()?;
    m.expect("READY=1")?;
    m.drain()?;
    let out = running.finish()?.ok()?;
    ctx.nothing_left(&id)?;
    Ok(crate::Facts::lines(&out.stdout)?.remove(0))
}

fn variable(facts: &crate::Facts) -> Vec<String> {
    let env = facts.get("/environ").to_string();
    env.split('"').filter(|e| e.contains("NOTIFY_SOCKET")).map(str::to_owned).collect()
}

fn mount(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.writable();
    let facts = look(ctx, &mut b)?;
    ensure_eq!(variable(&facts), ["NOTIFY_SOCKET=/run/notify/notify.sock"], "variables");
    let mount = facts.mount("/run/notify")?;
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        ensure!(mount.own(option), "/run/notify is not {option}: {mount:?}");
    }
    Ok(())
}

/// A configuration that has both already is overridden.
fn in_the_way(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.writable().mount("/run/notify", "tmpfs", "tmpfs", &[]);
    b.set("/process/env/-", json!("NOTIFY_SOCKET=/elsewhere"));
    let facts = look(ctx, &mut b)?;
    ensure_eq!(variable(&facts), ["NOTIFY_SOCKET=/run/notify/notify.sock"], "variables");
    Ok(())
}

/// The container runs all the same.
fn no_manager(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &[&["say", "hello"]])?;
    b.save()?;
    let id = ctx.id();
    let cmd = ctx.rt(["run", "-b"]).arg(&b.dir).arg(&id).env("NOTIFY_SOCKET", "/nowhere/notify");
    let out = cmd.ok()?;
    ensure!(out.stdout.contains("hello"), "the program did not run");
    ctx.nothing_left(&id)
}

fn unset(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, &[&["facts"], &["stat", "/run/notify"]])?;
    b.writable();
    let lines = ctx.run_steps(&b)?;
    ensure_eq!(variable(&lines[0]), Vec::<String>::new(), "variables");
    ensure!(lines[0].mount("/run/notify").is_err(), "/run/notify is mounted");
    Ok(())
}
