//! What Docker and Podman are asked alike; `$CLI` is the one or the other.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check("echo", r#"run $I echo hello"#, "hello\n"),
    check(
        "detached, logs",
        r#"start $I sh -c 'echo one; echo two >&2; sleep 100'; until_ok sh -c '$CLI logs $N 2>&1 | grep two'
        $CLI logs $N 2>&1 | sort; state"#,
        "one\ntwo\nrunning 0\n",
    ),
    check("wait", r#"start $I sh -c 'sleep 0.3; exit 4'; $CLI wait $N; state"#, "4\nexited 4\n"),
    check(
        "exec, user, directory, environment",
        r#"start $I sleep 100; $CLI exec -u 1000:5 -w /tmp -e A=b $N sh -c 'id -u; id -g; pwd; echo $A'"#,
        "1000\n5\n/tmp\nb\n",
    ),
    check("exec, stdin", r#"start $I sleep 100; echo data | $CLI exec -i $N cat"#, "data\n"),
    same(
        "exec, credentials",
        r#"start $I sleep 100; $CLI exec $N grep -E 'Cap|Seccomp:|NoNew|Groups' /proc/self/status
        $CLI exec --user 1000:5 $N grep -E 'Cap|Groups' /proc/self/status"#,
    ),
    check(
        "stop",
        r#"start $I sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'
        until_ok sh -c '$CLI logs $N | grep ready'; $CLI stop $N >/dev/null; state"#,
        "exited 3\n",
    ),
    check("kill", r#"start $I sleep 100; $CLI kill $N >/dev/null; $CLI wait $N; state"#, "137\nexited 137\n"),
    check(
        "kill, signal",
        r#"start $I sh -c 'trap "exit 5" USR1; echo ready; while :; do sleep 0.1; done'
        until_ok sh -c '$CLI logs $N | grep ready'; $CLI kill -s USR1 $N >/dev/null; $CLI wait $N"#,
        "5\n",
    ),
    check(
        "restart",
        r#"start $I sleep 100; $CLI restart -t 0 $N >/dev/null; state; $CLI exec $N echo up"#,
        "running 0\nup\n",
    ),
    same(
        "out of memory",
        r#"start --memory 16m $I tail /dev/zero; $CLI wait $N; $CLI inspect -f '{{.State.OOMKilled}}' $N"#,
    ),
    same(
        "--pids-limit",
        r#"run --pids-limit 20 $I sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 1 & done' 2>&1 | sort | uniq"#,
    ),
    same("default credentials", r#"run $I grep -E 'Cap|Seccomp|NoNew|Groups|[UG]id' /proc/self/status"#),
    same(
        "--privileged",
        r#"all_capabilities; run --privileged $I sh -c 'grep -E "Cap|Seccomp:|NoNew" /proc/self/status; ls /dev | sort
        cut -d" " -f5,6 /proc/self/mountinfo | sort'"#,
    ),
    check(
        "-v",
        r#"mkdir $T/v; echo host > $T/v/f; run -v $T/v:/v $I sh -c 'cat /v/f; echo guest > /v/g'; cat $T/v/g
        run -v $T/v:/v:ro $I sh -c 'touch /v/x; echo $?' 2>/dev/null; run -v $T/v/f:/etc/deep/new/f $I cat /etc/deep/new/f"#,
        "host\nguest\n1\nhost\n",
    ),
    // A mount of its own: what else is on the mount of the root filesystem, runc makes private together with that.
    same(
        "--mount, propagation",
        r#"mkdir $T/v; mount --bind $T/v $T/v; mount --make-shared $T/v; for p in rprivate rslave rshared; do
        run --mount type=bind,src=$T/v,dst=/v,bind-propagation=$p $I sh -c 'grep " /v " /proc/self/mountinfo | cut -d" " -f5- | cut -d- -f1 | sed "s/:[0-9]*//g"'; done
        umount $T/v"#,
    ),
    check(
        "no-new-privileges",
        r#"run --security-opt no-new-privileges $I grep NoNew /proc/self/status; run $I grep NoNew /proc/self/status"#,
        "NoNewPrivs:\t1\nNoNewPrivs:\t0\n",
    ),
    check("--sysctl", r#"run --sysctl net.core.somaxconn=99 $I cat /proc/sys/net/core/somaxconn"#, "99\n"),
    check(
        "--device",
        r#"run --device /dev/null:/dev/nought:rw $I sh -c 'stat -c "%F %t:%T" /dev/nought; echo x > /dev/nought; echo $?'"#,
        "character special file 1:3\n0\n",
    ),
    // What hides a file below /proc is each runtime's own choice; that it hides is another check.
    same(
        "mounts",
        r#"run $I awk '{ n = NF; while ($n != "-") n--; print $5, $5 ~ "^/proc/" ? "" : $6 " " $(n + 1) }' /proc/self/mountinfo | sort"#,
    ),
    same(
        "/dev",
        r#"run $I sh -c 'cd /dev; for f in * pts/*; do stat -c "%n %F %a %u:%g %t:%T" $f; readlink $f; done'"#,
    ),
    same("limits", r#"run $I cat /proc/self/limits"#),
    same("environment", r#"run $I env | sort"#),
    same(
        "masked and read-only paths",
        r#"run $I sh -c 'for f in /proc/kcore /proc/keys /proc/timer_list /proc/acpi /sys/firmware; do stat -c "%n %F %t:%T" $f; ls $f | wc -l; done
        touch /proc/sysrq-trigger; echo $?; echo 1 > /proc/sys/kernel/panic; echo $?' 2>/dev/null"#,
    ),
];
