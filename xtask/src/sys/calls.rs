//! The system calls of a program and of the processes that it makes, with the time of each, by ptrace(2).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::check;

/// One system call.
pub struct Call {
    /// Which process: they are numbered in the order of their birth, the program itself being 0.
    pub process: usize,
    /// When it began, in microseconds.
    pub begin: f64,
    /// When it was over.
    pub end: f64,
    number: i64,
    before: i64,
    path: String,
}

impl Call {
    /// Whether it is this one.
    pub fn is(&self, number: i64) -> bool {
        self.number == number
    }

    /// Whether the one before it was this one.
    pub fn follows(&self, number: i64) -> bool {
        self.before == number
    }

    /// Whether it opens a file of that name.
    pub fn opens(&self, name: &str) -> bool {
        (self.is(libc::SYS_openat) || self.is(libc::SYS_openat2)) && self.path.ends_with(name)
    }
}

/// What `struct ptrace_syscall_info` begins with, at an entry.
#[repr(C)]
#[derive(Default)]
struct Info {
    op: u8,
    rest: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    number: u64,
    arguments: [u64; 6],
    more: [u64; 2],
}

/// Runs a program, with its output thrown away, until it ends. Times count from `begin`. Other programs that its
/// children execute are not followed.
pub fn trace(line: &[OsString], begin: Instant) -> io::Result<Vec<Call>> {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // What is still being traced when a thread ends goes on by itself.
    thread::scope(|scope| match scope.spawn(move || follow(&mut command, begin)).join() {
        Ok(calls) => calls,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[derive(Default)]
struct Process {
    number: usize,
    last: i64,
    open: Option<Call>,
}

fn follow(command: &mut Command, start: Instant) -> io::Result<Vec<Call>> {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| request(libc::PTRACE_TRACEME, 0, 0)) };
    let first = command.spawn()?.id().cast_signed();
    let now = || start.elapsed().as_secs_f64() * 1e6;
    wait(first)?;
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    request(libc::PTRACE_SETOPTIONS, first, options)?;
    let mut processes = HashMap::from([(first, Process::default())]);
    let mut calls = Vec::new();
    request(libc::PTRACE_SYSCALL, first, 0)?;
    loop {
        let (pid, status) = wait(-1)?;
        let number = processes.len();
        let process = processes.entry(pid).or_insert_with(|| Process { number, ..Process::default() });
        if !libc::WIFSTOPPED(status) {
            if pid == first {
                calls.extend(process.open.take().map(|call| Call { end: now(), ..call }));
                calls.sort_by(|a: &Call, b: &Call| a.begin.total_cmp(&b.begin));
                return Ok(calls);
            }
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        if event == libc::PTRACE_EVENT_EXEC {
            request(libc::PTRACE_DETACH, pid, 0)?;
            continue;
        }
        if signal == libc::SIGTRAP | 0x80 {
            match process.open.take() {
                Some(call) => calls.push(Call { end: now(), ..call }),
                None => process.open = Some(enter(pid, process, now())?),
            }
        }
        let own = signal == libc::SIGTRAP | 0x80 || signal == libc::SIGTRAP || signal == libc::SIGSTOP;
        request(libc::PTRACE_SYSCALL, pid, if own { 0 } else { signal })?;
    }
}

fn enter(pid: i32, process: &mut Process, begin: f64) -> io::Result<Call> {
    let info = info(pid)?;
    let number = info.number.cast_signed();
    let before = std::mem::replace(&mut process.last, number);
    let opens = number == libc::SYS_openat || number == libc::SYS_openat2;
    let path = if opens { string(pid, info.arguments[1]).unwrap_or_default() } else { String::new() };
    Ok(Call { process: process.number, begin, end: begin, number, before, path })
}

fn info(pid: i32) -> io::Result<Info> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut info = Info::default();
    // SAFETY: the kernel writes no more than the size that it is given.
    match unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, pid, size_of::<Info>(), &raw mut info) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(info),
    }
}

/// A string in the memory of a traced process.
fn string(pid: i32, address: u64) -> io::Result<String> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut text = [0; 256];
    let length = std::os::unix::fs::FileExt::read_at(&memory, &mut text, address)?;
    let text = text[..length].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn request(request: libc::c_uint, pid: i32, data: i32) -> io::Result<()> {
    let data = i64::from(data);
    // SAFETY: none of the requests made here has the kernel write to this process.
    match unsafe { libc::ptrace(request, pid, 0i64, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn wait(pid: i32) -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let pid = check(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) })?;
    Ok((pid, status))
}
