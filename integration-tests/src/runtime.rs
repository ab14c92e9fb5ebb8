//! The runtime under test.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run of the harness is about; handed to the process of each case through its environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The runtime under test.
    pub runtime: PathBuf,
    /// First word of its `--version`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The static program that runs in the containers (`corten-probe`).
    pub probe: PathBuf,
    /// A directory of this run's own.
    pub scratch_root: PathBuf,
    /// Run every case with a cgroup2 mount over `/sys/fs/cgroup`, in a private mount namespace.
    pub unified: bool,
    /// System calls that do not exist for the runtime, and for what it makes, separated by commas.
    pub without: Option<String>,
    /// Give every command `--systemd-cgroup`, and every configuration a `cgroupsPath` that goes with it.
    pub systemd: bool,
    /// Cycles of the stress case.
    pub stress_cycles: u32,
}

impl Settings {
    /// Settings for a runtime, asked for its name and version.
    ///
    /// # Errors
    /// If the runtime or the probe cannot be found or executed.
    pub fn new(runtime: &Path, probe: &Path, scratch: Option<PathBuf>) -> Result<Self, String> {
        let runtime = find_program(runtime)?;
        let out = Command::new(&runtime)
            .arg("--version")
            .output()
            .map_err(|e| format!("cannot execute {}: {e}", runtime.display()))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let (name, version) = identity(&text);
        let probe = probe.canonicalize().map_err(|e| {
            format!(
                "no probe at {} ({e}): build it with `cargo build -p corten-integration-tests`",
                probe.display()
            )
        })?;
        let scratch = scratch.unwrap_or_else(std::env::temp_dir);
        let scratch_root = scratch.join(format!("corten-conformance-{}", std::process::id()));
        let stress = std::env::var("CORTEN_STRESS").ok();
        let stress_cycles = match stress.as_deref() {
            None | Some("0" | "") => 60,
            Some("1") => 300,
            Some(n) => n.parse().map_err(|_| format!("CORTEN_STRESS={n} is not a number"))?,
        };
        let unified = std::env::var("CORTEN_UNIFIED").is_ok_and(|v| v == "1");
        let systemd = std::env::var("CORTEN_SYSTEMD").is_ok_and(|v| v == "1");
        Ok(Settings {
            runtime,
            name,
            version,
            probe,
            scratch_root,
            unified,
            without: None,
            systemd,
            stress_cycles,
        })
    }
}

impl Settings {
    /// The same, where these system calls do not exist: the runtime is started by the probe, which installs a filter.
    ///
    /// # Errors
    /// If the script cannot be written.
    pub fn hiding(&self, calls: &str, script: PathBuf) -> std::io::Result<Self> {
        let quote = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
        let probe = self.scratch_root.join("probe");
        let (probe, runtime) = (quote(&probe), quote(&self.runtime));
        std::fs::write(&script, format!("#!/bin/sh\nexec {probe} without {calls} {runtime} \"$@\"\n"))?;
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Settings { runtime: script, without: Some(calls.to_owned()), ..self.clone() })
    }
}

/// Name and version out of `--version`: `NAME version X`.
fn identity(text: &str) -> (String, String) {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or("unknown").to_owned();
    let version = words.find(|w| w.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("0").to_owned();
    (name, version)
}

fn find_program(program: &Path) -> Result<PathBuf, String> {
    let found = if program.components().count() > 1 {
        Some(program.to_path_buf())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|d| d.join(program)).find(|p| p.is_file())
    };
    found.and_then(|p| p.canonicalize().ok()).ok_or_else(|| format!("no runtime at {}", program.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn identity_reads_both_spellings() {
        let runc = "runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2-dev\n";
        assert_eq!(super::identity(runc), ("runc".into(), "1.1.5+ds1".into()));
        assert_eq!(super::identity("crun version 1.8.1\n"), ("crun".into(), "1.8.1".into()));
    }
}
