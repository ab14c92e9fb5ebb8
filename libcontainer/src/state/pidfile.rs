//! Pid files, as engines read them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::PathError;

/// Writes `pid` in decimal and without a newline (containerd gives the whole file to Go's `Atoi`).
///
/// The file appears at once with its content, by a rename from a neighbour of its own name, so a reader that polls for
/// it never sees it empty. An existing file is replaced.
///
/// # Errors
///
/// [`PathError`] naming the pid file.
pub fn write(path: &Path, pid: i32) -> Result<(), PathError> {
    let temporary = neighbour(path);
    let result = write_then_rename(&temporary, path, pid);
    if result.is_err() {
        // The first error is the one to tell; a temporary file that was never made cannot be removed either.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(PathError::doing("write pid file", path))
}

/// Removes the pid file of a process, unless it is another one's by now.
pub fn remove(path: &Path, pid: i32) {
    if read(path).is_ok_and(|text| text == pid.to_string()) {
        // What failed before is the error to tell.
        let _ = fs::remove_file(path);
    }
}

/// What was there before is whatever the caller had there: a FIFO must not hang the reader, nor a device fill the memory.
fn read(path: &Path) -> std::io::Result<String> {
    const LONGEST: u64 = 32;
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map(|_| text)
}

fn write_then_rename(temporary: &Path, path: &Path, pid: i32) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    // O_NOFOLLOW and not O_EXCL: a crash may have left one behind.
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(temporary)?;
    file.write_all(pid.to_string().as_bytes())?;
    fs::rename(temporary, path)
}

/// `.NAME.corten` beside the file: a rename works within one directory.
fn neighbour(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".corten");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn only_the_own_one_is_removed() {
        let scratch = Scratch::new();
        let path = scratch.path().join("pid");
        write(&path, 42).unwrap();
        remove(&path, 43);
        assert!(path.exists());
        remove(&path, 42);
        assert!(!path.exists());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        remove(&path, 42);
        assert!(path.exists());
        remove(Path::new("/dev/zero"), 42);
    }

    #[test]
    fn decimal_without_newline_and_overwriting() {
        let scratch = Scratch::new();
        let path = scratch.path().join("init.pid");
        fs::write(&path, "a much longer text than any pid").unwrap();
        write(&path, 4711).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4711");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing left beside it");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = write(Path::new("/nonexistent/dir/x.pid"), 1).unwrap_err().to_string();
        assert_eq!(error, "write pid file /nonexistent/dir/x.pid: no such file or directory");
    }

    #[test]
    fn a_directory_in_the_way_leaves_nothing() {
        let scratch = Scratch::new();
        let path = scratch.path().join("x.pid");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, 1).unwrap_err().to_string().contains("is a directory"));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
