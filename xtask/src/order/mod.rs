//! `cargo xtask order`: the order of functions in the release build (docs/adr/0030-function-order.md).
//!
//! The kernel maps a program's file in stretches of 64 KiB around each page that is touched. Functions that are used
//! together, spread over two megabytes, bring in nearly all of it. This chore follows the usual commands function by
//! function and writes a linker script that puts those that they execute side by side, in the order of first use.
//! `--check` tells how far the script still fits.

mod map;
mod pattern;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::bundle;
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile, TempDir};
use crate::sys::step;
use map::Section;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const HEAD: &str = "\
/* Functions in the order of first use, for the linker; see docs/adr/0030-function-order.md.
   Written by `cargo xtask order`. Patterns that match nothing do no harm. */
SECTIONS {
  .text.used : {
";
const TAIL: &str = "  }\n} INSERT BEFORE .text;\n";
/// What may lie elsewhere before the script counts as stale, in hundredths of what is executed. Functions that are new,
/// or have another name, lie elsewhere.
const STALE: u64 = 10;
/// The most that the program's file may have, in bytes.
const SIZE: u64 = 3_000_000;

/// `cargo xtask order [--check]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let check = match args {
        [] => false,
        [option] if option == "--check" => true,
        _ => return Err(Error::Usage),
    };
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Missing {
            what: "the steps of this processor".into(),
            hint: "only x86_64 is known",
        });
    }
    let directory = TempDir::new()?;
    let program = host::build("corten", Profile::Release)?;
    let map = host::out_directory("corten", Profile::Release)?.join("corten.map");
    let map = map::read(&map)?;
    let mut seen = Seen::default();
    // Both kinds of cgroups, if the machine has both: what one does not use is used with the other.
    let first = CgroupView::current();
    for view in if first == CgroupView::V2 { vec![first] } else { vec![first, CgroupView::V2] } {
        view.enter()?;
        let directory = directory.path().join(view.name());
        follow_commands(&program, &map.functions, &directory, view == first, &mut seen)?;
    }
    let executed = executed(&map.sections, &seen.order);
    if check { judge(&program, &executed) } else { write(&executed) }
}

fn write(executed: &[&Section]) -> Result<ExitCode> {
    let mut seen = HashSet::new();
    let patterns = executed.iter().filter_map(|section| pattern::of(section));
    let lines: Vec<String> =
        patterns.filter(|p| seen.insert(p.clone())).map(|p| format!("    {p}\n")).collect();
    let path = host::workspace().join(format!("runtime-cli/linker/{TARGET}.ld"));
    fs::write(&path, format!("{HEAD}{}{TAIL}", lines.concat()))
        .doing(|| format!("write {}", path.display()))?;
    println!("{}: {} functions", path.display(), lines.len());
    Ok(ExitCode::SUCCESS)
}

/// Whether the script puts together what is executed, and the file is as small as it shall be.
fn judge(program: &Path, executed: &[&Section]) -> Result<ExitCode> {
    let bytes = |sections: &[&&Section]| sections.iter().map(|section| section.size).sum::<u64>();
    let (together, elsewhere): (Vec<_>, Vec<_>) = executed.iter().partition(|section| section.is_ordered);
    let (all, apart) = (bytes(&together) + bytes(&elsewhere), bytes(&elsewhere));
    let share = 100 * apart / all.max(1);
    for section in &elsewhere {
        println!("elsewhere: {} ({} bytes)", section.name, section.size);
    }
    println!(
        "{} functions executed, {all} bytes; {} of them, {apart} bytes ({share} %), lie elsewhere; at most {STALE} %",
        executed.len(),
        elsewhere.len()
    );
    let size = fs::metadata(program).doing(|| format!("look at {}", program.display()))?.len();
    println!("{}: {size} bytes; at most {SIZE}", program.display());
    if share <= STALE && size <= SIZE {
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED: `cargo xtask order` writes the order again; what made the file larger has to be found");
    Ok(ExitCode::FAILURE)
}

/// Notes which functions the usual commands execute; `limits`, whether controllers are there.
fn follow_commands(
    program: &Path,
    functions: &[u64],
    directory: &Path,
    limits: bool,
    seen: &mut Seen,
) -> Result<()> {
    let (plain, engine) = (directory.join("plain"), directory.join("engine"));
    bundle::write("busybox", &plain, &["true".into()])?;
    bundle::write("docker-like", &engine, &["true".into()])?;
    let sleeper = directory.join("sleeper");
    bundle::write("busybox", &sleeper, &["sleep".into(), "1000".into()])?;
    let root = directory.join("state");
    let mut corten = |args: &[&str], children: bool| {
        let mut command = Command::new(program);
        command.arg("--root").arg(&root).args(args).stdout(Stdio::null());
        seen.follow(command, children, functions)
    };
    let text = |path: &Path| path.display().to_string();
    corten(&["run", "-b", &text(&plain), "order-1"], true)?;
    // The unified hierarchy has no controllers where there are others as well.
    if limits {
        corten(&["run", "-b", &text(&engine), "order-2"], true)?;
    }
    corten(&["create", "-b", &text(&sleeper), "order-3"], false)?;
    corten(&["start", "order-3"], false)?;
    corten(&["exec", "order-3", "true"], true)?;
    for verb in ["state", "pause", "resume"] {
        corten(&[verb, "order-3"], false)?;
    }
    corten(&["list"], false)?;
    corten(&["kill", "order-3", "KILL"], false)?;
    corten(&["delete", "--force", "order-3"], false)
}

/// Offsets into the program, in the order of first use.
#[derive(Default)]
struct Seen {
    known: HashSet<u64>,
    order: Vec<u64>,
}

impl Seen {
    fn follow(&mut self, mut command: Command, children: bool, functions: &[u64]) -> Result<()> {
        let line = format!("{command:?}");
        let status = step::follow(&mut command, children, functions, &mut |offset| {
            if self.known.insert(offset) {
                self.order.push(offset);
            }
        });
        let status = status.doing(|| format!("follow {line}"))?;
        if status == 0 {
            return Ok(());
        }
        Err(Error::Missing {
            what: format!("success of {line} (wait status {status:#x})"),
            hint: "try the command by itself",
        })
    }
}

/// What the offsets lie in, each once.
fn executed<'a>(sections: &'a BTreeMap<u64, Section>, offsets: &[u64]) -> Vec<&'a Section> {
    let mut seen = HashSet::new();
    let here = |offset: &u64| {
        let (start, section) = sections.range(..=offset).next_back()?;
        (offset - start < section.size && seen.insert(*start)).then_some(section)
    };
    offsets.iter().filter_map(here).collect()
}
