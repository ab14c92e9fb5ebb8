//! Patterns that still match a function when another compiler, another version of a crate or another commit names it a
//! little differently.
//!
//! A name by the `v0` scheme (RFC 2603) is a path in clear text. What changes without a change of the function are the
//! hashes of crates, the numbers that tell closures and `impl` blocks of a module apart, and references back into the
//! name, since they count its letters.

use super::map::Section;

/// The pattern of a section, as a linker script has it.
pub fn of(section: &Section) -> Option<String> {
    let Section { file, name, .. } = section;
    if name.len() > ".text.".len() && name.contains("._") {
        return Some(format!("*({})", generalized(name)));
    }
    // C: a whole file, or what has a processor in its section's name.
    match file.split_once('(') {
        Some((archive, member)) if !archive.ends_with(".rlib") => {
            Some(format!("*:{}({name})", member.strip_suffix(')')?))
        }
        None if !file.contains("-cgu.") && name == ".text" => Some(format!("*{file}({name})")),
        _ if name != ".text" => Some(format!("*({name})")),
        _ => None,
    }
}

fn generalized(name: &str) -> String {
    if let Some(at) = name.find("._R") {
        let (head, symbol) = name.split_at(at + 3);
        return format!("{head}{}", v0(symbol));
    }
    // The older scheme: a path, and 16 digits of a hash.
    match name.rfind("17h") {
        Some(at) if name.contains("._ZN") => format!("{}17h*", &name[..at]),
        _ => name.to_owned(),
    }
}

/// What follows the `_R` of a name.
fn v0(symbol: &str) -> String {
    let mut pattern = String::new();
    let mut rest = symbol;
    while let Some(tag) = rest.chars().next() {
        let after = &rest[tag.len_utf8()..];
        rest = match tag {
            // A suffix of the compiler's.
            '.' | '$' => {
                any(&mut pattern);
                break;
            }
            '0'..='9' => identifier(rest, &mut pattern),
            // Tells apart what has the same name: crates, closures, blocks.
            's' => {
                any(&mut pattern);
                past_number(after)
            }
            // Back to an earlier part of the name.
            'B' => {
                pattern.push('B');
                any(&mut pattern);
                past_number(after)
            }
            // An `impl` block, of which a module may have several.
            'M' | 'X' => {
                pattern.push(tag);
                any(&mut pattern);
                after
            }
            // A constant: a type, and digits.
            'K' if !after.starts_with(|c: char| c == 'C' || c == 'B' || c.is_ascii_digit()) => {
                let end = if after.starts_with('p') { 1 } else { after.len() - past_number(after).len() };
                pattern.push('K');
                pattern.push_str(&after[..end]);
                &after[end..]
            }
            // Lifetimes.
            'L' | 'G' => {
                let end = after.len() - past_number(after).len();
                pattern.push(tag);
                pattern.push_str(&after[..end]);
                &after[end..]
            }
            // The kind of a path's step, closures (`C`) and shims (`S`) among them.
            'N' => {
                pattern.push('N');
                let kind = after.chars().next().map_or(0, char::len_utf8);
                pattern.push_str(&after[..kind]);
                &after[kind..]
            }
            _ => {
                pattern.push(tag);
                after
            }
        };
    }
    pattern
}

/// Whatever stands there, once.
fn any(pattern: &mut String) {
    if !pattern.ends_with('*') {
        pattern.push('*');
    }
}

/// What follows a number, which ends with an underscore.
fn past_number(text: &str) -> &str {
    text.split_once('_').map_or("", |(_, rest)| rest)
}

/// Takes a length and as many letters; answers the rest. Closures have no name, but may have a number.
fn identifier<'a>(text: &'a str, pattern: &mut String) -> &'a str {
    // A zero is a length of its own: no other one begins with it.
    let digits =
        if text.starts_with('0') { 1 } else { text.chars().take_while(char::is_ascii_digit).count() };
    let length: usize = text[..digits].parse().unwrap_or(0);
    if length == 0 {
        any(pattern);
    }
    let separator = usize::from(length > 0 && text[digits..].starts_with('_'));
    let end = (digits + separator + length).min(text.len());
    pattern.push_str(&text[..end]);
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(file: &str, name: &str) -> Option<String> {
        of(&Section { file: file.into(), name: name.into(), size: 1, is_ordered: false })
    }

    #[test]
    fn of_rust() {
        for (name, expected) in [
            ("_RNvNtCs8plKNMvQjZ9_12libcontainer7seccomp7compile", "_RNvNtC*12libcontainer7seccomp7compile"),
            // libcontainer::state::Entry::open::{closure#1}, in the third `impl` block.
            (
                "_RNCNvMs1_NtCsAb1_12libcontainer5stateNtB5_5Entry4opens_0B7_",
                "_RNCNvM*NtC*12libcontainer5stateNtB*5Entry4open*0B*",
            ),
            ("_RNCNvCsAb1_1a1b0B3_", "_RNCNvC*1a1b*0B*"),
            ("_RINvCsAb1_4core3ptrKj10_hE", "_RINvC*4core3ptrKj10_hE"),
            ("_RNvCsAb1_4core3ptr.llvm.77", "_RNvC*4core3ptr*"),
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "_ZN4core3fmt9Formatter3pad17h*"),
        ] {
            let found = pattern("corten-1.corten.2-cgu.0.rcgu.o", &format!(".text.{name}"));
            assert_eq!(found, Some(format!("*(.text.{expected})")));
        }
        let cold = pattern("a-cgu.0.o", ".text.unlikely._RNvCsAb1_4core5panic");
        assert_eq!(cold.as_deref(), Some("*(.text.unlikely._RNvC*4core5panic)"));
    }

    #[test]
    fn of_c() {
        assert_eq!(pattern("libc.a(malloc.o)", ".text").as_deref(), Some("*:malloc.o(.text)"));
        assert_eq!(pattern("libc.a(memmove.o)", ".text.avx").as_deref(), Some("*:memmove.o(.text.avx)"));
        assert_eq!(pattern("rcrt1.o", ".text").as_deref(), Some("*rcrt1.o(.text)"));
        assert_eq!(
            pattern("libcompiler_builtins-27.rlib(x.o)", ".text.memcpy").as_deref(),
            Some("*(.text.memcpy)")
        );
    }
}
