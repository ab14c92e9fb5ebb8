//! Where `unsafe` may be: in modules named `sys`, and nowhere else. That each block says why it is sound is a lint
//! (`clippy::undocumented_unsafe_blocks`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::host;

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Code only: neither comments nor what is said about the keyword in strings.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["{", "fn ", "impl ", "extern ", "trait "].iter().any(|next| code.contains(&format!("unsafe {next}")))
}

#[test]
fn unsafe_code_is_in_modules_named_sys_only() {
    let mut files = Vec::new();
    sources(host::workspace(), &mut files);
    assert!(files.len() > 200, "{} files", files.len());
    for file in files.iter().filter(|file| !file.ends_with("xtask/src/unsafe_code.rs")) {
        let path = file.strip_prefix(host::workspace()).unwrap_or(file);
        let in_sys = file.file_name().is_some_and(|name| name == "sys.rs")
            || path.parent().is_some_and(|dir| dir.components().any(|part| part.as_os_str() == "sys"));
        let text = fs::read_to_string(file).expect("a source file is text");
        let first = text.lines().position(is_unsafe).map(|line| line + 1);
        assert!(
            in_sys || first.is_none(),
            "{}:{}: unsafe outside of sys",
            path.display(),
            first.unwrap_or(0)
        );
    }
}

#[test]
fn the_keyword_is_told_from_talk_about_it() {
    assert!(is_unsafe("    let a = unsafe { b() };"));
    assert!(is_unsafe("pub unsafe fn a() {}"));
    assert!(!is_unsafe("// unsafe { b() }"));
    assert!(!is_unsafe("deny(unsafe_code)"));
}
