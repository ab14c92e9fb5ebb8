//! zsh: specifications for `_arguments`.

use std::fmt::Write;

use super::{
    COMMANDS, Command, Flag, GLOBAL_FLAGS, VERSION_FLAG, Words, argument, flags_of, globals_of, value,
};

pub fn script() -> String {
    let mut text = String::from("#compdef corten\n# Completion of corten's words for zsh.\n\n");
    text.push_str(CONTAINERS);
    text.push_str("_corten_commands() {\n    local -a commands=(\n");
    for command in COMMANDS.iter().filter(|c| c.last_word().is_none()) {
        let _ = writeln!(text, "        '{}:{}'", command.name, escaped(command.summary));
    }
    text.push_str("    )\n    _describe -t commands command commands\n}\n\n");
    text.push_str("_corten() {\n    local curcontext=$curcontext state line\n    typeset -A opt_args\n");
    text.push_str("    _arguments -C -s \\\n");
    for flag in GLOBAL_FLAGS.iter().chain([&super::HELP_FLAG, &VERSION_FLAG]) {
        specification(&mut text, flag, "        ");
    }
    text.push_str("        '1:command:_corten_commands' \\\n        '*::argument:->rest'\n");
    text.push_str("    [[ $state == rest ]] || return\n    case $line[1] in\n");
    for command in COMMANDS.iter().filter(|c| c.last_word().is_none()) {
        one(&mut text, command);
    }
    text.push_str("    esac\n}\n\n");
    // Autoloaded from a directory of $fpath, or sourced.
    text.push_str("if [[ $funcstack[1] == _corten ]]; then\n    _corten \"$@\"\nelse\n");
    text.push_str("    compdef _corten corten\nfi\n");
    text
}

fn one(text: &mut String, command: &Command) {
    let name = command.last_word().unwrap_or(command.name);
    if command.is_group(COMMANDS) {
        return group(text, command);
    }
    let _ = writeln!(text, "    {name})\n        _arguments -s \\");
    for flag in flags_of(command).chain(globals_of(command)) {
        specification(text, flag, "            ");
    }
    let words: Vec<&str> = command.arguments.split_whitespace().collect();
    for (index, word) in words.iter().enumerate() {
        let (number, colon) = match command.verbatim_after {
            Some(after) if index >= after => ("*".to_owned(), "::"),
            _ => ((index + 1).to_string(), ":"),
        };
        let action = match argument(command, index) {
            Words::Any => " ".to_owned(),
            words => action(words),
        };
        let word = escaped(word.trim_matches(['<', '>', '[', ']']));
        let _ = writeln!(text, "            '{number}{colon}{word}:{action}' \\");
        if number == "*" {
            break;
        }
    }
    text.push_str("            && return\n        ;;\n");
}

/// A verb whose second word has a specification of its own.
fn group(text: &mut String, command: &Command) {
    let _ = writeln!(text, "    {})\n        _arguments -C -s \\", command.name);
    let words: Vec<&str> = command.members(COMMANDS).filter_map(Command::last_word).collect();
    let _ = writeln!(text, "            '1:command:({})' \\", words.join(" "));
    text.push_str("            '*::argument:->member'\n        [[ $state == member ]] || return\n");
    text.push_str("        case $line[1] in\n");
    for member in command.members(COMMANDS) {
        one(text, member);
    }
    text.push_str("        esac\n        ;;\n");
}

/// `'(-b --bundle)'{-b,--bundle=}'[what it does]:dir:_directories'`
fn specification(text: &mut String, flag: &Flag, indent: &str) {
    let equals = if flag.value.is_some() { "=" } else { "" };
    let repeated = flag.help.contains("may be repeated");
    let names = match flag.short {
        Some(short) if repeated => format!("'*'{{-{}+,--{}{equals}}}", char::from(short), flag.long),
        Some(short) => {
            let (short, plus) = (char::from(short), if flag.value.is_some() { "+" } else { "" });
            format!("'(-{short} --{0})'{{-{short}{plus},--{0}{equals}}}", flag.long)
        }
        None if repeated => format!("'*'--{}{equals}", flag.long),
        None => format!("--{}{equals}", flag.long),
    };
    let value = match (flag.value, value(flag)) {
        (Some(name), Some(words)) => format!(":{}:{}", escaped(name), action(words)),
        _ => String::new(),
    };
    let _ = writeln!(text, "{indent}{names}'[{}]{value}' \\", escaped(flag.help));
}

fn action(words: Words) -> String {
    match words {
        Words::Any => String::new(),
        Words::File => "_files".to_owned(),
        Words::Directory => "_directories".to_owned(),
        Words::Container => "_corten_containers".to_owned(),
        Words::Command => "_corten_commands".to_owned(),
        Words::OneOf(words) => format!("({})", words.join(" ")),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' => out.push_str("'\\''"),
            '[' | ']' | ':' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

const CONTAINERS: &str = "\
_corten_containers() {
    local -a root containers
    [[ -n $opt_args[--root] ]] && root=(--root $opt_args[--root])
    containers=(${(f)\"$(corten $root list --quiet 2>/dev/null)\"})
    _describe -t containers container containers
}

";
