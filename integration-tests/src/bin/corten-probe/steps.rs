//! The steps that the probe knows.

use crate::{facts, hook, spy, sys};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for what the harness is about to do: it knows how slow the machine is, and the probe does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Executes one step.
pub fn run(name: &str, args: &[&str]) -> io::Result<Value> {
    match (name, args) {
        ("facts", _) => Ok(facts::all()),
        ("hook", args) => hook::run(args),
        ("say", [text]) => Ok(json!({"text": text})),
        ("sleep", []) => sleep_forever(),
        ("sleep", [seconds]) => {
            std::thread::sleep(Duration::from_secs_f64(number(seconds)?));
            Ok(json!({}))
        }
        ("exit", [code]) => sys::exit(number(code)?),
        ("die", [signal]) => sys::die(number(signal)?),
        ("signals", [log]) => signal_log(log),
        ("ignore", [signal]) => sys::ignore(number(signal)?).map(|()| json!({})),
        ("write", [path, text]) => write(path, text, false),
        ("create", [path, text]) => write(path, text, true),
        ("read", [path]) => fs::read(path).map(|b| json!({"text": String::from_utf8_lossy(&b)})),
        ("cat", []) => cat(),
        ("stat", [path]) => Ok(json!({"stat": facts::describe(Path::new(path))})),
        ("ls", [path]) => ls(path),
        ("notify", [message]) => notify(message),
        ("open", [path, mode]) => open(path, mode),
        ("access-time", [path]) => access_time(path),
        ("mknod", [path, kind, major, minor]) => {
            sys::mknod(path, kind, number(major)?, number(minor)?).map(|()| json!({}))
        }
        ("mkdir", [path]) => fs::create_dir(path).map(|()| json!({})),
        ("bind", [from, to]) => sys::bind(from, to).map(|()| json!({})),
        ("chown", [path, uid]) => {
            std::os::unix::fs::chown(path, Some(number(uid)?), None).map(|()| json!({}))
        }
        ("exec", [program, rest @ ..]) => spawn(program, rest),
        ("spy", [until]) => spy::watch(Path::new(until)),
        ("without", [calls, program, rest @ ..]) => without(calls, program, rest),
        ("syscall", [nr, rest @ ..]) => syscall(nr, rest),
        ("syscall-errno", [nr, arg]) => Ok(sys::seccomp::errno(word(nr)?, word(arg)?)),
        ("syscall-thread", [nr]) => sys::seccomp::in_thread(word(nr)?),
        ("syscall-traced", [nr]) => sys::seccomp::traced(word(nr)?),
        ("syscall-trapped", [nr]) => sys::seccomp::trap(word(nr)?),
        ("syscall32", [nr]) => sys::syscall32(number(nr)?),
        ("bomb", []) => sys::bomb(),
        ("children", [count, then]) => children(number(count)?, then),
        ("eat-memory", [bytes]) => eat_memory(number(bytes)?),
        ("hold-memory", [bytes]) => hold_memory(number(bytes)?),
        ("huge-pages", [count]) => sys::touch_huge_pages(number(count)?),
        ("fork-bomb", []) => sys::fork_bomb(),
        ("direct-write", [path, bytes, block]) => direct(path, number(bytes)?, number(block)?, true),
        ("direct-read", [path, bytes, block]) => direct(path, number(bytes)?, number(block)?, false),
        ("burn", [seconds]) => Ok(burn(number(seconds)?)),
        ("wait-file", [path]) => wait_file(path),
        ("flood", [lines]) => flood(number(lines)?),
        ("copy", []) => {
            io::copy(&mut io::stdin(), &mut io::stdout())?;
            io::stdout().flush()?;
            sys::exit(0)
        }
        ("close-stdio", []) => {
            sys::close_stdio();
            Ok(json!({}))
        }
        ("wait-size", [rows, columns]) => wait_size(number(rows)?, number(columns)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A number in decimal or 0x notation; negative ones wrap.
fn word(text: &str) -> io::Result<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map_err(|_| io::ErrorKind::InvalidInput.into()),
        None => number::<i128>(text).map(|n| n as u64),
    }
}

fn sleep_forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn signal_log(log: &str) -> io::Result<Value> {
    let log = File::options().create(true).append(true).open(log)?;
    sys::log_signals(log)?;
    println!("{}", json!({"step": "signals", "result": "ok"}));
    sleep_forever()
}

fn write(path: &str, text: &str, create: bool) -> io::Result<Value> {
    File::options().write(true).create(create).open(path)?.write_all(text.as_bytes())?;
    Ok(json!({}))
}

fn cat() -> io::Result<Value> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(json!({"text": text}))
}

fn ls(path: &str) -> io::Result<Value> {
    let mut names: Vec<String> =
        fs::read_dir(path)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(json!({"names": names}))
}

/// sd_notify(3).
fn notify(message: &str) -> io::Result<Value> {
    let address = std::env::var_os("NOTIFY_SOCKET").ok_or(io::ErrorKind::NotFound)?;
    UnixDatagram::unbound()?.send_to(message.as_bytes(), address)?;
    Ok(json!({}))
}

