//! Manual pages, written from the tables of the commands: troff with the macros of man(7).

use std::fmt::Write;

use crate::args::{Command, Flag, PARSER_FLAGS};
use crate::commands::{COMMANDS, GLOBAL_FLAGS};
use crate::help::INTRODUCTION;

/// The page about one command, `corten-COMMAND(1)`, or about corten itself.
pub fn page(command: Option<&Command>) -> String {
    let mut page = Page::default();
    match command {
        Some(command) => page.command(command),
        None => page.overview(),
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn overview(&mut self) {
        self.title("corten", "OCI container runtime");
        self.section("SYNOPSIS");
        self.synopsis("corten", "[global flags] <command> [flags] [arguments]");
        self.section("DESCRIPTION");
        self.text(INTRODUCTION);
        self.section("COMMANDS");
        for command in COMMANDS {
            self.0.push_str(".TP\n");
            let _ = writeln!(self.0, ".BR corten\\-{} (1)", escaped(&command.key()));
            self.text(command.summary);
        }
        self.section("GLOBAL FLAGS");
        self.text("They stand before or after the command.");
        self.flags(GLOBAL_FLAGS.iter().chain(PARSER_FLAGS));
        self.section("EXIT STATUS");
        self.text(
            "0 for success and 1 for a failure, which is told in one line on standard error. run and exec give the \
             exit status of the program, or 128 plus the number of the signal that ended it; exec gives 255 if the \
             program could not be started.",
        );
        self.section("ENVIRONMENT");
        for (variable, meaning) in ENVIRONMENT {
            let _ = writeln!(self.0, ".TP\n.B {}", escaped(variable));
            self.text(meaning);
        }
        self.section("SEE ALSO");
        self.also(COMMANDS.iter().map(|c| c.name));
    }

    fn command(&mut self, command: &Command) {
        self.title(&format!("corten-{}", command.key()), command.summary);
        self.section("SYNOPSIS");
        let flags = if command.flags.is_empty() { "" } else { "[flags] " };
        self.synopsis(&format!("corten {}", command.name), &format!("{flags}{}", command.arguments));
        self.section("DESCRIPTION");
        self.text(command.details);
        if !command.flags.is_empty() {
            self.section("FLAGS");
            self.flags(command.flags.iter());
        }
        self.section("GLOBAL FLAGS");
        self.text("Those of corten(1) may be given, too, before or after the command.");
        self.section("EXAMPLES");
        for example in command.examples {
            let _ = writeln!(self.0, ".PP\n.nf\n.RS 4\n{}\n.RE\n.fi", escaped(example));
        }
        self.section("SEE ALSO");
        self.also(command.see_also.iter().copied());
    }

    fn title(&mut self, name: &str, summary: &str) {
        let version = env!("CARGO_PKG_VERSION");
        let upper = escaped(&name.to_uppercase());
        let _ = writeln!(self.0, ".TH {upper} 1 \"\" \"corten {version}\" \"corten manual\"");
        self.section("NAME");
        let _ = writeln!(self.0, "{} \\- {}", escaped(name), escaped(summary));
    }

    fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, ".SH {name}");
    }

    fn synopsis(&mut self, name: &str, arguments: &str) {
        let _ = writeln!(self.0, ".B {}", escaped(name));
        if !arguments.is_empty() {
            self.text(arguments);
        }
    }

    /// A line break in `text` begins a paragraph.
    fn text(&mut self, text: &str) {
        for (i, paragraph) in text.split('\n').filter(|p| !p.is_empty()).enumerate() {
            self.0.push_str(if i > 0 { ".PP\n" } else { "" });
            // A long path may be broken behind a slash.
            let _ = writeln!(self.0, "{}", escaped(paragraph).replace('/', "/\\:"));
        }
    }

    fn flags<'a>(&mut self, flags: impl Iterator<Item = &'a Flag>) {
        for flag in flags {
            self.0.push_str(".TP\n");
            let short = flag.short.map(|s| format!("\\-{}\\fR, \\fB", char::from(s))).unwrap_or_default();
            let value = flag.value.map(|v| format!(" \\fI{}\\fR", escaped(v))).unwrap_or_default();
            let _ = writeln!(self.0, "\\fB{short}\\-\\-{}\\fR{value}", escaped(flag.long));
            let default = flag.default.map(|d| format!(" (default: {d})")).unwrap_or_default();
            self.text(&format!("{}{default}", flag.help));
        }
    }

    fn also<'a>(&mut self, commands: impl Iterator<Item = &'a str>) {
        self.0.push_str(".BR corten (1)");
        for command in commands {
            let _ = write!(self.0, ",\n.BR corten\\-{} (1)", escaped(&command.replace(' ', "-")));
        }
        self.0.push('\n');
    }
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("XDG_RUNTIME_DIR", "Where the state of an ordinary user's containers is kept, in its directory corten."),
    (
        "LISTEN_FDS",
        "How many sockets of socket activation, from descriptor 3 on, are passed to the container.",
    ),
    (
        "NOTIFY_SOCKET",
        "Where the service manager listens. create, run and start give the container a socket of its own, and what \
         its program says there of itself is passed on (sd_notify(3)); run -d and start wait until it is ready.",
    ),
];

/// What troff takes as it is written. Names and flags are to be found and copied: their hyphens are minus signs.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (i, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            // At the beginning of a line, it would call a macro.
            '.' if i == 0 => out.push_str("\\&."),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};

    use super::*;

    #[test]
    fn every_command_and_flag_has_its_place() {
        let overview = page(None);
        for flag in GLOBAL_FLAGS.iter().chain(PARSER_FLAGS) {
            assert!(overview.contains(&format!("\\-\\-{}\\fR", escaped(flag.long))), "--{}", flag.long);
        }
        for command in COMMANDS {
            assert!(
                overview.contains(&format!(".BR corten\\-{} (1)\n", escaped(&command.key()))),
                "{}",
                command.name
            );
            let page = page(Some(command));
            for flag in command.flags {
                let entry = format!("\\-\\-{}\\fR", escaped(flag.long));
                assert!(page.contains(&entry), "{} --{}", command.name, flag.long);
            }
        }
    }

    #[test]
    fn nothing_is_taken_for_a_request() {
        assert_eq!(escaped(".x --a 'b' \\n …"), "\\&.x \\-\\-a \\(aqb\\(aq \\en \\[u2026]");
        let pages = COMMANDS.iter().map(|c| page(Some(c))).chain([page(None)]);
        for line in pages.flat_map(|p| p.lines().map(str::to_owned).collect::<Vec<_>>()) {
            assert!(line.is_ascii() && !line.starts_with('\'') && !line.is_empty(), "{line}");
        }
    }

    #[test]
    fn groff_has_no_complaints() {
        for about in COMMANDS.iter().map(Some).chain([None]) {
            let mut groff = Process::new("groff");
            groff.args(["-ww", "-z", "-man", "-Tutf8"]).stdin(Stdio::piped()).stderr(Stdio::piped());
            let Ok(mut child) = groff.spawn() else {
                println!("groff is not installed: the pages were not checked");
                return;
            };
            child.stdin.take().unwrap().write_all(page(about).as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{:?}: {said}", about.map(|c| c.name));
        }
    }
}
