//! The same command lines given to the runtime and to runc: exit code, shape of the output, and effect. Each case is
//! named in a row of `docs/compatibility.md`, which is tested below to know every command and flag of runc.

use crate::bundle::Bundle;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parity::{find_runc, walk};

/// What the container's program does.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    /// Says something and exits with 3.
    Exits,
    /// Stays.
    Sleeps,
    /// Stays and writes the signals that it gets to a file.
    Logs,
}
use Program::{Exits, Logs, Sleeps};

/// A case: its name, its program, and command lines separated by `;`. `ID` is the container, `B` the bundle, `D` a
/// directory of the case, which the container has as `/out`.
type Script = (&'static str, Program, &'static str);

const SCRIPTS: &[Script] = &[
    ("run", Exits, "run -b B ID; state ID"),
    ("run-flags", Exits, "run --bundle B --no-pivot --no-new-keyring --no-subreaper --preserve-fds 0 ID"),
    ("run-keep", Exits, "run --keep -b B ID; state ID; delete ID"),
    ("run-detach", Sleeps, "run -d --pid-file D/pid -b B ID; kill ID KILL; delete ID"),
    ("run-twice", Sleeps, "run -d -b B ID; run -d -b B ID; delete --force ID"),
    ("run-no-bundle", Exits, "run -b D/none ID"),
    ("create", Sleeps, "create --bundle B --pid-file D/pid ID; state ID; start ID; start ID; delete -f ID"),
    ("create-flags", Sleeps, "create -b B --no-pivot --no-new-keyring --preserve-fds 0 ID; delete ID"),
    ("missing-fds", Sleeps, "run -b B --preserve-fds 200 ID; create -b B --preserve-fds 200 ID"),
    ("exec-bad-env", Sleeps, "run -d -b B ID; exec -e A ID /bin/probe say x; exec -e =b ID /bin/probe say x"),
    ("exec-bad-cwd", Sleeps, "run -d -b B ID; exec --cwd tmp ID /bin/probe say x"),
    ("exec-missing-fds", Sleeps, "run -d -b B ID; exec --preserve-fds 200 ID /bin/probe say x"),
    ("create-bad-fds", Sleeps, "create -b B --preserve-fds x ID"),
    ("start-unknown", Exits, "start ID"),
    ("state", Sleeps, "run -d -b B ID; state ID; state nothing"),
    ("state-arguments", Exits, "state; state a b"),
    ("delete", Sleeps, "run -d -b B ID; delete ID; delete --force ID; delete ID; delete --force ID"),
    ("kill", Logs, "run -d -b B ID; kill ID; kill ID USR1; kill ID 12; kill ID SIGHUP; kill ID NO"),
    ("kill-all", Logs, "run -d -b B ID; kill --all ID USR1; kill -a ID KILL; kill -a ID KILL; delete ID"),
    ("kill-stopped", Sleeps, "run -d -b B ID; kill ID KILL; kill ID TERM; delete ID"),
    ("list", Sleeps, "list; run -d -b B ID; list; list -q; list --quiet; delete -f ID"),
    ("list-format", Sleeps, "run -d -b B ID; list --format json; list -f table; list -f yaml; delete -f ID"),
    ("ps", Sleeps, "run -d -b B ID; ps ID; ps ID -o pid,args; delete -f ID"),
    ("ps-format", Sleeps, "run -d -b B ID; ps --format json ID; ps -f table ID; ps -f x ID; delete -f ID"),
    ("pause", Sleeps, "run -d -b B ID; pause ID; state ID; exec ID /bin/probe say x; resume ID; resume ID"),
    ("exec", Sleeps, "run -d -b B ID; exec ID /bin/probe facts; exec ID /bin/probe exit 7; exec ID /none"),
    (
        "exec-user",
        Sleeps,
        "run -d -b B ID; exec --user 12:34 ID /bin/probe facts; exec -u 5 ID /bin/probe facts",
    ),
    ("exec-bad-user", Sleeps, "run -d -b B ID; exec --user 12:x ID /bin/probe say x"),
    (
        "exec-env",
        Sleeps,
        "run -d -b B ID; exec --env A=b --env C=d=e --cwd /tmp ID /bin/probe facts; exec -e A=c ID /bin/probe facts",
    ),
    (
        "exec-gids",
        Sleeps,
        "run -d -b B ID; exec --additional-gids 7 ID /bin/probe facts; exec -g 7 -g 9 ID /bin/probe facts",
    ),
    (
        "exec-caps",
        Sleeps,
        "run -d -b B ID; exec --cap CAP_SYS_TIME ID /bin/probe facts; exec -c CAP_MKNOD ID /bin/probe facts",
    ),
    ("exec-privs", Sleeps, "run -d -b B ID; exec --no-new-privs ID /bin/probe facts"),
    (
        "exec-detach",
        Sleeps,
        "run -d -b B ID; exec --detach --pid-file D/pid ID /bin/probe sleep; delete -f ID",
    ),
    ("exec-process", Sleeps, "run -d -b B ID; exec --process D/process.json ID; exec -p D/none ID"),
    ("exec-paused", Sleeps, "run -d -b B ID; exec --ignore-paused ID /bin/probe say x; delete -f ID"),
    (
        "exec-labels",
        Sleeps,
        "run -d -b B ID; exec --apparmor x ID /bin/probe say x; exec --process-label x ID /bin/probe say x",
    ),
    ("exec-fds", Sleeps, "run -d -b B ID; exec --preserve-fds 0 ID /bin/probe say x; delete -f ID"),
    ("exec-cgroup", Sleeps, "run -d -b B ID; exec --cgroup none ID /bin/probe say x; delete -f ID"),
    ("exec-arguments", Sleeps, "run -d -b B ID; exec ID; exec; delete -f ID"),
    ("spec", Exits, "spec --bundle D; spec -b D; spec -b D/none"),
    ("spec-rootless", Exits, "spec --rootless -b D"),
    ("features", Exits, "features"),
    ("log", Exits, "--log D/log --log-format json state none; --log D/none/log list; --log-format xml list"),
    ("globals", Exits, "--debug list; --systemd-cgroup=false list; --rootless auto list; --criu x list"),
    ("bad-rootless", Exits, "--rootless maybe list"),
    ("version", Exits, "--version; -v"),
    ("unknown", Exits, "nonsense; list --nonsense; create --pid-file; restore --lsm-mount-context"),
    ("update-rt", Sleeps, "run -d -b B ID; update --cpu-rt-period 1000000 ID; update --cpu-rt-runtime x ID"),
    ("update-blkio", Sleeps, "run -d -b B ID; update --blkio-weight 500 ID; update --blkio-weight x ID"),
    ("checkpoint", Exits, "checkpoint --image-path D/i --work-path D/w ID"),
];

