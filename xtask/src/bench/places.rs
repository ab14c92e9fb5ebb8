//! The files and directories that all lanes share, and how a command is run to its end.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::subject::Subject;
use crate::bundle;
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::sys::{self, Prepared};

/// Names everything below one directory.
pub struct Places {
    directory: PathBuf,
    stdout: CString,
    stderr: CString,
    /// The floor program, which also tells the peak memory of what it starts.
    pub meter: PathBuf,
    /// What tells the floor program where cgroups go.
    pub floor_cgroups: Vec<OsString>,
}

impl Places {
    /// Names everything below `directory`.
    pub fn new(directory: &Path, view: CgroupView, meter: PathBuf) -> Result<Self> {
        let path = |name: &str| CString::new(OsString::from(directory.join(name)).into_vec());
        Ok(Self {
            directory: directory.to_owned(),
            stdout: path("stdout").unwrap_or_default(),
            stderr: path("stderr").unwrap_or_default(),
            meter,
            floor_cgroups: view.floor_arguments()?.into_iter().map(OsString::from).collect(),
        })
    }

    /// Where a subject keeps its state.
    pub fn state(&self, subject: &Subject) -> PathBuf {
        self.directory.join(format!("state-{}", subject.name))
    }

    /// Makes a bundle, if that has not been done yet. Answers its path.
    pub fn bundle(
        &self,
        name: &str,
        of: &str,
        words: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<String> {
        let directory = self.directory.join(name);
        let path = directory.join("config.json");
        if !path.exists() {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            bundle::write(of, &directory, &words)?;
            let text = fs::read(&path).doing(|| format!("read {}", path.display()))?;
            let mut config =
                serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
            change(&mut config);
            fs::write(&path, config.to_string()).doing(|| format!("write {}", path.display()))?;
        }
        Ok(directory.to_string_lossy().into_owned())
    }

    /// The container that ends at once.
    pub fn bundle_true(&self) -> Result<String> {
        self.bundle("true", "busybox", &["true"], |_| {})
    }

    /// The container that stays.
    pub fn bundle_sleep(&self) -> Result<String> {
        self.bundle("sleep", "busybox", &["sleep", "100000"], |_| {})
    }

    /// A container whose program needs one page, so that it does not hide what the runtime needs.
    pub fn bundle_tiny(&self) -> Result<String> {
        let bundle = self.bundle("tiny", "busybox", &["/tiny"], |_| {})?;
        let program = Path::new(&bundle).join("rootfs/tiny");
        let write = || {
            fs::write(&program, TINY)?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        };
        write().doing(|| format!("write {}", program.display()))?;
        Ok(bundle)
    }

    /// A container with so many bind mounts more.
    pub fn bundle_mounts(&self, count: usize) -> Result<String> {
        let source = self.directory.join("source");
        let bundle = self.bundle(&format!("mounts-{count}"), "busybox", &["true"], |config| {
            let mount = |i| json!({"destination": format!("/m/{i}"), "type": "bind", "source": source, "options": ["bind", "ro"]});
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.extend((0..count).map(mount));
            }
        })?;
        let destinations = (0..count).map(|i| Path::new(&bundle).join(format!("rootfs/m/{i}")));
        for directory in destinations.chain([source.clone()]) {
            fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
        }
        Ok(bundle)
    }

    /// Starts a command, with its output in files.
    pub fn start(&self, command: &Prepared) -> Result<libc::pid_t> {
        command.spawn(&self.stdout, &self.stderr).doing(|| "start a subject".to_owned())
    }

    /// Runs a command to its end; a bad one answers with the last line on its standard error.
    pub fn complete(&self, command: &Prepared) -> Result<std::result::Result<(), String>> {
        let pid = self.start(command)?;
        let status = sys::wait_reaping(pid).doing(|| "wait for a subject".to_owned())?;
        if status == 0 { Ok(Ok(())) } else { Ok(Err(format!("exit status {status}: {}", self.last_words()))) }
    }

    /// The last line on the standard error of the last command.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("(silent)").trim().to_owned()
    }

    /// What the last command printed.
    pub fn output(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("stdout")).doing(|| "read a subject's output".to_owned())
    }

    /// The command line of a subject, with where its state is.
    pub fn line(&self, subject: &Subject, words: &[&str]) -> Vec<OsString> {
        let mut line = vec![OsString::from(&subject.path)];
        if !subject.is_floor() {
            line.extend(["--root".into(), self.state(subject).into()]);
        }
        line.extend(words.iter().map(OsString::from));
        if subject.is_floor() {
            line.extend(self.floor_cgroups.iter().cloned());
        }
        line
    }
}

/// A command line, ready to be started any number of times.
pub fn prepare(line: Vec<OsString>) -> Result<Prepared> {
    Prepared::new(line).doing(|| "prepare a command line".to_owned())
}

/// An ELF program of four instructions: `exit(0)`.
#[cfg(target_arch = "x86_64")]
const TINY: &[u8] = &{
    let mut image = [0u8; 129];
    // e_ident to e_machine: 64 bits, little-endian, executable, x86-64.
    let head = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1];
    let mut i = 0;
    while i < head.len() {
        image[i] = head[i];
        i += 1;
    }
    // e_entry, e_phoff, e_ehsize, e_phentsize, e_phnum.
    (image[24], image[26]) = (120, 0x40);
    (image[32], image[52], image[54], image[56]) = (64, 64, 56, 1);
    // One segment that is the whole file, at 0x400000: p_type, p_flags, p_vaddr, p_filesz, p_memsz, p_align.
    (image[64], image[68], image[82]) = (1, 5, 0x40);
    (image[96], image[104], image[113]) = (129, 129, 0x10);
    // xor edi, edi; mov eax, 60; syscall
    let code = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    i = 0;
    while i < code.len() {
        image[120 + i] = code[i];
        i += 1;
    }
    image
};
/// No such program is known for this processor: starting it fails.
#[cfg(not(target_arch = "x86_64"))]
const TINY: &[u8] = &[];
