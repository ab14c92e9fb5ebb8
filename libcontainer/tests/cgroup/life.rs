//! Making, joining, freezing, killing, removing.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libcontainer::cgroup::{Cgroup, Kind, Layout, lower};
use libcontainer::error::FieldPath;

use crate::fixture::{Fixture, on_every_layout};
use crate::sys;

/// In every hierarchy that is mounted here; the kernel knows of more.
fn assert_inside(f: &Fixture, pid: u32) {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("/proc/PID/cgroup");
    for (controllers, _) in f.cgroup().paths() {
        let end = format!(":{controllers}:{}", f.path);
        assert!(lines.lines().any(|l| l.ends_with(&end)), "{end} in {lines}");
    }
}

#[test]
fn create_join_and_destroy() {
    on_every_layout("life", |mut f| {
        f.path.push_str("/nested/deep");
        f.create();
        let mut child = f.sleeper();
        assert_inside(&f, child.id());
        let pids = [child.id().cast_signed()];
        assert_eq!(f.cgroup().procs(false).expect("procs"), pids);

        // With no more than what is in state.json.
        let json = serde_json::to_string(&f.cgroup().saved()).expect("saved");
        let again = Cgroup::from_saved(&serde_json::from_str(&json).expect("saved"));
        assert_eq!(again.procs(true).expect("procs"), pids);
        again.kill_all(libc::SIGKILL).expect("kill");
        again.destroy().expect("destroy");
        for dir in f.dirs() {
            let top = dir.ancestors().nth(2).expect("two parents");
            assert!(!top.exists(), "{}", top.display());
        }
        child.wait().expect("wait");
    });
}

#[test]
fn attach_from_outside() {
    on_every_layout("attach", |mut f| {
        f.create();
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = child.id().cast_signed();
        f.cgroup().attach(pid, false).expect("attach");
        assert_eq!(f.cgroup().procs(false).expect("procs"), [pid]);
        assert_inside(&f, child.id());
        f.cgroup().kill_all(libc::SIGTERM).expect("kill");
        child.wait().expect("wait");
        let e = f.cgroup().attach(pid, false).expect_err("gone").to_string();
        assert!(e.ends_with("cgroup.procs: no such process"), "{e}");
    });
}

#[test]
fn clone_into_cgroup() {
    on_every_layout("clone", |mut f| {
        f.create();
        let Some(dir) = f.cgroup().unified_dir().unwrap() else {
            println!("skipped on this machine's own layout: version 1 without a unified hierarchy");
            return;
        };
        let pid = sys::clone_into(dir).expect("clone3");
        assert_eq!(f.cgroup().procs(false).expect("procs"), [pid]);
        let fds = f.cgroup().join_fds(true).expect("join_fds");
        assert_eq!(fds.len(), f.cgroup().paths().count() - 1);
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        assert_eq!(sys::wait(pid), libc::SIGKILL);
    });
}

#[test]
fn freeze_thaw_and_kill_frozen() {
    on_every_layout("freeze", |mut f| {
        f.create();
        let mut child = f.sleeper();
        for _ in 0..20 {
            f.cgroup().freeze().expect("freeze");
            assert!(f.cgroup().is_frozen().expect("is_frozen"));
            f.cgroup().thaw().expect("thaw");
            assert!(!f.cgroup().is_frozen().expect("is_frozen"));
        }
        f.cgroup().freeze().expect("freeze");
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        child.wait().expect("wait");
    });
}

#[test]
fn signal_reaches_all_without_leaving_them_frozen() {
    on_every_layout("signal", |mut f| {
        f.create();
        let mut children = [f.sleeper(), f.sleeper(), f.sleeper()];
        f.cgroup().kill_all(libc::SIGRTMIN() + 3).expect("kill");
        for child in &mut children {
            let status = child.wait().expect("wait");
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(libc::SIGRTMIN() + 3));
        }
        assert!(!f.cgroup().is_frozen().expect("is_frozen"));
    });
}

#[test]
fn kill_reaches_frozen_children_of_the_container() {
    on_every_layout("nested", |mut f| {
        f.create();
        let mut inner = Fixture::new(f.layout.clone(), "");
        inner.path = format!("{}/inner", f.path);
        inner.create();
        let mut child = inner.sleeper();
        inner.cgroup().freeze().expect("freeze");
        assert_eq!(f.cgroup().procs(false).expect("procs"), [0; 0]);
        assert_eq!(f.cgroup().procs(true).expect("procs"), [child.id().cast_signed()]);
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        child.wait().expect("wait");
        // Along with the outer one.
        f.cgroup().destroy().expect("destroy");
        assert!(inner.dirs().iter().all(|d| !d.exists()));
    });
}

#[test]
fn fork_bomb_ends() {
    on_every_layout("bomb", |mut f| {
        f.create();
        // On version 2 there may be no pids controller, so the bomb is a slow one.
        match f.file("pids", "pids.max") {
            Some(_) => f.apply(r#"{"pids":{"limit":64}}"#).expect("pids.max"),
            None => println!("without pids.max: not in this hierarchy"),
        }
        let script = "while :; do (while :; do sleep 0.01 & sleep 0.02; done) & sleep 0.05; done";
        let mut child = f.spawn("sh", &["-c", script]);
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        f.cgroup().destroy().expect("destroy");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        child.wait().expect("wait");
    });
}

#[test]
fn existing_cgroups() {
    on_every_layout("existing", |mut f| {
        f.create();
        // Empty: usable, and not ours to remove.
        f.try_create().expect("an empty cgroup can be used").destroy().expect("destroy");
        assert!(f.dirs().iter().all(|d| d.exists()), "an existing cgroup stays");

        let mut child = f.sleeper();
        let e = f.try_create().expect_err("populated").to_string();
        assert!(e.starts_with("container's cgroup is not empty: 1 process(es) found"), "{e}");
        f.cgroup().kill_all(libc::SIGKILL).expect("kill");
        child.wait().expect("wait");

        // Last, because a child switches controllers on here, and then version 2 takes no processes any more.
        f.cgroup().freeze().expect("freeze");
        let mut below = Fixture::new(f.layout.clone(), "");
        below.path = format!("{}/below", f.path);
        for fixture in [&f, &below] {
            let e = fixture.try_create().expect_err("frozen").to_string();
            assert!(e.starts_with("container's cgroup unexpectedly frozen"), "{e}");
        }
        assert!(f.dirs().iter().all(|d| !d.join("below").exists()), "a failed create leaves nothing");
        f.cgroup().thaw().expect("thaw");
    });
}

#[test]
fn no_cgroup() {
    let paths = Cgroup::plan(&Layout::None, Some("/x"), "id", false).expect("plan");
    let none = Cgroup::create(paths).expect("create");
    assert!(none.is_none() && none.unified_dir().unwrap().is_none());
    let asked = serde_json::from_str(r#"{"memory":{"limit":1048576}}"#).expect("test input");
    let writes = lower(&asked, Kind::Unified, &FieldPath::new("linux.resources")).expect("lower");
    let e = none.apply(&writes).expect_err("nowhere to write").to_string();
    let start = "linux.resources.memory.limit: the cgroup controller \"memory\" is not available";
    assert!(e.starts_with(start), "{e}");
    none.apply(&[]).expect("nothing asked for");
    none.kill_all(libc::SIGKILL).expect("nobody there");
    none.destroy().expect("nothing there");
}
