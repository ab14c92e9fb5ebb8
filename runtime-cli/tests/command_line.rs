//! The command from outside, as far as it needs neither privileges nor a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corten-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Runs corten with a state root of its own.
    fn corten(&self, arguments: &[&str]) -> Output {
        let root = self.path("root");
        let mut all = vec!["--root", &root];
        all.extend(arguments);
        corten(&all)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn corten(arguments: &[&str]) -> Output {
    // Podman runs some commands with next to no environment.
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    command.args(arguments).env_clear().stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Exit code 0 and not a byte on standard error: engines parse both streams together.
#[track_caller]
fn succeeds(output: &Output) -> &str {
    assert_eq!((output.status.code(), stderr(output)), (Some(0), ""));
    stdout(output)
}

/// This exit code, nothing on standard output, and one line on standard error, which is returned.
#[track_caller]
fn fails(output: &Output, code: i32) -> &str {
    assert_eq!((output.status.code(), stdout(output)), (Some(code), ""), "{}", stderr(output));
    let line = stderr(output).strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    line.strip_prefix("corten: ").unwrap()
}

#[test]
fn version_in_the_lines_that_engines_parse() {
    for flag in ["--version", "-v"] {
        let output = corten(&[flag]);
        let lines: Vec<_> = succeeds(&output).lines().collect();
        assert_eq!(lines[0], concat!("corten version ", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."), "{lines:?}");
    }
}

#[test]
fn help_for_everything_and_each() {
    for arguments in [&[][..], &["--help"], &["help"], &["-h"]] {
        assert!(succeeds(&corten(arguments)).contains("\nCommands:\n"));
    }
    let overview = corten(&[]);
    let commands = stdout(&overview).split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in commands.lines() {
        let command = line.split_whitespace().next().unwrap();
        let page = corten(&[command, "--help"]);
        assert!(succeeds(&page).starts_with(&format!("Usage: corten {command}")), "{command}");
        assert_eq!(page.stdout, corten(&["help", command]).stdout);
    }
}

#[test]
fn scripts_for_shells_and_manual_pages() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeeds(&corten(&["completion", shell])).contains("--help") || shell == "fish");
    }
    assert_eq!(
        fails(&corten(&["completion", "tcsh"]), 1),
        r#"invalid value "tcsh" for the shell: expected bash, zsh or fish"#
    );
    assert!(succeeds(&corten(&["help", "--man"])).starts_with(".TH CORTEN 1 "));
    assert!(succeeds(&corten(&["help", "--man", "run"])).starts_with(".TH CORTEN\\-RUN 1 "));
}

#[test]
fn a_slip_is_one_line_that_helps() {
    let line = |arguments: &[&str]| fails(&corten(arguments), 1).to_owned();
    assert_eq!(
        line(&["run", "--bundel", "/b"]),
        "unknown flag --bundel for `corten run`, did you mean --bundle?"
    );
    assert!(line(&["strat", "c1"]).contains("did you mean start?"));
    assert!(line(&["state"]).contains("state needs <container-id>"));
    assert_eq!(line(&["create", "--pid-file"]), "flag needs an argument: --pid-file");
    assert!(line(&["--log-format", "xml", "list"]).contains(r#"invalid value "xml" for --log-format"#));
    assert!(line(&["--log-level", "loud", "list"]).contains(r#"invalid value "loud" for --log-level"#));
    assert!(line(&["--cgroup-manager", "x", "list"]).contains(r#"invalid value "x" for --cgroup-manager"#));
    assert!(line(&["--rootless", "x", "list"]).contains(r#"invalid value "x" for --rootless"#));
    assert!(line(&["run", "--preserve-fds", "-1", "c"]).contains(r#"invalid value "-1" for --preserve-fds"#));
    let exec = |arguments: &[&str]| fails(&corten(&[&["exec"], arguments].concat()), 255).to_owned();
    assert!(exec(&["--user", "root", "c", "x"]).contains(r#"invalid value "root" for --user"#));
    assert!(exec(&["-u", "4294967296", "c", "x"]).contains(r#"invalid value "4294967296" for --user"#));
    assert_eq!(exec(&["-e", "A", "c", "x"]), r#"invalid value "A" for --env: expected NAME=value"#);
    assert!(exec(&["--cwd", "tmp", "c", "x"]).contains("for --cwd: expected an absolute path"));
    assert!(exec(&["--preserve-fds", "700", "c", "x"]).contains(r#"invalid value "700" for --preserve-fds"#));
    assert!(exec(&["c"]).contains("a command or --process is needed"));
    assert!(line(&["list", "-f", "yaml"]).contains("expected table or json"));
    for root in ["/", "//", "/."] {
        assert!(
            line(&["--root", root, "state", "etc"]).contains("expected a directory other than /"),
            "{root}"
        );
    }
}

#[test]
fn unknown_containers() {
    let scratch = Scratch::new();
    for arguments in [
        &["state", "c1"][..],
        &["kill", "c1"],
        &["delete", "c1"],
        &["pause", "c1"],
        &["resume", "c1"],
        &["ps", "c1"],
    ] {
        assert_eq!(fails(&scratch.corten(arguments), 1), "container does not exist: c1", "{arguments:?}");
    }
    succeeds(&scratch.corten(&["delete", "--force", "c1"]));
    assert!(!scratch.0.join("root").exists(), "asking makes no directories");
}

#[test]
fn ids_that_would_leave_the_root() {
    let scratch = Scratch::new();
    let long = "x".repeat(300);
    for id in ["../x", "a/b", ".", "..", "a b", &long] {
        for verb in ["state", "delete", "kill"] {
            assert!(
                fails(&scratch.corten(&[verb, id]), 1).starts_with("invalid container ID"),
                "{verb} {id}"
            );
        }
    }
    assert!(fails(&scratch.corten(&["delete", "--force", "../x"]), 1).starts_with("invalid container ID"));
}

#[test]
fn an_error_is_also_one_json_line_in_the_log() {
    let scratch = Scratch::new();
    let log = scratch.path("log.json");
    let flags = ["--log", &log, "--log-format", "json"];
    let output = scratch.corten(&[&flags[..], &["state", "c1"]].concat());
    let message = fails(&output, 1);
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&value["level"], &value["msg"]), (&"error".into(), &message.into()));
    assert!(value["time"].as_str().unwrap().ends_with('Z'));

    // Another failure is appended; usage errors are told there, too; success leaves no trace.
    fails(&scratch.corten(&[&flags[..], &["state", "--bogus"]].concat()), 1);
    succeeds(&scratch.corten(&[&flags[..], &["list"]].concat()));
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()));
}

#[test]
fn other_logs() {
    let scratch = Scratch::new();
    let log = scratch.path("log.text");
    fails(&scratch.corten(&["state", "--log", &format!("file:{log}"), "c1"]), 1);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains(r#" level=error msg="container does not exist: c1""#), "{text}");

    let missing = scratch.path("missing/log");
    let line = format!("--log: open {missing}: no such file or directory");
    assert_eq!(fails(&scratch.corten(&["--log", &missing, "list"]), 1), line);

    let output = scratch.corten(&["--log-format=json", "state", "c1"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value["msg"], "container does not exist: c1");

    // No journal need listen for the failure to be told.
    fails(&scratch.corten(&["--log=journald:c1", "state", "c1"]), 1);
}

#[test]
fn lists_of_nothing() {
    let scratch = Scratch::new();
    let title = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    assert_eq!(succeeds(&scratch.corten(&["list"])), title);
    assert_eq!(succeeds(&scratch.corten(&["list", "-q"])), "");
    assert_eq!(succeeds(&scratch.corten(&["list", "--format=json"])), "[]\n");
}

#[test]
fn a_damaged_container_hides_no_other_and_goes_with_force() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.0.join("root/broken")).unwrap();
    fs::write(scratch.0.join("root/broken/state.json"), r#"{"id":"broken","init_process_pid":1}"#).unwrap();
    assert_eq!(succeeds(&scratch.corten(&["list", "-q"])), "");
    let debug = scratch.corten(&["--debug", "list", "-q"]);
    assert!(stderr(&debug).starts_with("corten: warning: container broken: "), "{}", stderr(&debug));
    assert!(
        fails(&scratch.corten(&["state", "broken"]), 1).contains("not written by this version of corten")
    );
    assert!(fails(&scratch.corten(&["delete", "broken"]), 1).contains("delete --force"));
    succeeds(&scratch.corten(&["delete", "--force", "broken"]));
    assert!(!scratch.0.join("root/broken").exists());
}

#[test]
fn a_stopped_container_from_its_state_alone() {
    let scratch = Scratch::new();
    stopped(&scratch, "c1");
    let output = scratch.corten(&["state", "c1"]);
    let value: serde_json::Value = serde_json::from_str(succeeds(&output)).unwrap();
    let expected = serde_json::json!({
        "ociVersion": "1.2.0", "id": "c1", "pid": 0, "status": "stopped", "bundle": "/b", "rootfs": "/b/rootfs",
        "created": "2026-11-21T06:30:52.5Z", "annotations": {"k": "v"}, "owner": value["owner"],
    });
    assert_eq!(value, expected);
    let list = scratch.corten(&["list"]);
    let row: Vec<_> = succeeds(&list).lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["c1", "0", "stopped", "/b", "2026-11-21T06:30:52.5Z"]);
    assert_eq!(succeeds(&scratch.corten(&["list", "-q"])), "c1\n");

    assert!(fails(&scratch.corten(&["kill", "c1", "0"]), 1).contains("container not running"));
    succeeds(&scratch.corten(&["kill", "--all", "c1", "9"]));
    assert!(fails(&scratch.corten(&["pause", "c1"]), 1).contains("container not running"));
    assert!(fails(&scratch.corten(&["resume", "c1"]), 1).contains("container not paused"));
    assert!(fails(&scratch.corten(&["kill", "c1", "XYZ"]), 1).contains(r#"unknown signal "XYZ""#));
    assert_eq!(succeeds(&scratch.corten(&["ps", "-f", "json", "c1"])), "[]\n");
    succeeds(&scratch.corten(&["delete", "c1"]));
    assert!(!scratch.0.join("root/c1").exists());
}

/// The state of a container that has stopped.
fn stopped(scratch: &Scratch, id: &str) {
    let dir = scratch.0.join("root").join(id);
    fs::create_dir_all(&dir).unwrap();
    // Start time 1: whoever has this pid now, began later.
    let state = format!(
        r#"{{"cortenState":1,"ociVersion":"1.2.0","id":"{id}","bundle":"/b","rootfs":"/b/rootfs","pid":{},
            "startTime":1,"created":"2026-11-21T06:30:52.5Z","annotations":{{"k":"v"}},"owner":0}}"#,
        std::process::id()
    );
    fs::write(dir.join("state.json"), state).unwrap();
}

#[test]
fn a_pattern_for_several_containers() {
    let scratch = Scratch::new();
    let ids = || succeeds(&scratch.corten(&["list", "-q"])).replace('\n', " ");
    for id in ["job-1", "job-22", "web", "my-job-3"] {
        stopped(&scratch, id);
    }
    succeeds(&scratch.corten(&["delete", "--regex", "^nothing$"]));
    succeeds(&scratch.corten(&["delete", "-r", "^job-[0-9]$"]));
    assert_eq!(ids(), "job-22 my-job-3 web ");
    assert_eq!(
        fails(&scratch.corten(&["kill", "--regex", "job", "TERM"]), 1),
        r#"kill --regex "job": 2 of 2 containers failed; the first: container not running: job-22 is stopped"#
    );
    succeeds(&scratch.corten(&["kill", "--regex", "--all", "job", "KILL"]));
    succeeds(&scratch.corten(&["delete", "--force", "--regex", "[[:alpha:]]-.*[3]|22"]));
    assert_eq!(ids(), "web ");
    let line = fails(&scratch.corten(&["delete", "--regex", "a("]), 1).to_owned();
    assert!(line.starts_with(r#"invalid value "a(" for --regex: expected a regular expression: "#), "{line}");
    assert_eq!(fails(&scratch.corten(&["delete", "w.b"]), 1), r#"container does not exist: w.b"#);
}

#[test]
fn what_is_not_supported_yet_says_so() {
    let scratch = Scratch::new();
    // Podman looks for these words to learn whether a runtime has the flag.
    let probe = scratch.corten(&["restore", "--lsm-mount-context"]);
    assert_eq!(fails(&probe, 1), "flag needs an argument: --lsm-mount-context");
    for verb in ["checkpoint", "restore"] {
        assert!(succeeds(&corten(&[verb, "--help"])).contains("not supported yet"));
        let mode = scratch.corten(&[verb, "--manage-cgroups-mode", "hard", "c1"]);
        assert!(fails(&mode, 1).contains("--manage-cgroups-mode: expected soft, full, strict or ignore"));
    }
    let features = corten(&["features"]);
    assert!(!succeeds(&features).contains("checkpoint"), "no claim");
    assert_eq!(fails(&scratch.corten(&["checkpoint", "c1"]), 1), "container does not exist: c1");
    stopped(&scratch, "c1");
    for (line, verb) in [
        (
            &["checkpoint", "--image-path", "/i", "--work-path", "/w", "--leave-running", "c1"][..],
            "checkpoint",
        ),
        (&["restore", "--image-path", "/i", "-no-subreaper", "--bundle", "/b", "--detach", "c1"], "restore"),
    ] {
        assert_eq!(fails(&scratch.corten(line), 1), format!("{verb} is not supported yet"));
    }
    assert_eq!(fails(&scratch.corten(&["delete", "c2"]), 1), "container does not exist: c2");
}

#[test]
fn a_systemd_cgroup_is_accepted_where_nothing_is_made() {
    let scratch = Scratch::new();
    succeeds(&scratch.corten(&["--systemd-cgroup", "list"]));
    succeeds(&scratch.corten(&["--systemd-cgroup", "delete", "--force", "c1"]));
    let bundle = scratch.0.to_str().unwrap();
    fs::create_dir(scratch.0.join("rootfs")).unwrap();
    succeeds(&scratch.corten(&["spec", "--rootless", "-b", bundle]));
    let nowhere = format!("unix:path={}", scratch.path("no-bus"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    command.env("DBUS_SYSTEM_BUS_ADDRESS", &nowhere).env("DBUS_SESSION_BUS_ADDRESS", &nowhere);
    command.args(["--root", &scratch.path("root"), "--systemd-cgroup", "run", "-b", bundle, "c1"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(fails(&output, 1).contains("--systemd-cgroup"));
    assert!(!Path::new(&scratch.path("root/c1")).exists());
}

#[test]
fn a_spec_to_start_from() {
    let scratch = Scratch::new();
    let bundle = scratch.0.to_str().unwrap();
    assert_eq!(succeeds(&scratch.corten(&["spec", "-b", bundle])), "");
    let text = fs::read_to_string(scratch.0.join("config.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["process"]["args"], serde_json::json!(["sh"]));
    assert!(text.starts_with("{\n\t\"ociVersion\""), "tabs, as runc");
    let line = fails(&scratch.corten(&["spec", "-b", bundle]), 1).to_owned();
    assert!(line.contains("config.json exists already"), "{line}");
    assert_eq!(fs::read_to_string(scratch.0.join("config.json")).unwrap(), text);

    fs::remove_file(scratch.0.join("config.json")).unwrap();
    succeeds(&scratch.corten(&["spec", "--rootless", "--bundle", bundle]));
    let value: serde_json::Value =
        serde_json::from_slice(&fs::read(scratch.0.join("config.json")).unwrap()).unwrap();
    assert_eq!(value["linux"]["uidMappings"][0]["size"], 1);
    let other = scratch.path("other.json");
    succeeds(&scratch.corten(&["spec", "--file", &other]));
    assert!(fs::read_to_string(&other).unwrap().starts_with("{\n\t\"ociVersion\""));
    let missing = scratch.path("missing");
    assert!(fails(&scratch.corten(&["spec", "-b", &missing]), 1).contains("no such file or directory"));
}

#[test]
fn a_reader_that_went_away_and_a_full_disk() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    let output = command.arg("--help").stdout(writer).output().unwrap();
    assert_eq!(stderr(&output), "");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    let output = command.arg("--help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no space left on device"));
}

#[test]
fn closed_standard_streams_are_filled() {
    // As an engine that closes what it does not need: the log must not get number 0, 1 or 2.
    let scratch = Scratch::new();
    let script = "exec 0<&- 1>&- 2>&-; \"$0\" --log \"$1\" --root \"$2\" state c1";
    let (log, root) = (scratch.path("log"), scratch.path("root"));
    let mut sh = Command::new("/bin/sh");
    let status = sh.args(["-c", script, env!("CARGO_BIN_EXE_corten"), &log, &root]).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1, "only the log's own line");
}
