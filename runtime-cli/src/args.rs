//! The command line: tables of commands and flags, and the parser that reads them.
//!
//! The parser is our own because each process start counts (a clap parser costs 70 to 190 us of the 400 that a static
//! binary needs to start) and because it has to accept what callers of runc write: Go's `-flag` and `-flag=value`, flags
//! given twice, global flags on either side of the verb.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::suggest::nearest;

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Name after the two dashes.
    pub long: &'static str,
    /// Letter after one dash.
    pub short: Option<u8>,
    /// What the value is called in the help; a switch has none.
    pub value: Option<&'static str>,
    /// What it does, for a person.
    pub help: &'static str,
    /// What holds without the flag, for the help.
    pub default: Option<&'static str>,
    /// The only values that make sense, where there are few: shells offer them.
    pub choices: &'static [&'static str],
}

impl Flag {
    /// A flag that is there or not.
    pub const fn switch(long: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: None, help, default: None, choices: &[] }
    }

    /// A flag with a value.
    pub const fn value(long: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: Some(value), help, default: None, choices: &[] }
    }

    /// With a short form.
    pub const fn short(self, letter: u8) -> Flag {
        Flag { short: Some(letter), ..self }
    }

    /// With a default that the help tells.
    pub const fn default(self, default: &'static str) -> Flag {
        Flag { default: Some(default), ..self }
    }

    /// With the few values that it may have.
    pub const fn one_of(self, choices: &'static [&'static str]) -> Flag {
        Flag { choices, ..self }
    }
}

/// One verb.
#[derive(Debug)]
pub struct Command {
    /// The verb; of two words, such as `seccomp diff`, for one of a group.
    pub name: &'static str,
    /// One line for the list of commands.
    pub summary: &'static str,
    /// The arguments after the flags, as in `<container-id> [signal]`.
    pub arguments: &'static str,
    /// How many arguments there may be.
    pub count: std::ops::RangeInclusive<usize>,
    /// After that many arguments nothing is a flag any more: the rest belongs to somebody else.
    pub verbatim_after: Option<usize>,
    /// Its own flags. They win over global ones of the same name.
    pub flags: &'static [Flag],
    /// What it does, in a few sentences.
    pub details: &'static str,
    /// Lines to try.
    pub examples: &'static [&'static str],
    /// The commands that one wants next.
    pub see_also: &'static [&'static str],
    /// Carries it out and returns the exit code.
    pub run: fn(&Invocation) -> Result<u8, crate::Failure>,
}

