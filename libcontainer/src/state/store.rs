//! The directories under the state root.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{ContainerId, Lock, State, StateError};
use crate::error::{PathError, Result};

/// Name of the file that holds [`State`].
pub const STATE_FILE: &str = "state.json";
/// Name of the file that holds the configuration as it was at `create`.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the socket that exists while the container waits for `start`.
pub const START_SOCKET: &str = "start.sock";

const STATE_TEMPORARY: &str = ".state.json.new";
const CONFIG_TEMPORARY: &str = ".config.json.new";

/// All containers of one state root.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`, which need not exist yet: the first [`Store::reserve`] makes it, with mode 0700.
    ///
    /// # Errors
    ///
    /// What the kernel says about the working directory, if `root` is relative.
    pub fn open(root: &Path) -> Result<Store> {
        let root = std::path::absolute(root).map_err(PathError::doing("resolve", root))?;
        Ok(Store { root })
    }

    /// The state root, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes an id: makes its directory, which is empty and locked.
    ///
    /// # Errors
    ///
    /// [`StateError::Exists`] if the id is taken; [`PathError`] if the directory cannot be made.
    pub fn reserve(&self, id: &ContainerId) -> Result<(Entry, Lock)> {
        // `delete --force` takes an empty directory for what a killed `create` has left, and may do so between the making
        // of one and its lock.
        const ATTEMPTS: usize = 100;
        for _ in 1..ATTEMPTS {
            if let Some(taken) = self.try_reserve(id)? {
                return Ok(taken);
            }
        }
        self.try_reserve(id)?.ok_or_else(|| StateError::NotFound { id: id.to_string() }.into())
    }

    /// `None` if the directory was removed meanwhile.
    fn try_reserve(&self, id: &ContainerId) -> Result<Option<(Entry, Lock)>> {
        let path = self.root.join(id.as_str());
        self.make_directory(&path, id)?;
        match self.take(id) {
            Ok(taken) => Ok(Some(taken)),
            Err(crate::Error::State(StateError::NotFound { .. })) => Ok(None),
            Err(taken @ crate::Error::State(_)) => Err(taken),
            Err(error) => {
                // Empty still; the first error is the one to tell.
                let _ = rustix::fs::rmdir(&path);
                Err(error)
            }
        }
    }

    /// A directory is whose who has the lock while it is empty: the one that was just made may have been removed, and this
    /// may be the one that somebody else has made since.
    fn take(&self, id: &ContainerId) -> Result<(Entry, Lock)> {
        let entry = self.open_entry(id)?;
        let lock = entry.lock()?;
        if entry.has(CONFIG_FILE)? {
            return Err(StateError::Exists { id: id.to_string() }.into());
        }
        Ok((entry, lock))
    }

    fn make_directory(&self, path: &Path, id: &ContainerId) -> Result<()> {
        let mode = Mode::RWXU;
        let mut made = rustix::fs::mkdir(path, mode);
        if made == Err(Errno::NOENT) {
            self.make_root()?;
            made = rustix::fs::mkdir(path, mode);
        }
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(StateError::Exists { id: id.to_string() }.into()),
            Err(e) => Err(StateError::making("mkdir", path)(e)),
        }
    }

    /// The directory of a container, not locked: `state` and `kill` must work while a hook of `create` runs.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`] if there is none.
    pub fn open_entry(&self, id: &ContainerId) -> Result<Entry> {
        let path = self.root.join(id.as_str());
        match open_directory(&path) {
            Ok(dir) => Ok(Entry { dir, path, id: id.clone() }),
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => {
                Err(StateError::NotFound { id: id.to_string() }.into())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Removes what an interrupted removal has left of a container.
    ///
    /// # Errors
    ///
    /// [`PathError`] naming what could not be removed.
    pub fn remove_remains(&self, id: &ContainerId) -> Result<()> {
        let discarded = discarded_path(&self.root.join(id.as_str()), id);
        if discarded.is_dir() { remove_tree(&discarded) } else { Ok(()) }
    }

    /// The ids of all containers, sorted. A root that does not exist has none.
    ///
    /// # Errors
    ///
    /// What the kernel says about the root.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::open(&self.root, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(PathError::doing("read", &self.root)(e).into()),
        };
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::new(root).map_err(PathError::doing("read", &self.root))? {
            let entry = entry.map_err(PathError::doing("read", &self.root))?;
            // Filesystems that do not tell the type are not where state is; `open_entry` has the last word.
            let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if let Some(id) = entry.file_name().to_str().ok().and_then(|n| ContainerId::new(n).ok())
                && may_be_dir
            {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The sticky bit keeps the directory from being pruned under `$XDG_RUNTIME_DIR` (XDG base directory
    /// specification); elsewhere it does no harm.
    fn make_root(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o1700).create(&self.root);
        made.map_err(StateError::making("mkdir", &self.root))
    }
}

/// The standard library walks by descriptor and does not follow symlinks.
fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(PathError::doing("remove", path)(e).into()),
        _ => Ok(()),
    }
}

/// Where a directory waits for its end: no id begins with a dot. The longest ids lose their last byte, which is of no
/// account: two of these names may be the same, since what they name is to be removed anyway.
fn discarded_path(path: &Path, id: &ContainerId) -> PathBuf {
    let id = id.as_str();
    path.with_file_name(format!(".{}", &id[..id.len().min(ContainerId::MAX_LENGTH - 1)]))
}

fn open_directory(path: &Path) -> std::result::Result<OwnedFd, PathError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(PathError::doing("open", path))
}

