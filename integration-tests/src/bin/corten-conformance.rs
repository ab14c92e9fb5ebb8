//! Judges an OCI runtime: `corten-conformance --runtime PATH`.

use corten_integration_tests::driver::{Report, Run, run_case_if_asked};
use corten_integration_tests::record::Record;
use corten_integration_tests::registry::{Case, Level};
use corten_integration_tests::runtime::Settings;
use corten_integration_tests::{cases, clauses, junit, page, report};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "\
Usage: corten-conformance --runtime PATH [options]

  --runtime PATH   the runtime to judge (a path, or a name on PATH)
  --filter STR     only the cases whose name, area or clause contains STR; may be given again
  --skip STR       not the cases whose name contains STR; may be given again
  --root-dir DIR   where bundles and state live (default: the temporary directory)
  --probe PATH     the program that runs in the containers (default: corten-probe beside this program)
  --without CALLS  as on a kernel that lacks these system calls (openat2,clone3,…)
  --unified        show every case a unified cgroup hierarchy, in a private mount namespace
  --systemd-cgroup have systemd make the cgroup of every container
  --tap            print the Test Anything Protocol
  --list           print the cases and what they judge, and stop
  --clauses        print a Markdown table, clause by clause, of the cases that judge it, and stop
  --junit FILE     write the outcome as JUnit XML
  --record FILE    write the outcome as JSON, for --page
  --page FILE      print the conformance page (Markdown) made of records, and stop; may be given again
  -j N             that many cases at once (default: 2)

Environment: CORTEN_STRESS=1 for 300 cycles in the stress case (or a number of cycles);
CORTEN_PATIENCE=N multiplies every time limit.
Exit status: 0 if nothing failed, 1 if something did, 2 for wrong usage.";

#[derive(Default)]
struct Options {
    runtime: Option<PathBuf>,
    probe: Option<PathBuf>,
    root_dir: Option<PathBuf>,
    filters: Vec<String>,
    skip: Vec<String>,
    unified: bool,
    without: Option<String>,
    systemd: bool,
    tap: bool,
    list: bool,
    clauses: bool,
    jobs: Option<usize>,
    junit: Option<PathBuf>,
    record: Option<PathBuf>,
    page: Vec<PathBuf>,
}

fn main() -> ExitCode {
    run_case_if_asked();
    match parse(std::env::args().skip(1)).and_then(execute) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut o = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--runtime" => o.runtime = Some(value()?.into()),
            "--probe" => o.probe = Some(value()?.into()),
            "--root-dir" => o.root_dir = Some(value()?.into()),
            "--junit" => o.junit = Some(value()?.into()),
            "--record" => o.record = Some(value()?.into()),
            "--page" => o.page.push(value()?.into()),
            "--without" => o.without = Some(value()?),
            "--filter" => o.filters.push(value()?),
            "--skip" => o.skip.push(value()?),
            "-j" => o.jobs = Some(value()?.parse().map_err(|_| "-j needs a number".to_owned())?),
            "--unified" => o.unified = true,
            "--systemd-cgroup" => o.systemd = true,
            "--tap" => o.tap = true,
            "--list" => o.list = true,
            "--clauses" => o.clauses = true,
            "--help" | "-h" => return Err(USAGE.into()),
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    Ok(o)
}

fn execute(o: Options) -> Result<ExitCode, String> {
    let wanted = |c: &Case| {
        let hit = |f: &String| c.name.contains(f.as_str()) || c.clauses.contains(&f.as_str());
        let left_out = o.skip.iter().any(|f| c.name.contains(f.as_str()));
        !left_out && (o.filters.is_empty() || o.filters.iter().any(hit))
    };
    let chosen: Vec<Case> = cases::all().into_iter().filter(wanted).collect();
    if !o.page.is_empty() {
        let records: Result<Vec<Record>, _> = o.page.iter().map(|path| Record::read(path)).collect();
        print!("{}", page::markdown(&chosen, records.map_err(|e| e.message)?));
        return Ok(ExitCode::SUCCESS);
    }
    if o.list {
        for c in &chosen {
            println!("{:50} {:9} {}", c.name, c.level.word(), c.clauses.join(" "));
        }
        println!("{} cases", chosen.len());
        return Ok(ExitCode::SUCCESS);
    }
    if o.clauses {
        print_clauses(&chosen);
        return Ok(ExitCode::SUCCESS);
    }
    judge(&o, &chosen)
}

fn judge(o: &Options, chosen: &[Case]) -> Result<ExitCode, String> {
    let runtime = o.runtime.as_ref().ok_or(USAGE)?;
    let probe = o.probe.clone().unwrap_or_else(probe_beside_us);
    let mut settings = Settings::new(runtime, &probe, o.root_dir.clone())?;
    settings.unified |= o.unified;
    settings.without = o.without.clone();
    settings.systemd |= o.systemd;
    println!("# {} {} ({})", settings.name, settings.version, settings.runtime.display());
    let run = Run::new(settings).map_err(|e| e.to_string())?;
    if o.tap {
        println!("1..{}", chosen.len());
    }
    let reports = run_all(&run, chosen, o);
    if let Some(path) = &o.junit {
        let document = junit::document(&run.settings, chosen, &reports);
        std::fs::write(path, document).map_err(|e| format!("--junit: {}: {e}", path.display()))?;
    }
    if let Some(path) = &o.record {
        Record::of(&run.settings, &reports).write(path).map_err(|e| format!("--record: {}", e.message))?;
    }
    Ok(if report::summarise(chosen, &reports) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Clauses in alphabetical order, with the level of the strictest case and the cases' names.
fn print_clauses(cases: &[Case]) {
    println!("| clause | level | cases |\n|---|---|---|");
    let clauses = clauses::cases_of(cases);
    for (clause, cases) in &clauses {
        let level = cases.iter().map(|c| c.level).min().map_or("", Level::word);
        let names: Vec<String> = cases.iter().map(|c| format!("`{}`", c.name)).collect();
        println!("| {clause} | {level} | {} |", names.join(", "));
    }
    println!("\n{} clauses, {} cases", clauses.len(), cases.len());
}

fn probe_beside_us() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.with_file_name("corten-probe")
}

fn run_all(run: &Run, chosen: &[Case], o: &Options) -> Vec<Report> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some((i, case)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            chosen.get(i).map(|c| (i, c))
        } {
            let report = run.case(i, case);
            let mut done = done.lock().expect("no worker panics while it holds the list");
            done.push(report);
            let report = done.last().expect("just pushed");
            if o.tap { report::print_tap(done.len(), report) } else { report::print_row(case, report) }
        }
    };
    std::thread::scope(|s| {
        for _ in 0..o.jobs.unwrap_or(2).max(1) {
            s.spawn(worker);
        }
    });
    done.into_inner().expect("no worker panicked")
}
