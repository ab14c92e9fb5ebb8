//! What a lane printed, shown as it comes and kept for the end, where it can be found.

use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Write};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Doing, Result};

/// How much is told of a lane that failed without saying which test it was.
const LAST_LINES: usize = 40;
/// What a lane leaves running may hold its output open; nobody waits longer for that.
const PATIENCE: Duration = Duration::from_secs(2);

type Lines = Arc<Mutex<Vec<String>>>;

/// Runs a command whose output goes to the terminal; what it printed.
pub fn run(command: &mut Command, name: &str) -> Result<(ExitStatus, Vec<String>)> {
    let doing = || format!("start lane {name}");
    let (reader, writer) = std::io::pipe().doing(doing)?;
    command.stderr(writer.try_clone().doing(doing)?).stdout(writer);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().doing(doing)?;
    // The pipe ends when nobody else can write into it.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    let printing = thread::spawn(move || print(reader, &kept));
    let status = child.wait().doing(doing)?;
    let end = Instant::now() + PATIENCE;
    while !printing.is_finished() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((status, lines))
}

fn print(reader: PipeReader, kept: &Lines) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let _ = std::io::stdout().write_all(&line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        line.clear();
    }
}

/// The reports of the tests that failed; where there are none, the last lines.
pub fn failures(lines: &[String]) -> Vec<&str> {
    let mut reports = Vec::new();
    let mut is_report = false;
    for line in lines.iter().map(String::as_str) {
        is_report = (is_report || line == "failures:") && !line.starts_with("test result:");
        if is_report {
            reports.push(line);
        }
    }
    if reports.is_empty() {
        reports.extend(lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(String::as_str));
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn reports_are_told_and_nothing_else() {
        let text = "test a ... FAILED\n\nfailures:\n\n---- a ----\nwhy\n\nfailures:\n    a\n\ntest result: FAILED.\nmore\n";
        assert_eq!(failures(&lines(text)), lines(&text[19..text.find("test result").unwrap()]));
        assert_eq!(failures(&lines("error: x\n")), ["error: x"]);
    }

    #[test]
    fn both_streams_are_kept_and_a_daemon_is_not_waited_for() {
        let began = Instant::now();
        let script = "echo out; echo err >&2; sleep 60 & echo $!; exit 3";
        let (status, mut lines) = run(Command::new("sh").args(["-c", script]), "x").unwrap();
        let waited = began.elapsed();
        let daemon = lines.pop().unwrap();
        assert!(Command::new("kill").args(["-KILL", &daemon]).status().unwrap().success());
        assert_eq!((status.code(), lines), (Some(3), vec!["out".to_owned(), "err".to_owned()]));
        assert!(waited < Duration::from_secs(30));
    }
}