/// Differences that are meant: case, what the difference mentions, reason. The table in the document tells them.
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("bad-rootless", "--rootless maybe list", "a wrong value is refused also where it is of no use"),
    (
        "unknown",
        "nonsense/code: 1 | 3",
        "every failure but those of exec is 1; runc's library for flags has 3 here",
    ),
    (
        "update-rt",
        "update --cpu-rt-period 1000000 ID/code: 1 | 0",
        "version 2 has no real-time limits, and that is said (docs/adr/0017)",
    ),
    ("features", "/annotations", "runc's own version and libraries"),
];

pub fn cases() -> Vec<Case> {
    let scripts = SCRIPTS.iter().map(|&(name, program, lines)| {
        let body = move |ctx: &Ctx| compare(ctx, name, program, lines);
        Case::new(format!("compat/{name}"), &["CLI-01"], body).practice().needs(&[Need::Runc])
    });
    scripts.collect()
}

fn compare(ctx: &Ctx, name: &str, program: Program, lines: &str) -> Verdict {
    let ours = observe(ctx, &ctx.settings.runtime, program, lines)?;
    let runc = observe(ctx, &find_runc()?, program, lines)?;
    let mut found = Vec::new();
    walk("", &ours, &runc, &mut found);
    // A newer specification has more members in these documents.
    let newer = |f: &String| ["features", "spec", "spec-rootless"].contains(&name) && f.ends_with("| null");
    let meant = |f: &String| ACCEPTED.iter().any(|(case, text, _)| *case == name && f.contains(text));
    found.retain(|f| !newer(f) && !meant(f));
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} differences (ours | runc): {}", found.len(), found.join("; "))))
}

