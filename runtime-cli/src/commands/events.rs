use std::time::Duration;

use libcontainer::ops;

use super::store;
use crate::args::{Command, Flag, Given, Invocation, UsageError};
use crate::{Failure, output};

pub const COMMAND: Command = Command {
    name: "events",
    summary: "print what a container uses, and when it runs out of memory",
    arguments: "<container-id>",
    count: 1..=1,
    verbatim_after: None,
    flags: &[
        Flag::value("interval", "duration", "time between two statistics, such as 500ms or 1m30s")
            .default("5s"),
        Flag::switch("stats", "print the statistics once, now, and end"),
    ],
    details: "Prints a line of JSON after each interval: CPU time, memory, tasks and block I/O of a container, with the \
              members and units of runc. A line of type oom says that the container ran out of memory. Ends when the \
              container does.",
    examples: &["corten events --stats c1", "corten events --interval 1s c1"],
    see_also: &["update", "ps"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let interval = interval(&invocation.flags)?;
    let (store, id) = (store(invocation)?, invocation.id()?);
    if invocation.flags.is_on("stats") {
        output::print_json(&ops::stats(&store, id)?)?;
    } else {
        ops::events(&store, id, interval, output::print_json_line)?;
    }
    Ok(0)
}

fn interval(given: &Given) -> Result<Duration, UsageError> {
    let Some(value) = given.text("interval")? else { return Ok(Duration::from_secs(5)) };
    let expected = "a duration such as 500ms, 5s or 1m30s";
    let wrong = || UsageError::InvalidValue { flag: "interval", value: value.to_owned(), expected };
    duration(value).filter(|d| !d.is_zero()).ok_or_else(wrong)
}

/// A duration as Go writes it: numbers, perhaps with fractions, each with a unit from `ns` to `h`.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, u64)] = &[
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * *nanoseconds as f64;
        rest = after;
    }
    // Go counts nanoseconds in 63 bits: some 292 years.
    (total < 2_f64.powi(63)).then(|| Duration::from_nanos(total as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        let table = [
            ("5s", 5_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2h3m4s5ms", 7_384_005),
            ("100000us", 100),
            ("7000000ns", 7),
            (".5s", 500),
            ("0s", 0),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), Some(Duration::from_millis(expected)), "{text}");
        }
        for text in ["5", "s", "-5s", "5 s", "5x", "1.2.3s", "s5", "1e3s", "300000000h", "5sm"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }
}
