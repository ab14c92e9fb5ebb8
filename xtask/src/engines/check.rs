//! One check: a shell script whose output under one runtime has to equal its output under the other.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Doing, Result};
use crate::host;

/// The image that every check uses.
pub const IMAGE: &str = "docker.io/library/corten-busybox:latest";

const TIMEOUT_SECONDS: u32 = 60;

/// The ordinary user of [`Engine::Rootless`].
pub const USER: u32 = 1000;

/// Who drives the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// dockerd, by way of its client.
    Docker,
    /// containerd, by way of ctr.
    Containerd,
    /// Podman as root.
    Podman,
    /// Podman as an ordinary user.
    Rootless,
    /// Buildah as root.
    Buildah,
    /// conmon, started with what CRI-O says to it.
    Conmon,
}

impl Engine {
    /// The programs that are needed beside those of the lane itself.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["dockerd", "docker", "containerd"],
            Self::Containerd => &["dockerd", "docker", "containerd", "ctr"],
            Self::Podman => &["podman", "conmon", "script"],
            Self::Rootless => &["podman", "conmon", "script", "newuidmap", "setpriv"],
            Self::Buildah => &["buildah"],
            Self::Conmon => &["conmon", "python3"],
        }
    }

    /// The command line's name, in the checks that are put to several.
    fn client(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "ctr",
            Self::Podman | Self::Rootless => "podman",
            Self::Buildah => "buildah",
            Self::Conmon => "conmon",
        }
    }

    fn prelude(self) -> &'static str {
        match self {
            Self::Docker => DOCKER_PRELUDE,
            Self::Containerd => CONTAINERD_PRELUDE,
            Self::Podman | Self::Rootless => PODMAN_PRELUDE,
            Self::Buildah => BUILDAH_PRELUDE,
            Self::Conmon => CONMON_PRELUDE,
        }
    }

    fn epilogue(self) -> &'static str {
        match self {
            Self::Docker => DOCKER_EPILOGUE,
            Self::Containerd => CONTAINERD_EPILOGUE,
            Self::Podman | Self::Rootless => PODMAN_EPILOGUE,
            Self::Buildah => BUILDAH_EPILOGUE,
            Self::Conmon => CONMON_EPILOGUE,
        }
    }
}

/// Where the scripts of one engine run.
pub struct Place {
    /// Made before each script and removed after it.
    pub scratch: PathBuf,
    /// What the scripts find in their environment beside what all have.
    pub environment: Vec<(&'static str, OsString)>,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Containerd => "ctr",
            Self::Podman => "podman",
            Self::Rootless => "rootless",
            Self::Buildah => "buildah",
            Self::Conmon => "conmon",
        })
    }
}

/// What the scripts may use: `$CLI` the engine's command, `$RT` the runtime (a name for docker, a path for the others), `$G` a cgroup or a slice, `$SYSTEMD` whether it is
/// one, `$I` the image, `$N` a name for the
/// container, `$T` an empty directory; `run` for a container in the foreground, `start` for one that stays, `until_ok`
/// to wait for a command to succeed. A script that prints `SKIP: reason` is not judged.
const COMMON_PRELUDE: &str = r#"
until_ok() { i=0; while [ $i -lt 100 ] && ! "$@" >/dev/null 2>&1; do i=$((i + 1)); sleep 0.1; done; }
all_capabilities() {
    all=$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))
    grep -q "CapBnd:.$all" /proc/self/status || { echo "SKIP: this machine withholds capabilities"; exit 0; }
}
needs() { command -v "$1" >/dev/null || { echo "SKIP: $1 is not installed"; exit 0; }; }
# Its standard input never ends: script(1) would write that into the terminal.
terminal() { needs script; mkfifo $T/never; script -qec "stty rows 33 cols 77; $1" /dev/null <>$T/never; }
"#;

const DOCKER_PRELUDE: &str = r#"
run() { docker run --rm --runtime "$RT" "$@"; }
start() { docker run -d --runtime "$RT" --name "$N" "$@" >/dev/null || echo "start: $?"; }
state() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N"; }
"#;

const CONTAINERD_PRELUDE: &str = r#"
ctr() { command ctr --address "$ADDRESS" --namespace "$NAMESPACE" "$@"; }
C="${SYSTEMD:+--runc-systemd-cgroup --cgroup $G:ctr:$N}"
run() { o="$1"; shift; ctr run --rm --runc-binary "$RT" $C $o "$I" "$N" "$@"; }
start() { o="$1"; shift; ctr run -d --runc-binary "$RT" $C $o "$I" "$N" "$@" || echo "start: $?"; }
state() { ctr task ls | awk -v name="$N" '$1 == name { print $3 }'; }
is() { [ "$(state)" = "$1" ]; }
"#;

