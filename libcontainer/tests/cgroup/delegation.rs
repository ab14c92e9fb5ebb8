//! Cgroups that belong to somebody else, or to nobody in particular.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use libcontainer::cgroup::{Cgroup, DevicePolicy, Layout, lower};
use libcontainer::config::DeviceRule;
use libcontainer::error::FieldPath;
use rustix::process::Uid;

use crate::fixture::{Fixture, on_every_layout, on_v2};

const NOBODY: u32 = 65534;

/// Runs `test` in a thread that has no privileges, in the mount namespace of this one.
fn unprivileged<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let body = || {
        let uid = Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("setresuid");
        test()
    };
    thread::scope(|s| s.spawn(body).join().expect("unprivileged thread"))
}

fn create(layout: &Layout, path: Option<&str>) -> Result<Cgroup, libcontainer::cgroup::Error> {
    Cgroup::create(Cgroup::plan(layout, path, "corten-test-id", true)?)
}

#[test]
fn rootless_without_permission() {
    on_every_layout("rootless", |f| {
        unprivileged(|| {
            let cgroup = create(&f.layout, None).expect("nothing was asked for");
            assert!(cgroup.is_none());
            cgroup.apply(&[]).expect("nothing was asked for");
            let at = FieldPath::new("linux.resources");
            let deny = DeviceRule { allow: false, ..DeviceRule::default() };
            let policy = DevicePolicy::new(&[deny], &at).expect("rules");
            cgroup.apply_devices(&policy, true).expect("may fail");
            let asked = serde_json::from_str(r#"{"pids":{"limit":5}}"#).expect("test input");
            let writes = lower(&asked, f.layout.kind(), &at).expect("lower");
            let e = cgroup.apply(&writes).expect_err("a limit").to_string();
            assert!(e.starts_with("linux.resources.pids.limit: the cgroup controller \"pids\""), "{e}");
            assert!(e.contains("permission"), "{e}");

            let e = create(&f.layout, Some(&f.path)).expect_err("a place was asked for").to_string();
            assert!(e.starts_with("mkdir /sys/fs/cgroup/") && e.ends_with(": permission denied"), "{e}");
        });
    });
}

#[test]
fn rootless_in_a_delegated_cgroup() {
    on_v2("delegated", |mut f| {
        f.create();
        f.cgroup().delegate_to(NOBODY).expect("delegate");
        let below = format!("{}/below", f.path);
        unprivileged(|| {
            let cgroup = create(&f.layout, Some(&below)).expect("create");
            let (_, path) = cgroup.paths().next().expect("one");
            assert_eq!(fs::metadata(path).expect("stat").uid(), NOBODY);
            cgroup.kill_all(libc::SIGKILL).expect("kill");
            cgroup.destroy().expect("destroy");
        });
    });
}

#[test]
fn only_the_delegated_files_change_hands() {
    on_every_layout("chown", |mut f| {
        f.create();
        f.cgroup().delegate_to(NOBODY).expect("delegate");
        let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
        for dir in f.dirs() {
            let expected = |name: &str| if f.is_v2() && list.lines().any(|l| l == name) { NOBODY } else { 0 };
            let own = fs::metadata(&dir).expect("stat").uid();
            assert_eq!(own, if f.is_v2() { NOBODY } else { 0 }, "{}", dir.display());
            for entry in fs::read_dir(&dir).expect("read") {
                let entry = entry.expect("read");
                let name = entry.file_name().into_string().expect("name");
                assert_eq!(entry.metadata().expect("stat").uid(), expected(&name), "{name}");
            }
        }
    });
}

#[test]
fn below_a_threaded_cgroup() {
    on_v2("threaded", |mut f| {
        f.create();
        let mut inner = Fixture::new(f.layout.clone(), "");
        inner.path = format!("{}/inner", f.path);
        fs::write(f.dirs()[0].join("cgroup.type"), "threaded").expect("threaded");
        // A threaded cgroup has no domain controllers, so the new one can be threaded too, and take processes whose
        // resource domain is further up.
        inner.create();
        let text = fs::read_to_string(inner.dirs()[0].join("cgroup.type")).expect("read");
        assert_eq!(text.trim(), "threaded");
    });
}

#[test]
fn relative_paths_are_near_the_runtime() {
    on_every_layout("relative", |f| {
        let name = f.path.trim_start_matches('/').to_owned();
        let cgroup = create(&f.layout, Some(&name)).expect("create");
        let all = cgroup.paths().all(|(_, p)| p.ends_with(&name) && p.exists());
        let again = Cgroup::plan(&f.layout, Some(&name), "other", true).expect("plan");
        let same = Cgroup::plan(&f.layout, Some(&name), "id", true).expect("plan") == again;
        cgroup.destroy().expect("destroy");
        assert!(all && same);
    });
}
