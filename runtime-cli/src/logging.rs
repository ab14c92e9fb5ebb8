//! Where messages go.
//!
//! The message of a failure always goes to standard error, where Docker and CRI-O look, and, with `--log`, also to the
//! log, where containerd and Podman look. Podman reads its log as *one* JSON document, so nothing below level error
//! goes there unless it is asked for.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::OnceLock;

use libcontainer::state::time;
use log::{Level, LevelFilter};

use crate::Failure;
use crate::args::{Given, UsageError};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Where the log is.
#[derive(Debug)]
enum Sink {
    /// Lines are appended to a file, each with one write(2).
    File(File),
    /// Each message is a datagram for systemd's journal, under this identifier.
    Journal(String),
    /// Each message is a datagram for syslog(3), under this identifier.
    Syslog(String),
}

#[derive(Debug)]
struct Logger {
    sink: Option<Sink>,
    format: Format,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
const SYSLOG_SOCKET: &str = "/dev/log";

/// Does what `--log`, `--log-format`, `--log-level` and `--debug` say.
///
/// As much of it as makes sense is in force even if this fails, so that the failure itself is reported there.
pub fn init(globals: &Given) -> Result<(), Failure> {
    let format = format(globals);
    let sink = globals.last("log").map(Sink::open).transpose();
    let level = level(globals);
    let (sink, opened) = match sink {
        Ok(sink) => (sink, Ok(())),
        Err(e) => (None, Err(e)),
    };
    let logger = Logger { sink, format: *format.as_ref().unwrap_or(&Format::Text) };
    let logger = LOGGER.get_or_init(|| logger);
    // Fails only if there is a logger already, and this is called once.
    let _ = log::set_logger(logger);
    log::set_max_level(*level.as_ref().unwrap_or(&LevelFilter::Error));
    format?;
    level?;
    opened
}

fn format(globals: &Given) -> Result<Format, UsageError> {
    match globals.text("log-format")? {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(UsageError::InvalidValue {
            flag: "log-format",
            value: other.to_owned(),
            expected: "text or json",
        }),
    }
}

fn level(globals: &Given) -> Result<LevelFilter, UsageError> {
    let level = match globals.text("log-level")? {
        None | Some("error") => LevelFilter::Error,
        Some("warning" | "warn") => LevelFilter::Warn,
        Some("info") => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some(other) => {
            let (value, expected) = (other.to_owned(), "error, warning, info or debug");
            return Err(UsageError::InvalidValue { flag: "log-level", value, expected });
        }
    };
    Ok(if globals.is_on("debug") { LevelFilter::Debug } else { level })
}

/// Reports the failure that ends this run: on standard error, and in the log.
pub fn report(message: &str) {
    let logger = LOGGER.get();
    if let Some(sink) = logger.and_then(|l| l.sink.as_ref()) {
        sink.write(Level::Error, message, logger.map_or(Format::Text, |l| l.format));
    }
    // Without a log, the format is that of standard error, as in runc.
    let line = match logger {
        Some(Logger { sink: None, format: Format::Json }) => json_line(Level::Error, message),
        _ => format!("corten: {}\n", one_line(message)),
    };
    // There is nobody left to tell if this fails.
    let _ = io::stderr().write_all(line.as_bytes());
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        match (&self.sink, self.format) {
            (Some(sink), format) => sink.write(record.level(), &message, format),
            (None, Format::Json) => {
                let _ = io::stderr().write_all(json_line(record.level(), &message).as_bytes());
            }
            (None, Format::Text) => {
                let line = format!("corten: {}: {}\n", level_name(record.level()), one_line(&message));
                let _ = io::stderr().write_all(line.as_bytes());
            }
        }
    }

    fn flush(&self) {}
}

