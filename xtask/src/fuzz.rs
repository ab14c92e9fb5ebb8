//! `cargo xtask fuzz [TARGET] [--seconds N]`: libFuzzer over the targets of `fuzz/`.
//!
//! It needs no other Rust than the one at hand: what cargo-fuzz adds beyond these flags is AddressSanitizer, which finds
//! mistakes of unsafe code, and there is next to none in what is fuzzed. `cargo fuzz run TARGET` works as well.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use corten_fuzz_targets::{TARGETS, Target};

use crate::error::{Doing, Error, Result};
use crate::host;

/// Coverage for libFuzzer, and every check that the compiler can add.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Clink-dead-code -Ccodegen-units=1 --cfg=fuzzing";

/// One after the other, each so many seconds.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let (mut seconds, mut chosen) = (60_u32, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().ok_or(Error::Usage)?;
            let wrong = |_| Error::Argument {
                option: "--seconds",
                value: value.clone(),
                expected: "a number of seconds",
            };
            seconds = value.parse().map_err(wrong)?;
        } else {
            let wrong = || Error::Argument {
                option: "fuzz",
                value: arg.clone(),
                expected: "a target of fuzz/targets",
            };
            chosen.push(*TARGETS.iter().find(|target| target.name == arg).ok_or_else(wrong)?);
        }
    }
    if chosen.is_empty() {
        chosen = TARGETS.to_vec();
    }
    let directory = host::workspace().join("fuzz");
    build(&directory)?;
    for target in chosen {
        println!("== {}, {seconds} s", target.name);
        fuzz(&directory, &target, seconds)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build(directory: &Path) -> Result<()> {
    let mut command = host::cargo();
    command.current_dir(directory).env("CARGO_TARGET_DIR", target_directory()).env("RUSTFLAGS", FLAGS);
    host::run(command.args(["build", "--release", "--locked", "--bins"]))
}

/// Beside the workspace's own: other flags make other builds.
fn target_directory() -> PathBuf {
    let workspace = host::workspace();
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
        .join("fuzz")
}

/// Runs one target on what was found earlier (`fuzz/corpus`), with the seeds added. What it breaks on stays in
/// `fuzz/artifacts`.
fn fuzz(directory: &Path, target: &Target, seconds: u32) -> Result<()> {
    let corpus = directory.join("corpus").join(target.name);
    let artifacts = directory.join("artifacts").join(target.name);
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made).doing(|| format!("create {}", made.display()))?;
    }
    for (i, seed) in (target.seeds)().into_iter().enumerate() {
        let path = corpus.join(format!("seed-{i}"));
        fs::write(&path, seed).doing(|| format!("write {}", path.display()))?;
    }
    let program = program(target.name)?;
    let mut command = Command::new(program);
    command.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
    // A second is long for a few kilobytes; a gigabyte is more than any of them may need.
    command.arg(format!("-max_total_time={seconds}"));
    command.args([
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-max_len=65536",
        "-print_final_stats=1",
        "-verbosity=1",
    ]);
    host::run(&mut command)
}

fn program(name: &str) -> Result<PathBuf> {
    let target = target_directory();
    // With a `--target`, as .cargo/config.toml has it, there is one more directory.
    let listed = fs::read_dir(&target).doing(|| format!("read {}", target.display()))?;
    let below = listed.filter_map(|entry| Some(entry.ok()?.path().join("release").join(name)));
    let mut found = below.chain([target.join("release").join(name)]).filter(|path| path.is_file());
    found.next().ok_or_else(|| Error::Missing { what: name.to_owned(), hint: "cargo built no such fuzzer" })
}
