//! How a case ends when it does not pass.

use std::fmt;
use std::panic::Location;

/// What a case returns: nothing to say, or why it stopped.
pub type Verdict = Result<(), Failure>;

/// Why a case stopped early.
#[derive(Debug)]
pub struct Failure {
    /// `true` if the case cannot be judged here, `false` if the runtime failed it.
    pub skipped: bool,
    /// What was expected and what was seen, in one paragraph.
    pub message: String,
    /// The line of the case that gave up.
    pub at: &'static Location<'static>,
}

impl Failure {
    /// A failure of the runtime under test.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Failure { skipped: false, message: message.into(), at: Location::caller() }
    }

    /// A case that cannot be judged on this machine, found out half-way.
    #[track_caller]
    pub fn skip(reason: impl Into<String>) -> Self {
        Failure { skipped: true, message: reason.into(), at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skipped {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{} [{}:{}]", self.message, self.at.file(), self.at.line())
        }
    }
}

impl From<std::io::Error> for Failure {
    #[track_caller]
    fn from(error: std::io::Error) -> Self {
        Failure::new(format!("i/o: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    #[track_caller]
    fn from(error: serde_json::Error) -> Self {
        Failure::new(format!("json: {error}"))
    }
}

/// Stops the case with a failure unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $($arg:tt)+) => {
        let holds: bool = $cond;
        if !holds {
            return Err($crate::failure::Failure::new(format!($($arg)+)));
        }
    };
}

/// Stops the case with a failure unless the value seen equals the value wanted.
#[macro_export]
macro_rules! ensure_eq {
    ($got:expr, $want:expr, $($what:tt)+) => {
        match (&$got, &$want) {
            (got, want) => {
                if *got != *want {
                    return Err($crate::failure::Failure::new(format!(
                        "{}: got {:?}, want {:?}", format!($($what)+), got, want
                    )));
                }
            }
        }
    };
}