impl Command {
    /// The commands of this group, among all; none if it is no group.
    pub fn members<'c>(&self, commands: &'c [Command]) -> impl Iterator<Item = &'c Command> {
        let name = self.name;
        commands.iter().filter(move |c| c.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
    }

    /// Whether the verb needs a second one.
    pub fn is_group(&self, commands: &[Command]) -> bool {
        self.members(commands).next().is_some()
    }

    /// The second word of a command of a group.
    pub fn last_word(&self) -> Option<&str> {
        self.name.split_once(' ').map(|(_, last)| last)
    }

    /// Its name as one word: `seccomp-diff`.
    pub fn key(&self) -> String {
        self.name.replace(' ', "-")
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Carry out a command.
    Run(Invocation),
    /// Explain a command, or all of them.
    Help(Option<&'static Command>),
    /// The same as a manual page.
    Manual(Option<&'static Command>),
    /// Say which version this is.
    Version,
}

/// A command with its flags and arguments.
#[derive(Debug)]
pub struct Invocation {
    /// Which one.
    pub command: &'static Command,
    /// The flags of the command.
    pub flags: Given,
    /// The global flags.
    pub globals: Given,
    /// The arguments that are no flags.
    pub arguments: Vec<OsString>,
}

/// Flags as given, in order.
#[derive(Debug, Default, Clone)]
pub struct Given(Vec<(&'static Flag, OsString)>);

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsageError {
    /// No such flag.
    #[error("unknown flag {flag}{}{}", of_command(*.command), did_you_mean("--", *.nearest))]
    UnknownFlag {
        /// As written.
        flag: String,
        /// Where.
        command: Option<&'static str>,
        /// What might be meant.
        nearest: Option<&'static str>,
    },
    /// The command line ends where a value should stand. Podman looks for `flag needs an argument`.
    #[error("flag needs an argument: {flag}")]
    MissingValue {
        /// As written.
        flag: String,
    },
    /// A value that makes no sense.
    #[error("invalid value {value:?} for --{flag}: expected {expected}")]
    InvalidValue {
        /// Name of the flag.
        flag: &'static str,
        /// As written.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// A descriptor that is to be passed on and is not there.
    #[error("invalid value \"{count}\" for --preserve-fds: descriptor {fd} is not open")]
    NotOpen {
        /// How many were asked for.
        count: u32,
        /// The first that is missing.
        fd: u64,
    },
    /// An argument, not a flag, that makes no sense.
    #[error("invalid value {value:?} for {what}: expected {expected}")]
    InvalidArgument {
        /// What it stands for.
        what: &'static str,
        /// As written.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// No such command.
    #[error("unknown command {name:?}{} (see `corten --help`)", did_you_mean("", *.nearest))]
    UnknownCommand {
        /// As written.
        name: String,
        /// What might be meant.
        nearest: Option<&'static str>,
    },
    /// No such command in a group.
    #[error("unknown command \"{group} {name}\"{} (see `corten {group} --help`)", did_you_mean("", *.nearest))]
    UnknownMember {
        /// The group.
        group: &'static str,
        /// As written.
        name: String,
        /// What might be meant.
        nearest: Option<&'static str>,
    },
    /// Fewer arguments than the command needs.
    #[error("{command} needs {missing} (usage: corten {command} [flags] {usage})")]
    TooFew {
        /// Which command.
        command: &'static str,
        /// The first one that is missing.
        missing: String,
        /// All of them.
        usage: &'static str,
    },
    /// More arguments than the command takes.
    #[error("{command}: unexpected argument {extra:?} (usage: corten {command} [flags] {usage})")]
    TooMany {
        /// Which command.
        command: &'static str,
        /// The first one too many.
        extra: String,
        /// What it takes.
        usage: &'static str,
    },
    /// Two flags, or a flag and an argument, that exclude each other; or a flag that needs another.
    #[error("{command}: {problem}")]
    Combination {
        /// Which command.
        command: &'static str,
        /// What does not go together.
        problem: &'static str,
    },
    /// Bytes that are not UTF-8 where a text is needed.
    #[error("{what} is not UTF-8: {value:?}")]
    NotUtf8 {
        /// Which flag or argument.
        what: &'static str,
        /// As written, as far as it can be shown.
        value: String,
    },
}

fn of_command(command: Option<&str>) -> String {
    command.map(|c| format!(" for `corten {c}`")).unwrap_or_default()
}

fn did_you_mean(dashes: &str, nearest: Option<&str>) -> String {
    nearest.map(|n| format!(", did you mean {dashes}{n}?")).unwrap_or_default()
}

/// A command line that was read as far as it makes sense.
#[derive(Debug)]
pub struct Parsed {
    /// The global flags, also if something else is wrong: the log flags say where to report that.
    pub globals: Given,
    /// What is asked for.
    pub request: Result<Request, UsageError>,
}

/// Reads the arguments after the program's name.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    globals: &'static [Flag],
    commands: &'static [Command],
) -> Parsed {
    let mut parser = Parser {
        arguments: arguments.into_iter(),
        global_flags: globals,
        commands,
        globals: Given::default(),
        command: None,
        flags: Given::default(),
        positional: Vec::new(),
    };
    let request = parser.request();
    Parsed { globals: parser.globals, request }
}

struct Parser<I> {
    arguments: I,
    global_flags: &'static [Flag],
    commands: &'static [Command],
    globals: Given,
    command: Option<&'static Command>,
    flags: Given,
    positional: Vec<OsString>,
}

/// A request that ends the reading early.
enum Step {
    GoOn,
    Done(Request),
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn request(&mut self) -> Result<Request, UsageError> {
        while let Some(argument) = self.arguments.next() {
            if argument == "--" {
                for rest in self.arguments.by_ref().collect::<Vec<_>>() {
                    self.argument(rest)?;
                }
                break;
            }
            let step = match argument.as_bytes() {
                [b'-', b'-', ..] => self.long(&argument)?,
                [b'-', _, ..] => self.short_or_go(&argument)?,
                _ => {
                    self.argument(argument)?;
                    self.take_verbatim();
                    Step::GoOn
                }
            };
            if let Step::Done(request) = step {
                return Ok(request);
            }
        }
        let Some(command) = self.command else { return Ok(Request::Help(None)) };
        if command.name == HELP {
            return self.help_about();
        }
        if command.is_group(self.commands) {
            return Ok(Request::Help(Some(command)));
        }
        self.check_count(command)?;
        let (flags, globals) = (std::mem::take(&mut self.flags), self.globals.clone());
        Ok(Request::Run(Invocation {
            command,
            flags,
            globals,
            arguments: std::mem::take(&mut self.positional),
        }))
    }

    /// The first one is the verb.
    fn argument(&mut self, argument: OsString) -> Result<(), UsageError> {
        if let Some(command) = self.command {
            if command.is_group(self.commands) {
                self.command = Some(self.member(command, &argument)?);
            } else {
                self.positional.push(argument);
            }
            return Ok(());
        }
        let name = if argument == "h" { OsStr::new(HELP) } else { argument.as_os_str() };
        self.command = self.commands.iter().find(|c| name == c.name);
        match self.command {
            Some(_) => Ok(()),
            None => Err(self.unknown_command(name)),
        }
    }

    fn unknown_command(&self, name: &OsStr) -> UsageError {
        let name = name.to_string_lossy().into_owned();
        let nearest = nearest(&name, self.commands.iter().map(|c| c.name));
        UsageError::UnknownCommand { name, nearest }
    }

    /// The command of a group that the second word names.
    fn member(&self, group: &Command, word: &OsStr) -> Result<&'static Command, UsageError> {
        let found = group.members(self.commands).find(|c| c.last_word().is_some_and(|last| word == last));
        found.ok_or_else(|| {
            let word = word.to_string_lossy();
            let nearest = nearest(&word, group.members(self.commands).filter_map(Command::last_word));
            UsageError::UnknownMember { group: group.name, name: word.into_owned(), nearest }
        })
    }

    /// `corten exec ID ls -l`: `-l` is for ls. A `--` directly behind the id is only a separator.
    fn take_verbatim(&mut self) {
        let limit = self.command.and_then(|c| c.verbatim_after);
        if limit.is_some_and(|limit| self.positional.len() >= limit) {
            let rest = self.arguments.by_ref();
            match rest.next() {
                Some(first) if first == "--" => {}
                first => self.positional.extend(first),
            }
            self.positional.extend(rest);
        }
    }

    /// `--name`, `--name=value`, `--name value`.
    fn long(&mut self, argument: &OsStr) -> Result<Step, UsageError> {
        let (name, value) = split(&argument.as_bytes()[2..]);
        match self.find_long(name) {
            Some(found) => self.take(found, argument, value),
            None => self
                .special(name)
                .map_or_else(|| Err(self.unknown_flag(argument, name)), |r| Ok(Step::Done(r))),
        }
    }

    /// `-n`, `-n value`, `-nvalue`, `-n=value`, `-abc`, and Go's `-name`, `-name=value`, `-name value`.
    fn short_or_go(&mut self, argument: &OsStr) -> Result<Step, UsageError> {
        let bytes = &argument.as_bytes()[1..];
        let (name, value) = split(bytes);
        if name.len() > 1
            && let Some(found) = self.find_long(name)
        {
            return self.take(found, argument, value);
        }
        if let Some(request) = self.special(name) {
            return Ok(Step::Done(request));
        }
        for (i, letter) in bytes.iter().enumerate() {
            let rest = &bytes[i + 1..];
            let Some(found) = self.find_short(*letter) else {
                return Err(self.unknown_flag(argument, name));
            };
            let value = match rest {
                [b'=', value @ ..] => Some(value),
                [] => None,
                // The rest of the word is the value, if there is to be one, and more letters otherwise.
                rest if found.0.value.is_some() => Some(rest),
                _ => {
                    self.take(found, argument, None)?;
                    continue;
                }
            };
            return self.take(found, argument, value);
        }
        Ok(Step::GoOn)
    }

    fn take(
        &mut self,
        (flag, is_global): (&'static Flag, bool),
        written: &OsStr,
        value: Option<&[u8]>,
    ) -> Result<Step, UsageError> {
        let value = match (flag.value, value) {
            (Some(_), Some(value)) => OsString::from_vec(value.to_vec()),
            (Some(_), None) => self
                .arguments
                .next()
                .ok_or_else(|| UsageError::MissingValue { flag: written.to_string_lossy().into_owned() })?,
            (None, None) => OsString::from("true"),
            (None, Some(value)) => OsString::from(if go_bool(flag, value)? { "true" } else { "false" }),
        };
        if is_global { &mut self.globals } else { &mut self.flags }.0.push((flag, value));
        Ok(Step::GoOn)
    }

    fn find_long(&self, name: &[u8]) -> Option<(&'static Flag, bool)> {
        self.find(|flag| flag.long.as_bytes() == name)
    }

    fn find_short(&self, letter: u8) -> Option<(&'static Flag, bool)> {
        self.find(|flag| flag.short == Some(letter))
    }

    fn find(&self, is_it: impl Fn(&Flag) -> bool) -> Option<(&'static Flag, bool)> {
        let own = self.command.map(|c| c.flags).unwrap_or_default();
        let own = own.iter().find(|f| is_it(f)).map(|f| (f, false));
        own.or_else(|| self.global_flags.iter().find(|f| is_it(f)).map(|f| (f, true)))
    }

    /// Help and version, which are not flags that one asks about later.
    fn special(&self, name: &[u8]) -> Option<Request> {
        match (name, self.command) {
            (b"help" | b"h" | b"?", command) => Some(Request::Help(command)),
            (b"version" | b"v" | b"V", None) => Some(Request::Version),
            _ => None,
        }
    }

    fn unknown_flag(&self, argument: &OsStr, name: &[u8]) -> UsageError {
        let own = self.command.map(|c| c.flags).unwrap_or_default();
        let known = own.iter().chain(self.global_flags).map(|f| f.long);
        let nearest = nearest(&String::from_utf8_lossy(name), known);
        let (written, _) = split(argument.as_bytes());
        UsageError::UnknownFlag {
            flag: String::from_utf8_lossy(written).into_owned(),
            command: self.command.map(|c| c.name),
            nearest,
        }
    }

    fn help_about(&self) -> Result<Request, UsageError> {
        let mut about = match self.positional.first() {
            None => None,
            Some(name) => match self.commands.iter().find(|c| name == c.name) {
                None => return Err(self.unknown_command(name)),
                found => found,
            },
        };
        if let (Some(group), Some(word)) = (about, self.positional.get(1)) {
            about = Some(self.member(group, word)?);
        }
        Ok(if self.flags.is_on("man") { Request::Manual(about) } else { Request::Help(about) })
    }

    fn check_count(&self, command: &'static Command) -> Result<(), UsageError> {
        let (given, usage) = (self.positional.len(), command.arguments);
        if given < *command.count.start() {
            let missing = usage.split_whitespace().nth(given).unwrap_or(usage).to_owned();
            return Err(UsageError::TooFew { command: command.name, missing, usage });
        }
        match self.positional.get(*command.count.end()) {
            Some(extra) if command.verbatim_after.is_none() => Err(UsageError::TooMany {
                command: command.name,
                extra: extra.to_string_lossy().into_owned(),
                usage,
            }),
            _ => Ok(()),
        }
    }
}

/// The command that explains the others.
pub const HELP: &str = "help";

/// Flags that the parser itself answers.
pub const PARSER_FLAGS: &[Flag] = &[
    Flag::switch("help", "explain corten, or the command that it is given with").short(b'h'),
    Flag::switch("version", "print the version").short(b'v'),
];

fn split(argument: &[u8]) -> (&[u8], Option<&[u8]>) {
    match argument.iter().position(|b| *b == b'=') {
        Some(at) => (&argument[..at], Some(&argument[at + 1..])),
        None => (argument, None),
    }
}

/// Go's `strconv.ParseBool`: callers of runc write `--systemd-cgroup=true`.
fn go_bool(flag: &'static Flag, value: &[u8]) -> Result<bool, UsageError> {
    match value {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Ok(false),
        _ => Err(UsageError::InvalidValue {
            flag: flag.long,
            value: String::from_utf8_lossy(value).into_owned(),
            expected: "true or false",
        }),
    }
}

impl Given {
    /// The value that was given last. An empty one counts as not given, as in runc.
    pub fn last(&self, long: &str) -> Option<&OsStr> {
        let last = self.0.iter().rev().find(|(flag, _)| flag.long == long);
        last.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, long: &str) -> bool {
        self.last(long).is_some_and(|value| value == "true")
    }

    /// The value that was given last, as a text.
    pub fn text(&self, long: &'static str) -> Result<Option<&str>, UsageError> {
        self.last(long).map(|value| utf8(long, value)).transpose()
    }

    /// All values, as texts.
    pub fn texts(&self, long: &'static str) -> Result<Vec<String>, UsageError> {
        let all = self.0.iter().filter(|(flag, _)| flag.long == long);
        all.map(|(_, value)| utf8(long, value).map(str::to_owned)).collect()
    }

    /// The value that was given last, as something that is written as text.
    pub fn parsed<T: std::str::FromStr>(
        &self,
        long: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, UsageError> {
        let Some(value) = self.text(long)? else { return Ok(None) };
        let wrong = |_| UsageError::InvalidValue { flag: long, value: value.to_owned(), expected };
        value.parse().map(Some).map_err(wrong)
    }
}

impl Invocation {
    /// The argument with this index, as a text. The parser has counted those that must be there.
    pub fn argument(&self, index: usize, what: &'static str) -> Result<&str, UsageError> {
        let argument = self.arguments.get(index).map_or(OsStr::new(""), OsString::as_os_str);
        utf8(what, argument)
    }

    /// The container's name, which most commands have as their first argument.
    pub fn id(&self) -> Result<&str, UsageError> {
        self.argument(0, "the container id")
    }
}

/// Bytes as a text.
pub fn utf8<'a>(what: &'static str, value: &'a OsStr) -> Result<&'a str, UsageError> {
    let wrong = || UsageError::NotUtf8 { what, value: value.to_string_lossy().into_owned() };
    value.to_str().ok_or_else(wrong)
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
