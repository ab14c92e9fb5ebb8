//! Hooks that are shell scripts in a directory of the test's own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{HookError, HookFailure, Place, run_all_hooks, run_hooks};
use crate::config::Hook;
use crate::error::FieldPath;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corten-hooks-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A hook that is a script of `/bin/sh`, with a `PATH` and nothing else in its environment.
    ///
    /// Another process writes it: children of the tests beside this one would inherit a descriptor that is being written
    /// to, and until they have executed, the script could not be (ETXTBSY).
    fn hook(&self, name: &str, script: &str) -> Hook {
        let path = self.path(name);
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(install.wait().unwrap().success());
        let path = path.to_str().unwrap().to_owned();
        Hook { path, env: vec!["PATH=/usr/bin:/bin".to_owned()], ..Hook::default() }
    }

    /// Runs the hooks in this directory, as `hooks.prestart`.
    fn run(&self, hooks: &[Hook], state: &[u8]) -> Result<(), HookError> {
        run_hooks(hooks, &FieldPath::new("hooks.prestart"), state, &Place::Runtime { cwd: &self.0 })
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_hook_gets_the_state_on_stdin_and_its_directory() {
    let dir = Dir::new();
    dir.run(&[dir.hook("h", "cat > state; cat >> state; pwd > cwd")], br#"{"id":"c"}"#).unwrap();
    assert_eq!(dir.read("state"), r#"{"id":"c"}"#);
    assert_eq!(Path::new(dir.read("cwd").trim()), fs::canonicalize(&dir.0).unwrap());
}

#[test]
fn a_hook_need_not_read_a_large_state() {
    let dir = Dir::new();
    let state = vec![b'x'; 4 << 20];
    dir.run(
        &[dir.hook("a", "exit 0"), dir.hook("b", "head -c 5 > five"), dir.hook("c", "wc -c > all")],
        &state,
    )
    .unwrap();
    assert_eq!(dir.read("five"), "xxxxx");
    assert_eq!(dir.read("all").trim(), state.len().to_string());
}

#[test]
fn arguments_and_environment_are_those_listed() {
    let dir = Dir::new();
    let shell = |args: &[&str], env: &[&str]| Hook {
        path: "/bin/sh".to_owned(),
        args: args.iter().map(|&s| s.to_owned()).collect(),
        env: env.iter().map(|&s| s.to_owned()).collect(),
        timeout: None,
    };
    let print = "tr '\\0' '\\n' < /proc/$$/cmdline > argv; tr '\\0' '\\n' < /proc/$$/environ > env";
    dir.run(&[shell(&["renamed", "-c", print, "x"], &["A=b", "PATH=/usr/bin:/bin"])], b"").unwrap();
    assert_eq!(dir.read("argv"), format!("renamed\n-c\n{print}\nx\n"));
    assert_eq!(dir.read("env"), "A=b\nPATH=/usr/bin:/bin\n");

    let script = dir.hook("alone", "tr '\\0' '\\n' < /proc/$$/cmdline > argv");
    dir.run(std::slice::from_ref(&script), b"").unwrap();
    assert_eq!(dir.read("argv"), format!("/bin/sh\n{}\n", script.path));
}

#[test]
fn nothing_leaks_into_a_hook() {
    let dir = Dir::new();
    // A descriptor of the host program's that is not O_CLOEXEC.
    let open = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let signals = dir.hook("signals", "exec grep -E 'Sig(Blk|Ign)' /proc/self/status > of-signals");
    dir.run(&[dir.hook("fds", "exec ls /proc/self/fd > of-fds"), signals], b"").unwrap();
    drop(open);
    // ls reads the list through one of its own.
    assert_eq!(dir.read("of-fds"), "0\n1\n2\n3\n");
    assert_eq!(dir.read("of-signals"), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn hooks_run_in_order_up_to_the_first_failure() {
    let dir = Dir::new();
    let hooks = [
        dir.hook("a", "echo a >> log"),
        dir.hook("b", "echo b >> log; exit 3"),
        dir.hook("c", "echo c >> log"),
    ];
    let error = dir.run(&hooks, b"").unwrap_err();
    assert_eq!(dir.read("log"), "a\nb\n");
    assert_eq!(error.at.as_str(), "hooks.prestart[1]");
    assert!(matches!(error.failure, HookFailure::Exit(3)));
}

#[test]
fn all_hooks_run_where_failures_are_warnings() {
    let dir = Dir::new();
    let hooks = [dir.hook("a", "exit 1"), dir.hook("b", "echo b >> log"), dir.hook("c", "kill -9 $$")];
    let errors =
        run_all_hooks(&hooks, &FieldPath::new("hooks.poststop"), b"", &Place::Runtime { cwd: &dir.0 });
    let failed: Vec<&str> = errors.iter().map(|e| e.at.as_str()).collect();
    assert_eq!(failed, ["hooks.poststop[0]", "hooks.poststop[2]"]);
    assert!(matches!(errors[1].failure, HookFailure::Signal(9)));
    assert_eq!(dir.read("log"), "b\n");
}

#[test]
fn what_a_failed_hook_printed_is_in_the_error() {
    let dir = Dir::new();
    let error = dir.run(&[dir.hook("h", "echo out; echo err >&2; exit 1")], b"").unwrap_err();
    let path = dir.path("h");
    let expected = format!(
        "error running hook hooks.prestart[0]: {}: exit status 1, output: \"out\\nerr\"",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn only_the_end_of_a_long_output_is_kept() {
    let dir = Dir::new();
    let error = dir
        .run(&[dir.hook("h", "head -c 1000000 /dev/zero | tr '\\0' x; echo end; exit 1")], b"")
        .unwrap_err();
    assert!(error.output.len() < 4096 && error.output.ends_with("xxend"), "{} bytes", error.output.len());
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let dir = Dir::new();
    let missing = Hook { path: "/nonexistent/hook".to_owned(), ..Hook::default() };
    let error = dir.run(&[missing], b"").unwrap_err();
    let expected =
        "error running hook hooks.prestart[0]: /nonexistent/hook: execve: no such file or directory";
    assert_eq!(error.to_string(), expected);

    let plain = dir.hook("plain", "");
    fs::set_permissions(dir.path("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = dir.run(&[plain], b"").unwrap_err();
    assert!(error.to_string().ends_with("execve: permission denied"), "{error}");

    let place = Place::Runtime { cwd: Path::new("/nonexistent") };
    let error = run_hooks(&[dir.hook("h", "")], &FieldPath::new("hooks.prestart"), b"", &place).unwrap_err();
    assert!(error.to_string().ends_with("chdir: no such file or directory"), "{error}");
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let dir = Dir::new();
    let hook = dir.hook("h", "sleep 600 & echo $! > pid; echo waiting; wait");
    let began = Instant::now();
    let error = dir.run(&[Hook { timeout: Some(1), ..hook }], b"").unwrap_err();
    assert!(matches!(error.failure, HookFailure::TimedOut(t) if t == Duration::from_secs(1)));
    assert!(error.to_string().ends_with("killed after its timeout of 1 s, output: \"waiting\""), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let sleep = dir.read("pid");
    gone(sleep.trim());
}

/// Waits until a process that was killed is one no more; it may be for its new parent to see to that.
fn gone(pid: &str) {
    for _ in 0..500 {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => std::thread::sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
    panic!("process {pid} still runs");
}

#[test]
fn a_hook_may_leave_a_daemon_behind() {
    let dir = Dir::new();
    let hook = dir.hook("h", "sleep 600 & echo $! > pid");
    let began = Instant::now();
    dir.run(&[Hook { timeout: Some(300), ..hook }], b"").unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
    let pid = dir.read("pid").trim().parse().ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn nothing_is_left_of_hooks() {
    let dir = Dir::new();
    let fds = || fs::read_dir("/proc/self/fd").unwrap().count();
    let hooks = [dir.hook("a", "exit 0")];
    let before = fds();
    for _ in 0..100 {
        dir.run(&hooks, b"state").unwrap();
    }
    // One descriptor of each would make a hundred; other tests of this process have some open as well.
    assert!(fds() < before + 100);
}

/// A process in namespaces of its own, and the shell around it; both end with the test.
struct Container {
    outer: Child,
    init: Pid,
}

impl Container {
    /// User, mount, UTS and pid namespaces, where the caller is root.
    fn new() -> Container {
        let args = [
            "--user",
            "--map-root-user",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "sleep",
            "600",
        ];
        let mut outer = Command::new("unshare").args(args).stderr(Stdio::null()).spawn().unwrap();
        let init = Container::init(outer.id());
        if init.is_none() {
            outer.kill().unwrap();
            outer.wait().unwrap();
        }
        Container { outer, init: init.expect("a container") }
    }

    /// unshare maps the ids before it forks, and sleep is running once the name is its own.
    fn init(outer: u32) -> Option<Pid> {
        for _ in 0..500 {
            let init = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
            let name = fs::read_to_string(format!("/proc/{}/comm", init.trim())).unwrap_or_default();
            if name == "sleep\n" {
                return init.trim().parse().ok().and_then(Pid::from_raw);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn namespace(&self, kind: &str) -> String {
        let link = format!("/proc/{}/ns/{kind}", self.init.as_raw_nonzero());
        fs::read_link(link).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The outer process ends with its child.
        rustix::process::kill_process(self.init, rustix::process::Signal::KILL).unwrap();
        self.outer.wait().unwrap();
    }
}

#[test]
fn a_hook_in_the_namespaces_of_a_container() {
    let dir = Dir::new();
    let container = Container::new();
    let pidfd = pidfd_open(container.init, PidfdFlags::empty()).unwrap();
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWPID;
    let place = Place::Container {
        pidfd: std::os::fd::AsFd::as_fd(&pidfd),
        namespaces: flags as u32,
        cwd: Some(&dir.0),
    };
    let at = FieldPath::new("hooks.createContainer");
    let script = "for ns in user mnt uts pid net; do readlink /proc/self/ns/$ns; done > ns; id -u > id; echo $$ > pid; cat > state";
    run_hooks(&[dir.hook("h", script)], &at, b"{}", &place).unwrap();

    let inside: Vec<String> = ["user", "mnt", "uts", "pid"].map(|kind| container.namespace(kind)).to_vec();
    let outside = fs::read_link("/proc/self/ns/net").unwrap().to_str().unwrap().to_owned();
    let seen = dir.read("ns");
    assert_eq!(seen.lines().collect::<Vec<_>>(), [&inside[..], &[outside]].concat());
    assert_eq!((dir.read("id").as_str(), dir.read("state").as_str()), ("0\n", "{}"));
    assert!(dir.read("pid").trim().parse::<u32>().unwrap() < 10);

    let ends = [("exit 7", "exit status 7"), ("kill -TERM $$", "killed by signal 15")];
    for (script, end) in ends {
        let error = run_hooks(&[dir.hook("h", script)], &at, b"{}", &place).unwrap_err();
        assert!(error.to_string().ends_with(end), "{error}");
    }
    let slow = Hook { timeout: Some(1), ..dir.hook("h", "echo begun; sleep 600") };
    let error = run_hooks(&[slow], &at, b"{}", &place).unwrap_err();
    assert!(matches!(error.failure, HookFailure::TimedOut(_)) && error.output == "begun", "{error}");

    let missing = Hook { path: "/nonexistent".to_owned(), ..Hook::default() };
    let error = run_hooks(&[missing], &at, b"{}", &place).unwrap_err();
    assert!(error.to_string().ends_with("execve: no such file or directory"), "{error}");
    drop(container);
    let error = run_hooks(&[dir.hook("h", "")], &at, b"{}", &place).unwrap_err();
    assert!(error.to_string().ends_with("setns: no such process"), "{error}");
}
