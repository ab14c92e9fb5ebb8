//! Who owns a container: see `docs/adr/0032-who-owns-a-container.md`.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Entry;
use crate::error::{PathError, Result};

/// Name of the file that `start` locks while it runs hooks in the container.
const TURN_FILE: &str = "start.lock";

/// An exclusive lock on a container: whoever has it owns the container's directory, its cgroup and whatever else is known
/// by the id or by a path, and nobody else changes any of these (`docs/adr/0032-who-owns-a-container.md`). That is why
/// what changes the directory wants to see one.
///
/// It is given up when this is dropped, explicitly: the container's first process may hold a copy of the descriptor.
#[derive(Debug)]
pub struct Lock {
    dir: OwnedFd,
}

/// See [`Entry::turn`].
#[derive(Debug)]
pub struct Turn {
    _file: OwnedFd,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The descriptor is closed next, so there is nothing that a failure could still spoil.
        let _ = rustix::fs::flock(&self.dir, FlockOperation::Unlock);
    }
}

impl Entry {
    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`] if the container was deleted meanwhile.
    pub fn lock(&self) -> Result<Lock> {
        self.flock(FlockOperation::LockExclusive)?.ok_or_else(|| self.gone())
    }

    /// Takes the lock, or returns `None` if another command holds it.
    ///
    /// # Errors
    ///
    /// As [`Entry::lock`].
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        self.flock(FlockOperation::NonBlockingLockExclusive)
    }

    fn flock(&self, operation: FlockOperation) -> Result<Option<Lock>> {
        // An open file description of its own: it is what flock(2) locks, and dropping `Lock` shall not touch `self`.
        let dir = self.open(".", OFlags::RDONLY | OFlags::DIRECTORY, self.path())?;
        if !flock(&dir, operation).map_err(PathError::doing("lock", self.path()))? {
            return Ok(None);
        }
        let lock = Lock { dir };
        if self.is_current()? { Ok(Some(lock)) } else { Err(self.gone()) }
    }

    /// Waits until no other `start` runs hooks in the container. To be had before the lock, which is for short work only;
    /// the end of the process that has it gives it up.
    ///
    /// # Errors
    ///
    /// As [`Entry::lock`].
    pub fn turn(&self) -> Result<Turn> {
        let path = self.path().join(TURN_FILE);
        let file = self.open(TURN_FILE, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW, &path)?;
        flock(&file, FlockOperation::LockExclusive).map_err(PathError::doing("lock", &path))?;
        Ok(Turn { _file: file })
    }

    fn open(&self, name: &str, flags: OFlags, path: &Path) -> Result<OwnedFd> {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::openat(self.dir(), name, flags | OFlags::CLOEXEC, mode).map_err(|e| match e {
            Errno::NOENT => self.gone(),
            e => PathError::doing("open", path)(e).into(),
        })
    }

    /// The process that has the lock, as far as /proc/locks tells.
    #[must_use]
    pub fn lock_holder(&self) -> Option<i32> {
        let stat = rustix::fs::fstat(self.dir()).ok()?;
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let file = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
        let locks = fs::read_to_string("/proc/locks").ok()?;
        // 12: FLOCK  ADVISORY  WRITE 4711 00:19:42 0 EOF
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&file.as_str()) {
                fields[4].parse().ok()
            } else {
                None
            }
        })
    }
}

/// Returns `false` if the lock is taken and `operation` is not to wait.
fn flock(file: &OwnedFd, operation: FlockOperation) -> rustix::io::Result<bool> {
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::state::tests::Scratch;
    use crate::state::{ContainerId, Store};

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    #[test]
    fn one_lock_at_a_time() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (_entry, lock) = store.reserve(&id("a")).unwrap();
        let other = store.open_entry(&id("a")).unwrap();
        assert!(other.try_lock().unwrap().is_none());
        assert_eq!(other.lock_holder(), Some(std::process::id() as i32));
        drop(lock);
        assert_eq!(other.lock_holder(), None);
        assert!(other.try_lock().unwrap().is_some());
    }
}
