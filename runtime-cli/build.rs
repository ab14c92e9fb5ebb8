//! Tells the program which commit it was built from, and the linker in which order to put its functions.
//!
//! The same commit gives the same bytes: no date, no host name. `CORTEN_COMMIT` wins, for builds from an archive.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    println!("cargo::rerun-if-changed=linker");
    let commit = env::var("CORTEN_COMMIT").ok().or_else(from_git);
    println!("cargo::rustc-env=CORTEN_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    start_without_questions();
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
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let script = manifest.join(format!("linker/{name}.ld"));
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

/// Starts the program without asking the processor what it can do (docs/adr/0035-start.md), if a probe that starts like
/// that works with this C library. `CORTEN_START=libc` leaves the start to the library.
fn start_without_questions() {
    println!("cargo::rustc-check-cfg=cfg(own_start)");
    println!("cargo::rerun-if-changed=src/sys/start_probe.rs");
    println!("cargo::rerun-if-changed=src/sys/start.rs");
    println!("cargo::rerun-if-env-changed=CORTEN_START");
    let left_alone = env::var("CORTEN_START").as_deref() == Ok("libc");
    if !left_alone && start_applies() && probe_works() == Some(true) {
        println!("cargo::rustc-cfg=own_start");
    }
}

fn start_applies() -> bool {
    let is =
        |name: &str, value: &str| env::var(name).is_ok_and(|list| list.split(',').any(|one| one == value));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && !flags.contains("relocation-model")
        && env::var("HOST") == env::var("TARGET")
}

fn probe_works() -> Option<bool> {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).join("src/sys/start_probe.rs");
    let program = PathBuf::from(env::var_os("OUT_DIR")?).join("probe");
    let flags = ["--edition=2024".to_owned(), "-Copt-level=1".to_owned()];
    let target = env::var("TARGET").ok()?;
    let mut run = Command::new(&program);
    run.arg("argument").env("CORTEN_PROBE", "1").stdout(Stdio::null()).stderr(Stdio::null());
    Some(compile(&source, &program, &target, &flags)? && run.status().ok()?.success())
}

/// Links a program that does nothing, with the compiler, the flags and the linker of this build.
fn linker_takes(arguments: &[String], target: &str) -> Option<bool> {
    let directory = PathBuf::from(env::var_os("OUT_DIR")?);
    let source = directory.join("nothing.rs");
    std::fs::write(&source, "fn main() {}").ok()?;
    let flags: Vec<String> = arguments.iter().map(|argument| format!("-Clink-arg={argument}")).collect();
    compile(&source, &directory.join("nothing"), target, &flags)
}

fn compile(source: &Path, program: &Path, target: &str, arguments: &[String]) -> Option<bool> {
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    rustc.args(["--target", target, "-o"]).arg(program).arg(source).args(arguments);
    Some(rustc.stderr(Stdio::null()).stdout(Stdio::null()).status().ok()?.success())
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
