//! The conformance cases under `cargo test`, against the runtime that `CORTEN` names or against the
//! workspace's own `corten`.

use corten_integration_tests::cases;
use corten_integration_tests::driver::{Outcome, Run, run_case_if_asked};
use corten_integration_tests::runtime::Settings;
use libtest_mimic::{Arguments, Completion, Conclusion, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

fn main() -> ExitCode {
    run_case_if_asked();
    let arguments = Arguments::from_args();
    match trials(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Conclusion, String> {
    let run = if arguments.list { None } else { Some(Arc::new(prepare()?)) };
    let trials = cases::all()
        .into_iter()
        .enumerate()
        .map(|(index, case)| {
            let run = run.clone();
            Trial::ignorable_test(case.name.clone(), move || {
                let report = run.expect("not only listed").case(index, &case);
                match report.outcome {
                    Outcome::Pass => Ok(Completion::Completed),
                    Outcome::Skip(reason) => Ok(Completion::ignored_with(reason)),
                    Outcome::Deviates(reason) => Ok(Completion::ignored_with(format!("known: {reason}"))),
                    Outcome::Fail(reason) => {
                        Err(format!("{reason}\njudges {}", case.clauses.join(" ")).into())
                    }
                }
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    let flaky = run.map(|run| run.flaky()).unwrap_or_default();
    if !flaky.is_empty() {
        eprintln!("\nFLAKY, failed and then passed ({}):\n  {}", flaky.len(), flaky.join("\n  "));
    }
    Ok(conclusion)
}

fn prepare() -> Result<Run, String> {
    let runtime = match std::env::var_os("CORTEN") {
        Some(path) => PathBuf::from(path),
        None => build_corten()?,
    };
    let settings = Settings::new(&runtime, Path::new(env!("CARGO_BIN_EXE_corten-probe")), None)?;
    eprintln!("runtime: {} {} ({})", settings.name, settings.version, settings.runtime.display());
    Run::new(settings).map_err(|e| e.to_string())
}

/// Builds the workspace's runtime and asks cargo where it put it.
fn build_corten() -> Result<PathBuf, String> {
    let out = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "corten", "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|e| format!("cannot execute cargo: {e}; set CORTEN to the path of a runtime"))?;
    if !out.status.success() {
        return Err(format!("cargo build -p corten failed:\n{}", String::from_utf8_lossy(&out.stderr)));
    }
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "corten")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo built no executable named corten; set CORTEN to a runtime's path".to_owned())
}
