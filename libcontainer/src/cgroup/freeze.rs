//! Stopping every process of a cgroup where it is, and letting them go on.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::dir::{Dir, is_gone, keyed};
use super::error::Error;
use super::layout::Kind;
use super::{Cgroup, Member, Result};

/// Longer than any sane freeze, which takes microseconds; a process in an uninterruptible sleep delays it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for a notification before looking without one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Cgroup {
    /// Freezes every process inside and waits until all of them are. Whatever goes wrong, they are thawed again.
    ///
    /// # Errors
    /// [`Error::FreezeTimeout`], [`Error::Unavailable`], or what the kernel said.
    pub fn freeze(&self) -> Result<()> {
        let (member, kind) = self.freezer()?;
        let result = match kind {
            Kind::Unified => set_v2(member, true),
            Kind::Legacy => freeze_v1(&member.dir),
        };
        if result.is_err()
            && let Err(second) = self.thaw()
        {
            log::warn!("after a failed freeze: {second}");
        }
        result
    }

    /// Lets the processes go on. A cgroup that is gone, and one that is not frozen, is fine.
    ///
    /// # Errors
    /// As for [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<()> {
        let (member, kind) = self.freezer()?;
        match kind {
            Kind::Unified => set_v2(member, false),
            Kind::Legacy => match member.dir.write("freezer.state", "THAWED") {
                Err(e) if !is_gone(&e) => Err(member.dir.error("write", "freezer.state", e)),
                _ => Ok(()),
            },
        }
    }

    /// Whether the cgroup has been told to freeze. One that is gone has not.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or what the kernel said.
    pub fn is_frozen(&self) -> Result<bool> {
        let (member, kind) = self.freezer()?;
        let file = if kind == Kind::Unified { "cgroup.freeze" } else { "freezer.state" };
        match member.dir.read(file) {
            Ok(text) => Ok(!matches!(text.trim_end(), "0" | "THAWED")),
            Err(e) if is_gone(&e) => Ok(false),
            Err(e) => Err(member.dir.error("read", file, e)),
        }
    }

    /// Moves a process out of a frozen cgroup of version 1 into the one above, where it can die. Version 2 lets frozen
    /// processes die.
    ///
    /// # Errors
    /// What the kernel said. A process that is gone is fine.
    pub(crate) fn eject(&self, pid: i32) -> Result<()> {
        let (member, Kind::Legacy) = self.freezer()? else { return Ok(()) };
        let Some(above) = member.dir.path().parent().map(|p| Dir::new(p.to_path_buf())) else {
            return Ok(());
        };
        match above.write("cgroup.procs", &pid.to_string()) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(above.error("write", "cgroup.procs", e)),
            _ => Ok(()),
        }
    }

    /// Version 1's freezer where there is one, since the others look there; version 2's otherwise.
    fn freezer(&self) -> Result<(&Member, Kind)> {
        if let Some(m) = self.members.iter().find(|m| m.has("freezer")) {
            return Ok((m, Kind::Legacy));
        }
        let m = self.unified().ok_or(Error::Unavailable { needs: "a freezer" })?;
        Ok((m, Kind::Unified))
    }
}

/// cgroup.events tells when the kernel is done (Linux 5.2).
fn set_v2(member: &Member, freeze: bool) -> Result<()> {
    let dir = &member.dir;
    match dir.write("cgroup.freeze", if freeze { "1" } else { "0" }) {
        Err(e) if is_gone(&e) && !freeze => return Ok(()),
        Err(e) => return Err(dir.error("write", "cgroup.freeze", e)),
        Ok(()) => {}
    }
    let wanted = u64::from(freeze);
    // Without processes the kernel does not report it as frozen, and has nothing to do either.
    let done = |text: &str| keyed(text, "frozen") == Some(wanted) || keyed(text, "populated") == Some(0);
    // An ancestor may be frozen as well; being thawed is then not ours to wait for.
    if !freeze || wait_for_event(dir, TIMEOUT, done)? {
        return Ok(());
    }
    Err(Error::FreezeTimeout { path: dir.path().to_path_buf(), wanted: "frozen", seconds: TIMEOUT.as_secs() })
}

/// Waits until `done` says so about the contents of `cgroup.events`; false if it did not in time. A cgroup that
/// vanishes counts as done.
pub(super) fn wait_for_event(dir: &Dir, timeout: Duration, done: impl Fn(&str) -> bool) -> Result<bool> {
    const FILE: &str = "cgroup.events";
    let end = Instant::now() + timeout;
    let fd = match dir.open_read(FILE) {
        Ok(fd) => fd,
        Err(e) if is_gone(&e) => return Ok(true),
        Err(e) => return Err(dir.error("open", FILE, e)),
    };
    let mut buffer = [0; 256];
    loop {
        // Reading arms the notification, so a change after it wakes the poll.
        let n = match rustix::io::pread(&fd, &mut buffer, 0) {
            Ok(n) => n,
            Err(rustix::io::Errno::NODEV) => return Ok(true),
            Err(e) => return Err(dir.error("read", FILE, e.into())),
        };
        if done(&String::from_utf8_lossy(&buffer[..n])) {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // A cgroup that is removed wakes nobody.
        let left = left.min(LOOK_AGAIN);
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(dir.error("poll", FILE, e.into())),
        }
    }
}

/// Version 1 has to be asked again and again, and may hang in `FREEZING` for good when a process forks or joins in
/// between (runc #2753, #2774). What helps is to write the state again, and from time to time to let go of them all.
fn freeze_v1(dir: &Dir) -> Result<()> {
    const FILE: &str = "freezer.state";
    let end = Instant::now() + TIMEOUT;
    let mut pause = Duration::from_micros(20);
    for round in 1_u32.. {
        if round.is_multiple_of(50) {
            dir.write(FILE, "THAWED").map_err(|e| dir.error("write", FILE, e))?;
            std::thread::sleep(Duration::from_millis(10));
        }
        dir.write(FILE, "FROZEN").map_err(|e| dir.error("write", FILE, e))?;
        // The state is brought up to date by reading it.
        match dir.read(FILE).map_err(|e| dir.error("read", FILE, e))?.trim_end() {
            "FROZEN" => return Ok(()),
            _ if Instant::now() > end => break,
            _ => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    Err(Error::FreezeTimeout { path: dir.path().to_path_buf(), wanted: "frozen", seconds: TIMEOUT.as_secs() })
}
