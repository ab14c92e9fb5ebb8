//! Peers that are known to fail a case. A row is written only after the failure has been looked at, and it
//! says why; the report shows it instead of a failure.

use crate::registry::{Case, Deviation};

const POSTSTART: &str = "runs poststart hooks at the end of create";

/// Case, runtime, prefix of its version, reason.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    ("systemd/name-is-taken", "runc", "1.1", "puts a second container into the first one's scope"),
    ("systemd/rootless", "runc", "1.1", "leaves exec in the cgroup of its caller"),
    (
        "systemd/devices-outlive-daemon-reload",
        "runc",
        "1.1",
        "refuses rules that deny a part of what was allowed before",
    ),
    ("edge/state-directory-is-full", "runc", "1.1", "says `unable to store init state: %!w(<nil>)`"),
    ("edge/rootfs-is-tmpfs", "runc", "1.1", "remounts / read-only without the flags that it had"),
    ("terminal/size", "runc", "1.1", "sets the window size only when the program runs already"),
    ("terminal/size-configured", "runc", "1.1", "puts the caller's window size over consoleSize"),
    ("terminal/signals", "runc", "1.1", "ends at SIGINT with exit code 0 and leaves the program behind"),
    ("terminal/stdin-is-file", "runc", "1.1", "has no terminal inside without one outside"),
    ("terminal/stdin-without-newline", "runc", "1.1", "has no terminal inside without one outside"),
    ("terminal/stalled-reader", "runc", "1.1", "cannot be told to end while it waits for a reader"),
    ("threat/passwd-is-fifo", "runc", "1.1", "waits for somebody to write to the image's /etc/passwd"),
    ("threat/group-is-fifo", "runc", "1.1", "waits for somebody to write to the image's /etc/group"),
    (
        "threat/signals-cannot-reach-runtime",
        "runc",
        "1.1",
        "cuts a signal number to 32 bits: 4294967305 kills",
    ),
    ("threat/state-directory-is-symlink", "runc", "1.1", "follows a link in its state directory"),
    ("escape/forged-procfs-of-the-image", "runc", "1.1", "writes kernel parameters to the image's /proc"),
    ("escape/users-are-numbers", "runc", "1.1", "cuts a uid to 32 bits: 4294967296 is root"),
    (
        "escape/null-device-of-the-host",
        "runc",
        "1.1",
        "binds the host's node also where root of the user namespace owns it",
    ),
    (
        "escape/null-device-of-the-host-by-exec",
        "runc",
        "1.1",
        "leaves the host's null device to what `exec` starts",
    ),
    ("mishap/frozen-below", "runc", "1.1", "issue 2105: thaws the container's own cgroup only"),
    ("mishap/frozen-below-kill", "runc", "1.1", "issue 2105: thaws the container's own cgroup only"),
    ("escape/sibling-cgroup", "runc", "1.1", "takes a path that only begins like the container's cgroup"),
    (
        "swap/mount-target-made",
        "runc",
        "1.1",
        "CVE-2024-45310: makes files and directories on the host, where the exchange comes in time",
    ),
    ("swap/device-made", "runc", "1.1", "CVE-2024-45310: makes nodes on the host"),
    ("swap/read-only-path", "runc", "1.1", "GHSA-3q8j-pf29-vwv8: goes by the path twice"),
    ("swap/mount-inside-proc", "runc", "1.1", "CVE-2025-52881: writes to what is mounted in the way"),
    (
        "exec/process-file",
        "runc",
        "1.1",
        "now and then Go raises the soft limit of open files to the hard one",
    ),
    ("seccomp/names-empty", "runc", "1.1", "takes an empty list of names for a rule about nothing"),
    ("seccomp/errno-on-allow", "runc", "1.1", "ignores an errno on an action that has none"),
    (
        "seccomp/wrong-errno",
        "runc",
        "1.1",
        "says `two checks on same syscall argument` of any rule that libseccomp refuses",
    ),
    ("seccomp/wrong-default-errno", "runc", "1.1", "says `could not create filter`, not why"),
    ("seccomp/wrong-execve-denied", "runc", "1.1", "creates a container whose filter stops it at start"),
    ("seccomp/flag-log", "runc", "1.1", "older than seccomp flags"),
    ("seccomp/notify-flags", "runc", "1.1", "older than seccomp flags"),
    (
        "seccomp/notify-connection-ends",
        "runc",
        "1.1",
        "keeps the connection to the agent as long as it lives",
    ),
    ("seccomp/notify-default-action", "runc", "1.1", "refuses it whatever the rules are"),
    ("seccomp/notify-long-path", "runc", "1.1", "has no way around the length of sun_path"),
    ("stress/same-id", "runc", "1.1", "has no lock: leaves processes and cgroups"),
    (
        "race/create-while-another-hangs",
        "runc",
        "1.1",
        "delete --force leaves the cgroups to the create that hangs",
    ),
    (
        "stress/interrupted-cycles",
        "runc",
        "1.1",
        "finds no state after an early death and leaves the cgroups",
    ),
    ("notify/status-and-stopping", "runc", "1.1", "waits for READY=1 first, and passes on nothing else"),
    ("notify/dies-before-ready", "runc", "1.1", "waits for ever: its child, a zombie, is alive to it"),
    ("notify/terminal", "runc", "1.1", "waits for READY=1 first, and passes on nothing else"),
    ("notify/not-for-others", "runc", "1.1", "takes no READY=1 that is not in the first line"),
    ("exec/paused-meanwhile", "runc", "1", "waits until somebody resumes the container"),
    ("exec/paused-meanwhile-unified", "runc", "1", "waits until somebody resumes the container"),
    (
        "delete/fork-bomb-host-pidns-unified",
        "runc",
        "1.1",
        "now and then leaves the cgroup, which is not free of processes at once",
    ),
    ("update/flags-win", "runc", "1.1", "ignores every flag beside --resources"),
    ("update/idle-and-back", "runc", "1.1", "older than --cpu-idle"),
    (
        "update/refused-swap-below-memory",
        "runc",
        "1.1",
        "has changed the memory limit when the other is refused, and leaves it so",
    ),
    ("events/ends-with-the-container", "runc", "1.1", "goes on until the container is deleted"),
    ("events/out-of-memory", "runc", "1.1", "goes on until the container is deleted"),
    (
        "events/ends-with-the-container-unified",
        "runc",
        "1.1",
        "needs the memory controller, also for the rest",
    ),
    ("device/numbers-missing", "runc", "1.1", "takes a missing number for 0"),
    ("device/existing-file-of-other-kind", "runc", "1.1", "keeps whatever exists at the path"),
    (
        "propagation/shared",
        "runc",
        "1.1",
        "binds the rootfs under a private parent, so it never becomes shared",
    ),
    ("propagation/unbindable", "runc", "1.1", "makes / unbindable before it binds the rootfs"),
    ("hook/order", "runc", "1.1", POSTSTART),
    ("hook/several-of-a-kind", "runc", "1.1", POSTSTART),
    ("hook/when", "runc", "1.1", POSTSTART),
    ("hook/run-runs-all", "runc", "1.1", POSTSTART),
    ("hook/state-in-poststart", "runc", "1.1", POSTSTART),
    ("hook/failing-poststart", "runc", "1.1", POSTSTART),
    ("hook/failing-startContainer", "runc", "1.1", "start does not wait for the hook that init runs"),
    ("hook/descriptors", "runc", "1.1", "leaks its pipes into hooks that init runs"),
    ("hook/env", "runc", "1.1", "a hook without env inherits the runtime's"),
    ("hook/poststop-failure-is-a-warning", "runc", "1.1", "stops at the first poststop hook that fails"),
    ("tmpcopyup/bind-is-refused", "runc", "1.1", "ignores tmpcopyup on a bind"),
    ("exec/inherits-config", "runc", "1.1", "exec does not apply the umask"),
    ("mount/tmpfs-mode-inherited", "runc", "1.1", "puts the directory's mode over an explicit `mode=`"),
    ("mount/idmapped-bind", "runc", "1.1", "older than idmapped mounts, ignores the mappings"),
    ("mount/idmap-one-sided", "runc", "1.1", "older than idmapped mounts, ignores the mappings"),
    ("mount/inside-proc-attr", "runc", "1.1", "looks only at bind mounts"),
    ("mount/dev-is-symlink", "runc", "1.1", "CVE-2026-41579: follows the link to the host"),
    ("mount-option/tmpfs-defaults", "runc", "1.1", "hands the word `defaults` to the kernel"),
    ("mount-option/ratime", "runc", "1.1", "does not clear MOUNT_ATTR__ATIME, which the kernel demands"),
    ("process/scheduler", "runc", "1.1", "older than process.scheduler, ignores it"),
    ("process/io-priority", "runc", "1.1", "older than process.ioPriority, ignores it"),
    ("process/personality", "runc", "1.1", "does not implement linux.personality, ignores it"),
    ("rlimit/duplicate", "runc", "1.1", "lets the last entry win"),
    (
        "namespace/time-offsets-without-namespace",
        "runc",
        "1.1",
        "older than time namespaces, ignores timeOffsets",
    ),
    ("domainname/set", "runc", "1.1", "older than domainname, ignores it"),
    ("userns/path", "runc", "1.1", "wants mappings even for a user namespace that it only joins"),
    ("delete/unreadable-state", "runc", "1.1", "refuses to delete a state that it cannot parse"),
    ("damage/full-state-root", "runc", "1.1", "says `unable to store init state: %!w(<nil>)`"),
    ("input/wrong-oci-version-missing", "runc", "1.1", "does not look at ociVersion"),
    ("input/wrong-oci-version-short", "runc", "1.1", "does not look at ociVersion"),
    (
        "input/wrong-hook-without-path",
        "runc",
        "1.1",
        "finds out when it runs the hook, and does not say `path`",
    ),
    ("limit/64-descriptors", "runc", "1.1", "Go cannot start with 4 descriptors"),
    ("mount/over-a-read-only-tmpfs", "runc", "1.1", "makes read-only what covers the tmpfs"),
    ("device/host-has-another", "runc", "1.1", "binds whatever the host has of that name"),
    (
        "device/rules-turned-round",
        "runc",
        "1.1",
        "emulates the rules one by one, and cannot take back a part of a wildcard",
    ),
    ("cgroup-v2/ownership", "runc", "1.1", "hands a cgroup over only where systemd has made it"),
    (
        "cgroup-v2/ownership-of-listed-files-alone",
        "runc",
        "1.1",
        "hands a cgroup over only where systemd has made it",
    ),
    (
        "cgroup-v2/ownership-without-a-list",
        "runc",
        "1.1",
        "hands a cgroup over only where systemd has made it",
    ),
    ("limits/cpu-idle-steps-back", "runc", "1.1", "older than cpu.idle"),
    ("limits/cpu-burst-is-granted", "runc", "1.1", "older than cpu.burst, ignores it"),
    ("input/duplicate-member", "runc", "1.1", "Go's JSON decoder lets the last member win"),
    ("input/invalid-utf8", "runc", "1.1", "Go's JSON decoder replaces invalid UTF-8"),
    ("input/wrong-hook-timeout-zero", "runc", "1.1", "takes 0 for `no timeout`"),
    ("input/wrong-mount-without-destination", "runc", "1.1", "warns about a relative path, then mounts on /"),
    ("input/wrong-oci-version-garbage", "runc", "1.1", "does not look at ociVersion"),
    ("input/wrong-mapping-without-user-namespace", "runc", "1.1", "ignores the mappings"),
    ("input/wrong-masked-path-relative", "runc", "1.1", "does not check that the path is absolute"),
    ("input/wrong-readonly-path-relative", "runc", "1.1", "does not check that the path is absolute"),
    ("input/wrong-oom-score-out-of-range", "runc", "1.1", "its C stage adds a line of its own"),
    ("input/id-too-long", "runc", "1.1", "leaves the length to mkdir, whose error does not say `id`"),
    (
        "lifecycle/config-edit-has-no-effect-on-exec",
        "runc",
        "1.1",
        "exec reads the bundle's config.json again for its defaults",
    ),
];

