//! Looks at every process that it can see, over and over, as an attacker waits for one that is just entering.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Programs that are kept by a handle, to be opened for writing later.
const MAX_HANDLES: usize = 200;

#[derive(Default)]
struct Seen {
    /// Processes that were looked at.
    looks: u64,
    /// Those that did not let this one look.
    denied: u64,
    /// Links of processes that were not the container's own yet, `what target`.
    links: BTreeSet<String>,
    handles: Vec<File>,
}

/// Until a file is there, reads the links of all other processes; then tries to write to the programs that they were
/// executed from.
pub fn watch(until: &Path) -> std::io::Result<Value> {
    let own = fs::read_link("/proc/self/exe")?;
    let me = std::process::id().to_string();
    let mut seen = Seen::default();
    while !until.exists() {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != me && name.bytes().all(|b| b.is_ascii_digit()) {
                look(&mut seen, &entry.path(), &own);
            }
        }
    }
    let writable: BTreeSet<String> = seen.handles.iter().filter_map(write_through).collect();
    Ok(json!({
        "looks": seen.looks,
        "denied": seen.denied,
        "links": seen.links,
        "handles": seen.handles.len(),
        "writable": writable,
    }))
}

fn look(seen: &mut Seen, process: &Path, own: &Path) {
    seen.looks += 1;
    let exe = match fs::read_link(process.join("exe")) {
        Ok(exe) => exe,
        Err(e) => {
            // A process that has ended has no program either.
            seen.denied += u64::from(e.raw_os_error() == Some(libc::EACCES));
            return;
        }
    };
    if exe == own {
        return;
    }
    seen.links.insert(format!("exe {}", exe.display()));
    keep_program(seen, process, own);
    for name in ["root", "cwd"] {
        if let Ok(target) = fs::read_link(process.join(name)) {
            seen.links.insert(format!("{name} {}", target.display()));
        }
    }
    for link in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        let number: u32 = link.file_name().to_string_lossy().parse().unwrap_or(0);
        if number > 2
            && let Some(target) = strange(&link.path())
        {
            seen.links.insert(format!("fd {}", target.display()));
        }
    }
}

/// What is open there, unless this process has the same under the same name, or it is a file of its procfs. It is held
/// meanwhile: by the next look the number may stand for another file, or for none.
fn strange(link: &Path) -> Option<PathBuf> {
    let held = handle(link).ok()?;
    let target = fs::read_link(by_number(&held)).ok()?;
    let identity = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let (there, here, proc) = (held.metadata().ok()?, identity(&target), identity(Path::new("/proc")));
    let is_own = here == Some((there.dev(), there.ino())) || proc.is_some_and(|p| p.0 == there.dev());
    (!is_own).then_some(target)
}

fn handle(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH).open(path)
}

/// Keeps a handle of the program that the process was executed from, unless it is this one by now.
fn keep_program(seen: &mut Seen, process: &Path, own: &Path) {
    if seen.handles.len() == MAX_HANDLES {
        return;
    }
    if let Ok(file) = handle(&process.join("exe"))
        && fs::read_link(by_number(&file)).is_ok_and(|target| target != own)
    {
        seen.handles.push(file);
    }
}

fn by_number(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// What the handle leads to, if it could be written: nothing executes it any more.
fn write_through(handle: &File) -> Option<String> {
    let path = by_number(handle);
    let mut file = File::options().append(true).open(&path).ok()?;
    // A sealed copy in memory can be opened, and not written.
    file.write_all(b"#").ok()?;
    Some(fs::read_link(&path).map(|p| p.display().to_string()).unwrap_or_default())
}
