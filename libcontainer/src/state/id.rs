//! Names of containers.

use std::fmt;

use super::StateError;

/// An id that is safe as the name of a directory: `[A-Za-z0-9_+.-]`, not beginning with a dot, at most 255 bytes.
///
/// runc and crun allow the same characters. A leading dot is refused because no engine uses one, and because it makes
/// `.` and `..` impossible by construction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// NAME_MAX of Linux filesystems: the id is a file name.
    pub(crate) const MAX_LENGTH: usize = 255;

    /// Checks an id.
    ///
    /// # Errors
    ///
    /// [`StateError::BadId`], which says what is wrong.
    pub fn new(id: &str) -> Result<ContainerId, StateError> {
        let bad = |why| Err(StateError::BadId { id: shorten(id), why });
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
        if id.is_empty() {
            bad("it is empty")
        } else if id.len() > Self::MAX_LENGTH {
            bad("it is longer than 255 bytes")
        } else if !id.bytes().all(legal) {
            bad("only letters, digits and _ + . - are allowed")
        } else if id.starts_with('.') {
            bad("it must not begin with a dot")
        } else {
            Ok(ContainerId(id.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error line should not repeat a megabyte.
fn shorten(id: &str) -> String {
    let mut short: String = id.chars().take(64).collect();
    if short.len() < id.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_engines_use() {
        let longest = "x".repeat(255);
        for id in ["a", "A9", "0f3c", "foo_bar", "foo+bar-1.2", "_x", "-x", "+", "a..b", &longest] {
            assert_eq!(ContainerId::new(id).map(|i| i.as_str().to_owned()).ok().as_deref(), Some(id));
        }
    }

    #[test]
    fn refuses_what_could_leave_the_root() {
        let too_long = "x".repeat(256);
        for id in
            ["", ".", "..", "../x", "a/b", "/", "a b", "a\n", "a\0", "ä", ".hidden", "a:b", "a%b", &too_long]
        {
            assert!(ContainerId::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let text = ContainerId::new("../x").map_err(|e| e.to_string()).unwrap_err();
        assert_eq!(text, r#"invalid container ID "../x": only letters, digits and _ + . - are allowed"#);
        let text = ContainerId::new(&"é".repeat(2000)).map_err(|e| e.to_string()).unwrap_err();
        assert!(text.len() < 300, "{text}");
    }
}
