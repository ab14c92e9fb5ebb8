//! Commands of runc that corten knows and does not carry out yet. They read their flags, so that callers that
//! probe for a flag (podman runs `restore --lsm-mount-context`) get the answer of a runtime that has it, and so that a
//! slip is told apart from what is missing.

use libcontainer::ops;

use super::store;
use crate::Failure;
use crate::args::{Command, Flag, Invocation, UsageError};

pub const CHECKPOINT: Command = Command {
    name: "checkpoint",
    summary: "save a running container to files (not supported yet)",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::value("parent-path", "dir", "images of the previous --pre-dump, relative to --image-path"),
        Flag::switch("leave-running", "let the container run on"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-skip-in-flight", "leave out TCP connections that are being made"),
        Flag::switch("link-remap", "link files that were unlinked back"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::value("status-fd", "fd", "descriptor that gets a null byte when --lazy-pages is ready"),
        Flag::value("page-server", "address:port", "where a server takes the pages"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "save the memory only and let the container run on"),
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
        NETWORK_LOCK,
    ],
    details: "Would save the processes of a container with CRIU, to be brought back by restore. corten reads the flags \
              of runc and crun, checks that there is such a container, and then says that this is not supported yet.",
    examples: &["corten checkpoint --image-path /tmp/c1 c1"],
    see_also: &["restore", "pause"],
    run: checkpoint,
};

pub const RESTORE: Command = Command {
    name: "restore",
    summary: "bring a saved container back (not supported yet)",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag::value("bundle", "dir", "directory with config.json and the root filesystem")
            .short(b'b')
            .default("the current directory"),
        Flag::value("console-socket", "path", "Unix socket that gets the container's terminal"),
        Flag::value("pid-file", "path", "file to write the pid of the container's process to"),
        IMAGE_PATH,
        WORK_PATH,
        Flag::switch("detach", "do not wait for the end").short(b'd'),
        Flag::switch("no-subreaper", "do not adopt processes that the container leaves behind"),
        Flag::switch("no-pivot", "move the root mount instead of pivot_root"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-close", "close the TCP connections that there were"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        NETWORK_LOCK,
        Flag::value("lsm-profile", "type:name", "AppArmor profile or SELinux label of the processes"),
        Flag::value("lsm-mount-context", "context", "SELinux context of the mounts"),
    ],
    details: "Would bring back a container that checkpoint saved. corten reads the flags of runc and crun and then \
              says that this is not supported yet.",
    examples: &["corten restore --bundle ./demo --image-path /tmp/c1 c1"],
    see_also: &["checkpoint", "run"],
    run: restore,
};

const IMAGE_PATH: Flag = Flag::value("image-path", "dir", "directory of the images");
const WORK_PATH: Flag = Flag::value("work-path", "dir", "directory of CRIU's logs");
const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "allow open TCP connections");
const EXT_UNIX_SK: Flag = Flag::switch("ext-unix-sk", "allow Unix sockets to the outside");
const SHELL_JOB: Flag = Flag::switch("shell-job", "allow jobs of a shell");
const FILE_LOCKS: Flag = Flag::switch("file-locks", "keep file locks");
const LAZY_PAGES: Flag = Flag::switch("lazy-pages", "bring memory back when it is used");
const AUTO_DEDUP: Flag = Flag::switch("auto-dedup", "free pages of older images that newer ones replace");
const EMPTY_NS: Flag =
    Flag::value("empty-ns", "namespace", "make this namespace, but do not restore what is in it");
const NETWORK_LOCK: Flag = Flag::value("network-lock", "method", "how the network is locked");
const CGROUPS_MODES: &[&str] = &["soft", "full", "strict", "ignore"];
const CGROUPS_MODE: Flag =
    Flag::value("manage-cgroups-mode", "mode", "cgroups: soft, full, strict or ignore")
        .default("soft")
        .one_of(CGROUPS_MODES);

fn checkpoint(invocation: &Invocation) -> Result<u8, Failure> {
    check_cgroups_mode(invocation)?;
    invocation.flags.parsed::<i32>("status-fd", "the number of a file descriptor")?;
    ops::state(&store(invocation)?, invocation.id()?)?;
    Err(Failure::NotSupported("checkpoint"))
}

fn restore(invocation: &Invocation) -> Result<u8, Failure> {
    check_cgroups_mode(invocation)?;
    store(invocation)?;
    Err(Failure::NotSupported("restore"))
}

fn check_cgroups_mode(invocation: &Invocation) -> Result<(), UsageError> {
    match invocation.flags.text("manage-cgroups-mode")? {
        Some(mode) if !CGROUPS_MODES.contains(&mode) => {
            let (flag, value) = ("manage-cgroups-mode", mode.to_owned());
            Err(UsageError::InvalidValue { flag, value, expected: "soft, full, strict or ignore" })
        }
        _ => Ok(()),
    }
}