/// What each command line did, and the files that are there at the end.
fn observe(ctx: &Ctx, runtime: &Path, program: Program, lines: &str) -> Result<Value, Failure> {
    let mut b = ctx.bundle()?;
    let out = b.out();
    match program {
        Exits => b.steps(&[&["say", "hello"], &["exit", "3"]]),
        Sleeps => b.steps(&[&["sleep"]]),
        Logs => b.steps(&[&["signals", "/out/signals"]]),
    };
    b.save()?;
    let process =
        json!({"cwd": "/tmp", "args": ["/bin/probe", "facts"], "env": ["X=y"], "user": {"uid": 3, "gid": 4}});
    fs::write(out.join("process.json"), process.to_string())?;
    let session = Session { ctx, runtime: runtime.to_path_buf(), id: ctx.id(), b, out };
    let mut seen = Map::new();
    for (i, line) in lines.split("; ").enumerate() {
        seen.insert(format!("{i}: {line}"), session.observe(line, program)?);
    }
    fs::remove_file(session.out.join("process.json"))?;
    seen.insert("files".into(), session.files()?);
    Ok(Value::Object(seen))
}

struct Session<'c> {
    ctx: &'c Ctx,
    runtime: PathBuf,
    id: String,
    b: Bundle,
    out: PathBuf,
}

impl Session<'_> {
    fn observe(&self, line: &str, program: Program) -> Result<Value, Failure> {
        let out_dir = self.out.to_string_lossy();
        let words = line.split(' ').map(|word| match word {
            "ID" => self.id.clone(),
            "B" => self.b.dir.to_string_lossy().into_owned(),
            word => word.strip_prefix("D/").map_or_else(
                || if word == "D" { out_dir.to_string() } else { word.to_owned() },
                |rest| format!("{out_dir}/{rest}"),
            ),
        });
        let words: Vec<String> = words.collect();
        // As an engine does: what `delete` waits for may be a child that nobody has reaped.
        let out = match self.cmd(&words).spawn()? {
            running if words[0] == "delete" => running.finish_reaping()?,
            running => running.finish()?,
        };
        if program == Sleeps && words[0] == "run" && out.code() == 0 {
            // Until the program is there in the place of runc's own.
            std::thread::sleep(Duration::from_millis(100));
        }
        if program == Logs {
            self.wait_for_log(&words, out.code());
        }
        if words[0] == "kill" && words.last().is_some_and(|w| w == "KILL") && out.code() == 0 {
            self.ctx.wait_for(Duration::from_secs(5), || self.status() != "running");
        }
        let stdout = match words[0].as_str() {
            "--version" | "-v" => version(&out.stdout),
            // What the container says goes there, too, at any time.
            "run" if program == Logs => json!([]),
            // runc explains itself on standard output, which is for results; corten says one line on the other.
            _ if out.stdout.starts_with("Incorrect Usage") => json!([]),
            _ => self.shape(&out.stdout),
        };
        let said = out.code() == 0 || !out.stderr.trim().is_empty();
        Ok(json!({"code": out.code(), "stdout": stdout, "says why": said, "then": self.status()}))
    }

    /// Waits until the program is ready for a signal, or has noted one more.
    fn wait_for_log(&self, words: &[String], code: i32) {
        let log = || fs::read_to_string(self.out.join("signals")).unwrap_or_default();
        let count = log().lines().count();
        match words[0].as_str() {
            // The file is made a moment before the handlers are there.
            "run" => {
                self.ctx.wait_for(Duration::from_secs(5), || self.out.join("signals").exists());
                std::thread::sleep(Duration::from_millis(200));
            }
            "kill" if code == 0 => {
                self.ctx.wait_for(Duration::from_millis(300), || log().lines().count() > count);
            }
            _ => {}
        }
    }

    fn cmd(&self, words: &[String]) -> crate::process::Cmd {
        self.ctx.program(&self.runtime).arg("--root").arg(self.ctx.state_root()).args(words)
    }

    /// The container's status, or that there is none.
    fn status(&self) -> String {
        let out = self.cmd(&["state".to_owned(), self.id.clone()]).run().ok();
        let state = out.and_then(|out| serde_json::from_str::<Value>(&out.stdout).ok());
        state.and_then(|s| s["status"].as_str().map(str::to_owned)).unwrap_or_else(|| "absent".to_owned())
    }

    fn files(&self) -> Result<Value, Failure> {
        let mut files = Map::new();
        for entry in fs::read_dir(&self.out)?.flatten().filter(|e| e.path().is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, self.shape(&fs::read_to_string(entry.path())?));
        }
        Ok(Value::Object(files))
    }

    /// JSON becomes its members and their types; of what the probe says, that which an `exec` decides; of any other
    /// text, numbers and lengths of blanks do not count.
    fn shape(&self, text: &str) -> Value {
        match serde_json::from_str::<Value>(text) {
            Ok(facts) if facts["step"] == "facts" => facts_of_exec(&facts),
            Ok(value) if value.is_object() || value.is_array() => types(&value),
            _ => {
                let text = text.replace(&*self.b.dir.to_string_lossy(), "B").replace(&self.id, "ID");
                let words = |line: &str| line.split_whitespace().map(numbers).collect::<Vec<_>>().join(" ");
                json!(text.lines().map(words).collect::<Vec<_>>())
            }
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let words = ["delete".to_owned(), "--force".to_owned(), self.id.clone()];
        // The leak check has the last word.
        let _ = self.cmd(&words).spawn().and_then(|r| r.finish_reaping());
    }
}

