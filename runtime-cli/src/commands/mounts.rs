use std::path::Path;

use libcontainer::ops::{self, HotMounts};

use super::store;
use crate::Failure;
use crate::args::{Command, Invocation, UsageError, utf8};

pub const COMMAND: Command = Command {
    name: "mounts",
    summary: "add mounts to a running container, or remove them",
    arguments: "add|remove <container-id> <file>",
    count: 3..=3,
    verbatim_after: None,
    flags: &[],
    details: "The file is JSON with the member `mounts`, as in config.json. `add` makes these mounts in the container, in \
              order; `remove` unmounts what is at their destinations, the last one first. Sources are paths of the host.",
    examples: &[
        r#"echo '{"mounts":[{"destination":"/data","type":"tmpfs"}]}' > m.json"#,
        "corten mounts add c1 m.json",
        "corten mounts remove c1 m.json",
    ],
    see_also: &["exec", "update"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let arguments = &invocation.arguments;
    let verb = utf8("the first argument", &arguments[0])?;
    let what = match verb {
        "add" => HotMounts::Add,
        "remove" => HotMounts::Remove,
        _ => {
            let (what, value) = ("the first argument", verb.to_owned());
            return Err(UsageError::InvalidArgument { what, value, expected: "add or remove" }.into());
        }
    };
    let id = utf8("the container's id", &arguments[1])?;
    ops::mounts(&store(invocation)?, id, what, Path::new(&arguments[2]))?;
    Ok(0)
}