/// The directory of one container. All access goes through its descriptor, so that a container of the same id that was
/// made meanwhile is not mistaken for this one.
#[derive(Debug)]
pub struct Entry {
    dir: OwnedFd,
    path: PathBuf,
    id: ContainerId,
}

impl Entry {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's descriptor, for calls such as openat(2).
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether the id still means this directory: it may have been deleted since it was opened, and even made anew.
    pub(super) fn is_current(&self) -> Result<bool> {
        let own = rustix::fs::fstat(&self.dir).map_err(PathError::doing("stat", &self.path))?;
        match rustix::fs::lstat(&self.path) {
            Ok(now) => Ok((now.st_dev, now.st_ino) == (own.st_dev, own.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(PathError::doing("stat", &self.path)(e).into()),
        }
    }

    /// Whether the container was deleted meanwhile. What bears its name now, state and cgroup alike, is another one's.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_current().is_ok_and(|current| !current)
    }

    pub(super) fn gone(&self) -> crate::Error {
        StateError::NotFound { id: self.id.to_string() }.into()
    }

    /// Replaces `state.json` atomically. Nothing is synced: the directory lives on a tmpfs and means nothing after a
    /// reboot.
    ///
    /// # Errors
    ///
    /// [`PathError`] naming the file, [`StateError::NoRoom`] where the filesystem is full.
    pub fn write_state(&self, _own: &Lock, state: &State) -> Result<()> {
        let path = self.path.join(STATE_FILE);
        let bytes = state.to_json().map_err(|e| PathError::doing("write", &path)(io::Error::from(e)))?;
        self.replace(STATE_TEMPORARY, STATE_FILE, &bytes).map_err(StateError::making("write", &path))
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    ///
    /// [`StateError::Incomplete`] if there is none, [`StateError::NotFound`] if the container was just deleted,
    /// [`StateError::Damaged`] and [`StateError::Foreign`] if it makes no sense.
    pub fn read_state(&self) -> Result<State> {
        let path = self.path.join(STATE_FILE);
        match self.read(STATE_FILE) {
            Ok(bytes) => Ok(State::from_json(&bytes, &path)?),
            Err(Errno::NOENT) => Err(if self.is_gone() {
                self.gone()
            } else {
                StateError::Incomplete { id: self.id.to_string() }.into()
            }),
            Err(e) => Err(PathError::doing("read", &path)(e).into()),
        }
    }

    /// Keeps the bytes of `config.json`.
    ///
    /// # Errors
    ///
    /// [`PathError`] naming the file, [`StateError::NoRoom`] where the filesystem is full.
    pub fn write_config(&self, _own: &Lock, bytes: &[u8]) -> Result<()> {
        let written = self.replace(CONFIG_TEMPORARY, CONFIG_FILE, bytes);
        written.map_err(StateError::making("write", &self.path.join(CONFIG_FILE)))
    }

    /// The bytes of `config.json` as they were at `create`.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`] if the container was just deleted; [`PathError`] naming the file.
    pub fn read_config(&self) -> Result<Vec<u8>> {
        match self.read(CONFIG_FILE) {
            Err(Errno::NOENT) if self.is_gone() => Err(self.gone()),
            read => Ok(read.map_err(PathError::doing("read", &self.path.join(CONFIG_FILE)))?),
        }
    }

    /// Whether the gate is still there, that is, whether the container waits for `start`.
    ///
    /// # Errors
    ///
    /// What the kernel says, except that it is not there.
    pub fn has_start_socket(&self) -> Result<bool> {
        self.has(START_SOCKET)
    }

    fn has(&self, name: &str) -> Result<bool> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(PathError::doing("stat", &self.path.join(name))(e).into()),
        }
    }

