//! The program that runs inside the containers of the conformance cases: static, needs no other file, and
//! prints one JSON line for every step it is told to do.
//!
//! `corten-probe STEP [ARGUMENT…] [+ STEP [ARGUMENT…]]…`
//!
//! It has no Rust runtime around `main`: that would ignore SIGPIPE and open missing standard descriptors,
//! and so hide what the OCI runtime left behind.

#![no_main]
#![deny(unsafe_code)]

mod facts;
mod hook;
mod spy;
mod steps;
mod sys;

use serde_json::{Value, json};
use std::io::Write;

/// Executes the steps; the exit code is 0 unless a step says otherwise.
fn run(args: &[String]) -> i32 {
    // Everything after it is the command line of another program.
    let is_wrapper = args.get(1).is_some_and(|name| name == "without");
    for step in args.get(1..).unwrap_or_default().split(|a| a == "+" && !is_wrapper) {
        let Some((name, rest)) = step.split_first() else { continue };
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let answer = steps::run(name, &rest);
        let mut line = match answer {
            Ok(value) => value,
            Err(error) => json!({"result": sys::error_name(&error)}),
        };
        if let Value::Object(map) = &mut line {
            map.entry("result").or_insert_with(|| "ok".into());
            map.insert("step".into(), name.as_str().into());
        }
        emit(&line);
    }
    0
}

/// Prints one line. A closed standard output is no reason to stop.
fn emit(line: &Value) {
    let mut text = line.to_string();
    text.push('\n');
    let _ = std::io::stdout().write_all(text.as_bytes());
}
