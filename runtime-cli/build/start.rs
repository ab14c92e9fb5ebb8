//! Whether the program can start by `src/sys/start.rs`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Has the program start without asking the processor what it can do (docs/adr/0035-start.md), if a probe that starts like
/// that works with this C library. `CORTEN_START=libc` leaves the start to the library.
pub fn without_questions(sources: &Path) {
    println!("cargo::rustc-check-cfg=cfg(own_start)");
    let probe = sources.join("start_probe.rs");
    for file in [&probe, &sources.join("start.rs")] {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    println!("cargo::rerun-if-env-changed=CORTEN_START");
    if let Some(library) = c_library() {
        println!("cargo::rerun-if-changed={}", library.display());
    }
    let left_alone = env::var("CORTEN_START").as_deref() == Ok("libc");
    if !left_alone && applies() && probe_works(&probe) == Some(true) {
        println!("cargo::rustc-cfg=own_start");
    }
}

/// The archive whose start the probe was seen to fit, if the compiler knows it.
fn c_library() -> Option<PathBuf> {
    let asked = Command::new("cc").arg("-print-file-name=libc.a").stderr(Stdio::null()).output().ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}

fn applies() -> bool {
    let is =
        |name: &str, value: &str| env::var(name).is_ok_and(|list| list.split(',').any(|one| one == value));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && !flags.contains("relocation-model")
        && env::var("HOST") == env::var("TARGET")
}

fn probe_works(source: &Path) -> Option<bool> {
    let program = PathBuf::from(env::var_os("OUT_DIR")?).join("probe");
    let flags = ["--edition=2024".to_owned(), "-Copt-level=1".to_owned()];
    let target = env::var("TARGET").ok()?;
    let mut run = Command::new(&program);
    run.arg("argument").env("CORTEN_PROBE", "1").stdout(Stdio::null()).stderr(Stdio::null());
    Some(compile(source, &program, &target, &flags)? && run.status().ok()?.success())
}

/// Compiles with the compiler, the flags and the linker of this build.
pub fn compile(source: &Path, program: &Path, target: &str, arguments: &[String]) -> Option<bool> {
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    rustc.args(["--target", target, "-o"]).arg(program).arg(source).args(arguments);
    Some(rustc.stderr(Stdio::null()).stdout(Stdio::null()).status().ok()?.success())
}
