//! Where things are: the workspace, its builds, programs on PATH, and directories that go away by themselves.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use serde_json::Value;

use crate::error::{Doing, Error, Result};

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// `cargo`, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// How cargo is to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// What is shipped.
    Release,
}

/// Builds one program of the workspace and answers where it is.
pub fn build(package: &str, profile: Profile) -> Result<PathBuf> {
    build_of(package, package, profile)
}

/// Builds a package with several programs and answers where the one of that name is.
pub fn build_of(package: &str, program: &str, profile: Profile) -> Result<PathBuf> {
    let messages = build_messages(package, profile)?;
    let executable = |message: &Value| {
        (message["target"]["name"] == program).then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    messages.iter().rev().find_map(executable).ok_or_else(|| Error::Missing {
        what: format!("an executable named {program}"),
        hint: "cargo built none under that name",
    })
}

/// The directory of what the package's build script makes; the package has been built.
pub fn out_directory(package: &str, profile: Profile) -> Result<PathBuf> {
    let messages = build_messages(package, profile)?;
    let directory = |message: &Value| {
        let id = message["package_id"].as_str()?;
        let is_this = id.contains(&format!("#{package}@"));
        (is_this && message["reason"] == "build-script-executed")
            .then(|| message["out_dir"].as_str().map(PathBuf::from))?
    };
    messages.iter().rev().find_map(directory).ok_or_else(|| Error::Missing {
        what: format!("what the build script of {package} makes"),
        hint: "cargo named no such directory",
    })
}

/// Builds a package; what cargo says of it.
fn build_messages(package: &str, profile: Profile) -> Result<Vec<Value>> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--package", package]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.stderr(Stdio::inherit());
    let output = command.output().doing(|| "start cargo".to_owned())?;
    succeeded(&command, &output)?;
    let lines = output.stdout.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// An error with the command line and its last word, unless the command succeeded.
pub fn succeeded(command: &Command, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let stderr = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    Err(Error::Command { command: command_line(command), status: output.status, stderr })
}

/// Runs a command whose output goes to the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().doing(|| format!("start {}", command_line(command)))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command { command: command_line(command), status, stderr: String::new() })
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Finds a program as a shell would.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Root's tools are on every root shell's PATH, but not on that of every `sudo` or CI runner.
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// How many times longer than on a quiet machine things may take: `CORTEN_PATIENCE`.
pub fn patience() -> u32 {
    env::var("CORTEN_PATIENCE").ok().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// A directory that is removed with what is in it when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes the directory, readable by others: an engine or a container in a user namespace passes through it.
    pub fn new() -> Result<Self> {
        Self::below(&env::temp_dir())
    }

    /// Makes the directory in another place than the system's temporary one.
    pub fn below(parent: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corten-xtask-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        fs::create_dir(&path).doing(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} stays behind: {error}", self.0.display());
        }
    }
}
