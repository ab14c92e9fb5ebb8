use std::fs;
use std::io::Read;
use std::path::Path;

use libcontainer::config::{BlockIo, Cpu, Memory, Pids, Resources};
use libcontainer::ops::{self, UpdateOptions};

use super::store;
use crate::Failure;
use crate::args::{Command, Flag, Given, Invocation, UsageError};

pub const COMMAND: Command = Command {
    name: "update",
    summary: "change the limits of a container",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag::value(
            "resources",
            "file",
            "take the limits from this JSON file, or from standard input if it is -",
        )
        .short(b'r'),
        Flag::value("memory", "size", "memory, such as 512m; -1 is unlimited"),
        Flag::value("memory-reservation", "size", "memory that is not reclaimed if others have more"),
        Flag::value("memory-swap", "size", "memory and swap together; -1 is unlimited"),
        Flag::value("cpu-quota", "us", "CPU time per period in microseconds; -1 is unlimited"),
        Flag::value("cpu-period", "us", "length of a period in microseconds"),
        Flag::value("cpu-burst", "us", "unused CPU time that may be spent above the quota"),
        Flag::value("cpu-share", "weight", "CPU time relative to others, from 2 to 262144"),
        Flag::value("cpu-idle", "0|1", "1 runs it only when nothing else wants the CPU"),
        Flag::value("cpu-rt-period", "us", "period of real-time tasks in microseconds (cgroup v1)"),
        Flag::value("cpu-rt-runtime", "us", "CPU time of real-time tasks per period (cgroup v1)"),
        Flag::value("cpuset-cpus", "list", "CPUs it may run on, such as 0-2,7"),
        Flag::value("cpuset-mems", "list", "memory nodes it may use, such as 0,1"),
        Flag::value("pids-limit", "n", "number of processes and threads; -1 is unlimited"),
        Flag::value("blkio-weight", "weight", "block I/O relative to others, from 10 to 1000"),
        Flag::value("kernel-memory", "size", "kernel memory; ignored, as kernels do"),
        Flag::value("kernel-memory-tcp", "size", "TCP buffers (cgroup v1 of old kernels)"),
        Flag::value("l3-cache-schema", "schema", "share of the cache (Intel RDT), such as L3:0=f;1=f"),
        Flag::value("mem-bw-schema", "schema", "share of memory bandwidth (Intel RDT), such as MB:0=20"),
    ],
    details: "Changes limits of a container that was created, runs or is paused. What is not mentioned stays as it is. \
              Either all changes are made or, if one is refused, none. The JSON file holds an object like \
              linux.resources of config.json; flags win over it, and its device rules are left alone. Sizes are bytes \
              or have a suffix: k, m, g, t (powers of 1024).",
    examples: &[
        "corten update --memory 512m --pids-limit 200 c1",
        "corten update --cpu-quota 50000 --cpu-period 100000 c1",
        r#"echo '{"memory": {"limit": 536870912}}' | corten update --resources - c1"#,
    ],
    see_also: &["events", "state"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let given = &invocation.flags;
    let flags = limits(given)?;
    let store = store(invocation)?;
    let document = given.last("resources").map(|file| document(Path::new(file))).transpose()?;
    let schema = |flag| given.text(flag).map(|schema| schema.map(str::to_owned));
    let options = UpdateOptions {
        id: invocation.id()?.to_owned(),
        document,
        flags,
        l3_cache_schema: schema("l3-cache-schema")?,
        mem_bw_schema: schema("mem-bw-schema")?,
    };
    ops::update(&store, &options)?;
    Ok(0)
}

/// The bytes of `--resources`.
fn document(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    read.map_err(|source| Failure::Resources { path: file.to_owned(), source })
}

/// The limits that single flags say.
fn limits(given: &Given) -> Result<Resources, UsageError> {
    const TIME: &str = "a number of microseconds";
    let text = |flag| given.text(flag).map(|value| value.map(str::to_owned));
    let memory = Memory {
        limit: size(given, "memory")?,
        reservation: size(given, "memory-reservation")?,
        swap: size(given, "memory-swap")?,
        kernel: size(given, "kernel-memory")?,
        kernel_tcp: size(given, "kernel-memory-tcp")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: given.parsed("cpu-share", "a weight from 2 to 262144")?,
        quota: given.parsed("cpu-quota", "a number of microseconds, or -1 for unlimited")?,
        burst: given.parsed("cpu-burst", TIME)?,
        period: given.parsed("cpu-period", TIME)?,
        realtime_runtime: given.parsed("cpu-rt-runtime", TIME)?,
        realtime_period: given.parsed("cpu-rt-period", TIME)?,
        cpus: text("cpuset-cpus")?,
        mems: text("cpuset-mems")?,
        idle: given.parsed("cpu-idle", "0 or 1")?,
    };
    let pids = Pids { limit: given.parsed("pids-limit", "a number, or -1 for unlimited")? };
    let weight = given.parsed("blkio-weight", "a weight from 10 to 1000")?;
    let block_io = BlockIo { weight, ..BlockIo::default() };
    Ok(Resources {
        memory: Some(memory),
        cpu: Some(cpu),
        pids: Some(pids),
        block_io: Some(block_io),
        ..Resources::default()
    })
}

fn size(given: &Given, flag: &'static str) -> Result<Option<i64>, UsageError> {
    let Some(value) = given.text(flag)? else { return Ok(None) };
    let expected = "a size such as 1048576, 512m or 1.5GiB, or -1 for unlimited";
    let wrong = || UsageError::InvalidValue { flag, value: value.to_owned(), expected };
    bytes(value).map(Some).ok_or_else(wrong)
}

/// A size as runc takes it: a number, perhaps with a fraction, and one of `k`, `m`, `g`, `t`, `p`, each perhaps
/// followed by `b` or `ib`, in either case and perhaps after a blank. All are powers of 1024.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let unit = unit.to_ascii_lowercase();
    let mut letters = unit.chars();
    let power = match (letters.next(), letters.as_str()) {
        (None | Some('b'), "") => 0,
        (Some(letter), "" | "b" | "ib") => 10 * ("kmgtp".find(letter)? + 1),
        _ => return None,
    };
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << power);
    }
    let exact = number.parse::<f64>().ok()? * (1_u64 << power) as f64;
    // The first number that is too large has an exact counterpart, the last one that is not has none.
    (exact < 2_f64.powi(63)).then_some(exact as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc 1.1.5 makes of the same texts (`units.RAMInBytes`).
    #[test]
    fn sizes_as_runc_takes_them() {
        let table = [
            ("0", 0),
            ("-1", -1),
            ("123", 123),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32 kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("1.5m", 3 << 19),
            (".5g", 1 << 29),
            ("2 T", 2 << 40),
            ("3pib", 3 << 50),
            ("9223372036854775807", i64::MAX),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        let wrong = [
            "",
            "m",
            "-2",
            "1x",
            "1kib2",
            "1ibk",
            "1bb",
            "1 2m",
            "1.2.3",
            "9223372036854775808",
            "8192p",
            "1e3x",
            "inf",
            "１",
        ];
        for text in wrong {
            assert_eq!(bytes(text), None, "{text:?}");
        }
    }
}