const PODMAN_PRELUDE: &str = r#"
bare() { podman --runtime "$RT" run --rm --cgroup-parent "$G" "$@"; }
run() { bare --network none "$@"; }
start() { podman --runtime "$RT" run -d --network none --cgroup-parent "$G" --name "$N" "$@" >/dev/null || echo "start: $?"; }
create() { podman --runtime "$RT" create --network none --cgroup-parent "$G" --name "$N" "$@" >/dev/null || echo "create: $?"; }
settled() { podman inspect -f '{{.State.Status}}' "$N" | grep -qvx stopped; }
# Podman says "stopped" until it has cleaned up, and may be asked before.
state() { until_ok settled; podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N"; }
notified() { needs python3; NOTIFY_SOCKET=$T/notify python3 -c '
import os, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(os.environ["NOTIFY_SOCKET"])
s.settimeout(10)
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
text = ""
try:
    while "READY=1" not in text or "MAINPID" not in text:
        text += s.recv(4096).decode() + "\n"
except TimeoutError:
    pass
child.wait()
print(text)' "$@"; }
"#;

const BUILDAH_PRELUDE: &str = r#"
from() { buildah from --pull-never --signature-policy "$POLICY" --name "$N" "$I" >/dev/null || echo "from: $?"; }
brun() { o=; while case $1 in --user|--cap-*|--mount|-v) ;; *) false;; esac; do o="$o $1 $2"; shift 2; done
    buildah run --runtime "$RT" --network none $o "$N" "$@"; }
"#;

/// What CRI-O gives to conmon (its internal/oci/runtime_oci.go); conmon leaves its answers in files.
const CONMON_PRELUDE: &str = r#"
R=$T/state
rt() { "$RT" --root "$R" "$@"; }
bundle() {
    mkdir -p $T/bundle $T/exits $T/sockets $T/persist; rt spec --bundle $T/bundle
    case $SYSTEMD in yes) c=$G:crio:$N ;; *) c=$G/$N ;; esac
    python3 - $T/bundle/config.json "$ROOTFS" "$c" "$@" <<'END'
