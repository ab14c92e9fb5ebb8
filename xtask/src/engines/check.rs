//! One check: a shell script whose output under one runtime has to equal its output under the other.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::daemon::Daemon;
use crate::error::{Doing, Result};

/// The image that every check uses.
pub const IMAGE: &str = "docker.io/library/corten-busybox:latest";

const TIMEOUT_SECONDS: &str = "60";

/// Who drives the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// dockerd, by way of its client.
    Docker,
    /// containerd, by way of ctr.
    Containerd,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Containerd => "ctr",
        })
    }
}

/// What the scripts may use: `$RT` the runtime (a name for docker, a path for ctr), `$I` the image, `$N` a name for the
/// container, `$T` an empty directory; `run` for a container in the foreground, `start` for one that stays, `until_ok`
/// to wait for a command to succeed. A script that prints `SKIP: reason` is not judged.
const COMMON_PRELUDE: &str = r#"
until_ok() { i=0; while [ $i -lt 100 ] && ! "$@" >/dev/null 2>&1; do i=$((i + 1)); sleep 0.1; done; }
all_capabilities() {
    all=$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))
    grep -q "CapBnd:.$all" /proc/self/status || { echo "SKIP: this machine withholds capabilities"; exit 0; }
}
"#;

const DOCKER_PRELUDE: &str = r#"
run() { docker run --rm --runtime "$RT" "$@"; }
start() { docker run -d --runtime "$RT" --name "$N" "$@" >/dev/null || echo "start: $?"; }
state() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N"; }
"#;

const CONTAINERD_PRELUDE: &str = r#"
ctr() { command ctr --address "$ADDRESS" --namespace "$NAMESPACE" "$@"; }
run() { o="$1"; shift; ctr run --rm --runc-binary "$RT" $o "$I" "$N" "$@"; }
start() { o="$1"; shift; ctr run -d --runc-binary "$RT" $o "$I" "$N" "$@" || echo "start: $?"; }
state() { ctr task ls | awk -v name="$N" '$1 == name { print $3 }'; }
is() { [ "$(state)" = "$1" ]; }
"#;

const DOCKER_EPILOGUE: &str = "\ndocker rm -f \"$N\" >/dev/null 2>&1\n:\n";
const CONTAINERD_EPILOGUE: &str = "
ctr task kill -s KILL \"$N\" >/dev/null 2>&1
ctr task rm -f \"$N\" >/dev/null 2>&1
ctr container rm \"$N\" >/dev/null 2>&1
:\n";

/// A script, and what it has to print where that is the same on every machine.
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// The shell's input.
    pub script: &'static str,
    /// The output, or `None` where only the two runtimes have to agree.
    pub expected: Option<&'static str>,
}

impl Check {
    /// Runs the script under one runtime; the answer is its output, without what differs between any two containers.
    pub fn run(&self, engine: Engine, daemon: &Daemon, (name, path): (&str, &str)) -> Result<String> {
        let scratch = daemon.scratch();
        fs::create_dir_all(&scratch).doing(|| format!("create {}", scratch.display()))?;
        let (prelude, epilogue, runtime) = match engine {
            Engine::Docker => (DOCKER_PRELUDE, DOCKER_EPILOGUE, name),
            Engine::Containerd => (CONTAINERD_PRELUDE, CONTAINERD_EPILOGUE, path),
        };
        let script = format!("exec 2>&1\n{COMMON_PRELUDE}{prelude}\n{}\n{epilogue}", self.script);
        let container = format!("check-{name}");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", TIMEOUT_SECONDS, "sh", "-c", &script]).stdin(Stdio::null());
        command.env("DOCKER_HOST", daemon.docker_host()).env_remove("DOCKER_CONTEXT");
        command.env("ADDRESS", daemon.containerd_address()).env("NAMESPACE", daemon.namespace());
        command.env("RT", runtime).env("I", IMAGE).env("N", &container).env("T", &scratch);
        let output = command.output().doing(|| "start the shell".to_owned())?;
        fs::remove_dir_all(&scratch).doing(|| format!("remove {}", scratch.display()))?;
        let mut text = normalise(&String::from_utf8_lossy(&output.stdout), &container);
        if !output.status.success() {
            text += &format!("(the check itself ended with {})\n", output.status);
        }
        Ok(text)
    }
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
        writeln!(f, "{:7} {:34} {elapsed:5.1} s  {verdict}", self.engine.to_string(), self.check.name)?;
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