fn open(path: &str, mode: &str) -> io::Result<Value> {
    let mut options = File::options();
    options.read(mode.contains('r')).write(mode.contains('w')).custom_flags(libc::O_NONBLOCK);
    options.open(path).map(|_| json!({}))
}

/// Reads a file and says whether that moved its access time.
fn access_time(path: &str) -> io::Result<Value> {
    let before = fs::metadata(path)?.accessed()?;
    std::thread::sleep(Duration::from_millis(20));
    fs::read(path)?;
    Ok(json!({"moved": fs::metadata(path)?.accessed()? != before}))
}

fn spawn(program: &str, args: &[&str]) -> io::Result<Value> {
    let out = std::process::Command::new(program).args(args).output()?;
    Ok(json!({"code": out.status.code(), "stdout": String::from_utf8_lossy(&out.stdout)}))
}

/// Becomes a program for which the system calls of a comma-separated list do not exist.
fn without(calls: &str, program: &str, args: &[&str]) -> io::Result<Value> {
    use std::os::unix::process::CommandExt;
    let number = |name: &str| name.parse::<syscalls::Sysno>().map_err(|()| io::ErrorKind::InvalidInput);
    let numbers =
        calls.split(',').map(|name| number(name).map(|nr| nr.id() as u32)).collect::<Result<Vec<_>, _>>()?;
    sys::forbid(&numbers)?;
    Err(std::process::Command::new(program).args(args).exec())
}

fn syscall(nr: &str, args: &[&str]) -> io::Result<Value> {
    let mut words = [0u64; 6];
    for (slot, arg) in words.iter_mut().zip(args) {
        *slot = word(arg)?;
    }
    sys::syscall(word(nr)?, words)
}

/// Forks up to `count` sleeping children. With `then` = "keep" they stay, with "kill" they are killed again.
fn children(count: u32, then: &str) -> io::Result<Value> {
    let mut pids = Vec::new();
    let mut failure = None;
    for _ in 0..count {
        match sys::fork_sleeper() {
            Ok(pid) => pids.push(pid),
            Err(e) => {
                failure = Some(sys::error_name(&e));
                break;
            }
        }
    }
    if then == "kill" {
        for pid in &pids {
            sys::kill_and_reap(*pid)?;
        }
    }
    Ok(json!({"made": pids.len(), "failure": failure, "pids": pids}))
}

fn eat_memory(bytes: usize) -> io::Result<Value> {
    let mut pages = vec![0u8; bytes];
    for page in pages.chunks_mut(4096) {
        page[0] = 1;
    }
    Ok(json!({"sum": pages.iter().step_by(4096).map(|b| u64::from(*b)).sum::<u64>()}))
}

/// As [`eat_memory`], but never gives it back.
fn hold_memory(bytes: usize) -> io::Result<Value> {
    let pages = vec![0u8; bytes].leak();
    for page in pages.chunks_mut(4096) {
        page[0] = 1;
    }
    Ok(json!({}))
}

/// Writes or reads a file from its beginning, past the page cache, and reports how long that took.
fn direct(path: &str, bytes: usize, block: usize, write: bool) -> io::Result<Value> {
    const ALIGNMENT: usize = 4096;
    let mut file = File::options().read(!write).write(write).custom_flags(libc::O_DIRECT).open(path)?;
    let mut memory = vec![1u8; block + ALIGNMENT];
    let skip = memory.as_ptr().align_offset(ALIGNMENT);
    let buffer = &mut memory[skip..skip + block];
    let begin = Instant::now();
    for _ in 0..bytes / block {
        if write { file.write_all(buffer)? } else { file.read_exact(buffer)? }
    }
    Ok(json!({"seconds": begin.elapsed().as_secs_f64()}))
}

/// Spins and reports how much processor time that took.
fn burn(seconds: f64) -> Value {
    let begin = Instant::now();
    let cpu = sys::cpu_time();
    while begin.elapsed().as_secs_f64() < seconds {
        std::hint::spin_loop();
    }
    json!({"share": (sys::cpu_time() - cpu) / begin.elapsed().as_secs_f64()})
}

fn wait_file(path: &str) -> io::Result<Value> {
    let end = Instant::now() + PATIENCE;
    while !Path::new(path).exists() {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(json!({}))
}

/// Writes numbered lines of 16 bytes.
fn flood(lines: u32) -> io::Result<Value> {
    let mut out = io::BufWriter::with_capacity(30_000, io::stdout().lock());
    for i in 0..lines {
        writeln!(out, "{i:015}")?;
    }
    out.flush()?;
    Ok(json!({}))
}

/// Waits until the terminal on standard input has this size.
fn wait_size(rows: u16, columns: u16) -> io::Result<Value> {
    let end = Instant::now() + PATIENCE;
    let wanted = (json!(rows), json!(columns));
    loop {
        let facts = sys::tty_facts();
        if (&facts["rows"], &facts["columns"]) == (&wanted.0, &wanted.1) {
            return Ok(facts);
        }
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
