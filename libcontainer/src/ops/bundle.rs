//! A bundle on disk → a configuration that was parsed.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
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
        // A file that was named may well be a pipe.
        let bytes = if config.is_some() { fs::read(&path) } else { read_config(&path) };
        let doing = if config.is_some() { "--config: open" } else { "open" };
        let bytes = bytes.map_err(PathError::doing(doing, &path))?;
        let config = Config::from_slice(&bytes)?;
        let rootfs = find_rootfs(&dir, &config)?;
        Ok(Bundle { dir, rootfs, bytes, config })
    }
}

/// Without waiting for whoever might write into a FIFO of that name.
fn read_config(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(kind.len()).unwrap_or(0).saturating_add(1));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
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
