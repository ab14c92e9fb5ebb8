//! `linux.seccomp.listenerPath` and `listenerMetadata`. The filter itself is checked where it is compiled.

use super::at::At;
use super::{Check, Context, text};
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");
const AT: At<'_> = LINUX.field("seccomp");

/// Metadata needs somebody to be sent to.
pub(super) fn listener(cx: &Context<'_>) -> Check {
    let Some(seccomp) = &cx.linux.seccomp else { return Ok(()) };
    let path = seccomp.listener_path.as_deref().filter(|path| !path.is_empty());
    path.map_or(Ok(()), |path| text::c_string(path, AT.field("listenerPath")))?;
    let metadata = seccomp.listener_metadata.as_deref().is_some_and(|metadata| !metadata.is_empty());
    if metadata && path.is_none() {
        return Err(AT.field("listenerPath").err(Problem::Missing { why: "with listenerMetadata" }));
    }
    Ok(())
}
