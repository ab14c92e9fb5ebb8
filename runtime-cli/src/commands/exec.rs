use libcontainer::ops::{self, ExecFlags, ExecOptions, ExecProcess};

use super::{exit_code, listen_fds, path, preserve_fds, store};
use crate::Failure;
use crate::args::{Command, Flag, Given, Invocation, UsageError, utf8};

pub const COMMAND: Command = Command {
    name: "exec",
    summary: "run another program in a container",
    arguments: "<container-id> <command> [arguments]",
    count: 1..=usize::MAX,
    verbatim_after: Some(1),
    flags: &[
        Flag::switch("tty", "give it a terminal").short(b't'),
        Flag::switch("detach", "do not wait for its end").short(b'd'),
        Flag::value("user", "uid[:gid]", "run as this user and group, in numbers").short(b'u'),
        Flag::value("env", "name=value", "set a variable; may be repeated").short(b'e'),
        Flag::value("cwd", "dir", "working directory in the container"),
        Flag::value("additional-gids", "gid", "be in this group too; may be repeated").short(b'g'),
        Flag::value("cap", "capability", "add a capability; may be repeated").short(b'c'),
        Flag::switch("no-new-privs", "gain no privileges by set-uid programs"),
        Flag::value("apparmor", "profile", "AppArmor profile"),
        Flag::value("process-label", "label", "SELinux label"),
        Flag::value("process", "file", "take all of the above and the command from this JSON file")
            .short(b'p'),
        Flag::value("pid-file", "path", "file to write the pid to"),
        Flag::value("console-socket", "path", "Unix socket that gets the terminal"),
        Flag::value("pidfd-socket", "path", "Unix socket that gets a pidfd of the process"),
        Flag::value("preserve-fds", "n", "pass n more file descriptors, from 3 (after $LISTEN_FDS) on")
            .default("0"),
        Flag::value("cgroup", "path", "run in this sub-cgroup; on v1 [controller,…:]path, may be repeated"),
        Flag::value(
            "wait-fifo",
            "path",
            "make the process, and let it run when this FIFO is written to or closed",
        ),
        Flag::switch("ignore-paused", "do not refuse when the container is paused"),
    ],
    details: "Runs a program in a container that runs already, with the user, the environment and the limits of the \
              container's own process unless flags change them. Everything after the id belongs to the program. The \
              exit code is that of the program, 128 plus the number of the signal that killed it, or 255 if it could \
              not be started.",
    examples: &["corten exec -t c1 sh", "corten exec --user 1000:1000 --env LANG=C c1 ls -l /home"],
    see_also: &["ps", "run"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let flags = &invocation.flags;
    let options = ExecOptions {
        id: invocation.id()?.to_owned(),
        process: process(invocation).map_err(Failure::ExecUsage)?,
        detach: flags.is_on("detach"),
        pid_file: path(flags, "pid-file"),
        console_socket: path(flags, "console-socket"),
        pidfd_socket: path(flags, "pidfd-socket"),
        preserve_fds: preserve_fds(flags).map_err(Failure::ExecUsage)?,
        listen_fds: listen_fds(),
        wait_fifo: path(flags, "wait-fifo"),
        ignore_paused: flags.is_on("ignore-paused"),
        cgroup: flags.texts("cgroup")?,
    };
    let store = store(invocation)?;
    ops::exec(&store, &options).map(exit_code).map_err(Failure::Exec)
}

fn process(invocation: &Invocation) -> Result<ExecProcess, UsageError> {
    let flags = &invocation.flags;
    let words = &invocation.arguments[1..];
    let file = path(flags, "process");
    let wrong = |problem| Err(UsageError::Combination { command: "exec", problem });
    match (file, words) {
        (Some(_), [_, ..]) => wrong("a command and --process exclude each other"),
        (None, []) => wrong("a command or --process is needed"),
        (Some(file), []) => Ok(ExecProcess::File(file)),
        (None, words) => {
            let args = words.iter().map(|w| utf8("the command", w).map(str::to_owned));
            Ok(ExecProcess::Flags(Box::new(changes(flags, args.collect::<Result<_, _>>()?)?)))
        }
    }
}

fn changes(flags: &Given, args: Vec<String>) -> Result<ExecFlags, UsageError> {
    let text = |name| flags.text(name).map(|value| value.map(str::to_owned));
    Ok(ExecFlags {
        args,
        cwd: cwd(flags)?,
        env: env(flags)?,
        user: user(flags)?,
        additional_gids: gids(flags)?,
        caps: flags.texts("cap")?,
        no_new_privs: flags.is_on("no-new-privs"),
        apparmor: text("apparmor")?,
        process_label: text("process-label")?,
        terminal: flags.is_on("tty"),
    })
}

fn cwd(flags: &Given) -> Result<Option<String>, UsageError> {
    match flags.text("cwd")? {
        Some(cwd) if !cwd.starts_with('/') => {
            let expected = "an absolute path in the container";
            Err(UsageError::InvalidValue { flag: "cwd", value: cwd.to_owned(), expected })
        }
        cwd => Ok(cwd.map(str::to_owned)),
    }
}

fn env(flags: &Given) -> Result<Vec<String>, UsageError> {
    let env = flags.texts("env")?;
    match env.iter().find(|e| e.find('=').is_none_or(|at| at == 0)) {
        Some(wrong) => {
            let value = wrong.clone();
            Err(UsageError::InvalidValue { flag: "env", value, expected: "NAME=value" })
        }
        None => Ok(env),
    }
}

fn user(flags: &Given) -> Result<Option<String>, UsageError> {
    let Some(user) = flags.text("user")? else { return Ok(None) };
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    if is_id(uid) && is_id(gid) {
        return Ok(Some(user.to_owned()));
    }
    let expected = "<uid>[:<gid>] in numbers (names are not looked up in the container)";
    Err(UsageError::InvalidValue { flag: "user", value: user.to_owned(), expected })
}

fn gids(flags: &Given) -> Result<Vec<u32>, UsageError> {
    let texts = flags.texts("additional-gids")?.into_iter();
    let expected = "a group id";
    let wrong = |value| UsageError::InvalidValue { flag: "additional-gids", value, expected };
    texts.map(|t| if is_id(&t) { t.parse().map_err(|_| wrong(t)) } else { Err(wrong(t)) }).collect()
}

/// Digits only: `+7` would parse, too. 4294967295 is -1, which means "leave as it is" to setuid(2) and its kin.
fn is_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|id: u32| id != u32::MAX)
}
