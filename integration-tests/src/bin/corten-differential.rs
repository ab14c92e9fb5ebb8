//! Compares two OCI runtimes: `corten-differential --runtime PATH --against PATH`.

use corten_integration_tests::differential::{Finding, Plan, Summary, enter};
use corten_integration_tests::runtime::Settings;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: corten-differential --runtime PATH --against PATH [options]

Runs the same random configurations under both runtimes, as root, and compares what can be seen.

  --runtime PATH   the runtime under test (a path, or a name on PATH)
  --against PATH   the runtime to compare with
  --count N        how many configurations (default: 2000)
  --seed N         where the random numbers start (default: from the clock; it is printed)
  --first N        number of the first configuration (default: 0), to see one again: --first N --count 1
  --verbose        say of every configuration what the two answered to create
  --root-dir DIR   where bundles and state live (default: the temporary directory)
  --probe PATH     the program that runs in the containers (default: corten-probe beside this program)

Exit status: 0 if every difference has a known reason, 1 if not, 2 for wrong usage.";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(compare) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut runtime, mut against) = (None, None);
    let (mut seed, mut first, mut count) = (clock(), 0, 2000);
    let mut verbose = false;
    let mut probe = std::env::current_exe().unwrap_or_default().with_file_name("corten-probe");
    let mut root_dir = std::env::temp_dir();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("{arg} needs a number, not {text}"));
        match arg.as_str() {
            "--runtime" => runtime = Some(PathBuf::from(value()?)),
            "--against" => against = Some(PathBuf::from(value()?)),
            "--probe" => probe = value()?.into(),
            "--root-dir" => root_dir = value()?.into(),
            "--seed" => seed = number(value()?)?,
            "--first" => first = number(value()?)?,
            "--count" => count = number(value()?)?,
            "--verbose" => verbose = true,
            "--help" | "-h" => return Err(USAGE.into()),
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    let settings = Settings::new(&runtime.ok_or(USAGE)?, &probe, None)?;
    let own = format!("corten-differential-{}", std::process::id());
    let plan =
        Plan::new(&settings, &against.ok_or(USAGE)?, root_dir.join(&own), own).map_err(|e| e.to_string())?;
    Ok(Plan { seed, first, count, verbose, ..plan })
}

fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |t| t.as_nanos() as u64 % 1_000_000_007)
}

fn compare(plan: Plan) -> Result<ExitCode, String> {
    println!("# {} against {}, seed {}", plan.ours.display(), plan.theirs.display(), plan.seed);
    enter().map_err(|e| format!("cannot make namespaces ({e}); this needs root"))?;
    let summary = plan.run(print).map_err(|e| e.to_string())?;
    conclude(&summary);
    Ok(if summary.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(finding: &Finding, plan: &Plan) {
    println!("DIFFERENT --seed {} --first {} --count 1: {finding}", plan.seed, finding.index);
}

fn conclude(summary: &Summary) {
    for (reason, count) in &summary.explained {
        println!("# known, {count} times: {reason}");
    }
    println!(
        "# {} configurations: {} created by both, {} refused by both, {} with differences that nothing explains",
        summary.compared,
        summary.created,
        summary.refused,
        summary.findings.len()
    );
}