/// Several cases with one cause.
const GROUPS: &[(&[&str], &str, &str, &str)] = &[
    (
        &[
            "refused/io-priority-8",
            "refused/io-class-unknown",
            "refused/scheduler-unknown",
            "refused/scheduler-nice-out-of-range",
            "refused/scheduler-flag-unknown",
            "refused/personality-unknown",
            "refused/memory-policy-unknown",
            "refused/memory-policy-without-mode",
            "refused/memory-policy-bind-without-nodes",
            "refused/net-device-name-too-long",
            "refused/net-device-missing",
            "refused/exec-affinity-garbage",
            "refused/burst-above-quota",
            "refused/idmap-without-user-namespace",
            "optional/scheduler-idle",
            "optional/io-class-idle",
            "optional/memory-policy",
            "optional/exec-affinity",
            "scheduling/exec-has-the-container's",
            "scheduling/real-time-in-a-user-namespace",
            "scheduling/memory-policy-of-exec",
            "scheduling/exec-affinity-lists",
            "scheduling/exec-affinity-initial-alone",
            "scheduling/exec-affinity-of-a-process-file",
        ],
        "runc",
        "1.1",
        "older than this member, ignores it",
    ),
    (
        &[
            "idmapped/without-option",
            "idmapped/groups-and-several",
            "idmapped/container-mapping",
            "idmapped/own-mapping-in-a-user-namespace",
            "idmapped/idmap-leaves-mounts-below",
            "idmapped/ridmap-maps-mounts-below",
            "idmapped/writing-maps-back",
        ],
        "runc",
        "1.1",
        "older than idmapped mounts, ignores the mappings",
    ),
    (
        &[
            "refused/listener-metadata-without-path",
            "refused/blkio-weight-device-empty",
            "refused/device-rule-without-allow",
        ],
        "runc",
        "1.1",
        "does not check for the member that is missing",
    ),
    (
        &["refused/device-rule-access-unknown"],
        "runc",
        "1.1",
        "drops letters of `access` that it does not know",
    ),
    (&["optional/existing-cgroup-survives"], "runc", "1.1", "removes the cgroup whoever made it"),
    (
        &[
            "net-device/moved-and-renamed",
            "net-device/keeps-its-name",
            "net-device/keeps-global-addresses",
            "net-device/name-template",
            "net-device/name-taken",
            "net-device/two-of-one-name",
            "net-device/into-a-joined-namespace",
            "net-device/stays-inside-at-delete",
            "net-device/left-alone-after-create",
            "net-device/stays-where-it-is",
            "net-device/without-a-network-namespace",
            "net-device/in-the-runtime's-own-namespace",
            "rootless/network-devices-are-refused",
        ],
        "runc",
        "1.1",
        "older than linux.netDevices, ignores it",
    ),
    (
        &["refused/personality-flag", "optional/scheduler-deadline", "optional/memory-policy-flag"],
        "runc",
        "1.1",
        "older than the member, ignores it",
    ),
    (&["refused/without-counterpart-unified"], "runc", "1.1", "ignores net_cls and net_prio on version 2"),
    (&["optional/keep-original-groups", "mount-link/*"], "runc", "1.1", "has not this extension of crun's"),
    (&["mount-option/rnostrictatime"], "runc", "1.1", "clears a part of a field, which the kernel refuses"),
    (&["rootless/subordinate-ids"], "runc", "1.1", "refuses additional groups in every rootless container"),
    (
        &["rootless/seccomp-notify-sendmsg"],
        "runc",
        "1.1",
        "takes the descriptor out of the process (pidfd_getfd), which needs no sendmsg",
    ),
    (&["features/intel-rdt"], "runc", "1.1", "older than the member of the features document"),
    (
        &["escape/dev-is-link-to-other-devices", "rootless/links-stay-inside"],
        "runc",
        "1.1",
        "CVE-2026-41579: replaces and makes files wherever the image's /dev links to",
    ),
    (
        &["masked/dev-null-is-symlink", "escape/null-device-of-a-bound-dev", "swap/null-device"],
        "runc",
        "1.1",
        "CVE-2025-31133: masks with whatever /dev/null links to",
    ),
    (
        &["old-kernel/recursive-attributes"],
        "runc",
        "1.1",
        "says what the kernel said, but not which kernel it needs",
    ),
    (&["attack/config-is-fifo"], "runc", "1.1", "waits for a writer when config.json is a FIFO"),
    (
        &["edge/same-id-at-the-same-time"],
        "runc",
        "1.1",
        "all of several simultaneous creates of one id may fail, each for the directory of another",
    ),
    (&["fault/*"], "runc", "1.1", "the C library or the Go runtime aborts on a fault of its own"),
    (&["process/absent"], "runc", "1.1", "refuses a configuration without a process at create"),
];

