//! Being told when the container runs out of memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::{pread, read, retry_on_intr};

use super::dir::{Dir, keyed};
use super::layout::Kind;
use super::{Cgroup, Result};
use crate::error::SyscallError;

/// A descriptor that poll(2) reports when memory has run out.
#[derive(Debug)]
pub struct OomWatch<'a> {
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    /// Version 1: an eventfd that was registered with the cgroup.
    Event { fd: OwnedFd, dir: &'a Dir },
    /// Version 2: `memory.events`, which poll(2) reports when it changes.
    Counter { fd: OwnedFd, kills: u64, around: Option<Around> },
}

/// The count of OOM kills in the cgroup around another, which holds those below it.
///
/// systemd removes the cgroup of a scope as soon as its last process has ended, with all that could be read there. A kill
/// that is counted around it since the last look is taken for its own: nothing nearer is left to ask.
#[derive(Debug)]
pub(super) struct Around {
    fd: OwnedFd,
    kills: u64,
}

/// What is left to say of the memory of a cgroup that is gone.
#[derive(Debug)]
pub(super) struct LastWords {
    pub around: Around,
    /// The limit that was asked for.
    pub limit: Option<u64>,
}

impl Around {
    /// From now on. `None` if the kernel does not count there: the root has no such file.
    pub fn of(cgroup: &Path) -> Option<Around> {
        let fd = Dir::new(cgroup.parent()?.to_owned()).open_read("memory.events").ok()?;
        let kills = count(fd.as_fd()).ok()?;
        Some(Around { fd, kills })
    }

    /// Whether there are more than when this was asked last.
    fn advance(&mut self) -> bool {
        let now = count(self.fd.as_fd()).unwrap_or(self.kills);
        now > std::mem::replace(&mut self.kills, now)
    }

    /// Whether there are more than there were.
    pub fn has_increased(&self) -> bool {
        count(self.fd.as_fd()).is_ok_and(|now| now > self.kills)
    }
}

impl Cgroup {
    /// Watches for the OOM killer. `None` if the kernel does not count memory here.
    ///
    /// # Errors
    /// When the kernel has memory control and refuses to tell.
    pub fn watch_oom(&self) -> Result<Option<OomWatch<'_>>> {
        let Some(m) = self.member_of("memory") else { return Ok(None) };
        let source = match self.kind {
            Kind::Unified => watch_counter(&m.dir)?,
            Kind::Legacy => Some(watch_event(&m.dir)?),
        };
        Ok(source.map(|source| OomWatch { source }))
    }
}

fn watch_counter(dir: &Dir) -> Result<Option<Source<'_>>> {
    const FILE: &str = "memory.events";
    let fd = match dir.open_read(FILE) {
        Ok(fd) => fd,
        Err(e) if super::dir::is_gone(&e) => return Ok(None),
        Err(e) => return Err(dir.error("open", FILE, e)),
    };
    // The first read also tells the kernel from when on a change counts.
    let kills = count(fd.as_fd()).map_err(|e| dir.error("read", FILE, e))?;
    Ok(Some(Source::Counter { fd, kills, around: Around::of(dir.path()) }))
}

/// Documentation/admin-guide/cgroup-v1/memory.rst, section 10.
fn watch_event(dir: &Dir) -> Result<Source<'_>> {
    const FILE: &str = "memory.oom_control";
    let control = dir.open_read(FILE).map_err(|e| dir.error("open", FILE, e))?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let fd = fd.map_err(SyscallError::calling("eventfd"))?;
    let registration = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
    dir.write("cgroup.event_control", &registration)
        .map_err(|e| dir.error("write", "cgroup.event_control", e))?;
    Ok(Source::Event { fd, dir })
}

impl OomWatch<'_> {
    /// What to poll, and for what.
    #[must_use]
    pub fn pollable(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.source {
            Source::Event { fd, .. } => (fd.as_fd(), PollFlags::IN),
            Source::Counter { fd, .. } => (fd.as_fd(), PollFlags::PRI),
        }
    }

    /// Whether memory ran out since this was asked last. Never blocks.
    pub fn has_happened(&mut self) -> bool {
        match &mut self.source {
            // The removal of the cgroup is an event as well.
            Source::Event { fd, dir } => {
                let mut number = [0; 8];
                retry_on_intr(|| read(&*fd, &mut number)).is_ok() && dir.read("memory.oom_control").is_ok()
            }
            Source::Counter { fd, kills, around } => {
                // Before the own count: better told twice than missed.
                let more_around = around.as_mut().is_some_and(Around::advance);
                match count(fd.as_fd()) {
                    Ok(now) => now > std::mem::replace(kills, now),
                    // Gone, and asked no more.
                    Err(_) => around.take().is_some() && more_around,
                }
            }
        }
    }
}

/// How many processes the kernel has killed here for want of memory. Read from the beginning: the same descriptor is
/// read again and again.
fn count(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut buffer = [0; 512];
    let length = retry_on_intr(|| pread(fd, &mut buffer, 0))?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Ok(keyed(&text, "oom_kill").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn only_new_kills_count() {
        let fd = rustix::fs::memfd_create("memory.events", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(fd.try_clone().unwrap());
        let mut set = |text: &str| {
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut watch = OomWatch { source: Source::Counter { fd, kills: 2, around: None } };
        for (text, expected) in [
            ("low 0\noom 5\noom_kill 2\noom_group_kill 9\n", false),
            ("low 0\noom 9\noom_kill 3\noom_group_kill 9\n", true),
            ("low 7\noom 9\noom_kill 3\noom_group_kill 9\n", false),
            ("low 7\noom 9\noom_kill 8\noom_group_kill 9\n", true),
        ] {
            set(text);
            assert_eq!(watch.has_happened(), expected, "{text}");
        }
    }
}
