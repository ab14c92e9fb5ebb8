//! What the probe reports from inside a container.

use crate::failure::Failure;
use crate::mountinfo::{self, Mount};
use serde_json::Value;

/// One JSON line that the probe printed.
#[derive(Clone, Debug)]
pub struct Facts(
    /// The line.
    pub Value,
);

impl Facts {
    /// Parses everything the probe printed, one value per step.
    ///
    /// # Errors
    /// If a line is not JSON.
    pub fn lines(stdout: &str) -> Result<Vec<Facts>, Failure> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .map(Facts)
                .map_err(|e| Failure::new(format!("the probe printed no JSON ({e}): {line}")))
        };
        stdout.lines().filter(|l| !l.is_empty()).map(parse).collect()
    }

    /// The value at a JSON pointer, or null.
    pub fn get(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The string at a JSON pointer, or "".
    pub fn str(&self, pointer: &str) -> &str {
        self.get(pointer).as_str().unwrap_or("")
    }

    /// A line of `/proc/self/status`, trimmed.
    pub fn status(&self, field: &str) -> &str {
        self.0["status"][field].as_str().unwrap_or("")
    }

    /// The mounts of the container.
    pub fn mounts(&self) -> Vec<Mount> {
        mountinfo::parse(self.str("/mountinfo"))
    }

    /// The mount at a path.
    ///
    /// # Errors
    /// If nothing is mounted there.
    pub fn mount(&self, target: &str) -> Result<Mount, Failure> {
        let mounts = self.mounts();
        mountinfo::at(&mounts, target).cloned().ok_or_else(|| {
            Failure::new(format!("nothing is mounted at {target}: {}", self.str("/mountinfo")))
        })
    }

    /// The link of a namespace, e.g. `pid:[4026531836]`.
    pub fn ns(&self, kind: &str) -> &str {
        self.0["ns"][kind].as_str().unwrap_or("")
    }

    /// The outcome of a step: "ok", or the name of the error (`EROFS`).
    pub fn result(&self) -> &str {
        self.str("/result")
    }
}
