//! The verbs that need no launcher, on processes and a cgroup that the test itself puts together.
//!
//! Needs root and a cgroup filesystem. A test that cannot run here prints why.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use libcontainer::cgroup::{Cgroup, Layout};
use libcontainer::ops::{self, Signal};
use libcontainer::state::{self, ContainerId, FORMAT, ProcessRef, State, Store};

/// A container that nobody launched: sleeping processes in a cgroup, and a `state.json` about the first of them.
struct Made {
    scratch: PathBuf,
    store: Store,
    cgroup: Cgroup,
    processes: Vec<Child>,
}

impl Made {
    /// `None` where there is no cgroup to be had.
    fn new(name: &str, processes: usize) -> Option<Made> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let layout = Layout::probe().expect("probe");
        if layout == Layout::None {
            println!("skipped: no cgroup file system");
            return None;
        }
        let own = format!("corten-verbs-{}-{name}", std::process::id());
        let scratch = std::env::temp_dir().join(&own);
        let store = Store::open(&scratch.join("root")).expect("store");
        let paths = Cgroup::plan(&layout, Some(&format!("/{own}")), "c1", false).expect("plan");
        let cgroup = Cgroup::create(paths).expect("create");
        let sleeper = |_| Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
        let processes: Vec<Child> = (0..processes).map(sleeper).collect();
        let made = Made { scratch, store, cgroup, processes };
        for process in &made.processes {
            made.cgroup.attach(process.id().cast_signed(), false).expect("attach");
        }
        made.write_state(made.processes.len() > 1);
        Some(made)
    }

    fn write_state(&self, shares_pid_namespace: bool) {
        let (entry, lock) = self.store.reserve(&ContainerId::new("c1").expect("id")).expect("reserve");
        let init = ProcessRef::of(self.pid(0)).expect("stat");
        let state = State {
            corten_state: FORMAT,
            oci_version: "1.2.0".into(),
            id: "c1".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            pid: Some(init.pid),
            start_time: init.start_time,
            created: state::time::now(),
            annotations: Default::default(),
            owner: 0,
            cgroup: self.cgroup.saved(),
            intel_rdt: None,
            cgroup_manager: Default::default(),
            rootless: false,
            shares_pid_namespace,
            creating: false,
            poststop: Vec::new(),
            seccomp: None,
        };
        entry.write_state(&lock, &state).expect("write");
    }

    fn pid(&self, index: usize) -> i32 {
        self.processes[index].id().cast_signed()
    }

    fn status(&self) -> &'static str {
        ops::state(&self.store, "c1").expect("state").status
    }

    /// The signal that ended a process.
    fn wait(&mut self, index: usize) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        self.processes[index].wait().expect("wait").signal()
    }

    fn is_gone(&self) -> bool {
        !self.store.root().join("c1").exists() && !self.cgroup.paths().any(|(_, path)| path.exists())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_all(libc::SIGKILL);
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = self.cgroup.destroy();
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

#[track_caller]
fn refused(done: libcontainer::Result<()>) -> String {
    done.expect_err("refused").to_string()
}

#[test]
fn pause_resume_kill_and_delete() {
    let Some(mut made) = Made::new("life", 1) else { return };
    let store = made.store.clone();
    assert_eq!(made.status(), "running");
    assert_eq!(ops::ps(&store, "c1").expect("ps"), [made.pid(0)]);
    assert!(refused(ops::resume(&store, "c1")).contains("container not paused"));

    ops::pause(&store, "c1").expect("pause");
    assert_eq!(made.status(), "paused");
    assert!(refused(ops::pause(&store, "c1")).contains("it is paused"));
    assert!(refused(ops::delete(&store, "c1", false)).contains("that is not stopped: paused"));
    ops::resume(&store, "c1").expect("resume");
    assert_eq!(made.status(), "running");

    ops::kill(&store, "c1", Signal::TERM, false).expect("kill");
    assert_eq!(made.wait(0), Some(libc::SIGTERM));
    assert_eq!(made.status(), "stopped");
    assert!(refused(ops::kill(&store, "c1", Signal::TERM, false)).contains("container not running"));
    assert!(refused(ops::pause(&store, "c1")).contains("container not running"));
    assert_eq!(ops::ps(&store, "c1").expect("ps"), [0; 0]);
    ops::delete(&store, "c1", false).expect("delete");
    assert!(made.is_gone());
}

#[test]
fn sigkill_ends_a_paused_container() {
    let Some(mut made) = Made::new("kill-paused", 1) else { return };
    let store = made.store.clone();
    ops::pause(&store, "c1").expect("pause");
    ops::kill(&store, "c1", Signal::KILL, false).expect("kill");
    assert_eq!(made.wait(0), Some(libc::SIGKILL));
    ops::delete(&store, "c1", false).expect("delete");
    assert!(made.is_gone());
}

#[test]
fn force_deletes_a_paused_container() {
    let Some(mut made) = Made::new("force-paused", 1) else { return };
    ops::pause(&made.store, "c1").expect("pause");
    ops::delete(&made.store, "c1", true).expect("delete");
    assert!(made.is_gone());
    assert_eq!(made.wait(0), Some(libc::SIGKILL));
}

#[test]
fn all_reaches_everybody_also_after_the_first_has_ended() {
    let Some(mut made) = Made::new("all", 3) else { return };
    let store = made.store.clone();
    let mut pids = [made.pid(0), made.pid(1), made.pid(2)];
    pids.sort_unstable();
    assert_eq!(ops::ps(&store, "c1").expect("ps"), pids);
    ops::kill(&store, "c1", "0".parse().expect("signal"), true).expect("kill 0");
    ops::kill(&store, "c1", Signal::TERM, false).expect("kill");
    assert_eq!(made.wait(0), Some(libc::SIGTERM));
    assert_eq!(made.status(), "stopped");
    ops::kill(&store, "c1", Signal::KILL, true).expect("kill --all");
    assert_eq!([made.wait(1), made.wait(2)], [Some(libc::SIGKILL); 2]);
    ops::kill(&store, "c1", Signal::KILL, true).expect("nobody left is no error");
    ops::delete(&store, "c1", false).expect("delete");
    assert!(made.is_gone());
}

#[test]
fn sigkill_and_delete_spare_nobody_in_a_shared_pid_namespace() {
    let Some(mut made) = Made::new("shared", 2) else { return };
    ops::kill(&made.store, "c1", Signal::KILL, false).expect("kill");
    assert_eq!([made.wait(0), made.wait(1)], [Some(libc::SIGKILL); 2]);
    ops::delete(&made.store, "c1", false).expect("delete");
    assert!(made.is_gone());

    let Some(mut made) = Made::new("shared-left", 2) else { return };
    ops::kill(&made.store, "c1", Signal::TERM, false).expect("kill");
    assert_eq!(made.wait(0), Some(libc::SIGTERM));
    ops::delete(&made.store, "c1", false).expect("delete");
    assert!(made.is_gone());
    assert_eq!(made.wait(1), Some(libc::SIGKILL));
}
