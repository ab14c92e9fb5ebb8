//! The document itself: version, root, annotations (config.md).

use super::at::At;
use super::{Check, Context, text};
use crate::config::annotations::{MOUNT_CONTEXT, MOUNT_CONTEXTS};
use crate::error::Problem;

/// `ociVersion`: a SemVer 2.0.0 version with major 1.
///
/// Any 1.x is accepted, later ones, pre-releases and builds included: engines write the version of the library that
/// they were built with (`1.2.0-rc.1`, `1.3.0+dev`), not the one whose features they use. A member that is newer than
/// this runtime is an unknown member, and those are ignored as the specification says.
pub(super) fn oci_version(cx: &Context<'_>) -> Check {
    const AT: At<'_> = At::top("ociVersion");
    let version = &cx.config.oci_version;
    if version.is_empty() {
        return Err(AT.err(Problem::Empty));
    }
    let problem = match major(version) {
        Some(1) => return Ok(()),
        Some(_) => Problem::Unknown { value: version.clone(), expected: "a version 1.x" },
        None => Problem::Malformed { value: version.clone(), expected: "a version such as 1.2.0" },
    };
    Err(AT.err(problem))
}

/// The major number of a SemVer version, if it is one.
fn major(version: &str) -> Option<u64> {
    let identifiers = |text: &str, numeric_zeros: bool| {
        text.split('.').all(|id| {
            let padded = id.len() > 1 && id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
            let known = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            !id.is_empty() && known && (numeric_zeros || !padded)
        })
    };
    let (rest, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(v, p)| (v, Some(p)));
    if !pre.is_none_or(|pre| identifiers(pre, false)) || !build.is_none_or(|build| identifiers(build, true)) {
        return None;
    }
    let mut numbers = core.split('.').map(|number| {
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let padded = number.len() > 1 && number.starts_with('0');
        number.parse::<u64>().ok().filter(|_| digits && !padded)
    });
    let major = numbers.next()??;
    (numbers.next().flatten().is_some() && numbers.next().flatten().is_some() && numbers.next().is_none())
        .then_some(major)
}

/// `root`: required on Linux, with a path.
pub(super) fn root(cx: &Context<'_>) -> Check {
    const AT: At<'_> = At::top("root");
    let Some(root) = &cx.config.root else {
        return Err(AT.err(Problem::Missing { why: "" }));
    };
    if root.path.is_empty() {
        return Err(AT.field("path").err(Problem::Empty));
    }
    text::c_string(&root.path, AT.field("path"))
}

/// `annotations`: keys are not empty. Most values are the engines' business.
pub(super) fn annotations(cx: &Context<'_>) -> Check {
    const AT: At<'_> = At::top("annotations");
    if cx.config.annotations.contains_key("") {
        return Err(AT.err(Problem::EmptyKey));
    }
    match cx.config.annotations.get(MOUNT_CONTEXT) {
        Some(word) => {
            text::one_of(word, &MOUNT_CONTEXTS, "context or one of its kin", AT.field(MOUNT_CONTEXT))
        }
        None => Ok(()),
    }
}
