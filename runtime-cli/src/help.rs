//! Help, written from the tables of the commands.

use std::fmt::Write;

use crate::args::{Command, Flag, PARSER_FLAGS};
use crate::commands::{COMMANDS, GLOBAL_FLAGS};
use crate::{Failure, output};

/// What `--version` prints. go-runc and CRI-O parse its lines.
pub const VERSION: &str = concat!(
    "corten version ",
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("CORTEN_COMMIT"),
    "\nspec: 1.3.0\n"
);

/// What corten is.
pub const INTRODUCTION: &str = "corten runs containers: it takes a bundle (a directory with a config.json and a root \
                                filesystem, as the OCI runtime specification describes it) and starts it. Its \
                                commands and flags are those of runc.";

const WIDTH: usize = 80;

/// Explains one command, or all of them.
pub fn print(command: Option<&Command>) -> Result<(), Failure> {
    output::print(&command.map_or_else(overview, page))
}

fn overview() -> String {
    let mut text = String::new();
    wrap(&mut text, 0, 0, INTRODUCTION);
    text.push_str("\nUsage: corten [global flags] <command> [flags] [arguments]\n\nCommands:\n");
    for command in COMMANDS.iter().filter(|c| c.last_word().is_none()) {
        entry(&mut text, command.name, 12, command.summary);
    }
    text.push_str("\nGlobal flags, before or after the command:\n");
    flags(&mut text, GLOBAL_FLAGS.iter().chain(PARSER_FLAGS));
    text.push_str(
        "\nExample, from nothing to a shell in a container:\n\
         \x20 mkdir -p /tmp/demo/rootfs && cd /tmp/demo\n\
         \x20 cp /bin/busybox rootfs/ && corten spec\n\
         \x20 sed -i 's|\"sh\"|\"/busybox\", \"sh\"|' config.json\n\
         \x20 corten run demo\n\n\
         More about a command: corten <command> --help\n",
    );
    text
}

/// The help of one command.
pub fn page(command: &Command) -> String {
    let mut text = String::from("Usage: corten ");
    text.push_str(command.name);
    for part in [if command.flags.is_empty() { "" } else { "[flags]" }, command.arguments] {
        if !part.is_empty() {
            text.push(' ');
            text.push_str(part);
        }
    }
    text.push_str("\n\n");
    wrap(&mut text, 0, 0, command.details);
    if command.is_group(COMMANDS) {
        text.push_str("\nCommands:\n");
        for member in command.members(COMMANDS) {
            entry(&mut text, member.last_word().unwrap_or_default(), 12, member.summary);
        }
    }
    if !command.flags.is_empty() {
        text.push_str("\nFlags:\n");
        flags(&mut text, command.flags.iter());
    }
    if let [_, ..] = command.examples {
        text.push_str(if command.examples.len() == 1 { "\nExample:\n" } else { "\nExamples:\n" });
        for example in command.examples {
            let _ = writeln!(text, "  {example}");
        }
    }
    if let [_, ..] = command.see_also {
        let also: Vec<String> = command.see_also.iter().map(|c| format!("corten {c}")).collect();
        let _ = writeln!(text, "\nSee also: {}", also.join(", "));
    }
    text.push_str("Global flags (--root, --log, --debug …): corten --help\n");
    text
}

fn flags<'a>(text: &mut String, flags: impl Iterator<Item = &'a Flag> + Clone) {
    let names: Vec<String> = flags.clone().map(flag_name).collect();
    let column = names.iter().map(String::len).max().unwrap_or(0).min(34) + 2;
    for (flag, name) in flags.zip(&names) {
        let default = flag.default.map(|d| format!(" (default: {d})")).unwrap_or_default();
        entry(text, name, column, &format!("{}{default}", flag.help));
    }
}

fn flag_name(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |s| format!("-{}, ", char::from(s)));
    let value = flag.value.map(|v| format!(" <{v}>")).unwrap_or_default();
    format!("{short}--{}{value}", flag.long)
}

fn entry(text: &mut String, name: &str, column: usize, explanation: &str) {
    let _ = write!(text, "  {name:column$}");
    let used = 2 + name.len().max(column);
    wrap(text, used, 2 + column, explanation);
}

/// Appends `words` and a line break, broken into lines that begin at `indent`. `used` columns are taken already.
/// Line breaks in `words` stay.
fn wrap(text: &mut String, mut used: usize, indent: usize, words: &str) {
    for (i, paragraph) in words.split('\n').enumerate() {
        if i > 0 {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', if paragraph.is_empty() { 0 } else { indent }));
            used = indent;
        }
        let mut first = true;
        for word in paragraph.split(' ') {
            let length = word.chars().count();
            if !first && used + 1 + length > WIDTH {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                used = indent;
            } else if !first {
                text.push(' ');
                used += 1;
            }
            text.push_str(word);
            used += length;
            first = false;
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_fits_a_terminal_and_has_an_example() {
        for command in COMMANDS {
            let page = page(command);
            for line in page.lines() {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", command.name);
                assert_eq!(line, line.trim_end(), "{}", command.name);
            }
            assert!(!command.examples.is_empty(), "{}", command.name);
            assert!(command.summary.len() < 66 && !command.summary.ends_with('.'), "{}", command.name);
            for also in command.see_also {
                assert!(COMMANDS.iter().any(|c| c.name == *also), "{}: {also}", command.name);
            }
        }
        for line in overview().lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn no_flag_twice_in_one_command() {
        for command in COMMANDS {
            for (i, flag) in command.flags.iter().enumerate() {
                let rest = &command.flags[i + 1..];
                assert!(!rest.iter().any(|f| f.long == flag.long), "{} --{}", command.name, flag.long);
                let same_short = |f: &Flag| f.short.is_some() && f.short == flag.short;
                assert!(!rest.iter().any(same_short), "{} --{}", command.name, flag.long);
            }
        }
    }
}
