//! Data-driven: a configuration that is right, one change, and what is said about it.

mod derived;
mod fields;
mod linux;
mod members;
mod resources;
mod tolerance;

use serde_json::{Value, json};

use super::validate;
use crate::config::Config;
use crate::error::ConfigError;

/// A configuration with the usual namespaces and nothing that could be wrong.
fn sound() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [
            { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" }
        ] }
    })
}

/// `base` with one member set, by JSON pointer; objects and arrays on the way are made, `-` appends.
fn with(mut base: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut base;
    for step in pointer.split('/').skip(1) {
        let index = step.parse::<usize>().ok().or((step == "-").then_some(usize::MAX));
        if let Some(index) = index {
            if !place.is_array() {
                *place = json!([]);
            }
            let Value::Array(array) = place else { unreachable!() };
            let index = index.min(array.len());
            if index == array.len() {
                array.push(Value::Null);
            }
            place = &mut array[index];
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            let Value::Object(object) = place else { unreachable!() };
            place = object.entry(step.replace("~1", "/")).or_insert(Value::Null);
        }
    }
    *place = value;
    base
}

/// `base` without one member.
fn without(mut base: Value, pointer: &str) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    base.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|object| object.remove(member)).unwrap();
    base
}

/// Parses and validates, and keeps the error.
fn outcome(document: &Value) -> Result<(), ConfigError> {
    let config = Config::from_slice(&serde_json::to_vec(document).unwrap())?;
    validate(&config).map(drop)
}

/// The document is refused, for this member and with these words.
#[track_caller]
fn refused(document: &Value, path: &str, words: &str) {
    let error = outcome(document).expect_err(&format!("{path} should be refused with {words:?}"));
    assert_eq!((error.path.as_str(), error.problem.to_string().as_str()), (path, words));
}

const NUL: &str = "must not contain a NUL byte";
const EMPTY: &str = "must not be empty";

/// JSON pointer, value put there, member that is reported, what is said about it.
type Case = (&'static str, Value, &'static str, &'static str);

#[track_caller]
fn each(cases: Vec<Case>) {
    for (pointer, value, path, words) in cases {
        refused(&with(sound(), pointer, value), path, words);
    }
}

fn relative(value: &str) -> String {
    format!("must be an absolute path, not {value:?}")
}
