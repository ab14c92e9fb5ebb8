//! Follows a program from function to function, by ptrace(2).

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use super::check;

/// A breakpoint: `int3`.
const STOP: u8 = 0xcc;

/// Starts a program and tells `visit` which of the functions that begin at `entries` it executes, at their first use:
/// offsets from where its file is mapped first. With `children`, also what its children execute, until they execute
/// another program. Answers the wait status of the program.
pub fn follow(
    command: &mut Command,
    children: bool,
    entries: &[u64],
    visit: &mut (dyn FnMut(u64) + Send),
) -> io::Result<i32> {
    // What is still being traced when a thread ends goes on by itself.
    thread::scope(|scope| match scope.spawn(move || trace(command, children, entries, visit)).join() {
        Ok(status) => status,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn trace(
    command: &mut Command,
    children: bool,
    entries: &[u64],
    visit: &mut dyn FnMut(u64),
) -> io::Result<i32> {
    let trace_me = || request(libc::PTRACE_TRACEME, 0, 0);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(trace_me) };
    let first = command.spawn()?.id().cast_signed();
    wait(first)?;
    let events = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEVFORK;
    request(
        libc::PTRACE_SETOPTIONS,
        first,
        events | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL,
    )?;
    let mut text = Text::read(first, entries)?;
    text.plant(first)?;
    request(libc::PTRACE_CONT, first, 0)?;
    let mut known = HashSet::from([first]);
    loop {
        let (pid, status) = wait(-1)?;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if pid == first {
                return Ok(status);
            }
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let is_new = known.insert(pid);
        if event == libc::PTRACE_EVENT_EXEC || is_new && !children {
            if is_new {
                text.restore(pid)?;
            }
            request(libc::PTRACE_DETACH, pid, 0)?;
            continue;
        }
        let is_call = signal == libc::SIGTRAP | 0x80;
        if is_call && registers(pid)?.orig_rax == libc::SYS_mmap as u64 {
            // The child maps the program anew (`corten_init::own_binary`); in between it may be absent.
            let _ = text.plant(pid);
        }
        let is_stop = signal == libc::SIGTRAP && event == 0;
        let is_ours = is_stop && text.step_over(pid, visit)?;
        let is_own = is_call || is_ours || is_new || event != 0;
        let resume = if pid == first { libc::PTRACE_CONT } else { libc::PTRACE_SYSCALL };
        request(resume, pid, if is_own { 0 } else { signal })?;
    }
}

/// The program's code, and where it is to stop.
struct Text {
    base: u64,
    /// Offset of the first entry, and all bytes from there to the last one.
    start: u64,
    bytes: Vec<u8>,
    /// Entries that have not been executed, with what is there in truth.
    pending: BTreeMap<u64, u8>,
}

impl Text {
    fn read(pid: i32, entries: &[u64]) -> io::Result<Text> {
        let base = base(pid)?;
        let start = entries.iter().copied().min().unwrap_or(0);
        let end = entries.iter().copied().max().unwrap_or(0) + 1;
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        memory(pid)?.read_exact_at(&mut bytes, base + start)?;
        let there = |entry: &u64| Some((*entry, *bytes.get(usize::try_from(entry - start).ok()?)?));
        let pending = entries.iter().filter_map(there).collect();
        Ok(Text { base, start, bytes, pending })
    }

    /// Has the process stop at every entry that has not been executed.
    fn plant(&self, pid: i32) -> io::Result<()> {
        let mut bytes = self.bytes.clone();
        for entry in self.pending.keys() {
            if let Some(byte) = usize::try_from(entry - self.start).ok().and_then(|at| bytes.get_mut(at)) {
                *byte = STOP;
            }
        }
        memory(pid)?.write_all_at(&bytes, self.base + self.start)
    }

    /// Has the process stop nowhere.
    fn restore(&self, pid: i32) -> io::Result<()> {
        memory(pid)?.write_all_at(&self.bytes, self.base + self.start)
    }

    /// Lets a process that has stopped at an entry go on from there; whether it has.
    fn step_over(&mut self, pid: i32, visit: &mut dyn FnMut(u64)) -> io::Result<bool> {
        let mut registers = registers(pid)?;
        let entry = registers.rip.wrapping_sub(self.base + 1);
        let at = usize::try_from(entry.wrapping_sub(self.start)).unwrap_or(usize::MAX);
        let Some(byte) = self.bytes.get(at) else { return Ok(false) };
        memory(pid)?.write_all_at(&[*byte], self.base + entry)?;
        registers.rip -= 1;
        set_registers(pid, &registers)?;
        if self.pending.remove(&entry).is_some() {
            visit(entry);
        }
        Ok(true)
    }
}

fn memory(pid: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))
}

fn request(request: libc::c_uint, pid: i32, data: i32) -> io::Result<()> {
    let data = i64::from(data);
    // SAFETY: none of the requests of this module but `PTRACE_GETREGS`, which has a function of its own, makes the kernel
    // write to this process.
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

fn registers(pid: i32) -> io::Result<libc::user_regs_struct> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
    // SAFETY: the kernel writes a whole `user_regs_struct`, if it succeeds.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0i64, registers.as_mut_ptr()) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written just now.
    Ok(unsafe { registers.assume_init() })
}

fn set_registers(pid: i32, registers: &libc::user_regs_struct) -> io::Result<()> {
    // SAFETY: the kernel reads a whole `user_regs_struct`.
    match unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0i64, &raw const *registers) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Where the program's file is mapped first. The kernel's own mappings may lie below it.
fn base(pid: i32) -> io::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let program = std::fs::read_link(format!("/proc/{pid}/exe"))?;
    let of_program = |line: &&str| program.to_str().is_some_and(|path| line.ends_with(path));
    let first = maps.lines().find(of_program).and_then(|line| line.split('-').next()).unwrap_or_default();
    u64::from_str_radix(first, 16).map_err(io::Error::other)
}
