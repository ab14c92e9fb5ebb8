//! Which member of a JSON text is at a place of it: for errors, which know only line and column.

/// What is being read of an object or an array that has begun.
enum Step {
    /// The member of this name; none before the first and after a comma.
    Member(Option<String>),
    /// The element of this number.
    Element(usize),
}

/// The path of the innermost value that begins or ends at, or goes on beyond, `column` bytes into `line`, as
/// [`serde_json::Error`] counts them. The text need not be JSON.
pub(super) fn path(text: &[u8], line: usize, column: usize) -> String {
    let end = offset(text, line, column);
    let mut steps = Vec::new();
    let mut at = 0;
    while at < end {
        let from = at;
        at += 1;
        match (text[from], steps.last_mut()) {
            (b'{', _) => steps.push(Step::Member(None)),
            (b'[', _) => steps.push(Step::Element(0)),
            (b'}' | b']', _) => drop(steps.pop()),
            (b',', Some(Step::Element(n))) => *n += 1,
            (b',', Some(Step::Member(name))) => *name = None,
            (b'"', step) => {
                at += string_rest(&text[at..]);
                if let Some(Step::Member(name @ None)) = step {
                    *name = Some(unquoted(&text[from..at]));
                }
            }
            _ => (),
        }
    }
    written(&steps)
}

/// Index of the byte; no further than the text goes.
fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        text.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(text.len())
}

/// Length of what follows the opening quotation mark of a string, the closing one included.
fn string_rest(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == b'"' {
            break;
        }
    }
    at.min(text.len())
}

fn unquoted(string: &[u8]) -> String {
    serde_json::from_slice(string)
        .unwrap_or_else(|_| String::from_utf8_lossy(string).trim_matches('"').to_owned())
}

fn written(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Member(Some(name)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Member(None) => (),
            Step::Element(n) => path.push_str(&format!("[{n}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path at the place of the bar, which is not part of the text.
    fn at_bar(text: &str) -> String {
        let end = text.find('|').unwrap();
        let line_start = text[..end].rfind('\n').map_or(0, |n| n + 1);
        let line = 1 + text[..end].matches('\n').count();
        path(text.replacen('|', "", 1).as_bytes(), line, end - line_start)
    }

    #[test]
    fn a_value_is_found_at_its_begin_and_at_its_end() {
        let cases = [
            ("|[]", ""),
            (r#"{"a":|[]}"#, "a"),
            (r#"{"a":[]|}"#, "a"),
            (r#"{"a":[]}|"#, ""),
            (r#"{"a":[|{"b":1}]}"#, "a[0]"),
            (r#"{"a":[{"b":1|}]}"#, "a[0].b"),
            (r#"{"a":[{"b":1}|]}"#, "a[0]"),
            (r#"{"a":[{"b":1},|2]}"#, "a[1]"),
            (r#"{"a":{"b":{},"c":"x"|}}"#, "a.c"),
            (r#"{"a":{"b":{}},"c"|:1}"#, "c"),
            ("{\n  \"a\": {\n    \"b\": tru|\n  }\n}", "a.b"),
        ];
        for (text, path) in cases {
            assert_eq!(at_bar(text), path, "{text}");
        }
    }

    #[test]
    fn what_strings_hold_is_text() {
        let cases = [
            (r#"{"}]\"":5|}"#, "}]\""),
            (r#"{"a":"{[,\\","b":5|}"#, "b"),
            (r#"{"\u0061/b":{"c.d":5|}}"#, "a/b.c.d"),
            (r#"["a","b",5|]"#, "[2]"),
        ];
        for (text, path) in cases {
            assert_eq!(at_bar(text), path, "{text}");
        }
    }

    #[test]
    fn any_text_and_place_will_do() {
        let text = br#"}],{"a\u12":["\"#;
        for line in 0..4 {
            (0..40).for_each(|column| drop(path(text, line, column)));
        }
        assert_eq!(path(b"\xff{\"\xff\":1", 1, 7), "\u{fffd}");
    }
}