/// Attaches the rows to their cases.
pub fn attach(cases: &mut [Case]) {
    for (name, runtime, version, reason) in KNOWN {
        for case in cases.iter_mut().filter(|c| stands_for(name, &c.name)) {
            case.deviations.push(Deviation { runtime, version, reason });
        }
    }
    let crun = super::deviations_crun::GROUPS.iter().map(|(names, reason)| (names, &"crun", &"1.21", reason));
    let groups = GROUPS.iter().map(|(names, runtime, version, reason)| (names, runtime, version, reason));
    for (names, runtime, version, reason) in groups.chain(crun) {
        for case in cases.iter_mut().filter(|c| names.iter().any(|name| stands_for(name, &c.name))) {
            case.deviations.push(Deviation { runtime, version, reason });
        }
    }
}

/// A name that ends with a star stands for all that begin so. Who fails a case also fails it on an older kernel.
fn stands_for(name: &str, case: &str) -> bool {
    let is = |case: &str| name.strip_suffix('*').map_or(name == case, |prefix| case.starts_with(prefix));
    is(case) || case.strip_prefix("old-kernel/").is_some_and(is)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_names_a_case() {
        let names: Vec<String> = super::super::all().into_iter().map(|c| c.name).collect();
        let grouped = super::GROUPS.iter().flat_map(|(names, ..)| names.iter());
        let crun = super::super::deviations_crun::GROUPS.iter().flat_map(|(names, _)| names.iter());
        for name in super::KNOWN.iter().map(|(name, ..)| name).chain(grouped).chain(crun) {
            assert!(names.iter().any(|n| super::stands_for(name, n)), "no case {name}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = super::super::all().into_iter().map(|c| c.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
