//! Annotations `org.systemd.property.NAME`, by which engines set properties of the unit that no member of the
//! configuration stands for, such as `TimeoutStopUSec`.

use std::collections::BTreeMap;

use super::Property;
use super::dbus::Value;
use super::gvariant;
use crate::error::{ConfigError, FieldPath, Problem};

const PREFIX: &str = "org.systemd.property.";
const MICROSECONDS: u64 = 1_000_000;

/// The properties that the annotations ask for.
///
/// # Errors
/// A name that no property has; a value that is not in the text format of GVariant; a time that is none.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, ConfigError> {
    let ours = annotations.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    ours.map(|(key, name, text)| property(key, name, text)).collect()
}

fn property(key: &str, name: &str, text: &str) -> Result<Property, ConfigError> {
    let wrong = |value: &str, expected| {
        let problem = Problem::Malformed { value: value.to_owned(), expected };
        ConfigError::new(FieldPath::new(format!("annotations[{key:?}]")), problem)
    };
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(wrong(name, "the name of a property, of three letters or more"));
    }
    let value = gvariant::parse(text).map_err(|expected| wrong(text, expected))?;
    match seconds(name) {
        None => Ok(Property { name: name.to_owned(), value }),
        Some(stem) => {
            let value = microseconds(&value).ok_or_else(|| wrong(text, "a number of seconds"))?;
            Ok(Property { name: format!("{stem}USec"), value: Value::Uint64(value) })
        }
    }
}

/// In unit files times are `…Sec`, over the bus `…USec` in microseconds. What is before `Sec`, if that is a word's end.
fn seconds(name: &str) -> Option<&str> {
    name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Byte(n) => u64::from(*n),
        Value::Int16(n) => u64::try_from(*n).ok()?,
        Value::Uint16(n) => u64::from(*n),
        Value::Int32(n) => u64::try_from(*n).ok()?,
        Value::Uint32(n) => u64::from(*n),
        Value::Int64(n) => u64::try_from(*n).ok()?,
        Value::Uint64(n) => *n,
        // The cast saturates: an infinite time is systemd's infinity.
        Value::Double(n) if *n >= 0.0 => return Some((n * MICROSECONDS as f64) as u64),
        _ => return None,
    };
    seconds.checked_mul(MICROSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<(String, Value), String> {
        let key = format!("{PREFIX}{name}");
        let annotations = BTreeMap::from([(key, text.to_owned()), ("org.other".into(), "x".into())]);
        let mut found = properties(&annotations).map_err(|e| e.to_string())?;
        let property = found.pop().unwrap();
        assert!(found.is_empty());
        Ok((property.name, property.value))
    }

    #[test]
    fn values_and_times() {
        for (name, text, set, value) in [
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::Uint64(123_456_789)),
            ("CollectMode", "'inactive-or-failed'", "CollectMode", Value::string("inactive-or-failed")),
            ("TimeoutStopSec", "5", "TimeoutStopUSec", Value::Uint64(5_000_000)),
            ("TimeoutStopSec", "double 0.5", "TimeoutStopUSec", Value::Uint64(500_000)),
            ("TimeoutStopSec", "double inf", "TimeoutStopUSec", Value::Uint64(u64::MAX)),
            ("FooSec", "byte 1", "FooUSec", Value::Uint64(1_000_000)),
            ("Sec", "1", "Sec", Value::Int32(1)),
            ("XSec", "1", "XSec", Value::Int32(1)),
        ] {
            assert_eq!(of(name, text), Ok((set.to_owned(), value)), "{name}={text}");
        }
    }

    #[test]
    fn what_is_refused_names_the_annotation() {
        for (name, text) in [
            ("ab", "1"),
            ("A_B", "1"),
            ("Aé", "1"),
            ("Foo", "bar"),
            ("TimeoutStopSec", "'5'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
        ] {
            let error = of(name, text).unwrap_err();
            let expected = format!("config.json: annotations[\"{PREFIX}{name}\"]: ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
