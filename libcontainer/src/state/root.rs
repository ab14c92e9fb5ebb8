//! Where the state directories are when nobody says.

use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::StateError;
use crate::error::{PathError, Result, SyscallError};

/// The state root that is used without `--root`.
///
/// `/run/corten` for root, and `$XDG_RUNTIME_DIR/corten` for everybody else, also for the root of a user namespace that
/// an ordinary user made. Where a login left `XDG_RUNTIME_DIR` unset, `/run/user/UID/corten`; where that does not exist
/// either, `/tmp/corten-UID`, which is only used if it belongs to this user and nobody else can write it.
///
/// # Errors
///
/// [`StateError::UntrustedRoot`], or what the kernel says about `/tmp/corten-UID`.
pub fn default_root() -> Result<PathBuf> {
    let (uid, _) = corten_init::sys::effective_ids().map_err(SyscallError::calling("geteuid"))?;
    let xdg = env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute());
    if uid == 0 {
        return Ok(match xdg {
            Some(dir) if is_borrowed_root() => PathBuf::from(dir).join("corten"),
            _ => PathBuf::from("/run/corten"),
        });
    }
    if let Some(dir) = xdg {
        return Ok(PathBuf::from(dir).join("corten"));
    }
    let run = PathBuf::from(format!("/run/user/{uid}"));
    if run.is_dir() {
        return Ok(run.join("corten"));
    }
    private_directory(PathBuf::from(format!("/tmp/corten-{uid}")), uid)
}

/// Root only inside a user namespace: its environment is still that of the ordinary user.
fn is_borrowed_root() -> bool {
    if env::var_os("USER").is_some_and(|user| user == "root") {
        return false;
    }
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Others may make a directory of this name in `/tmp` first, and what lies in it decides what `delete` runs.
fn private_directory(path: PathBuf, uid: u32) -> Result<PathBuf> {
    if let Err(e) = fs::DirBuilder::new().mode(0o700).create(&path)
        && e.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(PathError::doing("mkdir", &path)(e).into());
    }
    let meta = fs::symlink_metadata(&path).map_err(PathError::doing("stat", &path))?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o022 != 0 {
        return Err(StateError::UntrustedRoot { path }.into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn a_fallback_root_must_be_private() {
        let scratch = Scratch::new();
        let uid = rustix::process::geteuid().as_raw();
        let path = scratch.path().join("corten-0");
        assert!(private_directory(path.clone(), uid).is_ok(), "made");
        assert!(private_directory(path.clone(), uid).is_ok(), "found again");
        assert!(private_directory(path.clone(), uid + 1).is_err(), "of somebody else");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_directory(path, uid).is_err(), "open to all");
        let link = scratch.path().join("link");
        symlink(scratch.path(), &link).unwrap();
        assert!(private_directory(link, uid).is_err(), "a symlink");
    }
}
