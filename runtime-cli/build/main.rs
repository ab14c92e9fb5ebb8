//! Tells the program which commit it was built from, and the linker in which order to put its functions.
//!
//! The same commit gives the same bytes: no date, no host name. `CORTEN_COMMIT` wins, for builds from an archive.

mod start;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    println!("cargo::rerun-if-changed=linker");
    let commit = env::var("CORTEN_COMMIT").ok().or_else(from_git);
    println!("cargo::rustc-env=CORTEN_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    start::without_questions(&manifest_directory().join("src/sys"));
    if env::var("PROFILE").as_deref() == Ok("release") {
        order_functions();
        leave_out_unwinding();
        pack_relocations();
    }
}

/// Puts the functions that the usual commands execute side by side: the kernel maps less of the file then
/// (docs/adr/0030-function-order.md). Without a script for this target, or with a linker that takes none, the program is
/// the same but for that. The map tells `cargo xtask order` what the linker made of it.
fn order_functions() {
    let target = env::var("TARGET").unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let map = |name: &str| [format!("-Wl,-Map={}", out.join(name).display()), "-Wl,--no-demangle".into()];
    if linker_takes(&map("nothing.map"), &target).unwrap_or(false) {
        pass_on(&map("corten.map"));
    }
    if let Some(script) = script(&target) {
        pass_to_linker(&[script], &target);
    }
}

/// Leaves out what tells how to unwind the stack, a fourteenth of the file: this program aborts where others unwind, and
/// without symbols a backtrace would be a list of numbers.
fn leave_out_unwinding() {
    let target = env::var("TARGET").unwrap_or_default();
    if let Some(script) = script("no-unwinding") {
        pass_to_linker(&["-Wl,--no-eh-frame-hdr".into(), script], &target);
    }
}

/// Has the linker read a script of `linker/`, if there is one of that name.
fn script(name: &str) -> Option<String> {
    let script = manifest_directory().join(format!("linker/{name}.ld"));
    script.exists().then(|| format!("-Wl,-T,{}", script.display()))
}

/// Passes on what this linker takes, all or nothing.
fn pass_to_linker(arguments: &[String], target: &str) {
    if linker_takes(arguments, target).unwrap_or(false) {
        pass_on(arguments);
    }
}

fn pass_on(arguments: &[String]) {
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Writes down where the program refers to itself as a bit map (`DT_RELR`), a hundredth of the usual table: that is read
/// at each start. The C library does what is written there, from glibc 2.36 on; an older one leaves it undone, so the
/// program that does nothing is run, which a build for another machine cannot do.
fn pack_relocations() {
    let target = env::var("TARGET").unwrap_or_default();
    if env::var("HOST").as_ref() != Ok(&target) {
        return;
    }
    let argument = "-Wl,--pack-dyn-relocs=relr";
    let runs = || {
        let linked = linker_takes(&[argument.to_owned()], &target).unwrap_or(false);
        let program = PathBuf::from(env::var_os("OUT_DIR")?).join("nothing");
        Some(linked && Command::new(program).stderr(Stdio::null()).status().ok()?.success())
    };
    if runs().unwrap_or(false) {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Links a program that does nothing, with the compiler, the flags and the linker of this build.
fn linker_takes(arguments: &[String], target: &str) -> Option<bool> {
    let directory = PathBuf::from(env::var_os("OUT_DIR")?);
    let source = directory.join("nothing.rs");
    std::fs::write(&source, "fn main() {}").ok()?;
    let flags: Vec<String> = arguments.iter().map(|argument| format!("-Clink-arg={argument}")).collect();
    start::compile(&source, &directory.join("nothing"), target, &flags)
}

fn manifest_directory() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
}

fn from_git() -> Option<String> {
    // The log of HEAD changes with every commit and checkout; HEAD itself only names a branch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
