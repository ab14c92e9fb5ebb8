//! A layout to test on, and processes to put there.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libcontainer::cgroup::{Cgroup, Error, Kind, Layout, Write, lower};
use libcontainer::config::Resources;
use libcontainer::error::FieldPath;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

use crate::sys;

/// A cgroup that is removed whatever happens.
pub struct Fixture {
    pub layout: Layout,
    pub path: String,
    made: Option<Cgroup>,
}

impl Fixture {
    pub fn new(layout: Layout, name: &str) -> Fixture {
        Fixture { layout, path: format!("/corten-test-{}-{name}", std::process::id()), made: None }
    }

    pub fn create(&mut self) {
        self.made = Some(self.try_create().expect("create"));
    }

    pub fn try_create(&self) -> Result<Cgroup, Error> {
        Cgroup::create(Cgroup::plan(&self.layout, Some(&self.path), "id", false)?)
    }

    pub fn cgroup(&self) -> &Cgroup {
        self.made.as_ref().expect("created")
    }

    pub fn is_v2(&self) -> bool {
        self.layout.kind() == Kind::Unified
    }

    pub fn dirs(&self) -> Vec<PathBuf> {
        self.cgroup().paths().map(|(_, p)| p.to_path_buf()).collect()
    }

    /// The path of a control file, if the kernel has it here.
    pub fn file(&self, controller: &str, name: &str) -> Option<PathBuf> {
        let of = |list: &str| self.is_v2() || list.split(',').any(|c| c == controller);
        let path = self.cgroup().paths().find(|(list, _)| of(list))?.1.join(name);
        path.exists().then_some(path)
    }

    pub fn apply(&self, json: &str) -> Result<(), String> {
        self.cgroup().apply(&self.lower(json)?).map_err(|e| e.to_string())
    }

    pub fn update(&self, json: &str) -> Result<(), String> {
        self.cgroup().update(&self.lower(json)?).map_err(|e| e.to_string())
    }

    fn lower(&self, json: &str) -> Result<Vec<Write>, String> {
        let resources: Resources = serde_json::from_str(json).expect("test input");
        let at = FieldPath::new("linux.resources");
        lower(&resources, self.layout.kind(), &at).map_err(|e| e.to_string())
    }

    /// Runs a script inside.
    pub fn can(&self, script: &str) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
        sys::join_before_exec(&mut command, self.cgroup().join_fds(false).expect("join_fds"));
        command.status().expect("sh").success()
    }

    /// A process inside.
    pub fn spawn(&self, program: &str, args: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stderr(Stdio::null());
        sys::join_before_exec(&mut command, self.cgroup().join_fds(false).expect("join_fds"));
        command.spawn().expect("spawn")
    }

    pub fn sleeper(&self) -> Child {
        self.spawn("sleep", &["1000"])
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let Some(cgroup) = self.made.take() else { return };
        let result = cgroup.kill_all(libc::SIGKILL).and_then(|()| cgroup.destroy());
        let left = cgroup.paths().any(|(_, p)| p.exists());
        if !thread::panicking() {
            result.expect("remove");
            assert!(!left, "left behind");
        }
    }
}

/// The same test on the machine as it is and on pure version 2.
pub fn on_every_layout(name: &'static str, test: fn(Fixture)) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    match Layout::probe().expect("probe") {
        Layout::None => println!("skipped on this machine's own layout: no cgroup file system"),
        layout => test(Fixture::new(layout, name)),
    }
    on_v2(name, test);
}

/// On pure version 2 only. A thread can have a mount namespace of its own.
pub fn on_v2(name: &'static str, test: fn(Fixture)) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let version_2 = move || {
        if let Err(reason) = mount_v2() {
            println!("skipped on version 2: {reason}");
            return;
        }
        let layout = Layout::probe().expect("probe");
        assert_eq!(layout, Layout::Unified { mount: "/sys/fs/cgroup".into() });
        test(Fixture::new(layout, &format!("{name}-v2")));
    };
    thread::spawn(version_2).join().expect("test on version 2");
}

fn mount_v2() -> Result<(), String> {
    const ROOT: &str = "/sys/fs/cgroup";
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|e| format!("unshare: {e}"))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|e| format!("make / private: {e}"))?;
    while unmount(ROOT, UnmountFlags::DETACH).is_ok() {}
    mount("cgroup2", ROOT, "cgroup2", MountFlags::empty(), None).map_err(|e| format!("mount cgroup2: {e}"))
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < end, "{what}: not within 5 s");
        thread::sleep(Duration::from_millis(1));
    }
}
