//! Checks on single values that several sections share.

use std::ops::RangeInclusive;

use super::Check;
use super::at::At;
use super::words::{self, Words};
use crate::error::Problem;

/// Text that is handed to the kernel, where NUL would cut it short: `"/safe\0/../etc"` must not become `/safe`.
pub(super) fn c_string(text: &str, at: At<'_>) -> Check {
    if text.as_bytes().contains(&0) { Err(at.err(Problem::Nul)) } else { Ok(()) }
}

/// As [`c_string`], for every element of a list.
pub(super) fn c_strings(texts: &[String], at: At<'_>) -> Check {
    texts.iter().enumerate().try_for_each(|(i, text)| c_string(text, at.index(i)))
}

/// As [`c_string`], for a member that may be absent.
pub(super) fn optional_c_string(text: Option<&String>, at: At<'_>) -> Check {
    text.map_or(Ok(()), |text| c_string(text, at))
}

/// A path that begins with a slash and fits into a C string.
pub(super) fn absolute(path: &str, at: At<'_>) -> Check {
    c_string(path, at)?;
    if path.is_empty() {
        return Err(at.err(Problem::Empty));
    }
    if !path.starts_with('/') {
        return Err(at.err(Problem::NotAbsolute { value: path.to_owned() }));
    }
    Ok(())
}

/// A number in a closed range; `range` says the same in words.
pub(super) fn in_range(
    value: impl Into<i128>,
    allowed: RangeInclusive<i128>,
    range: &'static str,
    at: At<'_>,
) -> Check {
    let value = value.into();
    if allowed.contains(&value) { Ok(()) } else { Err(at.err(Problem::OutOfRange { value, range })) }
}

/// A word of a list; `expected` says the same in words.
pub(super) fn one_of(value: &str, words: &[&str], expected: &'static str, at: At<'_>) -> Check {
    if words.contains(&value) {
        return Ok(());
    }
    Err(at.err(Problem::Unknown { value: value.to_owned(), expected }))
}

/// A list such as `0-3, 7` as cpuset(7) defines it; empty is a list of nothing.
pub(super) fn number_list(list: &str, expected: &'static str, at: At<'_>) -> Check {
    if ranges(list).is_some() {
        return Ok(());
    }
    Err(at.err(Problem::Malformed { value: list.to_owned(), expected }))
}

/// As [`number_list`], with numbers below `end` only.
pub(super) fn number_list_below(end: u32, list: &str, expected: &'static str, at: At<'_>) -> Check {
    number_list(list, expected, at)?;
    match ranges(list).into_iter().flatten().find(|range| *range.end() >= end) {
        Some(_) => Err(at.err(Problem::Malformed { value: list.to_owned(), expected })),
        None => Ok(()),
    }
}

/// The ranges of a list such as `0-3, 7`; none if it is not a list.
pub(crate) fn ranges(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let range = |item: &str| {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        let (from, to) = (number(from)?, number(to)?);
        (from <= to).then_some(from..=to)
    };
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    list.split(',').map(|item| range(item.trim())).collect()
}

/// As [`one_of`], for the words of a table.
pub(super) fn word_of(value: &str, words: Words, expected: &'static str, at: At<'_>) -> Check {
    match words::number(words, value) {
        Some(_) => Ok(()),
        None => Err(at.err(Problem::Unknown { value: value.to_owned(), expected })),
    }
}

/// The words for a list of CPUs.
pub(super) const CPU_LIST: &str = "a list of CPUs such as 0-3,7";
/// The words for a list of memory nodes.
pub(super) const NODE_LIST: &str = "a list of memory nodes such as 0-1,3";

/// `path` without empty and `.` components, and with `..` resolved lexically; `/` for the root.
pub(super) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}
