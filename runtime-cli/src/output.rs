//! Standard output.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use crate::Failure;

/// Writes `text` as it is. A reader that went away (`corten list | head -1`) has seen enough; it is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    print_more(text).map(drop)
}

/// The same, for one of many texts: breaks off when the reader has gone away.
pub fn print_more(text: &str) -> Result<ControlFlow<()>, Failure> {
    write(text.as_bytes())
}

/// Writes bytes that are no text.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes).map(drop)
}

fn write(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(e) => Err(Failure::Output(e)),
    }
}

/// Writes `value` as JSON on one line.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print_json_line(value).map(drop)
}

/// The same, for one of many lines: breaks off when the reader has gone away.
pub fn print_json_line(value: &impl Serialize) -> Result<ControlFlow<()>, Failure> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    print_more(&text)
}

/// Writes `value` as JSON over several lines.
pub fn print_pretty_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Columns as Go's tabwriter sets them for runc: at least 12 wide, at least 3 blanks between, the last as it is.
pub fn table<const N: usize>(title: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([title[column].len()]).max().unwrap_or(0).saturating_add(3).max(12)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(title).chain(rows.iter().map(|row| row.each_ref().map(String::as_str))) {
        for (column, cell) in row.into_iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                let blanks = widths[column] - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_as_runc_sets_them() {
        assert_eq!(
            table(["ID", "PID", "OWNER"], &[]),
            "ID          PID         OWNER\n", // runc list, nothing there
        );
        let row = ["a-long-container-id", "7", "root"].map(String::from);
        assert_eq!(
            table(["ID", "PID", "OWNER"], &[row]),
            "ID                    PID         OWNER\na-long-container-id   7           root\n"
        );
    }
}
