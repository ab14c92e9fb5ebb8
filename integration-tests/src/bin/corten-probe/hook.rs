//! The probe as a hook: leaves a line about how it was called.

use crate::{facts, sys};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `hook LOG TAG [sleep SECONDS] [exit CODE] [say TEXT]`: appends what it sees to LOG, then does the rest.
pub fn run(args: &[&str]) -> io::Result<Value> {
    let [log, tag, rest @ ..] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut stdin = String::new();
    io::stdin().read_to_string(&mut stdin)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let state: Value = serde_json::from_str(&stdin).unwrap_or(Value::String(stdin));
    // Seen from the runtime's namespaces the container's root tells whether the pivot is done.
    let container_root = state["pid"]
        .as_u64()
        .and_then(|pid| std::fs::read_link(format!("/proc/{pid}/root")).ok())
        .map(|p| p.display().to_string());
    let line = json!({
        "tag": tag,
        "time_ns": now.as_nanos() as u64,
        "pid": std::process::id(),
        "state": state,
        "argv": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().map(|p| p.display().to_string()).unwrap_or_default(),
        "ns": facts::namespaces(),
        "fds": facts::fds(),
        "mountinfo": std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        "container_root": container_root,
        "process": sys::process_facts(),
    });
    append(log, &line)?;
    for pair in rest.chunks(2) {
        match pair {
            ["sleep", n] => std::thread::sleep(Duration::from_secs_f64(n.parse().unwrap_or(0.0))),
            ["say", text] => eprintln!("{text}"),
            ["exit", code] => sys::exit(code.parse().unwrap_or(1)),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    sys::exit(0)
}

fn append(log: &str, line: &Value) -> io::Result<()> {
    let mut text = line.to_string();
    text.push('\n');
    File::options().create(true).append(true).open(log)?.write_all(text.as_bytes())
}