fn facts_of_exec(facts: &Value) -> Value {
    let mut environ: Vec<String> =
        facts["environ"].as_array().into_iter().flatten().map(Value::to_string).collect();
    environ.sort();
    let mut seen = json!({"argv": facts["argv"], "cwd": facts["cwd"], "environ": environ});
    for field in ["Uid", "Gid", "Groups", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs"] {
        seen[field] = facts["status"][field].clone();
    }
    seen
}

fn types(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), types(v))).collect(),
        Value::Array(list) => json!([list.first().map(types)]),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("truth"),
        Value::Null => json!("nothing"),
    }
}

fn numbers(word: &str) -> String {
    let mut out = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if out.ends_with('N') => {}
            '0'..='9' => out.push('N'),
            c => out.push(c),
        }
    }
    out
}

/// The words that engines look for, not what follows them.
fn version(text: &str) -> Value {
    let mut lines = text.lines().take(3);
    let first = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap_or("");
    let rest = lines.map(|l| l.split(' ').next().unwrap_or(""));
    json!([first].into_iter().chain(rest).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    const DOCUMENT: &str = include_str!("../../../docs/compatibility.md");

    /// First and last cell of each row of the table.
    fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
        let rows = DOCUMENT.lines().filter(|l| l.starts_with("| ")).skip(1);
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 3, "{row}");
            (cells[0].trim_matches('`'), cells[2])
        })
    }

    #[test]
    fn every_row_has_its_cases_and_every_case_its_row() {
        let all: BTreeSet<String> = crate::cases::all().into_iter().map(|c| c.name).collect();
        let named: BTreeSet<&str> = rows().flat_map(|(_, cases)| cases.split(", ")).collect();
        for case in &named {
            assert!(all.contains(*case), "the document names {case}, which is no case");
        }
        for case in all.iter().filter(|c| c.starts_with("compat/")) {
            assert!(named.contains(case.as_str()), "{case} is in no row");
        }
        for (_, text, reason) in ACCEPTED {
            assert!(!reason.is_empty(), "{text}");
        }
    }

    #[test]
    fn every_command_and_flag_of_runc_has_a_row() {
        let rows: BTreeSet<&str> = rows().map(|(what, _)| what).collect();
        let Ok(runc) = find_runc() else {
            println!("runc is not on PATH: what it has was not compared");
            return;
        };
        let help = |words: &[&str]| {
            let out = Command::new(&runc).args(words).output().expect("runc can be executed");
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let overview = help(&["--help"]);
        for flag in flags(&overview) {
            assert!(rows.contains(flag.as_str()), "runc {flag}");
        }
        let commands =
            overview.lines().skip_while(|l| *l != "COMMANDS:").skip(1).take_while(|l| !l.is_empty());
        for command in commands.filter_map(|l| l.split([' ', ',']).find(|w| !w.is_empty())) {
            assert!(rows.contains(command), "runc {command}");
            for flag in flags(&help(&[command, "--help"])) {
                assert!(rows.contains(format!("{command} {flag}").as_str()), "runc {command} {flag}");
            }
        }
    }

    /// `--bundle, -b`, without the word for the value.
    fn flags(help: &str) -> Vec<String> {
        let lines = help.lines().filter_map(|l| l.strip_prefix("   --"));
        let names = lines.map(|l| l.split("  ").next().unwrap_or(l).replace(" value", ""));
        names.map(|n| format!("--{n}")).collect()
    }
}
