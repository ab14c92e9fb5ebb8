//! Who is in a cgroup, and how to end them all.

use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::dir::{Dir, is_gone};
use super::layout::Kind;
use super::{Cgroup, Member, Result};
use crate::error::SyscallError;

impl Cgroup {
    /// The processes inside, and with `recursive` those in cgroups that the container made. A cgroup that is gone has
    /// none. Threads are not listed, and a process in another pid namespace shows as 0, which is left out.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn procs(&self, recursive: bool) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        if let Some(m) = self.process_member() {
            let mut collect = |dir: &Dir| read_procs(dir, &mut pids);
            if recursive { walk(m.dir.path(), &mut collect)? } else { collect(&m.dir)? }
        }
        Ok(pids)
    }

    /// Sends `signal` to every process inside, those in child cgroups included.
    ///
    /// `SIGKILL` ends frozen processes as well, and processes that fork meanwhile: at once through `cgroup.kill`
    /// (Linux 5.14), or else by freezing, killing and thawing until nobody is left to signal.
    ///
    /// # Errors
    /// What the kernel said. A cgroup or process that is gone is no error.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL
            && let Some(m) = self.unified()
        {
            match m.dir.write("cgroup.kill", "1") {
                Ok(()) => return self.thaw_for_kill(),
                Err(e) if is_gone(&e) => {}
                // A threaded cgroup has the file and refuses.
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(e) => return Err(m.dir.error("write", "cgroup.kill", e)),
            }
        }
        let was_frozen = self.is_frozen().unwrap_or(false);
        // Frozen processes cannot fork away; without a freezer, rounds of signals have to do.
        let froze = !was_frozen && self.freeze().is_ok();
        let result = self.signal_each(signal);
        let thawed = if froze { self.thaw() } else { Ok(()) };
        result.and(thawed)?;
        if signal == libc::SIGKILL { self.thaw_for_kill() } else { Ok(()) }
    }

    /// Signals everyone once; for SIGKILL until nobody new turns up.
    fn signal_each(&self, signal: i32) -> Result<()> {
        const ROUNDS: u32 = 20;
        let mut done: Vec<i32> = Vec::new();
        for _ in 0..ROUNDS {
            let mut news: Vec<i32> = self.procs(true)?;
            news.retain(|p| !done.contains(p));
            if news.is_empty() {
                break;
            }
            for pid in &news {
                send(*pid, signal)?;
            }
            done.append(&mut news);
            if signal != libc::SIGKILL {
                break;
            }
        }
        Ok(())
    }

    /// A process that the v1 freezer holds dies only after it is thawed, in its own cgroup and in those that the
    /// container made (runc #2105, #3134).
    pub(crate) fn thaw_for_kill(&self) -> Result<()> {
        if self.kind == Kind::Unified {
            return Ok(());
        }
        let Some(m) = self.member_of("freezer") else { return Ok(()) };
        walk(m.dir.path(), &mut |dir: &Dir| match dir.write("freezer.state", "THAWED") {
            Err(e) if !is_gone(&e) => Err(dir.error("write", "freezer.state", e)),
            _ => Ok(()),
        })
    }

    /// Whether the container made cgroups in a hierarchy that keeps frozen processes from dying.
    pub(crate) fn may_be_frozen_below(&self) -> bool {
        let v1 = || self.member_of("freezer").filter(|_| self.kind != Kind::Unified);
        v1().is_some_and(|m| children(&m.dir).is_ok_and(|names| !names.is_empty()))
    }

    /// The directory to ask for processes: they are in all, the unified one cannot be left out of.
    pub(super) fn process_member(&self) -> Option<&Member> {
        let v1 =
            || ["freezer", "devices", "pids"].iter().find_map(|c| self.members.iter().find(|m| m.has(c)));
        self.unified().or_else(v1).or(self.members.first())
    }
}

fn send(pid: i32, signal: i32) -> Result<()> {
    match super::sys::kill(pid, signal) {
        Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(SyscallError::calling("kill")(e).into()),
        _ => Ok(()),
    }
}

/// The pids of one directory are added to `pids`.
fn read_procs(dir: &Dir, pids: &mut Vec<i32>) -> Result<()> {
    let text = match dir.read("cgroup.procs") {
        Ok(text) => text,
        Err(e) if is_gone(&e) => return Ok(()),
        // A threaded cgroup has threads, not processes; the threads' leaders do for every purpose here.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            dir.read("cgroup.threads").unwrap_or_default()
        }
        Err(e) => return Err(dir.error("read", "cgroup.procs", e)),
    };
    pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|p| *p != 0));
    Ok(())
}

/// Calls `f` for the directory at `path` and all below it, parents first. What vanishes meanwhile is left out.
pub(super) fn walk(path: &Path, f: &mut dyn FnMut(&Dir) -> Result<()>) -> Result<()> {
    let mut todo = vec![path.to_path_buf()];
    while let Some(path) = todo.pop() {
        let dir = Dir::new(path);
        match dir.fd() {
            Ok(_) => f(&dir)?,
            Err(e) if is_gone(&e) => continue,
            Err(e) => return Err(dir.error("open", "", e)),
        }
        match children(&dir) {
            Ok(names) => todo.extend(names.iter().map(|n| dir.path().join(n))),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(dir.error("read", "", e)),
        }
    }
    Ok(())
}

/// Names of the child cgroups. The kernel counts them in the links of the directory, which spares the listing of its
/// files.
pub(super) fn children(dir: &Dir) -> io::Result<Vec<String>> {
    let stat = rustix::fs::fstat(dir.fd()?)?;
    if stat.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    // A new file description: the position of a directory is shared by all users of one.
    let fd = rustix::fs::openat(
        dir.fd()?,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}
