//! What Buildah is asked to do, as root.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check(
        "run",
        r#"from; brun echo hello; brun sh -c 'exit 7' 2>/dev/null; echo $?; echo data | brun cat
        brun sh -c 'kill -9 $$; sleep 1' 2>/dev/null; echo $?"#,
        "hello\n7\ndata\n0\n",
    ),
    same(
        "run, bad commands",
        r#"from; for c in nope /nope /etc/passwd; do brun $c >$T/out 2>&1; echo $?; grep -c . $T/out; done"#,
    ),
    check(
        "run, terminal",
        r#"from; terminal "buildah run --runtime $RT --network none -t $N sh -c 'tty; stty size'""#,
        "/dev/pts/0\n33 77\n",
    ),
    same(
        "run, credentials",
        r#"from; brun grep -E 'Cap|Seccomp:|NoNew|Groups|[UG]id' /proc/self/status; brun --user 1000:5 grep -E 'Cap|[UG]id' /proc/self/status"#,
    ),
    same(
        "run, --cap-add, --cap-drop",
        r#"from; brun --cap-drop all --cap-add cap_net_admin grep Cap /proc/self/status"#,
    ),
    check(
        "run, -v, --mount",
        r#"from; echo host > $T/f; brun -v $T/f:/f cat /f; brun --mount type=tmpfs,dst=/t sh -c 'touch /t/x; ls /t'"#,
        "host\nx\n",
    ),
    same(
        "run, mounts",
        r#"from; brun awk '{ n = NF; while ($n != "-") n--; print $5, $5 ~ "^/proc/" ? "" : $6 " " $(n + 1) }' /proc/self/mountinfo | sort"#,
    ),
    same("run, limits", r#"from; brun cat /proc/self/limits"#),
    check("run keeps what was written", r#"from; brun sh -c 'echo kept > /made'; brun cat /made"#, "kept\n"),
    check(
        "bud",
        r#"printf 'FROM %s\nRUN echo built > /made\nRUN --mount=type=tmpfs,dst=/t touch /t/x\nENV A=b\nUSER 1000\nRUN test $(id -u) = 1000 && test $A = b\n' $I > $T/Dockerfile
        buildah bud --runtime $RT --network none --signature-policy $POLICY -t localhost/$N-image $T >$T/out 2>&1; echo $?
        buildah from --pull-never --name $N localhost/$N-image >/dev/null; brun cat /made; buildah rm $N >/dev/null; buildah rmi -f $N-image >/dev/null; echo $?"#,
        "0\nbuilt\n0\n",
    ),
    check(
        "bud, failing step",
        r#"printf 'FROM %s\nRUN exit 7\n' $I > $T/Dockerfile
        buildah bud --runtime $RT --network none --signature-policy $POLICY $T >$T/out 2>&1; echo $?; grep -c 'exit status 7' $T/out"#,
        "7\n1\n",
    ),
    check(
        "bud, --memory, --ulimit, --shm-size",
        r#"printf 'FROM %s\nRUN ulimit -n; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2\n' $I > $T/Dockerfile
        buildah bud --runtime $RT --network none --signature-policy $POLICY --ulimit nofile=100:200 --ulimit nproc=300:300 --shm-size 8m $T 2>&1 | grep -x '100\|8192'"#,
        "100\n8192\n",
    ),
];
