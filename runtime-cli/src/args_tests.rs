use super::*;
use crate::commands::{COMMANDS, GLOBAL_FLAGS};

fn parsed(line: &str) -> Parsed {
    parse(line.split_whitespace().map(OsString::from), GLOBAL_FLAGS, COMMANDS)
}

fn invocation(line: &str) -> Invocation {
    match parsed(line).request {
        Ok(Request::Run(invocation)) => invocation,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> String {
    parsed(line).request.map(|r| format!("{r:?}")).unwrap_err().to_string()
}

fn arguments(invocation: &Invocation) -> Vec<&str> {
    invocation.arguments.iter().map(|a| a.to_str().unwrap()).collect()
}

#[test]
fn what_containerd_sends() {
    let i = invocation(
        "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json --systemd-cgroup \
         create --bundle /b --pid-file /b/init.pid --no-pivot --no-new-keyring c1",
    );
    assert_eq!(i.command.name, "create");
    assert_eq!(i.id(), Ok("c1"));
    assert_eq!(i.globals.text("root"), Ok(Some("/run/containerd/runc/k8s.io")));
    assert_eq!(i.globals.text("log-format"), Ok(Some("json")));
    assert!(i.globals.is_on("systemd-cgroup"));
    assert_eq!(i.flags.text("pid-file"), Ok(Some("/b/init.pid")));
    assert!(i.flags.is_on("no-pivot") && i.flags.is_on("no-new-keyring"));
    let i = invocation("--root /r exec --process /tmp/p --console-socket /s --detach --pid-file /b/e.pid c1");
    assert_eq!((i.id(), i.flags.text("process")), (Ok("c1"), Ok(Some("/tmp/p"))));
    assert_eq!(arguments(&invocation("--root /r kill --all c1 9")), ["c1", "9"]);
    assert!(invocation("--root /r kill --all c1 9").flags.is_on("all"));
    assert!(invocation("--root /r delete --force c1").flags.is_on("force"));
    assert_eq!(invocation("ps --format json c1").flags.text("format"), Ok(Some("json")));
}

#[test]
fn what_conmon_rs_sends_twice() {
    let i = invocation("--root=/r --systemd-cgroup --root=/r --systemd-cgroup create --bundle /b c1");
    assert_eq!(i.globals.text("root"), Ok(Some("/r")));
    let i = invocation("exec -d --console-socket=/s --tty --pid-file=/p c1 sh -c true --tty");
    assert!(i.flags.is_on("detach") && i.flags.is_on("tty"));
    assert_eq!(arguments(&i), ["c1", "sh", "-c", "true", "--tty"]);
}

#[test]
fn globals_on_either_side_and_the_last_one_wins() {
    let i = invocation("--root /a state --root /b c1 --debug");
    assert_eq!(i.globals.text("root"), Ok(Some("/b")));
    assert!(i.globals.is_on("debug"));
    assert_eq!(
        invocation("--cgroup-manager disabled run c1").globals.text("cgroup-manager"),
        Ok(Some("disabled"))
    );
}

#[test]
fn flags_as_go_writes_them() {
    let i = invocation("-root /r run -no-subreaper -bundle=/b -pid-file /p -detach=true -keep=false c1");
    assert_eq!(i.globals.text("root"), Ok(Some("/r")));
    assert!(i.flags.is_on("no-subreaper") && i.flags.is_on("detach") && !i.flags.is_on("keep"));
    assert_eq!(i.flags.text("bundle"), Ok(Some("/b")));
    assert_eq!(i.flags.text("pid-file"), Ok(Some("/p")));
    assert!(!invocation("--systemd-cgroup=false state c1").globals.is_on("systemd-cgroup"));
    assert_eq!(
        error("run --detach=maybe c1"),
        r#"invalid value "maybe" for --detach: expected true or false"#
    );
}

#[test]
fn short_flags() {
    for line in ["run -d -b /b c1", "run -db /b c1", "run -db/b c1", "run -d -b=/b c1", "run c1 -b /b -d"] {
        let i = invocation(line);
        assert!(i.flags.is_on("detach"), "{line}");
        assert_eq!(i.flags.text("bundle"), Ok(Some("/b")), "{line}");
        assert_eq!(i.id(), Ok("c1"), "{line}");
    }
    assert!(invocation("kill -a c1 9").flags.is_on("all"));
    let i = invocation("exec -td -u 1:2 -e A=1 -e B=x=y c1 true");
    assert_eq!(i.flags.texts("env"), Ok(vec!["A=1".into(), "B=x=y".into()]));
    assert_eq!(i.flags.text("user"), Ok(Some("1:2")));
}

#[test]
fn what_belongs_to_the_program_is_left_alone() {
    assert_eq!(
        arguments(&invocation("exec -t c1 ls -l --debug -- x")),
        ["c1", "ls", "-l", "--debug", "--", "x"]
    );
    assert!(!invocation("exec c1 ls --debug").globals.is_on("debug"));
    assert_eq!(arguments(&invocation("exec c1 -- ls -l")), ["c1", "ls", "-l"]);
    assert_eq!(arguments(&invocation("exec -- -c1 ls -l")), ["-c1", "ls", "-l"]);
    assert_eq!(arguments(&invocation("ps c1 -o pid,args")), ["c1", "-o", "pid,args"]);
    assert_eq!(arguments(&invocation("state -- --odd")), ["--odd"]);
    assert_eq!(arguments(&invocation("state -")), ["-"]);
}

#[test]
fn a_value_may_look_like_a_flag() {
    let i = invocation("exec --env --x c1 true");
    assert_eq!(i.flags.texts("env"), Ok(vec!["--x".into()]));
    let i = invocation("run --pid-file= c1");
    assert_eq!(i.flags.last("pid-file"), None, "an empty value counts as not given");
}

#[test]
fn missing_values_in_the_words_that_podman_knows() {
    assert_eq!(error("create --pid-file"), "flag needs an argument: --pid-file");
    assert_eq!(error("create -pid-file"), "flag needs an argument: -pid-file");
    assert_eq!(error("create -b"), "flag needs an argument: -b");
    assert_eq!(error("--log"), "flag needs an argument: --log");
}

#[test]
fn unknown_words_and_what_may_be_meant() {
    assert_eq!(error("run --bundel=/b c1"), "unknown flag --bundel for `corten run`, did you mean --bundle?");
    assert_eq!(error("--rot /r state c1"), "unknown flag --rot, did you mean --root?");
    assert_eq!(error("run --zzzzzzzz c1"), "unknown flag --zzzzzzzz for `corten run`");
    assert_eq!(error("run -x c1"), "unknown flag -x for `corten run`");
    assert_eq!(error("strat c1"), r#"unknown command "strat", did you mean start? (see `corten --help`)"#);
    assert!(error("help strat").contains("did you mean start?"));
    assert!(error("state -v c1").starts_with("unknown flag -v"));
}

#[test]
fn too_few_and_too_many() {
    assert_eq!(error("state"), "state needs <container-id> (usage: corten state [flags] <container-id>)");
    assert!(error("create -b /b").starts_with("create needs <container-id>"));
    assert!(error("state a b").starts_with(r#"state: unexpected argument "b""#));
    assert!(error("kill a TERM x").starts_with(r#"kill: unexpected argument "x""#));
    assert!(error("list x").starts_with(r#"list: unexpected argument "x""#));
}

#[test]
fn a_command_s_own_flag_wins_over_a_global_one() {
    assert!(invocation("spec --rootless").flags.is_on("rootless"));
    assert_eq!(invocation("--rootless true spec").globals.text("rootless"), Ok(Some("true")));
    assert_eq!(invocation("run --rootless=auto c1").globals.text("rootless"), Ok(Some("auto")));
}

#[test]
fn help_and_version() {
    let about = |line: &str| match parsed(line).request {
        Ok(Request::Help(command)) => command.map(|c| c.name).unwrap_or("all"),
        other => panic!("{line}: {other:?}"),
    };
    for line in ["", "--help", "-h", "help", "h", "--root /r", "--root /r --help", "-help"] {
        assert_eq!(about(line), "all", "{line}");
    }
    for line in ["run --help", "run -h", "help run", "h run", "run --detach --help c1", "run c1 --help"] {
        assert_eq!(about(line), "run", "{line}");
    }
    assert!(matches!(parsed("help --man").request, Ok(Request::Manual(None))));
    assert!(matches!(parsed("help --man run").request, Ok(Request::Manual(Some(c))) if c.name == "run"));
    for line in ["--version", "-v", "-version", "--root /r --version"] {
        assert!(matches!(parsed(line).request, Ok(Request::Version)), "{line}");
    }
    assert!(matches!(parsed("exec c1 ls --help").request, Ok(Request::Run(_))));
}

#[test]
fn the_log_flags_are_known_when_something_else_is_wrong() {
    let p = parsed("--log /l --log-format json state --bogus c1");
    assert!(p.request.is_err());
    assert_eq!(p.globals.text("log"), Ok(Some("/l")));
    assert_eq!(p.globals.text("log-format"), Ok(Some("json")));
}

#[test]
fn bytes_that_are_no_text() {
    let odd = || OsString::from_vec(b"/b/\xff".to_vec());
    let line = ["run".into(), "--bundle".into(), odd(), "c1".into()];
    let Ok(Request::Run(i)) = parse(line, GLOBAL_FLAGS, COMMANDS).request else { panic!() };
    assert_eq!(i.flags.last("bundle"), Some(odd().as_os_str()), "a path may be anything");
    let Ok(Request::Run(i)) = parse(["state".into(), odd()], GLOBAL_FLAGS, COMMANDS).request else {
        panic!()
    };
    assert!(matches!(i.id(), Err(UsageError::NotUtf8 { .. })));
    let odd_flag = OsString::from_vec(b"--\xff".to_vec());
    assert!(parse(["state".into(), odd_flag], GLOBAL_FLAGS, COMMANDS).request.is_err());
}

#[test]
fn no_global_short_is_hidden_by_accident() {
    for command in COMMANDS {
        for flag in command.flags {
            let hides = GLOBAL_FLAGS.iter().any(|g| g.long == flag.long);
            assert!(!hides || flag.long == "rootless", "{} --{}", command.name, flag.long);
            assert!(
                !PARSER_FLAGS
                    .iter()
                    .any(|g| g.long == flag.long || g.short == flag.short && g.short.is_some())
            );
        }
    }
}
