//! A container under a filter that the embedding program hands over (`CreateOptions::seccomp`), from its creation to an exec.
//!
//! Needs root and a Debian-like `/usr`. A test that cannot run here prints why.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libcontainer::error::FieldPath;
use libcontainer::ops::{self, CreateOptions, ExecOptions, ExecProcess, RunOptions};
use libcontainer::seccomp::{Arch, Program, compile};
use libcontainer::state::Store;
use serde_json::{Value, json};

/// Who waits for a container in the foreground reaps every child of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A bundle whose programs are those of the host, and a store.
struct Bundle {
    scratch: PathBuf,
    store: Store,
    id: String,
    _alone: MutexGuard<'static, ()>,
}

impl Bundle {
    /// `None` where no container can be made.
    fn new(name: &str, script: &str, linux: &Value) -> Option<Bundle> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        if Arch::native().is_none()
            || !["/usr/bin/sh", "/usr/bin/mkdir"].iter().all(|p| fs::exists(p).unwrap_or(false))
        {
            println!("skipped: needs /usr/bin/sh and /usr/bin/mkdir, and an architecture with filters");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let id = format!("corten-program-{}-{name}", std::process::id());
        let scratch = std::env::temp_dir().join(&id);
        let rootfs = scratch.join("rootfs");
        for dir in ["usr", "proc", "tmp"] {
            fs::create_dir_all(rootfs.join(dir)).expect("mkdir");
        }
        for link in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), rootfs.join(link)).expect("symlink");
        }
        let mut config = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": process(script),
            "mounts": [
                {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
                {"destination": "/proc", "type": "proc", "source": "proc"}
            ],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}
        });
        let members = linux.as_object().expect("members").clone();
        config["linux"].as_object_mut().expect("object").extend(members);
        fs::write(scratch.join("config.json"), config.to_string()).expect("write");
        let store = Store::open(&scratch.join("root")).expect("store");
        Some(Bundle { scratch, store, id, _alone: alone })
    }

    fn run(&self, seccomp: Option<Program>, detach: bool) -> libcontainer::Result<i32> {
        let create = CreateOptions { seccomp, ..CreateOptions::new(&self.id, &self.scratch) };
        ops::run(&self.store, &RunOptions { create, detach, keep: false, no_subreaper: true })
    }

    fn exec(&self, script: &str) -> libcontainer::Result<i32> {
        let file = self.scratch.join("process.json");
        fs::write(&file, process(script).to_string()).expect("write");
        let options = ExecOptions {
            id: self.id.clone(),
            process: ExecProcess::File(file),
            detach: false,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            listen_fds: 0,
            wait_fifo: None,
            ignore_paused: false,
            cgroup: Vec::new(),
        };
        ops::exec(&self.store, &options)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = ops::delete(&self.store, &self.id, true);
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn process(script: &str) -> Value {
    json!({"args": ["/usr/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/usr/bin"],
           "user": {"uid": 0, "gid": 0}})
}

/// Directories cannot be made; the rest is allowed.
fn no_directories() -> Program {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    let profile = serde_json::from_value(profile).expect("a profile");
    let native = Arch::native().expect("an architecture with filters");
    let filter = compile(&profile, &FieldPath::root(), native).expect("a good profile");
    Program::new(filter.program, 0).expect("a program that the kernel takes")
}

/// 3 under the filter, 4 without one, something else if neither is clear.
const TELL: &str = "mode=; while read -r key value; do [ \"$key\" = Seccomp: ] && mode=$value; done </proc/self/status; \
                    if mkdir /tmp/d 2>/dev/null; then made=yes; else made=no; fi; rmdir /tmp/d 2>/dev/null; \
                    case $mode$made in 2no) exit 3;; 0yes) exit 4;; esac; exit 5";

#[test]
fn container_runs_under_the_program() {
    let Some(bundle) = Bundle::new("run", TELL, &json!({})) else { return };
    assert_eq!(bundle.run(Some(no_directories()), false).expect("run"), 3);
    // The same container without it, to know that it is the program that makes the difference. It may be under a filter
    // already, if this test is.
    let inherited = fs::read_to_string("/proc/self/status").expect("status").contains("Seccomp:\t2");
    if !inherited {
        assert_eq!(bundle.run(None, false).expect("run"), 4);
    }
}

#[test]
fn what_joins_later_is_under_it_too() {
    let Some(bundle) = Bundle::new("exec", "exec sleep 1000", &json!({})) else { return };
    assert_eq!(bundle.run(Some(no_directories()), true).expect("run"), 0);
    assert_eq!(bundle.exec(TELL).expect("exec"), 3);
}

#[test]
fn profile_beside_it_is_refused() {
    let linux = json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}});
    let Some(bundle) = Bundle::new("both", TELL, &linux) else { return };
    let error = bundle.run(Some(no_directories()), false).expect_err("refused").to_string();
    assert!(error.contains("linux.seccomp") && error.contains("CreateOptions::seccomp"), "{error}");
    assert!(ops::state(&bundle.store, &bundle.id).is_err(), "nothing is left of it");
}
