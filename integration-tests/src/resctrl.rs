//! A stand-in for the file system resctrl, which needs hardware that few machines have: two cache domains, memory
//! bandwidth, counting. It behaves as the kernel does (Documentation/filesystems/resctrl.rst): directories come with
//! their files and go with them, schemata are checked and normalised, a task is in one class at a time.

mod fuse;
mod tree;

use crate::context::Ctx;
use crate::failure::Failure;
use crate::sys;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
pub use tree::Tree;

/// Where the runtime finds it.
pub const ROOT: &str = "/sys/fs/resctrl";

/// The mounted stand-in; it goes away with this value.
pub struct Resctrl {
    tree: Arc<Mutex<Tree>>,
    server: Option<JoinHandle<()>>,
}

impl Resctrl {
    /// Mounts it on [`ROOT`] in the mount namespace of the case.
    ///
    /// # Errors
    /// If the mounts cannot be made.
    pub fn mount(ctx: &Ctx) -> Result<Self, Failure> {
        ctx.change_mounts();
        make_mount_point(&ctx.scratch().join("sys-fs"))?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        sys::mount("resctrl", Path::new(ROOT), "fuse", 0, &options)?;
        let tree = Arc::new(Mutex::new(Tree::new()));
        let served = Arc::clone(&tree);
        let server = std::thread::spawn(move || fuse::serve(device, &served));
        Ok(Resctrl { tree, server: Some(server) })
    }

    /// What it holds.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file, trimmed.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(&self, path: &str) -> Result<String, Failure> {
        let text = self.tree().read(path);
        text.map(|t| t.trim().to_owned()).ok_or_else(|| Failure::new(format!("{ROOT}/{path}: no such file")))
    }

    /// Whether there is such a directory.
    pub fn has(&self, path: &str) -> bool {
        self.tree().find(path).is_some()
    }
}

impl Drop for Resctrl {
    fn drop(&mut self) {
        // Without a mount the kernel ends the conversation, and so does the server. Where the case has put it is gone
        // with its mount namespace.
        let detached = sys::detach(Path::new(ROOT));
        if let (Ok(()), Some(server)) = (detached, self.server.take()) {
            let _ = server.join();
        }
    }
}

/// sysfs has no place for it where the kernel lacks it, and makes none: a directory of our own takes the place of
/// `/sys/fs`, with the cgroups in it.
fn make_mount_point(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir)?;
    sys::mount("none", dir, "tmpfs", 0, "mode=755")?;
    for sub in ["cgroup", "resctrl"] {
        fs::create_dir(dir.join(sub))?;
    }
    let cgroups = PathBuf::from(crate::cgroup::ROOT);
    sys::mount(&cgroups.to_string_lossy(), &dir.join("cgroup"), "", libc::MS_BIND | libc::MS_REC, "")?;
    sys::mount(&dir.to_string_lossy(), Path::new("/sys/fs"), "", libc::MS_MOVE, "")?;
    Ok(())
}
