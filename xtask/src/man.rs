//! `cargo xtask man [DIR]`: the manual pages as files, for packages.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile};

/// Writes `corten.1` and one page for each command.
pub fn write(args: &[String]) -> Result<ExitCode> {
    let directory = match args {
        [] => host::workspace().join("man"),
        // Cargo runs this in the caller's directory.
        [directory] => env::current_dir().doing(|| "find the working directory".to_owned())?.join(directory),
        _ => return Err(Error::Usage),
    };
    fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
    let runtime = host::build("corten", Profile::Dev)?;
    let pages = pages(&runtime, &[], &directory)?;
    println!("{}: {pages} pages; try `man -l {0}/corten.1`", directory.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those of the commands that its help lists.
fn pages(runtime: &PathBuf, words: &[&str], directory: &Path) -> Result<usize> {
    let name = ["corten"].iter().chain(words).copied().collect::<Vec<_>>().join("-");
    let path = directory.join(format!("{name}.1"));
    let text = output(Command::new(runtime).args(["help", "--man"]).args(words))?;
    fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    let help = output(Command::new(runtime).args(words).arg("--help"))?;
    let mut count = 1;
    for command in commands(&help) {
        count += pages(runtime, &[words, &[command]].concat(), directory)?;
    }
    Ok(count)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().doing(|| "start corten".to_owned())?;
    host::succeeded(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first words of the lines between `Commands:` and the next empty line. A line that goes on is indented deeper.
fn commands(overview: &str) -> impl Iterator<Item = &str> {
    let list = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let entries = list.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    entries.filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_out_of_the_overview() {
        let overview = "Usage\n\nCommands:\n  run    start\n         and wait\n  help   explain\n\nGlobal flags:\n  --x\n";
        assert_eq!(super::commands(overview).collect::<Vec<_>>(), ["run", "help"]);
    }
}
