//! conmon with the arguments that CRI-O gives it, in the place of CRI-O, which Debian does not have.

use super::check::{Check, check};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check(
        "create, start, exit file",
        r#"bundle no sh -c 'echo out; echo err >&2; exit 7'; create; until_ok test -s $T/pid
        rt state $N | grep -o '"status": "[a-z]*"'; [ "$(cat $T/pid)" = "$(rt state $N | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')" ]; echo $?
        rt start $N; ended; logged err $T/log | sort; rt state $N | grep -o '"status": "[a-z]*"'"#,
        "\"status\": \"created\"\n0\n7\nstderr F err\nstdout F out\n\"status\": \"stopped\"\n",
    ),
    check(
        "create fails",
        r#"bundle no nope; _OCI_SYNCPIPE=3 create 3>$T/sync; until_ok grep -q executable $T/sync; grep -o 'executable file not found in $PATH' $T/sync; rt list -q"#,
        "executable file not found in $PATH\n",
    ),
    check(
        "stop",
        r#"bundle no sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'; create; until_ok test -s $T/pid; rt start $N
        logged ready $T/log; rt kill $N 15; ended; rt kill $N 15 2>&1 | grep -c 'container not running'; rt kill -a $N 9; rt delete $N; rt delete --force $N; echo $?"#,
        "stdout F ready\n3\n1\n0\n",
    ),
    check(
        "kill",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; rt kill $N KILL; ended"#,
        "137\n",
    ),
    check(
        "terminal",
        r#"bundle yes sh -c 'tty; test -t 1; echo $?'; create -t; until_ok test -s $T/pid; rt start $N; ended; logged 0 $T/log"#,
        "0\nstdout F /dev/pts/0\nstdout F 0\n",
    ),
    check(
        "attach",
        r#"bundle no sh -c 'read word; echo got $word'; create -i; until_ok test -s $T/pid; rt start $N
        python3 - $T/bundle/attach <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.chdir(os.path.dirname(sys.argv[1]))
s.connect("attach")
s.send(b"data\n")
s.settimeout(10)
print(s.recv(8192)[1:].decode().strip())
END
        ended"#,
        "got data\n0\n",
    ),
    check(
        "exec",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; mkdir $T/exec-exits; process no sh -c 'echo inside; exit 9' > $T/process
        execute $T/process; until_ok test -s $T/exec-exits/$N; cat $T/exec-exits/$N; echo; logged inside $T/exec.log; grep -c '^[0-9]*$' $T/exec.pid"#,
        "9\nstdout F inside\n1\n",
    ),
    check(
        "exec, terminal",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; mkdir $T/exec-exits; process yes sh -c 'tty; exit 9' > $T/process
        execute $T/process -t; until_ok test -s $T/exec-exits/$N; cat $T/exec-exits/$N; echo; logged pts $T/exec.log | head -1"#,
        "9\nstdout F /dev/pts/0\n",
    ),
    // CRI-O knows a failed exec by the pid file, which it makes empty beforehand.
    check(
        "exec fails",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; mkdir $T/exec-exits; : > $T/exec.pid; process no nope > $T/process
        execute $T/process; test -s $T/exec.pid; echo $?; rt exec --process $T/process $N >/dev/null 2>&1; echo $?"#,
        "1\n255\n",
    ),
    check(
        "exec, attached",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; process no sh -c 'echo inside; exit 9' > $T/process; rt exec --process $T/process $N; echo $?"#,
        "inside\n9\n",
    ),
    check(
        "update, pause, resume",
        r#"bundle no sleep 100; create; until_ok test -s $T/pid; rt start $N; echo '{"pids": {"limit": 20}}' | rt update --resources - $N; echo $?
        rt pause $N; rt state $N | grep -o '"status": "[a-z]*"'; rt resume $N; rt state $N | grep -o '"status": "[a-z]*"'"#,
        "0\n\"status\": \"paused\"\n\"status\": \"running\"\n",
    ),
    check(
        "unknown container",
        r#"rt state none 2>&1 | grep -c 'does not exist'; rt delete --force none; echo $?"#,
        "1\n0\n",
    ),
];
