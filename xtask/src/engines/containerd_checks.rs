//! What containerd is asked to do, by way of `ctr`. The first word of `run` and `start` holds ctr's options.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check("echo", r#"run '' echo hello"#, "hello\n"),
    check("exit code", r#"run '' sh -c 'exit 7'; echo $?"#, "7\n"),
    check("missing command", r#"run '' nope >/dev/null 2>&1; echo $?; ctr container ls -q"#, "1\n"),
    check(
        "error names the command",
        r#"run '' nope 2>&1 | grep -c 'exec: "nope": executable file not found in $PATH'"#,
        "1\n",
    ),
    check(
        "exec",
        r#"start '' sleep 100; ctr task exec --exec-id e1 $N echo inside
        ctr task exec --exec-id e2 $N sh -c 'exit 9'; echo $?; ctr task exec --exec-id e3 $N nope >/dev/null 2>&1; echo $?"#,
        "inside\n9\n1\n",
    ),
    check(
        "exec, user and directory",
        r#"start '' sleep 100; ctr task exec --exec-id e1 --user 1000:5 --cwd /tmp $N sh -c 'id -u; id -g; pwd'"#,
        "1000\n5\n/tmp\n",
    ),
    check("ps", r#"start '' sleep 100; ctr task ps $N | wc -l"#, "2\n"),
    check(
        "pause and resume",
        r#"start '' sleep 100; state; ctr task pause $N; state; ctr task resume $N; state; ctr task exec --exec-id e1 $N echo again"#,
        "RUNNING\nPAUSED\nRUNNING\nagain\n",
    ),
    check(
        "kill",
        r#"start '' sleep 100; ctr task kill -s KILL $N; until_ok is STOPPED; state
        ctr task rm $N 2>&1 | grep -o 'exit code.*' | tr -d '"'"#,
        "STOPPED\nexit code 137\n",
    ),
    check(
        "kill, signal",
        r#"start '' sh -c 'trap "exit 5" USR1; touch /ready; while :; do sleep 0.1; done'
        until_ok ctr task exec --exec-id e1 $N test -e /ready; ctr task kill -s SIGUSR1 $N; until_ok is STOPPED
        ctr task rm $N 2>&1 | grep -o 'exit code.*' | tr -d '"'"#,
        "exit code 5\n",
    ),
    check(
        "rm -f",
        r#"start '' sleep 100; ctr task rm -f $N 2>/dev/null; ctr container rm $N; ctr container ls -q; ctr task ls -q"#,
        "",
    ),
    same("metrics", r#"start '' sleep 100; ctr task metrics $N | grep -i ^pids"#),
    check("environment", r#"run '--env KEY=value --cwd /tmp' sh -c 'echo $KEY; pwd'"#, "value\n/tmp\n"),
    check("--read-only", r#"run --read-only sh -c 'touch /x; echo $?' 2>/dev/null"#, "1\n"),
    check(
        "--mount",
        r#"echo host > $T/f; run "--mount type=bind,src=$T,dst=/v,options=rbind:ro" sh -c 'cat /v/f; touch /v/x; echo $?' 2>/dev/null"#,
        "host\n1\n",
    ),
    same(
        "--memory-limit",
        r#"run '--memory-limit 67108864' sh -c 'cat /proc/self/cgroup | cut -d: -f3 | sort -u | sed "s/NAME.*/NAME/"'"#,
    ),
    same("--net-host", r#"run --net-host ls /sys/class/net"#),
    same("--privileged", r#"run --privileged grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"#),
    same("--seccomp", r#"run --seccomp grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"#),
    same("default credentials", r#"run '' grep -E 'Cap|Seccomp|NoNew|Groups|[UG]id' /proc/self/status"#),
    same("cgroup", r#"run '' cat /proc/self/cgroup"#),
    same(
        "mounts",
        r#"run '' awk '{ n = NF; while ($n != "-") n--; print $5, $5 ~ "^/proc/" ? "" : $6 " " $(n + 1) }' /proc/self/mountinfo | sort"#,
    ),
    same(
        "/dev",
        r#"run '' sh -c 'cd /dev; for f in * pts/*; do stat -c "%n %F %a %u:%g %t:%T" $f; readlink $f; done'"#,
    ),
    same("limits", r#"run '' cat /proc/self/limits"#),
];
