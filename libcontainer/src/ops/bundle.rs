//! A bundle on disk → a configuration that was parsed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::{ConfigError, FieldPath, PathError, Problem, Result};

/// What `create` reads.
pub(super) struct Bundle {
    /// Absolute, without links.
    pub dir: PathBuf,
    /// Absolute, without links.
    pub rootfs: PathBuf,
    /// `config.json`, or the file in its place, as it is written.
    pub bytes: Vec<u8>,
    pub config: Config,
}

impl Bundle {
    /// Reads `config.json`, or another file in its place, and finds the root filesystem.
    pub fn open(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
        let dir = fs::canonicalize(dir).map_err(PathError::doing("open bundle", dir))?;
        let path = config.map_or_else(|| dir.join("config.json"), Path::to_path_buf);
        let bytes = fs::read(&path).map_err(PathError::doing("open", &path))?;
        let config = Config::from_slice(&bytes)?;
        let rootfs = find_rootfs(&dir, &config)?;
        Ok(Bundle { dir, rootfs, bytes, config })
    }
}

fn find_rootfs(dir: &Path, config: &Config) -> Result<PathBuf> {
    let Some(root) = &config.root else {
        return Err(ConfigError::new(FieldPath::new("root"), Problem::Missing { why: "" }).into());
    };
    let path = dir.join(&root.path);
    let rootfs = fs::canonicalize(&path).map_err(PathError::doing("root.path: open", &path))?;
    if rootfs.is_dir() {
        return Ok(rootfs);
    }
    let source = std::io::Error::from_raw_os_error(libc::ENOTDIR);
    Err(PathError { doing: "root.path: open", path: rootfs, source }.into())
}
