//! `corten seccomp …` from outside.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// An engine's profile: conditional on capabilities, with conditions on arguments.
const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "write", "close", "execve", "file_setattr"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount", "clone"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"}
    ]
}"#;

fn corten(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    command.arg("seccomp").args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn says(arguments: &[&str], code: i32) -> String {
    let output = corten(arguments, PROFILE);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
    assert!(stdout.is_empty() || stderr.is_empty(), "{stdout}{stderr}");
    stdout + &stderr
}

#[test]
fn explain_tells_rule_conditions_and_other_containers() {
    let on = |words: &[&str]| says(&[&["explain", "-", "--arch", "x86_64"], words].concat(), 0);
    let text = on(&["read"]);
    assert!(text.starts_with("read (0 on x86_64): ALLOW\n"), "{text}");
    assert!(text.contains("syscalls[0] decides") && text.contains("bitmap"), "{text}");
    let text = on(&["clone", "CLONE_NEWUSER|0x11"]);
    assert!(text.starts_with("clone (56 on x86_64): ERRNO(1 EPERM)\n"), "{text}");
    assert!(text.contains("defaultAction decides"), "{text}");
    // The place in the file, not that among the rules that are left.
    assert!(text.contains("syscalls[2] ALLOW: does not apply\n"), "{text}");
    assert!(
        text.contains("args[0] & 0x7e020000 == 0: no, args[0] is 0x10000011 (CLONE_NEWUSER|0x11)"),
        "{text}"
    );
    assert!(text.contains("syscalls[1] ALLOW: it needs CAP_SYS_ADMIN\n"), "{text}");
    let text = on(&["clone"]);
    assert!(text.starts_with("clone (56 on x86_64): depends on the arguments\n"), "{text}");
    let text = on(&["clone", "CLONE_NEWUSER", "--cap-add", "sys_admin"]);
    assert!(
        text.starts_with("clone (56 on x86_64): ALLOW\n") && text.contains("syscalls[1] decides"),
        "{text}"
    );
    let text = on(&["ptrace"]);
    assert!(text.contains("KILL_PROCESS") && text.contains("SIGSYS"), "{text}");
    let text = on(&["470"]);
    assert!(text.contains("ERRNO(38 ENOSYS)") && text.contains("none above 469"), "{text}");
    let text = says(&["explain", "-", "read", "--arch", "x32"], 0);
    assert!(text.contains("does not list this architecture"), "{text}");
}

#[test]
fn slips_are_answered_in_one_line() {
    let line = |arguments: &[&str], code| {
        let text = says(arguments, code);
        assert_eq!(text.lines().count(), 1, "{text}");
        text.trim_start_matches("corten: ").trim_end().to_owned()
    };
    assert_eq!(line(&["explain", "-", "raed"], 1), r#"unknown system call "raed", did you mean read?"#);
    assert_eq!(
        line(&["explain", "-", "open", "-a", "arm64"], 1),
        "open: aarch64 has no such system call; others do"
    );
    assert!(line(&["explain", "-", "read", "x"], 1).starts_with(r#"invalid value "x" for an argument"#));
    assert!(line(&["explain", "-", "read", "-a", "vax"], 1).starts_with(r#"invalid value "vax" for --arch"#));
    assert!(line(&["explain", "@nothing", "read"], 1).contains("@default"));
    assert!(line(&["compile", "/nonexistent"], 1).ends_with("/nonexistent: no such file or directory"));
    assert!(line(&["compile", "@default", "-a", "x32"], 1).contains("x86_64"));
    assert!(line(&["compile", "@default", "-f", "raw", "-a", "arm", "-a", "x86"], 1).contains("one --arch"));
    assert!(line(&["convert", "-", "--kernel", "six"], 1).starts_with(r#"invalid value "six" for --kernel"#));
    assert!(
        line(&["convert", "-", "--cap-add", "FLY"], 1).starts_with(r#"invalid value "FLY" for --cap-add"#)
    );
    assert!(line(&["diff", "-", "/nonexistent"], 2).contains("/nonexistent"));
    assert_eq!(
        line(&["dif"], 1),
        r#"unknown command "seccomp dif", did you mean diff? (see `corten seccomp --help`)"#
    );
    assert!(says(&[], 0).starts_with("Usage: corten seccomp "));
}

#[test]
fn mistakes_have_their_place() {
    let wrong = |text: &str| {
        let output = corten(&["convert", "-"], text);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let rule = |rule: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["a"], "action": "SCMP_ACT_LOG",
            "includes": {{"caps": ["CAP_BPF"]}}}}, {rule}]}}"#
        )
    };
    let text = wrong(&rule(r#"{"names": ["read"], "action": "SCMP_ACT_FLY"}"#));
    assert!(text.contains("-: syscalls[1].action: "), "{text}");
    let text =
        wrong(&rule(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "x"}}"#));
    assert!(text.contains("-: syscalls[1].includes.minKernel: "), "{text}");
    let text = wrong(&rule(r#"{"names": [1], "action": "SCMP_ACT_LOG"}"#));
    assert!(text.contains("-: syscalls[1].names[0]: "), "{text}");
    let text = wrong(r#"{"ociVersion": "1.0.0", "linux": {"seccomp": {"defaultAction": "X"}}}"#);
    assert!(text.contains("-: linux.seccomp.defaultAction: "), "{text}");
    let text = wrong(r#"{"ociVersion": "1.0.0", "linux": {}}"#);
    assert!(text.contains("linux.seccomp is missing"), "{text}");
    assert!(wrong("[").contains("-: "), "no JSON");
}

#[test]
fn convert_and_diff_agree() {
    let directory = Scratch::new();
    let (plain, with_admin) = (directory.path("plain.json"), directory.path("admin.json"));
    says(&["convert", "-", "-a", "x86_64", "-o", &plain], 0);
    says(&["convert", "-", "-a", "x86_64", "--cap-add", "ALL", "--output", &with_admin], 0);
    let value: serde_json::Value = serde_json::from_slice(&fs::read(&plain).unwrap()).unwrap();
    assert_eq!(value["architectures"], serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    assert_eq!(value["syscalls"].as_array().unwrap().len(), 3);
    assert_eq!(says(&["diff", "-", &plain, "-a", "x86_64", "-a", "x86"], 0), "");
    let text = says(&["diff", &plain, &with_admin, "-a", "x86_64"], 1);
    let clone = "clone  ALLOW if args[0] & 0x7e020000 == 0, else ERRNO(1 EPERM) -> ALLOW\n";
    assert!(text.contains(clone) && text.contains("\nmount  ERRNO(1 EPERM) -> ALLOW\n"), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    for name in ["@default", "@strict", "@nested", "@unconfined-logged"] {
        assert_eq!(says(&["diff", name, name], 0), "");
    }
}

#[test]
fn compile_in_every_form() {
    let text = says(&["compile", "-", "--arch", "x86_64"], 0);
    assert!(text.starts_with("; x86_64: ") && text.contains(" clone (syscalls[2], defaultAction)"), "{text}");
    let count = text.lines().count() - 1;
    let raw = |arch: &str| corten(&["compile", "-", "-f", "raw", "-a", arch], PROFILE).stdout;
    assert_eq!(raw("x86_64").len(), 8 * count);
    // ld arch, and ret: struct sock_filter in the byte order of the machine.
    assert_eq!(raw("x86_64")[..8], [0x20, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(raw("s390x")[..8], [0, 0x20, 0, 0, 0, 0, 0, 4]);
    let c = says(&["compile", "-", "-f", "c", "-a", "amd64", "-a", "SCMP_ARCH_AARCH64"], 0);
    assert!(
        c.contains("static const struct sock_filter seccomp_x86_64[] = {") && c.contains("seccomp_aarch64[]")
    );
    assert!(c.matches("{ 0x0020,").count() > 2, "{c}");
    let Ok(mut cc) = Command::new("cc")
        .args(["-x", "c", "-fsyntax-only", "-Wall", "-Werror", "-Wno-unused-const-variable", "-"])
        .stdin(Stdio::piped())
        .spawn()
    else {
        println!("there is no C compiler: the array was not compiled");
        return;
    };
    let source = format!("#include <linux/filter.h>\n{c}");
    cc.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(cc.wait().unwrap().success());
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("corten-seccomp-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the profile's names.
fn names(path: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let names = value["syscalls"][0]["names"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn record_sees_children_and_passes_the_exit_code_on() {
    let scratch = Scratch::new();
    let path = scratch.path("sh.json");
    let output =
        corten(&["record", "-o", &path, "--", "/bin/sh", "-c", "(cd /; exec /bin/cat); exit 3"], "text");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"text".as_slice()), "{output:?}");
    let seen = names(&path);
    assert!(seen.is_sorted(), "{seen:?}");
    for call in ["execve", "capset", "chdir", "read", "write", "exit_group"] {
        assert!(seen.iter().any(|name| name == call), "{call}: {seen:?}");
    }
    assert!(!seen.iter().any(|name| name == "mkdir" || name == "rmdir"), "{seen:?}");
    // What it wrote can be asked about, and added to.
    assert!(says(&["explain", &path, "mount"], 0).contains("ERRNO(1 EPERM)"));
    let made = scratch.path("made");
    let script = format!("mkdir {made} && rmdir {made}");
    assert_eq!(says(&["record", "-o", &path, "--append", "/bin/sh", "-c", &script], 0), "");
    let both = names(&path);
    assert!(both.is_sorted() && seen.iter().all(|name| both.contains(name)), "{both:?}");
    assert!(both.iter().any(|name| name == "rmdir"), "{both:?}");
}

#[test]
fn record_ends_with_its_program() {
    let scratch = Scratch::new();
    let path = scratch.path("killed.json");
    let kills_itself = ["record", "-o", &path, "/bin/sh", "-c", "kill -9 $$"];
    assert_eq!(says(&kills_itself, 137), "");
    assert!(names(&path).iter().any(|name| name == "kill"));
    let text = says(&["record", "/nonexistent/program"], 1);
    assert_eq!(text, "corten: start /nonexistent/program: no such file or directory\n");
    assert!(says(&["record", "--append", "true"], 1).contains("--append needs --output"));
    assert!(says(&["record"], 1).contains("needs <program>"));
}

/// Signals go to the program, which may handle them.
#[test]
fn record_forwards_signals() {
    let scratch = Scratch::new();
    let (path, ready) = (scratch.path("served.json"), scratch.path("ready"));
    let script = format!("trap 'exit 7' TERM; : > {ready}; while :; do sleep 0.05; done");
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    let mut child =
        command.args(["seccomp", "record", "-o", &path, "--", "/bin/sh", "-c", &script]).spawn().unwrap();
    while !fs::exists(&ready).unwrap() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(names(&path).iter().any(|name| name == "rt_sigreturn"));
}