import json, sys
path, rootfs, cgroup, terminal, *args = sys.argv[1:]
c = json.load(open(path))
c["process"].update(terminal=terminal == "yes", args=args)
c["process"].pop("rlimits", None)
c["root"] = {"path": rootfs, "readonly": True}
c["linux"]["cgroupsPath"] = cgroup
json.dump(c, open(path, "w"))
END
}
monitor() { conmon ${SYSTEMD:+--systemd-cgroup} --log-level error -c "$N" -n k8s_"$N" -u "$N" -r "$RT" --runtime-arg "--root=$R" --socket-dir-path $T/sockets "$@"; }
create() { monitor -b $T/bundle --persist-dir $T/persist --exit-dir $T/exits -l $T/log -P $T/conmon.pid -p $T/pid "$@"; }
execute() { f=$1; shift; monitor -e -b $T/bundle --exit-dir $T/exec-exits -l $T/exec.log -p $T/exec.pid --exec-process-spec $f "$@"; }
process() { python3 -c '
import json, sys
json.dump({"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], "terminal": sys.argv[1] == "yes", "args": sys.argv[2:]}, sys.stdout)' "$@"; }
ended() { until_ok test -s $T/exits/$N; cat $T/exits/$N; echo; }
complete() { grep -q "$1" $2 && tail -n 1 $2 | grep -q '^[^ ]* [^ ]* F'; }
# A line that conmon has read in pieces is one line.
logged() { until_ok complete "$1" $2; cut -d' ' -f2- $2 | awk '
{ s = $1; f = $2; sub(/^[^ ]* [PF] /, ""); line[s] = line[s] $0 }
f == "F" { print s, f, line[s]; line[s] = "" }'; }
"#;

const DOCKER_EPILOGUE: &str = "\ndocker rm -f \"$N\" >/dev/null 2>&1\n:\n";
const CONTAINERD_EPILOGUE: &str = "
ctr task kill -s KILL \"$N\" >/dev/null 2>&1
ctr task rm -f \"$N\" >/dev/null 2>&1
ctr container rm \"$N\" >/dev/null 2>&1
:\n";

const PODMAN_EPILOGUE: &str = r#"
podman pod rm -f -t 0 "$N-pod" >/dev/null 2>&1
podman rm -f -t 0 "$N" >/dev/null 2>&1
:
"#;
const BUILDAH_EPILOGUE: &str = "\nbuildah rm \"$N\" >/dev/null 2>&1\n:\n";
const CONMON_EPILOGUE: &str = "\nrt delete --force \"$N\"\n[ ! -d $R ] || ls $R\n";

/// A script, and what it has to print where that is the same on every machine.
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// The shell's input.
    pub script: &'static str,
    /// The output, or `None` where only the two runtimes have to agree.
    pub expected: Option<&'static str>,
}

/// Both runtimes have to print this.
pub const fn check(name: &'static str, script: &'static str, expected: &'static str) -> Check {
    Check { name, script, expected: Some(expected) }
}

/// Both runtimes have to print the same, whatever that is on this machine.
pub const fn same(name: &'static str, script: &'static str) -> Check {
    Check { name, script, expected: None }
}

impl Check {
    /// Runs the script under one runtime; the answer is its output, without what differs between any two containers.
    pub fn run(&self, engine: Engine, place: &Place, (name, path): (&str, &Path)) -> Result<String> {
        let scratch = &place.scratch;
        fs::create_dir_all(scratch).doing(|| format!("create {}", scratch.display()))?;
        let runtime = if engine == Engine::Docker { Path::new(name) } else { path };
        let (prelude, epilogue) = (engine.prelude(), engine.epilogue());
        let script = format!("exec 2>&1\n{COMMON_PRELUDE}{prelude}\n{}\n{epilogue}", self.script);
        let container = format!("check-{name}");
        let mut command = Command::new("timeout");
        command.arg("--kill-after=5").arg((TIMEOUT_SECONDS * host::patience()).to_string());
        if engine == Engine::Rootless {
            let user = USER.to_string();
            command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
            chown(scratch, Some(USER), Some(USER)).doing(|| format!("give away {}", scratch.display()))?;
        }
        command.args(["sh", "-c", &script]).stdin(Stdio::null()).current_dir(scratch);
        command.envs(place.environment.iter().map(|(name, value)| (name, value)));
        command
            .env("CLI", engine.client())
            .env("RT", runtime)
            .env("I", IMAGE)
            .env("N", &container)
            .env("T", scratch);
        let output = command.output().doing(|| "start the shell".to_owned())?;
        fs::remove_dir_all(scratch).doing(|| format!("remove {}", scratch.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).replace(&*path.to_string_lossy(), "RUNTIME");
        let mut text = normalise(&without_warnings(&text), &container);
        if !output.status.success() {
            text += &format!("(the check itself ended with {})\n", output.status);
        }
        Ok(text)
    }
}

/// Without what runc 1.1 says of a cgroup that systemd has removed before it.
fn without_warnings(text: &str) -> String {
    let is_warning = |line: &str| {
        line.contains("level=warning msg=\"freezer not supported:")
            || line.contains("level=warning msg=\"lstat /sys/fs/cgroup/")
    };
    text.split_inclusive('\n').filter(|line| !is_warning(line)).collect()
}

/// Takes out ids (hexadecimal words of twelve digits and more), the container's name, and the carriage returns of a terminal.
fn normalise(text: &str, container: &str) -> String {
    let text = text.replace('\r', "").replace(container, "NAME");
    let mut out = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let is_id = matches!(word.len(), 12 | 64) && word.chars().all(|digit| digit.is_ascii_hexdigit());
        out += if is_id { "ID" } else { &word };
        out.push(letter);
        word.clear();
    }
    out.pop();
    out
}

/// What a check showed.
pub struct Outcome {
    /// Which engine.
    pub engine: Engine,
    /// Which check.
    pub check: &'static Check,
    /// The output with the reference.
    pub reference: String,
    /// The output with the runtime under test.
    pub subject: String,
    /// How long both took together.
    pub elapsed: Duration,
}

/// What to think of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The runtime did what the reference did, and both what is expected.
    Passed,
    /// It did not.
    Failed,
    /// The machine lacks what the check needs; the output says what that is.
    Skipped,
}

impl Outcome {
    /// Judges by the two outputs.
    pub fn verdict(&self) -> Verdict {
        if self.subject == self.reference && self.check.expected.is_none_or(|text| self.subject == text) {
            if self.subject.starts_with("SKIP: ") { Verdict::Skipped } else { Verdict::Passed }
        } else {
            Verdict::Failed
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => self.subject.trim_end(),
        };
        let elapsed = self.elapsed.as_secs_f64();
        writeln!(f, "{:9} {:36} {elapsed:5.1} s  {verdict}", self.engine.to_string(), self.check.name)?;
        if self.verdict() != Verdict::Failed {
            return Ok(());
        }
        let sides = [("reference", Some(self.reference.as_str())), ("subject", Some(self.subject.as_str()))];
        for (side, text) in sides.into_iter().chain([("expected", self.check.expected)]) {
            for line in text.into_iter().flat_map(str::lines) {
                writeln!(f, "    {side:9} | {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_taken_out() {
        let text = normalise("check-subject /docker/0123456789ab: 64000000 abcdef\r\n", "check-subject");
        assert_eq!(text, "NAME /docker/ID: 64000000 abcdef\n");
    }
}
