//! `hooks` (config.md#posix-platform-hooks).

use super::at::At;
use super::{Check, Context, text};
use crate::config::{Hook, Hooks};
use crate::error::Problem;

const AT: At<'_> = At::top("hooks");

/// Every hook has an absolute path, text that can be passed to execve(2), and a timeout that can elapse.
pub(super) fn hooks(cx: &Context<'_>) -> Check {
    let Some(hooks) = &cx.config.hooks else { return Ok(()) };
    for (kind, hooks) in by_kind(hooks) {
        let at = AT.field(kind);
        hooks.iter().enumerate().try_for_each(|(i, h)| hook(h, at.index(i)))?;
    }
    Ok(())
}

/// The six lists with the names that they have in `config.json`, in the order in which they run.
fn by_kind(hooks: &Hooks) -> [(&'static str, &[Hook]); 6] {
    [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ]
}

fn hook(hook: &Hook, at: At<'_>) -> Check {
    text::absolute(&hook.path, at.field("path"))?;
    text::c_strings(&hook.args, at.field("args"))?;
    text::c_strings(&hook.env, at.field("env"))?;
    match hook.timeout {
        Some(value) if value <= 0 => Err(at
            .field("timeout")
            .err(Problem::OutOfRange { value: value.into(), range: "at least 1 second" })),
        _ => Ok(()),
    }
}
