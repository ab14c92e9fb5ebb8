//! `events`: what a container uses, and when it runs out of memory.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use serde::Serialize;

use super::exec::open_container;
use super::load;
use crate::cgroup::{Cgroup, OomWatch, Stats};
use crate::error::{Result, SyscallError};
use crate::state::{State, StateError, Status, Store, lifecycle};

/// Something that happened in a container, as runc prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The container's name.
    pub id: String,
    /// With [`EventKind::Stats`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Stats>,
}

/// What an [`Event`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Time has passed; this is what the container has used so far.
    Stats,
    /// The container reached its memory limit, and nothing could be reclaimed.
    Oom,
}

/// What a container has used so far.
///
/// # Errors
///
/// If there is no such container, if it has stopped, or if it has no cgroup of its own.
pub fn stats(store: &Store, id: &str) -> Result<Event> {
    let subject = Subject::open(store, id)?;
    subject.stats()
}

/// Tells `sink` about the container until its first process has ended or `sink` breaks off: what has been used after
/// each `interval`, and at once when memory has run out.
///
/// # Errors
///
/// As [`stats`], and what `sink` says.
pub fn events<E: From<crate::Error>>(
    store: &Store,
    id: &str,
    interval: Duration,
    mut sink: impl FnMut(&Event) -> std::result::Result<ControlFlow<()>, E>,
) -> std::result::Result<(), E> {
    let subject = Subject::open(store, id)?;
    let mut oom = subject.cgroup.watch_oom().map_err(crate::Error::from)?;
    let pidfd = open_container(&subject.state)?;
    let timer = start_timer(interval)?;
    loop {
        let woken = wait(&pidfd, &timer, oom.as_ref())?;
        // The OOM killer comes before the end that it causes, so nothing is missed by asking now.
        if oom.as_mut().is_some_and(OomWatch::has_happened)
            && sink(&Event { kind: EventKind::Oom, id: id.to_owned(), data: None })?.is_break()
        {
            return Ok(());
        }
        if woken.ended {
            return Ok(());
        }
        if woken.due && tick(&timer)? && report(&subject, &mut sink)?.is_break() {
            return Ok(());
        }
    }
}

fn report<E: From<crate::Error>>(
    subject: &Subject,
    sink: &mut impl FnMut(&Event) -> std::result::Result<ControlFlow<()>, E>,
) -> std::result::Result<ControlFlow<()>, E> {
    match subject.stats() {
        Ok(event) => sink(&event),
        // Deleted a moment ago.
        Err(_) if !subject.state.init().is_some_and(|process| process.is_alive()) => {
            Ok(ControlFlow::Break(()))
        }
        Err(e) => Err(e.into()),
    }
}

/// A container that can be asked.
struct Subject {
    state: State,
    cgroup: Cgroup,
}

impl Subject {
    fn open(store: &Store, id: &str) -> Result<Subject> {
        let (entry, state) = load(store, id)?;
        let status = lifecycle::status(&state, &entry)?;
        if matches!(status, Status::Creating | Status::Stopped) {
            return Err(StateError::NotRunning { id: id.to_owned(), status }.into());
        }
        let cgroup = Cgroup::from_saved(&state.cgroup);
        if cgroup.is_none() {
            return Err(StateError::NotCounted { id: id.to_owned() }.into());
        }
        Ok(Subject { state, cgroup })
    }

    fn stats(&self) -> Result<Event> {
        let mut data = self.cgroup.stats()?;
        if let Some(groups) = &self.state.intel_rdt {
            data.intel_rdt = groups.stats();
        }
        Ok(Event { kind: EventKind::Stats, id: self.state.id.clone(), data: Some(data) })
    }
}

/// Why poll(2) returned.
struct Woken {
    ended: bool,
    due: bool,
}

fn wait(pidfd: &OwnedFd, timer: &OwnedFd, oom: Option<&OomWatch<'_>>) -> Result<Woken> {
    let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::new(timer, PollFlags::IN)];
    fds.extend(oom.map(|watch| {
        let (fd, flags) = watch.pollable();
        PollFd::from_borrowed_fd(fd, flags)
    }));
    match poll(&mut fds, None) {
        Ok(_) => {
            let is_ready = |i: usize| !fds[i].revents().is_empty();
            Ok(Woken { ended: is_ready(0), due: is_ready(1) })
        }
        Err(Errno::INTR) => Ok(Woken { ended: false, due: false }),
        Err(e) => Err(SyscallError::calling("poll")(e).into()),
    }
}

fn start_timer(interval: Duration) -> Result<OwnedFd> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags);
    let timer = timer.map_err(SyscallError::calling("timerfd_create"))?;
    let seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
    let each = Timespec { tv_sec: seconds, tv_nsec: interval.subsec_nanos().into() };
    let setting = Itimerspec { it_interval: each, it_value: each };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)
        .map_err(SyscallError::calling("timerfd_settime"))?;
    Ok(timer)
}

/// Takes what the timer has counted; several intervals that were missed are one.
fn tick(timer: &OwnedFd) -> Result<bool> {
    let mut count = [0; 8];
    match rustix::io::read(timer.as_fd(), &mut count) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(e) => Err(SyscallError::calling("read timerfd")(e).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_runc_prints_them() {
        let mut event = Event { kind: EventKind::Oom, id: "c1".into(), data: None };
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"type":"oom","id":"c1"}"#);
        (event.kind, event.data) = (EventKind::Stats, Some(Stats::default()));
        let line = serde_json::to_string(&event).unwrap();
        assert!(line.starts_with(r#"{"type":"stats","id":"c1","data":{"cpu":{"#), "{line}");
    }

    #[test]
    fn the_timer_sleeps_between_ticks() {
        let timer = start_timer(Duration::from_millis(30)).unwrap();
        assert!(!tick(&timer).unwrap());
        poll(&mut [PollFd::new(&timer, PollFlags::IN)], None).unwrap();
        assert!(tick(&timer).unwrap());
        assert!(!tick(&timer).unwrap());
    }
}
