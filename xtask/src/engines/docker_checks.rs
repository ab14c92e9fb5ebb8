//! What Docker is asked to do.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    check("exit code", r#"run $I sh -c 'exit 7'; echo $?"#, "7\n"),
    check("stdin", r#"echo data | run -i $I cat"#, "data\n"),
    check("stdout and stderr", r#"run $I sh -c 'echo out; echo err >&2' 2>/dev/null"#, "out\n"),
    check("missing command", r#"run $I nope >/dev/null 2>&1; echo $?"#, "127\n"),
    check("missing command, absolute", r#"run $I /nope >/dev/null 2>&1; echo $?"#, "127\n"),
    check("directory as command", r#"run $I /etc >/dev/null 2>&1; echo $?"#, "126\n"),
    check("not executable", r#"run $I /etc/passwd >/dev/null 2>&1; echo $?"#, "126\n"),
    check(
        "error names the command",
        r#"run $I nope 2>&1 >/dev/null | grep -c 'exec: "nope": executable file not found in $PATH'"#,
        "1\n",
    ),
    check(
        "exec",
        r#"start $I sleep 100; docker exec $N echo inside; docker exec $N sh -c 'exit 9'; echo $?"#,
        "inside\n9\n",
    ),
    // Docker 20.10 answers 126 to all of them, later versions 127 to those that are missing. Of a directory, runc 1.1
    // says "permission denied" and later versions "is a directory"; Docker takes both for the same.
    same(
        "exec, bad commands",
        r#"start $I sleep 100; for c in nope /nope /etc /etc/passwd; do docker exec $N $c >$T/out 2>&1; echo $?
        sed 's/is a directory.*/permission denied/' $T/out |
        grep -o 'executable file not found in $PATH\|no such file or directory\|permission denied'; done"#,
    ),
    check("exec, terminal", r#"start $I sleep 100; docker exec -t $N tty"#, "/dev/pts/0\n"),
    check(
        "exec, detached",
        r#"start $I sleep 100; docker exec -d $N touch /done; until_ok docker exec $N test -e /done; echo $i | grep -c ."#,
        "1\n",
    ),
    same(
        "exec --privileged",
        r#"all_capabilities; start $I sleep 100; docker exec --privileged $N grep Cap /proc/self/status"#,
    ),
    check(
        "top",
        r#"start $I sleep 100; docker top $N -o pid,args | awk 'NR > 1 { print $2, $3 }'"#,
        "sleep 100\n",
    ),
    check(
        "pause and unpause",
        r#"start $I sleep 100; docker pause $N >/dev/null; state; docker exec $N true 2>/dev/null; echo $?
        docker unpause $N >/dev/null; state; docker exec $N echo again"#,
        "paused 0\n1\nrunning 0\nagain\n",
    ),
    check("stop, unwilling", r#"start $I sleep 100; docker stop -t 1 $N >/dev/null; state"#, "exited 137\n"),
    check(
        "kill a stopped one",
        r#"start $I true; docker wait $N; docker kill $N 2>&1 | grep -c 'is not running'"#,
        "0\n1\n",
    ),
    check(
        "rm -f",
        r#"start $I sleep 100; docker rm -f $N >/dev/null; docker inspect $N >/dev/null 2>&1; echo $?"#,
        "1\n",
    ),
    check(
        "rm -f of a paused one",
        r#"start $I sleep 100; docker pause $N >/dev/null; docker rm -f $N >/dev/null; echo $?"#,
        "0\n",
    ),
    check(
        "start again",
        r#"start $I sh -c 'echo once'; docker wait $N; docker start -a $N; docker logs $N | wc -l"#,
        "0\nonce\n2\n",
    ),
    same(
        "--memory",
        r#"run --memory 64m $I sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null'"#,
    ),
    same(
        "--memory-swap, --memory-reservation",
        r#"run --memory 64m --memory-swap 96m --memory-reservation 32m $I sh -c 'cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup
        cat memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.swap.max memory.low 2>/dev/null'"#,
    ),
    // Which weight 512 shares are on cgroup v2, depends on the version of runc; it is less than the usual one.
    same(
        "--cpus, --cpu-shares",
        r#"run --cpus 0.5 --cpu-shares 512 $I sh -c 'cd /sys/fs/cgroup/cpu 2>/dev/null || cd /sys/fs/cgroup
        cat cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpu.max 2>/dev/null; [ ! -e cpu.weight ] || awk "{ print (\$1 < 100) }" cpu.weight'"#,
    ),
    same(
        "--cpuset-cpus",
        r#"run --cpuset-cpus 0 $I sh -c 'cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/cpuset.cpus 2>/dev/null
        grep Cpus_allowed_list /proc/self/status'"#,
    ),
    same("default cgroup", r#"run $I cat /proc/self/cgroup"#),
    check(
        "--cap-drop ALL",
        r#"run --cap-drop ALL $I grep Cap /proc/self/status"#,
        "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
         CapAmb:\t0000000000000000\n",
    ),
    same(
        "--cap-add",
        r#"run --cap-drop ALL --cap-add NET_ADMIN --cap-add SYS_TIME $I grep Cap /proc/self/status"#,
    ),
    check(
        "--read-only",
        r#"run --read-only $I sh -c 'touch /x; echo $?; touch /dev/shm/x; echo $?' 2>/dev/null"#,
        "1\n0\n",
    ),
    check(
        "--user",
        r#"run --user 1000:5 $I sh -c 'id -u; id -g; id -G; touch /x; echo $?' 2>/dev/null; run --user user $I id -u"#,
        "1000\n5\n5\n1\n1000\n",
    ),
    check("--group-add", r#"run --user 1000:5 --group-add 77 --group-add 78 $I id -G"#, "5 77 78\n"),
    check(
        "--tmpfs",
        r#"run --tmpfs /t:size=1m,mode=1770 $I sh -c 'stat -c %a /t; df -k /t | awk "NR == 2 { print \$2 }"; touch /t/x; echo $?'"#,
        "1770\n1024\n0\n",
    ),
    check(
        "--shm-size",
        r#"run --shm-size 8m $I sh -c 'df -k /dev/shm | awk "NR == 2 { print \$2 }"'"#,
        "8192\n",
    ),
    check("--network none", r#"run --network none $I ls /sys/class/net"#, "lo\n"),
    same(
        "default bridge",
        r#"run $I sh -c 'ls /sys/class/net; ip -o addr show dev lo | grep -c 127.0.0.1
        ping -c 1 -W 2 $(ip route | awk "/default/ { print \$3 }") | grep -c "1 packets received"; cat /etc/hosts | head -1'"#,
    ),
    same("--network host", r#"run --network host $I ls /sys/class/net"#),
    check(
        "--network container",
        r#"start --network none $I sleep 100; a=$(docker exec $N readlink /proc/self/ns/net)
        b=$(run --network container:$N $I readlink /proc/self/ns/net); [ "$a" = "$b" ] && echo shared"#,
        "shared\n",
    ),
    check(
        "--pid container, --ipc container",
        r#"start --ipc shareable $I sleep 100
        run --pid container:$N --ipc container:$N $I sh -c 'ps | grep -c "sleep 10[0]"'
        run --pid container:$N $I true; echo $?; state"#,
        "1\n0\nrunning 0\n",
    ),
    check("--pid host", r#"run --pid host $I sh -c 'test $$ -ne 1; echo $?'"#, "0\n"),
    check("--uts host", r#"[ "$(run --uts host $I uname -n)" = "$(uname -n)" ]; echo $?"#, "0\n"),
    check(
        "-w, -e, --hostname, --domainname",
        r#"run -w /made/up -e KEY=value --hostname box --domainname example.org $I sh -c 'pwd; echo $KEY; hostname; cat /proc/sys/kernel/domainname'"#,
        "/made/up\nvalue\nbox\nexample.org\n",
    ),
    check(
        "seccomp",
        r#"run $I sh -c 'grep Seccomp: /proc/self/status; unshare -U true; echo $?' 2>/dev/null
        run --security-opt seccomp=unconfined $I grep Seccomp: /proc/self/status"#,
        "Seccomp:\t2\n1\nSeccomp:\t0\n",
    ),
    check(
        "-t",
        r#"run -t $I sh -c 'tty; test -t 0; echo $?; stat -c %t:%T /dev/console'"#,
        "/dev/pts/0\n0\n88:0\n",
    ),
    check("--ulimit", r#"run --ulimit nofile=100:200 $I sh -c 'ulimit -n; ulimit -Hn'"#, "100\n200\n"),
    check("--oom-score-adj", r#"run --oom-score-adj 100 $I cat /proc/self/oom_score_adj"#, "100\n"),
    check(
        "devices, --device-cgroup-rule",
        r#"m=$(awk '$2 ~ /^(loop-control|vsock|fuse)$/ { print $1; exit }' /proc/misc)
        for o in --init=false "--device-cgroup-rule=c 10:$m rw"; do
        run "$o" $I sh -c "mknod /tmp/d c 10 $m; (exec 3</tmp/d); echo \$?; mknod /tmp/n c 1 3; cat /tmp/n; echo \$?" 2>/dev/null
        done"#,
        "1\n0\n0\n0\n",
    ),
    check(
        "health check",
        r#"start --health-cmd 'test -e /tmp' --health-interval 0.5s $I sleep 100
        until_ok sh -c 'docker inspect -f "{{.State.Health.Status}}" $N | grep -w healthy'; docker inspect -f '{{.State.Health.Status}}' $N"#,
        "healthy\n",
    ),
    same(
        "update",
        r#"start --memory 64m $I sleep 100; docker update --memory 48m --memory-swap 48m --pids-limit 30 --cpus 0.3 $N >/dev/null; echo $?
        docker exec $N sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us memory.max pids.max cpu.max 2>/dev/null'
        docker inspect -f '{{.HostConfig.Memory}}' $N"#,
    ),
    check(
        "cp",
        r#"start $I sleep 100; echo host > $T/f; docker cp $T/f $N:/etc/f; docker exec $N cat /etc/f
        docker exec $N sh -c 'echo guest > /tmp/g'; docker cp $N:/tmp/g $T/g; cat $T/g"#,
        "host\nguest\n",
    ),
    check(
        "--init",
        r#"needs docker-init; start --init $I sh -c '(sleep 0.1 &); exec sleep 100'; docker exec $N cat /proc/1/comm
        until_ok docker exec $N sh -c '[ $(ls -d /proc/[0-9]* | wc -l) -le 5 ]'
        docker exec $N sh -c 'grep -l "State:.Z" /proc/[0-9]*/status | wc -l'; docker stop $N >/dev/null; state"#,
        "docker-init\n0\nexited 143\n",
    ),
    same(
        "--cgroupns",
        r#"for n in host private; do run --cgroupns $n $I sh -c 'cat /proc/self/cgroup; grep cgroup /proc/self/mountinfo | cut -d" " -f4-6'; done | sed 's/[0-9a-f]\{64\}/ID/'"#,
    ),
    same(
        "checkpoint",
        r#"start $I sleep 100; docker checkpoint create $N one >/dev/null 2>&1; echo $?; state"#,
    ),
    check(
        "--sysctl, ip_forward",
        r#"run --sysctl net.ipv4.ip_forward=1 $I cat /proc/sys/net/ipv4/ip_forward"#,
        "1\n",
    ),
    check(
        "-it",
        r#"terminal "docker run --rm -it --runtime $RT $I sh -c 'tty; sleep 0.5; stty size; echo \$((6 * 7))'" | tr -d '\r'"#,
        "/dev/pts/0\n33 77\n42\n",
    ),
    check(
        "network of one's own",
        r#"docker network create $N >/dev/null; start --network $N $I sleep 100
        run --network $N $I sh -c 'ping -c 1 -W 2 '$N' | grep -c "1 packets received"'; docker rm -f $N >/dev/null; docker network rm $N >/dev/null"#,
        "1\n",
    ),
    same("stats", r#"start $I sleep 100; docker stats --no-stream --format '{{.PIDs}}' $N"#),
    check(
        "several at once",
        r#"for n in $(seq 20); do run $I echo $n > $T/$n & done; wait; sort -n $T/* | tr '\n' ' '"#,
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ",
    ),
];
