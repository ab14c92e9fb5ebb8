//! fish: one `complete` command for each word.

use std::fmt::Write;

use super::{COMMANDS, Command, Flag, GLOBAL_FLAGS, VERSION_FLAG, Words, argument, flags_of, value, verbs};

pub fn script() -> String {
    let mut text = String::from("# Completion of corten's words for fish.\n\n");
    text.push_str(FUNCTIONS);
    text.push_str("complete -c corten -f\n");
    for flag in GLOBAL_FLAGS {
        flag_line(&mut text, None, flag);
    }
    flag_line(&mut text, Some("__fish_use_subcommand"), &super::HELP_FLAG);
    flag_line(&mut text, Some("__fish_use_subcommand"), &VERSION_FLAG);
    for command in COMMANDS.iter().filter(|c| c.last_word().is_none()) {
        let (name, summary) = (command.name, quoted(command.summary));
        let _ = writeln!(text, "complete -c corten -n __fish_use_subcommand -a {name} -d {summary}");
    }
    for command in COMMANDS {
        let condition = seen(command);
        for flag in flags_of(command) {
            flag_line(&mut text, Some(&condition), flag);
        }
        for index in 0..command.arguments.split_whitespace().count() {
            let words = offered(argument(command, index));
            if let Some(words) = words {
                let word = command.last_word().unwrap_or(command.name);
                let condition = format!("'__corten_argument {word} {index}'");
                let _ = writeln!(text, "complete -c corten -n {condition} {words}");
            }
        }
    }
    text
}

/// The condition that the command, of one word or of two, is there.
fn seen(command: &Command) -> String {
    let words = command.name.split(' ').map(|word| format!("__fish_seen_subcommand_from {word}"));
    format!("'{}'", words.collect::<Vec<_>>().join("; and "))
}

fn flag_line(text: &mut String, condition: Option<&str>, flag: &Flag) {
    text.push_str("complete -c corten");
    if let Some(condition) = condition {
        let _ = write!(text, " -n {condition}");
    }
    let _ = write!(text, " -l {}", flag.long);
    if let Some(short) = flag.short {
        let _ = write!(text, " -s {}", char::from(short));
    }
    if let Some(words) = value(flag) {
        let _ = write!(text, " -r {}", offered(words).unwrap_or_else(|| "-f".to_owned()));
    }
    let _ = writeln!(text, " -d {}", quoted(flag.help));
}

fn offered(words: Words) -> Option<String> {
    Some(match words {
        Words::Any => return None,
        Words::File => "-F".to_owned(),
        Words::Directory => "-f -a '(__fish_complete_directories)'".to_owned(),
        Words::Container => "-a '(__corten_containers)'".to_owned(),
        Words::Command => {
            format!("-a '{}'", verbs().collect::<Vec<_>>().join(" "))
        }
        Words::OneOf(words) => format!("-f -a '{}'", words.join(" ")),
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const FUNCTIONS: &str = r#"function __corten_containers
    set -l words (commandline -opc)
    set -l root
    for i in (seq (count $words))
        if test "$words[$i]" = --root; and set -q words[(math $i + 1)]
            set root --root $words[(math $i + 1)]
        else if string match -q -- '--root=*' $words[$i]
            set root $words[$i]
        end
    end
    corten $root list --quiet 2>/dev/null
end

# Whether the word at the cursor is argument $argv[2] of the command $argv[1]. Values of flags do not count.
function __corten_argument
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- $argv[1] $words); or return 1
    set -l count 0
    set -l options (string match -r -- '^-' $words[(math $at + 1)..-2])
    set -l all (count $words[(math $at + 1)..-2])
    test (math $all - (count $options)) -eq $argv[2]
end

"#;
