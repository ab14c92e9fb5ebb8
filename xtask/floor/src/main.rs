//! The floor of the bench: what a container costs when nothing is decided.
//!
//! `run` makes the container that `bundles/busybox/config.json` describes, in straight-line system calls: nothing is
//! parsed, validated or resolved, paths are taken as they are, and the program is `/bin/true`. No runtime that keeps
//! its promises can be faster by more than noise, so the distance to this program is what a runtime adds of its own.
//! `exec` joins such a container. `rss` starts another program and prints the peak resident size of it and of what
//! it waited for: the kernel counts the starter's own memory into that figure, so the starter has to be tiny. `weigh` does
//! the same in the place of a program that somebody else starts, and adds the size to the lines of a file.
#![no_main]

mod cgroup;
mod exec;
mod run;
mod sys;

use std::ffi::CStr;

use cgroup::Cgroup;

const USAGE: &[u8] = b"usage: corten-bench-floor run ROOTFS ID (v2 | v1 HIERARCHY...)
       corten-bench-floor exec PID ID (v2 | v1 HIERARCHY...)
       corten-bench-floor rss PROGRAM [ARG...]
       corten-bench-floor weigh FILE PROGRAM [ARG...]
";

/// Picks the mode from the arguments after the program's name; the answer is the process's exit status.
pub fn dispatch(args: &[&'static CStr]) -> i32 {
    let outcome = match args {
        [mode, rootfs, id, kind, hierarchies @ ..] if *mode == c"run" => {
            run::run(rootfs, id, &Cgroup::new(id, kind, hierarchies))
        }
        [mode, pid, id, kind, hierarchies @ ..] if *mode == c"exec" => {
            exec::exec(pid, &Cgroup::new(id, kind, hierarchies))
        }
        [mode, program @ ..] if *mode == c"rss" && !program.is_empty() => peak_memory(program),
        [mode, file, program @ ..] if *mode == c"weigh" && !program.is_empty() => weigh(file, program),
        _ => {
            let _ = sys::write(2, USAGE);
            return 2;
        }
    };
    outcome.unwrap_or_else(|failure| {
        let text = format!("corten-bench-floor: {}: errno {}\n", failure.doing, failure.errno.0);
        let _ = sys::write(2, text.as_bytes());
        1
    })
}

/// The step that failed, and why.
pub struct Failure {
    doing: &'static str,
    errno: sys::Errno,
}

/// Names the step in the failure of a system call.
trait Doing<T> {
    fn doing(self, step: &'static str) -> Result<T, Failure>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|errno| Failure { doing: step, errno })
    }
}

fn peak_memory(program: &[&CStr]) -> Result<i32, Failure> {
    let pid = sys::spawn_quiet(program).doing("start the program")?;
    let (status, kibibytes) = sys::wait(pid).doing("wait for the program")?;
    sys::write(1, format!("{kibibytes}\n").as_bytes()).doing("print the size")?;
    Ok(status)
}

fn weigh(file: &CStr, program: &[&CStr]) -> Result<i32, Failure> {
    let pid = sys::spawn_in_place(program).doing("start the program")?;
    let (status, kibibytes) = sys::wait(pid).doing("wait for the program")?;
    sys::append(file, format!("{kibibytes}\n").as_bytes()).doing("write the size down")?;
    Ok(status)
}
