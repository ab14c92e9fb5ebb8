//! What Podman is asked to do, as root.

use super::check::{Check, check, same};

/// The checks, in the order of the report.
pub const CHECKS: &[Check] = &[
    // runc may have warnings about a cgroup that systemd removed first.
    check(
        "exit code",
        r#"run $I sh -c 'exit 7'; echo $?; run --pid host $I sh -c 'kill -9 $$' 2>/dev/null; echo $?"#,
        "7\n137\n",
    ),
    check(
        "stdin",
        r#"echo data | run -i $I cat; head -c 300000 /bin/sh | run -i $I md5sum | sed "s/$(head -c 300000 /bin/sh | md5sum)/same/""#,
        "data\nsame\n",
    ),
    check(
        "bad commands",
        r#"for c in nope /nope /etc /etc/passwd; do run $I $c >/dev/null 2>&1; echo $?; done"#,
        "127\n127\n126\n126\n",
    ),
    // Of a directory, runc 1.1 says "permission denied" and later versions "is a directory".
    same(
        "errors name the command",
        r#"for c in nope /nope /etc/passwd; do run $I $c 2>&1 >/dev/null | sed 's/.*exec: //'; done"#,
    ),
    // As Podman does with a runtime whose name it does not know.
    check(
        "bad commands, without a JSON log",
        r#"grep -v json $CONTAINERS_CONF > $T/conf; export CONTAINERS_CONF=$T/conf; cp $RT $T/other; RT=$T/other
        for c in nope /nope /etc /etc/passwd; do run $I $c >/dev/null 2>&1; echo $?; done"#,
        "127\n127\n126\n126\n",
    ),
    // Podman 4.3 answers 0 where the program's exit code was not 0 and nothing was left to read.
    same(
        "attach",
        r#"start -i $I sh -c 'read word; echo got $word; exit 3'; echo data | podman attach --sig-proxy=false $N | head -1"#,
    ),
    check(
        "exec",
        r#"start $I sleep 100; podman exec $N echo inside; podman exec $N sh -c 'exit 9'; echo $?
        podman exec $N sh -c 'kill -9 $$'; echo $?"#,
        "inside\n9\n137\n",
    ),
    // No directory: of what runc 1.1.15 says to it, Podman 5 makes 255.
    check(
        "exec, bad commands",
        r#"start $I sleep 100; for c in nope /nope /etc/passwd; do podman exec $N $c >/dev/null 2>&1; echo $?; done"#,
        "127\n127\n126\n",
    ),
    check(
        "exec, detached",
        r#"start $I sleep 100; podman exec -d $N touch /done >/dev/null; until_ok podman exec $N test -e /done; podman exec $N ls /done"#,
        "/done\n",
    ),
    check(
        "exec, terminal",
        r#"start $I sleep 100; terminal "podman exec -it $N sh -c 'tty; stty size; exit 5'"; echo $?"#,
        "/dev/pts/0\n33 77\n5\n",
    ),
    check(
        "terminal",
        r#"terminal "podman --runtime $RT run --rm -it --network none --cgroup-parent $G $I sh -c 'tty; stty size; exit 5'"; echo $?"#,
        "/dev/pts/0\n33 77\n5\n",
    ),
    check(
        "terminal, detached",
        r#"start -t $I sh -c 'tty; test -t 1; echo $?'; podman wait $N; podman logs $N"#,
        "0\n/dev/pts/0\n0\n",
    ),
    check(
        "exec --preserve-fds",
        r#"start $I sleep 100; echo data > $T/f; podman exec --preserve-fds 1 $N cat /proc/self/fd/3 3<$T/f"#,
        "data\n",
    ),
    check(
        "top",
        r#"start $I sleep 100; podman top $N pid args | awk 'NR > 1 { print $1, $2, $3 }'"#,
        "1 sleep 100\n",
    ),
    check(
        "pause and unpause",
        r#"start $I sleep 100; podman pause $N >/dev/null; state; podman exec $N true 2>/dev/null; echo $?
        podman unpause $N >/dev/null; state; podman exec $N echo again"#,
        "paused 0\n255\nrunning 0\nagain\n",
    ),
    check(
        "stop, unwilling",
        r#"start $I sleep 100; podman stop -t 1 $N >/dev/null 2>&1; state"#,
        "exited 137\n",
    ),
    same(
        "kill a stopped one",
        r#"start $I true; podman wait $N; podman kill $N >$T/out 2>&1; echo $?; sed "s/stopped/exited/" $T/out"#,
    ),
    check(
        "rm -f",
        r#"start $I sleep 100; podman rm -f -t 0 $N >/dev/null; podman container exists $N; echo $?"#,
        "1\n",
    ),
    check(
        "rm -f of a paused one",
        r#"start $I sleep 100; podman pause $N >/dev/null; podman rm -f -t 0 $N >/dev/null; echo $?"#,
        "0\n",
    ),
    check(
        "init, then start",
        r#"create $I sh -c 'echo late'; podman init $N >/dev/null; state; podman start -a $N; state"#,
        "initialized 0\nlate\nexited 0\n",
    ),
    same(
        "--memory",
        r#"run --memory 64m --memory-swap 96m --memory-reservation 32m $I sh -c 'cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup
        cat memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.max memory.swap.max memory.low 2>/dev/null'"#,
    ),
    // As for Docker, the weight is only compared with the usual one.
    same(
        "--cpus, --cpu-shares",
        r#"run --cpus 0.5 $I sh -c 'cd /sys/fs/cgroup/cpu 2>/dev/null || cd /sys/fs/cgroup; cat cpu.cfs_quota_us cpu.cfs_period_us cpu.max 2>/dev/null'
        run --cpu-shares 512 --cpuset-cpus 0 $I sh -c 'cd /sys/fs/cgroup/cpu 2>/dev/null || cd /sys/fs/cgroup; cat cpu.shares 2>/dev/null; [ ! -e cpu.weight ] || awk "{ print (\$1 < 100) }" cpu.weight; grep Cpus_allowed_list /proc/self/status'"#,
    ),
    same(
        "update",
        r#"start --memory 64m $I sleep 100; podman update --memory 32m --cpu-shares 256 --pids-limit 30 $N >/dev/null; echo $?
        podman exec $N sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares pids/pids.max memory.max pids.max 2>/dev/null'"#,
    ),
    same(
        "cgroup",
        r#"run $I cat /proc/self/cgroup; run --cgroupns private $I cat /proc/self/cgroup; run --cgroupns host $I cat /proc/self/cgroup"#,
    ),
    same(
        "--cgroups",
        r#"for how in split no-conmon disabled; do run --cgroups $how $I echo $how 2>&1; done"#,
    ),
    check(
        "--cap-drop all",
        r#"run --cap-drop all $I grep Cap /proc/self/status"#,
        "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
         CapAmb:\t0000000000000000\n",
    ),
    same(
        "--cap-add",
        r#"run --cap-drop all --cap-add net_admin --cap-add sys_time $I grep Cap /proc/self/status
        run --user 1000 --cap-add net_raw $I grep Cap /proc/self/status"#,
    ),
    same(
        "--privileged, as far as it goes",
        r#"run --privileged $I sh -c 'grep -E "Cap|Seccomp:|NoNew" /proc/self/status; ls /dev | sort
        cut -d" " -f5,6 /proc/self/mountinfo | sort'"#,
    ),
    check(
        "--read-only",
        r#"run --read-only $I sh -c 'touch /x; echo $?; touch /dev/shm/x; echo $?; touch /run/x; echo $?; touch /tmp/x; echo $?' 2>/dev/null
        run --read-only --read-only-tmpfs=false $I sh -c 'touch /tmp/x; echo $?' 2>/dev/null"#,
        "1\n0\n0\n0\n1\n",
    ),
    check(
        "--user",
        r#"run --user 1000:5 $I sh -c 'id -u; id -g; id -G; touch /x; echo $?' 2>/dev/null; run --user user $I id -u
        run --user 1000:5 --group-add 77 --group-add 78 $I id -G"#,
        "1000\n5\n5\n1\n1000\n5 77 78\n",
    ),
    check(
        "-v, overlay",
        r#"mkdir $T/v; echo host > $T/v/f; run -v $T/v:/v:O $I sh -c 'echo guest > /v/f; cat /v/f'; cat $T/v/f"#,
        "guest\nhost\n",
    ),
    check(
        "-v, named",
        r#"run -v $N-data:/v $I sh -c 'echo kept > /v/f'; run -v $N-data:/v:ro $I cat /v/f; podman volume rm $N-data >/dev/null"#,
        "kept\n",
    ),
    check(
        "--tmpfs, --shm-size",
        r#"run --tmpfs /t:size=1m,mode=1770 $I sh -c 'stat -c %a /t; df -k /t | awk "NR == 2 { print \$2 }"; touch /t/x; echo $?'
        run --shm-size 8m $I sh -c 'df -k /dev/shm | awk "NR == 2 { print \$2 }"'"#,
        "1770\n1024\n0\n8192\n",
    ),
    same(
        "--userns, mappings",
        r#"run --userns host $I sh -c 'tr -s " " < /proc/self/uid_map; id -u; touch /x; stat -c %u /x'
        run --uidmap 0:100000:5000 --gidmap 0:200000:5000 $I sh -c 'tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map; id -u; stat -c %u:%g /bin/sh'
        start --uidmap 0:100000:5000 $I sleep 100; podman exec $N id -u; podman exec --user 5 $N sh -c 'id -u; tr -s " " < /proc/self/uid_map'"#,
    ),
    check(
        "--network none, host",
        r#"bare --network none $I ls /sys/class/net; bare --network host $I sh -c 'ls /sys/class/net | grep -c lo'"#,
        "lo\n1\n",
    ),
    same(
        "--network bridge",
        r#"bare --network bridge $I sh -c 'ls /sys/class/net; ip -o -4 addr show dev eth0 | wc -l' 2>&1"#,
    ),
    same(
        "--network slirp4netns",
        r#"needs slirp4netns; bare --network slirp4netns $I sh -c 'ls /sys/class/net; ip -o -4 addr show dev tap0' 2>&1"#,
    ),
    check(
        "--network, --pid, --ipc, --uts container",
        r#"start --ipc shareable $I sleep 100; for k in net ipc uts pid; do podman exec $N readlink /proc/self/ns/$k; done > $T/a
        for k in net ipc uts pid; do bare --network container:$N --pid container:$N --ipc container:$N --uts container:$N $I readlink /proc/self/ns/$k; done > $T/b
        cmp $T/a $T/b && echo shared; state"#,
        "shared\nrunning 0\n",
    ),
    check(
        "--pid, --uts, --ipc host",
        r#"run --pid host --uts host --ipc host $I sh -c 'test $$ -ne 1; echo $?'"#,
        "0\n",
    ),
    check(
        "-w, -e, --hostname, --umask",
        r#"run -w /tmp -e KEY=value --hostname box --umask 027 $I sh -c 'pwd; echo $KEY; hostname; umask'"#,
        "/tmp\nvalue\nbox\n0027\n",
    ),
    check(
        "seccomp",
        r#"run $I sh -c 'grep Seccomp: /proc/self/status'
        run --security-opt seccomp=unconfined $I grep Seccomp: /proc/self/status
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}' > $T/s
        run --security-opt seccomp=$T/s $I mkdir /tmp/x"#,
        "Seccomp:\t2\nSeccomp:\t0\nmkdir: can't create directory '/tmp/x': No space left on device\n",
    ),
    check(
        "--security-opt mask, unmask",
        r#"run --security-opt mask=/etc $I sh -c 'ls /etc | wc -l'; run --security-opt unmask=ALL $I sh -c 'grep -c " /proc/" /proc/self/mountinfo'"#,
        "0\n0\n",
    ),
    check(
        "--init",
        r#"run --init $I sh -c 'test $$ -ne 1; echo $?; tr "\0" " " < /proc/1/cmdline | cut -d" " -f1'; run --init $I sh -c 'exit 7'; echo $?"#,
        "0\n/run/podman-init\n7\n",
    ),
    check(
        "--ulimit, --oom-score-adj",
        r#"run --ulimit nofile=100:200 --ulimit nproc=300:300 --oom-score-adj 100 $I sh -c 'ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj'"#,
        "100\n200\n100\n",
    ),
    check(
        "--systemd",
        r#"run --systemd always $I sh -c 'stat -f -c %T /run /run/lock /tmp; echo $container'"#,
        "tmpfs\ntmpfs\ntmpfs\npodman\n",
    ),
    check(
        "--rootfs",
        r#"mkdir -p $T/r/bin; cp /bin/busybox $T/r/bin/sh; run --rootfs $T/r /bin/sh -c 'echo from a directory'"#,
        "from a directory\n",
    ),
    check("--timeout", r#"run --timeout 1 $I sleep 100; echo $?"#, "255\n"),
    check(
        "health check",
        r#"start --health-cmd 'test -e /tmp' --health-interval disable $I sleep 100; podman healthcheck run $N; echo $?
        podman inspect -f '{{.State.Health.Status}}' $N"#,
        "0\nhealthy\n",
    ),
    same("stats", r#"start $I sleep 100; podman stats --no-stream --format '{{.PIDs}} {{.Name}}' $N 2>&1"#),
    check(
        "cp",
        r#"start $I sleep 100; echo data > $T/f; podman cp $T/f $N:/tmp/g; podman exec $N cat /tmp/g; podman cp $N:/tmp/g $T/h; cat $T/h"#,
        "data\ndata\n",
    ),
    check(
        "checkpoint",
        r#"start $I sleep 100; podman container checkpoint $N >/dev/null 2>&1; echo $?; state"#,
        "125\nrunning 0\n",
    ),
    same(
        "pod",
        r#"podman --runtime $RT pod create --name $N-pod --cgroup-parent $G --network none --infra-image $I --infra-command '/bin/sleep 100' >/dev/null 2>&1; echo $?
        for c in a b; do podman --runtime $RT run -d --pod $N-pod --name $N-$c $I sleep 100 >/dev/null; echo $?; done
        for k in net ipc uts pid mnt; do [ "$(podman exec $N-a readlink /proc/self/ns/$k)" = "$(podman exec $N-b readlink /proc/self/ns/$k)" ]; echo $k $?; done
        podman exec $N-a cat /proc/self/cgroup | sed 's/libpod-[^/]*//'; podman pod pause $N-pod >/dev/null; podman pod unpause $N-pod >/dev/null; echo $?
        podman pod top $N-pod args | grep -c sleep; podman pod stop -t 0 $N-pod >/dev/null; podman pod rm -f $N-pod >/dev/null; echo $?"#,
    ),
    same(
        "pod, its own pause, shared pid",
        r#"podman --runtime $RT pod create --name $N-pod --cgroup-parent $G --network none --share pid,ipc,uts,net >/dev/null 2>&1; echo $?
        podman --runtime $RT run -d --pod $N-pod --name $N-a $I sleep 100 >/dev/null; echo $?; podman exec $N-a ps | grep -c 'sleep\|catatonit\|pause'
        podman pod rm -f -t 0 $N-pod >/dev/null; echo $?"#,
    ),
    check(
        "sd_notify, conmon",
        r#"notified podman --runtime $RT run -d --name $N --sdnotify conmon --network none --cgroup-parent $G $I sleep 100 | grep -o 'READY=1\|MAINPID=' | sort -u"#,
        "MAINPID=\nREADY=1\n",
    ),
    check(
        "sd_notify, container",
        r#"cat > $T/n.py <<'END'
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
END
        notified podman --runtime $RT run --rm --sdnotify container --network none --cgroup-parent $G -v $T:$T -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro $I \
        /usr/bin/python3 $T/n.py | grep -o 'READY=1\|MAINPID=' | sort -u"#,
        "MAINPID=\nREADY=1\n",
    ),
    check(
        "several at once",
        r#"for n in 1 2 3 4 5 6; do run $I echo $n > $T/$n & done; wait; cat $T/*"#,
        "1\n2\n3\n4\n5\n6\n",
    ),
    check(
        "build",
        r#"printf 'FROM %s\nRUN echo built > /made && id -u\nRUN --mount=type=tmpfs,dst=/t touch /t/x\nUSER 1000\nRUN id -u\n' $I > $T/Dockerfile
        podman --runtime $RT build -q --network none -t $N-image $T >/dev/null; echo $?; run $N-image cat /made; podman rmi -f $N-image >/dev/null"#,
        "0\nbuilt\n",
    ),
    check(
        "build, failing step",
        r#"printf 'FROM %s\nRUN exit 7\n' $I > $T/Dockerfile; podman --runtime $RT build --network none $T >$T/out 2>&1; echo $?; grep -c 'exit status 7' $T/out
        printf 'FROM %s\nRUN ["/nope"]\n' $I > $T/Dockerfile; podman --runtime $RT build --network none $T >$T/out 2>&1; echo $?; grep -c 'no such file or directory' $T/out"#,
        "7\n1\n1\n1\n",
    ),
];
