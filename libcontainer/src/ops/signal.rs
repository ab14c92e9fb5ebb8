//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

/// A signal number, from 0 (which only asks whether the process is there) to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

/// The kernel knows the signals 1 to 64.
const HIGHEST: i32 = 64;

/// Names without `SIG`. Of two names with one number, the first is the one that is shown.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("IOT", libc::SIGIOT),
    ("CLD", libc::SIGCHLD),
    ("POLL", libc::SIGPOLL),
];

/// The real-time signals that programs may use, as signal(7) counts them.
const RT: std::ops::RangeInclusive<i32> = 34..=64;

/// A text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?} (expected a name such as TERM or SIGKILL, or a number from 0 to 64)")]
pub struct UnknownSignal(pub String);

impl Signal {
    /// SIGTERM, what `kill` sends when nothing is said.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// SIGKILL.
    pub const KILL: Signal = Signal(libc::SIGKILL);

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    /// `9`, `KILL`, `SIGKILL`, `kill`, `34`, `RTMIN+1`, `SIGRTMAX-2`.
    fn from_str(text: &str) -> Result<Signal, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().filter(|n| *n <= HIGHEST).map(Signal).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().find(|(n, _)| *n == name).map(|(_, number)| *number);
        named.or_else(|| real_time(name)).map(Signal).ok_or_else(unknown)
    }
}

/// `RTMIN`, `RTMIN+N`, `RTMAX`, `RTMAX-N`.
fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign| match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<i32>().ok(),
        Some(_) => None,
        None if rest.is_empty() => Some(0),
        None => None,
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RT.start().checked_add(offset(rest, '+')?)?
    } else {
        RT.end().checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    RT.contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("sigkill", 9),
            ("Term", 15),
            ("0", 0),
            ("34", 34),
            ("64", 64),
            ("037", 37),
            ("SIGWINCH", 28),
            ("IOT", 6),
            ("cld", 17),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("RTMAX", 64),
        ] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for text in [
            "",
            "65",
            "-1",
            "+9",
            "9 ",
            "XYZ",
            "SIG",
            "SIGSIGKILL",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN+x",
            "99999999999999999999",
            "RTMIN+99999999999",
            "KILL\0",
        ] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal(text.into())), "{text:?}");
        }
        assert!(UnknownSignal("XYZ".into()).to_string().starts_with(r#"unknown signal "XYZ""#));
    }

    #[test]
    fn names_are_shown() {
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        assert_eq!("6".parse::<Signal>().unwrap().to_string(), "SIGABRT");
        assert_eq!("40".parse::<Signal>().unwrap().to_string(), "signal 40");
    }
}
