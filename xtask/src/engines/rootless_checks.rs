//! What Podman is asked to do as an ordinary user.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check("run", r#"run $I echo hello; run $I sh -c 'exit 7'; echo $?"#, "hello\n7\n"),
    check(
        "bad commands",
        r#"for c in nope /nope /etc /etc/passwd; do run $I $c >/dev/null 2>&1; echo $?; done"#,
        "127\n127\n126\n126\n",
    ),
    same(
        "mappings",
        r#"run $I sh -c 'id -u; tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map'; run --user 1000:5 $I sh -c 'id -u; id -g'
        run --userns keep-id $I sh -c 'id -u; tr -s " " < /proc/self/uid_map'"#,
    ),
    check(
        "detached, logs, exec, stop",
        r#"start $I sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'; until_ok sh -c 'podman logs $N | grep ready'
        podman exec $N echo inside; podman exec $N sh -c 'exit 9'; echo $?; podman exec --user 1000:5 $N id -u; podman stop $N >/dev/null; state"#,
        "inside\n9\n1000\nexited 3\n",
    ),
    check(
        "kill, rm -f",
        r#"start $I sleep 100; podman kill $N >/dev/null; podman wait $N; podman rm -f -t 0 $N >/dev/null; podman container exists $N; echo $?"#,
        "137\n1\n",
    ),
    check(
        "terminal",
        r#"terminal "podman --runtime $RT run --rm -it --network none $I sh -c 'tty; stty size; exit 5'"; echo $?"#,
        "/dev/pts/0\n33 77\n5\n",
    ),
    check(
        "exec, terminal",
        r#"start $I sleep 100; terminal "podman exec -it $N sh -c 'tty; stty size; exit 5'"; echo $?"#,
        "/dev/pts/0\n33 77\n5\n",
    ),
    check(
        "-v, --tmpfs, --read-only",
        r#"echo host > $T/f; run --read-only --tmpfs /t -v $T/f:/f:ro $I sh -c 'cat /f; touch /t/x; ls /t; touch /x 2>/dev/null; echo $?'"#,
        "host\nx\n1\n",
    ),
    same(
        "credentials",
        r#"run $I grep -E 'Cap|Seccomp:|NoNew|Groups|[UG]id' /proc/self/status; run --cap-drop all $I grep Cap /proc/self/status; run --privileged $I grep Cap /proc/self/status"#,
    ),
    same(
        "mounts",
        r#"run $I awk '{ n = NF; while ($n != "-") n--; print $5, $5 ~ "^/proc/" ? "" : $6 " " $(n + 1) }' /proc/self/mountinfo | sort"#,
    ),
    same("limits", r#"run $I cat /proc/self/limits"#),
    check(
        "--network, --pid host",
        r#"bare --network host --pid host $I sh -c 'ls /sys/class/net | grep -c lo; test $$ -ne 1; echo $?'"#,
        "1\n0\n",
    ),
    same(
        "--network slirp4netns",
        r#"needs slirp4netns; bare --network slirp4netns $I sh -c 'ls /sys/class/net; ip -o -4 addr show dev tap0' 2>&1"#,
    ),
    check("--init", r#"run --init $I sh -c 'test $$ -ne 1; echo $?'"#, "0\n"),
    check(
        "pod",
        r#"podman --runtime $RT pod create --name $N-pod --network none --infra-image $I --infra-command '/bin/sleep 100' >/dev/null 2>&1; echo $?
        for c in a b; do podman --runtime $RT run -d --pod $N-pod --name $N-$c $I sleep 100 >/dev/null; echo $?; done
        for k in net ipc uts; do [ "$(podman exec $N-a readlink /proc/self/ns/$k)" = "$(podman exec $N-b readlink /proc/self/ns/$k)" ]; echo $k $?; done
        podman pod rm -f -t 0 $N-pod >/dev/null; echo $?"#,
        "0\n0\n0\nnet 0\nipc 0\nuts 0\n0\n",
    ),
    check(
        "build",
        r#"printf 'FROM %s\nRUN echo built > /made\n' $I > $T/Dockerfile
        podman --runtime $RT build -q --network none -t $N-image $T >/dev/null; echo $?; run $N-image cat /made; podman rmi -f $N-image >/dev/null"#,
        "0\nbuilt\n",
    ),
];
