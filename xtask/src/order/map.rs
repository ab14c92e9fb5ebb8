//! The linker's map: which part of which file lies where.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Doing, Error, Result};

/// A section of an object file, which for most is one function.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The object file, without directories; in an archive, `ARCHIVE(MEMBER)`.
    pub file: String,
    /// Such as `.text.memcpy`.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Whether the script of this chore put it where it is.
    pub is_ordered: bool,
}

/// Where the code is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Sections with code, by their address.
    pub sections: BTreeMap<u64, Section>,
    /// Addresses of functions.
    pub functions: Vec<u64>,
}

/// Reads the linker's map.
pub fn read(path: &Path) -> Result<Map> {
    let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    let map = parse(&text);
    if map.functions.is_empty() {
        let what = format!("a function in {}", path.display());
        return Err(Error::Missing { what, hint: "the linker has to be lld, which Rust uses on its own" });
    }
    Ok(map)
}

/// Reads lld's format: address, load address, size, alignment, and the name of a section of the program, or indented
/// under it `FILE:(NAME)`, or further in a symbol.
fn parse(text: &str) -> Map {
    let mut map = Map::default();
    let mut output = "";
    for line in text.lines() {
        let mut rest = line;
        let mut column = || {
            let (word, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(word)
        };
        let (Some(address), Some(_), Some(size), Some(_)) = (column(), column(), column(), column()) else {
            continue;
        };
        let hex = |word| u64::from_str_radix(word, 16).ok();
        let (Some(address), Some(size)) = (hex(address), hex(size)) else { continue };
        if !rest.starts_with(' ') {
            output = rest.trim();
        } else if !output.starts_with(".text") {
            // Not code.
        } else if let Some((file, name)) = rest.trim().split_once(":(")
            && let Some(name) = name.strip_suffix(')')
            && size > 0
        {
            let file = file.rsplit('/').next().unwrap_or(file).to_owned();
            let is_ordered = output != ".text";
            map.sections.insert(address, Section { file, name: name.to_owned(), size, is_ordered });
        } else if !rest.contains(":(") {
            map.functions.push(address);
        }
    }
    map.functions.sort_unstable();
    map.functions.dedup();
    map
}

#[test]
fn a_map_of_lld() {
    let text = "\
             VMA              LMA     Size Align Out     In      Symbol
           97080            97080       20    64 .text.used
           97080            97080       20    16         /build/corten.o:(.text._RNvCs1_1a1b)
           97080            97080       20     1                 _RNvCs1_1a1b
           98080            98080   2834a0    64 .text
           98080            98080       26    16         /usr/lib/libc.a(malloc.o):(.text)
           98080            98080       26     1                 malloc
          31c520           31c520       40     8 .tdata
          31c520           31c520       40     8         /build/corten.o:(.tdata.x)
";
    let section = |file: &str, name: &str, size, is_ordered| Section {
        file: file.into(),
        name: name.into(),
        size,
        is_ordered,
    };
    let sections = [
        (0x97080, section("corten.o", ".text._RNvCs1_1a1b", 0x20, true)),
        (0x98080, section("libc.a(malloc.o)", ".text", 0x26, false)),
    ];
    assert_eq!(parse(text), Map { sections: sections.into(), functions: vec![0x97080, 0x98080] });
}
