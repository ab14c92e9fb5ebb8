//! bash: a function that looks at the words so far, and tables in `case` statements.

use std::fmt::Write;

use super::{
    COMMANDS, Command, Flag, GLOBAL_FLAGS, VERSION_FLAG, Words, argument, flags_of, globals_of, value, verbs,
};

pub fn script() -> String {
    let mut text = String::from("# Completion of corten's words for bash.\n\n");
    flags_function(&mut text);
    values_function(&mut text);
    arguments_function(&mut text);
    text.push_str(REST);
    text
}

/// `_corten_flags COMMAND`: its flags.
fn flags_function(text: &mut String) {
    text.push_str("_corten_flags() {\n    case $1 in\n");
    for command in COMMANDS {
        let flags = flags_of(command).chain(globals_of(command)).flat_map(names).collect::<Vec<_>>();
        let _ = writeln!(text, "    {}) echo '{}' ;;", command.key(), flags.join(" "));
    }
    let globals = GLOBAL_FLAGS.iter().chain([&super::HELP_FLAG, &VERSION_FLAG]).flat_map(names);
    let _ = writeln!(text, "    *) echo '{}' ;;\n    esac\n}}\n", globals.collect::<Vec<_>>().join(" "));
}

/// `_corten_value COMMAND FLAG`: what its value is; nothing for a switch.
fn values_function(text: &mut String) {
    text.push_str("_corten_value() {\n    case $1:$2 in\n");
    for command in COMMANDS {
        for flag in command.flags {
            row(text, &command.key(), flag);
        }
    }
    for flag in GLOBAL_FLAGS {
        row(text, "*", flag);
    }
    text.push_str("    esac\n}\n\n");
}

fn row(text: &mut String, command: &str, flag: &Flag) {
    let patterns: Vec<String> = names(flag).map(|name| format!("{command}:{name}")).collect();
    let words = value(flag).map(written).unwrap_or_default();
    let _ = writeln!(text, "    {}) echo '{words}' ;;", patterns.join("|"));
}

/// `_corten_argument COMMAND INDEX`: what may stand there.
fn arguments_function(text: &mut String) {
    text.push_str("_corten_argument() {\n    case $1:$2 in\n");
    for command in COMMANDS {
        for index in 0..command.arguments.split_whitespace().count() {
            if argument(command, index) != Words::Any {
                let words = written(argument(command, index));
                let _ = writeln!(text, "    {}:{index}) echo '{words}' ;;", command.key());
            }
        }
    }
    let verbatim = COMMANDS.iter().filter(|c| c.verbatim_after.is_some()).map(Command::key);
    let groups = COMMANDS.iter().filter(|c| c.is_group(COMMANDS)).map(Command::key);
    let _ = writeln!(
        text,
        "    esac\n}}\n\n_corten_verbatim=' {} '\n_corten_groups=' {} '\n",
        verbatim.collect::<Vec<_>>().join(" "),
        groups.collect::<Vec<_>>().join(" ")
    );
}

fn names(flag: &Flag) -> impl Iterator<Item = String> {
    let short = flag.short.map(|s| format!("-{}", char::from(s)));
    [format!("--{}", flag.long)].into_iter().chain(short)
}

fn written(words: Words) -> String {
    match words {
        Words::Any => "any".to_owned(),
        Words::File => "file".to_owned(),
        Words::Directory => "directory".to_owned(),
        Words::Container => "container".to_owned(),
        Words::Command => {
            format!("words {}", verbs().collect::<Vec<_>>().join(" "))
        }
        Words::OneOf(words) => format!("words {}", words.join(" ")),
    }
}

const REST: &str = r#"_corten() {
    local cur=${COMP_WORDS[COMP_CWORD]} command= count=0 flag= kind= word i
    local -a root=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $flag ]]; then
            # bash makes three words of --flag=value.
            [[ $word == = ]] && continue
            [[ $flag == --root ]] && root=(--root "$word")
            flag=
        elif [[ $word == -* ]]; then
            [[ -n $(_corten_value "$command" "$word") ]] && flag=$word
        elif [[ -z $command ]]; then
            command=$word
        elif [[ $_corten_groups == *" $command "* ]]; then
            command=$command-$word
        else
            count=$((count + 1))
            # The rest belongs to the program inside.
            [[ $_corten_verbatim == *" $command "* ]] && return
        fi
    done
    if [[ -n $flag ]]; then
        [[ $cur == = ]] && cur=
        kind=$(_corten_value "$command" "$flag")
    elif [[ $cur == -* ]]; then
        kind="words $(_corten_flags "$command")"
    elif [[ -z $command ]]; then
        kind=$(_corten_argument help 0)
    else
        kind=$(_corten_argument "$command" "$count")
    fi
    local IFS=$'\n'
    case $kind in
    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
    directory) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
    container) COMPREPLY=($(compgen -W "$(corten "${root[@]}" list --quiet 2>/dev/null)" -- "$cur")) ;;
    words*) kind=${kind#words }; COMPREPLY=($(compgen -W "${kind// /$'\n'}" -- "$cur")) ;;
    esac
}

complete -F _corten corten
"#;