impl Sink {
    /// `PATH`, `file:PATH`, `journald:IDENTIFIER`, `syslog:IDENTIFIER`.
    fn open(target: &OsStr) -> Result<Sink, Failure> {
        let bytes = target.as_bytes();
        let identifier = |prefix: &[u8]| {
            let rest = bytes.strip_prefix(prefix)?;
            Some(String::from_utf8_lossy(rest).into_owned())
        };
        if let Some(identifier) = identifier(b"journald:") {
            return Ok(Sink::Journal(identifier));
        }
        if let Some(identifier) = identifier(b"syslog:") {
            return Ok(Sink::Syslog(identifier));
        }
        let path = PathBuf::from(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map(Sink::File).map_err(|source| Failure::Log { path, source })
    }

    /// A log that cannot be written must not make an operation fail; standard error still has the message.
    fn write(&self, level: Level, message: &str, format: Format) {
        let _ = match self {
            Sink::File(file) => {
                let line = match format {
                    Format::Json => json_line(level, message),
                    Format::Text => text_line(level, message),
                };
                let mut file = file;
                file.write_all(line.as_bytes())
            }
            Sink::Journal(identifier) => send(JOURNAL_SOCKET, &journal_datagram(level, identifier, message)),
            Sink::Syslog(identifier) => send(SYSLOG_SOCKET, &syslog_datagram(level, identifier, message)),
        };
    }
}

fn send(socket: &str, datagram: &[u8]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(datagram, socket).map(drop)
}

/// Names of levels as logrus writes them.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Severity as in syslog(3).
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// A JSON string is also a quoted string of logrus.
fn quoted(message: &str) -> String {
    serde_json::Value::from(message).to_string()
}

fn json_line(level: Level, message: &str) -> String {
    let (level, message, time) = (level_name(level), quoted(message), time::now_seconds());
    format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
}

fn text_line(level: Level, message: &str) -> String {
    let (level, message, time) = (level_name(level), quoted(message), time::now_seconds());
    format!("time=\"{time}\" level={level} msg={message}\n")
}

/// Names in a configuration may hold control characters, which are not for a terminal.
fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// systemd's native protocol; a line break inside the message would begin another field.
fn journal_datagram(level: Level, identifier: &str, message: &str) -> Vec<u8> {
    let (identifier, message) = (one_line(identifier), one_line(message));
    let severity = severity(level);
    format!("MESSAGE={message}\nPRIORITY={severity}\nSYSLOG_IDENTIFIER={identifier}\n").into_bytes()
}

/// Facility `user` (1) and the severity, as RFC 3164 and glibc have them.
fn syslog_datagram(level: Level, identifier: &str, message: &str) -> Vec<u8> {
    let (identifier, message) = (one_line(identifier), one_line(message));
    let priority = (1 << 3) | severity(level);
    format!("<{priority}>{identifier}[{}]: {message}", std::process::id()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_are_what_containerd_reads() {
        let line = json_line(Level::Error, "a \"b\"\nc\u{1}");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"b\"\nc\u{1}");
        let time = value["time"].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        assert_eq!(value.as_object().unwrap().len(), 3);
    }

    #[test]
    fn text_lines_are_what_logrus_writes() {
        let line = text_line(Level::Warn, "x \"y\"");
        assert!(
            line.starts_with("time=\"2") && line.ends_with("level=warning msg=\"x \\\"y\\\"\"\n"),
            "{line}"
        );
    }

    #[test]
    fn datagrams_cannot_be_split_by_their_message() {
        let journal = String::from_utf8(journal_datagram(Level::Error, "c\n1", "a\nPRIORITY=0")).unwrap();
        assert_eq!(journal, "MESSAGE=a PRIORITY=0\nPRIORITY=3\nSYSLOG_IDENTIFIER=c 1\n");
        let syslog = String::from_utf8(syslog_datagram(Level::Debug, "c1", "m")).unwrap();
        assert!(syslog.starts_with("<15>c1[") && syslog.ends_with("]: m"), "{syslog}");
    }
}