    /// Removes the directory and what is in it. It is renamed first, so that others see all of it or nothing: from then
    /// on the id is free, and so everything that is known by the id must be gone before.
    ///
    /// # Errors
    ///
    /// [`PathError`] naming what could not be removed.
    pub fn remove(&self, _own: &Lock) -> Result<()> {
        // Somebody may have removed it by hand, without a look at the lock.
        if !self.is_current()? {
            return Ok(());
        }
        let discarded = self.discarded_path();
        let mut renamed = rustix::fs::rename(&self.path, &discarded);
        if matches!(renamed, Err(Errno::NOTEMPTY | Errno::EXIST)) {
            // A `delete` was interrupted once.
            remove_tree(&discarded)?;
            renamed = rustix::fs::rename(&self.path, &discarded);
        }
        match renamed {
            Err(Errno::NOENT) => return Ok(()),
            renamed => renamed.map_err(PathError::doing("remove", &self.path))?,
        }
        // What does not go this way goes below.
        let _ = [START_SOCKET, CONFIG_FILE, STATE_FILE].map(|name| self.unlink(name));
        match rustix::fs::rmdir(&discarded) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // `notify/`, something that corten did not put there, or what an interrupted write left behind.
            Err(_) => remove_tree(&discarded),
        }
    }

    fn discarded_path(&self) -> PathBuf {
        discarded_path(&self.path, &self.id)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A directory of that name: the walk over the leftovers takes it.
            Err(Errno::ISDIR) => Ok(()),
            Err(e) => Err(PathError::doing("remove", &self.path.join(name))(e).into()),
        }
    }

    fn replace(&self, temporary: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = fs::File::from(file);
        let written = io::Write::write_all(&mut file, bytes);
        let done = written.and_then(|()| {
            rustix::fs::renameat(&self.dir, temporary, &self.dir, name).map_err(io::Error::from)
        });
        if done.is_err() {
            // On a full filesystem the half-written file must not stay; the first error is the one to tell.
            let _ = rustix::fs::unlinkat(&self.dir, temporary, AtFlags::empty());
        }
        done
    }

    fn read(&self, name: &str) -> rustix::io::Result<Vec<u8>> {
        // O_NONBLOCK: a FIFO of that name must not hang the reader.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        let mut bytes = Vec::with_capacity(8192);
        loop {
            if bytes.capacity() - bytes.len() < 1024 {
                bytes.reserve(bytes.len());
            }
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => return Ok(bytes),
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::state::tests::example;

    /// A directory of its own for one test, removed at its end.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Scratch {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("corten-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    #[test]
    fn the_life_of_an_entry() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.path().join("deep/root")).unwrap();
        assert_eq!(store.ids().unwrap(), []);
        let (entry, lock) = store.reserve(&id("c1")).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(store.root()) & 0o777, 0o700);
        assert_eq!(mode(entry.path()), 0o700);
        let incomplete = entry.read_state().unwrap_err().to_string();
        assert!(incomplete.contains("delete --force c1"), "{incomplete}");
        entry.write_config(&lock, b"{}").unwrap();
        entry.write_state(&lock, &example("c1")).unwrap();
        drop(lock);

        let again = store.open_entry(&id("c1")).unwrap();
        assert_eq!(again.read_state().unwrap(), example("c1"));
        assert_eq!(again.read_config().unwrap(), b"{}");
        assert_eq!(mode(&again.path().join(STATE_FILE)), 0o600);
        assert_eq!(store.ids().unwrap(), [id("c1")]);
        again.remove(&again.lock().unwrap()).unwrap();
        assert_eq!(store.ids().unwrap(), []);
        assert!(again.read_state().unwrap_err().to_string().starts_with("container does not exist"));
        assert!(again.lock().unwrap_err().to_string().starts_with("container does not exist"));
        assert!(store.reserve(&id("c1")).is_ok(), "the id is free again");
    }

    #[test]
    fn taken_and_unknown_ids() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let _kept = store.reserve(&id("a")).unwrap();
        let taken = store.reserve(&id("a")).map(drop).unwrap_err().to_string();
        assert_eq!(taken, "container with given ID already exists: a");
        let unknown = store.open_entry(&id("b")).map(drop).unwrap_err().to_string();
        assert_eq!(unknown, "container does not exist: b");
    }

    #[test]
    fn somebody_else_s_directory_is_not_taken() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (entry, lock) = store.reserve(&id("a")).unwrap();
        drop(lock);
        let (_, lock) = store.take(&id("a")).expect("empty, and so anybody's");
        entry.write_config(&lock, b"{}").unwrap();
        drop(lock);
        let taken = store.take(&id("a")).map(drop).unwrap_err().to_string();
        assert_eq!(taken, "container with given ID already exists: a");
    }

    #[test]
    fn leftovers_of_any_kind_are_removed_and_symlinks_not_followed() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.path().join("root")).unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let (entry, lock) = store.reserve(&id("a")).unwrap();
        symlink(&outside, entry.path().join("link")).unwrap();
        symlink(outside.join("kept"), entry.path().join(CONFIG_FILE)).unwrap();
        fs::create_dir_all(entry.path().join("state.json/deep")).unwrap();
        fs::write(entry.path().join(STATE_TEMPORARY), "{").unwrap();
        entry.remove(&lock).unwrap();
        assert!(!entry.path().exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn an_interrupted_delete_is_in_nobody_s_way() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        for name in ["a".to_owned(), "x".repeat(255)] {
            let (entry, lock) = store.reserve(&id(&name)).unwrap();
            entry.write_state(&lock, &example(&name)).unwrap();
            fs::rename(entry.path(), entry.discarded_path()).unwrap();
            drop(lock);
            assert_eq!(store.ids().unwrap(), []);
            let gone = entry.lock().map(drop).unwrap_err().to_string();
            assert!(gone.starts_with("container does not exist"), "{gone}");
            let (again, new) = store.reserve(&id(&name)).unwrap();
            entry.remove(&new).unwrap();
            assert!(again.path().exists(), "the new one is not the old one");
            again.remove(&new).unwrap();
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_symlink_is_no_entry_and_no_state() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        symlink("/", scratch.path().join("rooted")).unwrap();
        assert!(store.open_entry(&id("rooted")).is_err());
        assert_eq!(store.ids().unwrap(), []);
        let (entry, _lock) = store.reserve(&id("a")).unwrap();
        symlink("/etc/passwd", entry.path().join(STATE_FILE)).unwrap();
        assert!(entry.read_state().is_err());
    }

    #[test]
    fn large_files_are_read_whole() {
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (entry, lock) = store.reserve(&id("a")).unwrap();
        for length in [0, 1, 7168, 8192, 8193, 1 << 20] {
            let bytes = vec![b'x'; length];
            entry.write_config(&lock, &bytes).unwrap();
            assert_eq!(entry.read_config().unwrap().len(), length);
        }
    }

    #[test]
    fn a_process_that_has_executed_nothing_is_being_made() {
        use std::os::fd::AsRawFd;

        use super::super::{ProcessRef, Status, lifecycle};
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (entry, _lock) = store.reserve(&id("a")).unwrap();
        let (wait, end) = io::pipe().unwrap();
        let (pid, pidfd) = corten_init::park(0, wait.as_raw_fd()).unwrap();
        let cloned = ProcessRef::of(pid).unwrap();
        let mut state = example("a");
        (state.pid, state.start_time) = (Some(cloned.pid), cloned.start_time);
        let before = lifecycle::status(&state, &entry).unwrap();
        drop(end);
        crate::launch::sys::reap(pidfd.as_fd()).unwrap();
        assert_eq!(before, Status::Creating);
        assert_eq!(lifecycle::status(&state, &entry).unwrap(), Status::Stopped);
    }

    #[test]
    fn the_gate_is_what_makes_created() {
        use super::super::{ProcessRef, Status, lifecycle};
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
        let (entry, _lock) = store.reserve(&id("a")).unwrap();
        let own = ProcessRef::of(std::process::id() as i32).unwrap();
        let mut state = example("a");
        state.pid = None;
        assert_eq!(lifecycle::status(&state, &entry).unwrap(), Status::Creating);
        (state.pid, state.start_time) = (Some(own.pid), own.start_time);
        assert_eq!(lifecycle::status(&state, &entry).unwrap(), Status::Running);
        let _gate = std::os::unix::net::UnixListener::bind(entry.path().join(START_SOCKET)).unwrap();
        assert_eq!(lifecycle::status(&state, &entry).unwrap(), Status::Created);
        state.start_time += 1;
        assert_eq!(lifecycle::status(&state, &entry).unwrap(), Status::Stopped);
    }
}
