//! `linux.memoryPolicy`, `personality` and `intelRdt` (config-linux.md).

use super::at::At;
use super::{Check, Context, text, words};
use crate::config::{IntelRdt, MemoryPolicy};
use crate::error::Problem;

const LINUX: At<'_> = At::top("linux");

/// `linux.personality`: one of two domains, and no flag since none is defined.
pub(super) fn personality(cx: &Context<'_>) -> Check {
    const AT: At<'_> = LINUX.field("personality");
    let Some(personality) = &cx.linux.personality else { return Ok(()) };
    text::word_of(&personality.domain, words::DOMAINS, "LINUX or LINUX32", AT.field("domain"))?;
    match personality.flags.first() {
        Some(value) => {
            let expected = "none: the specification defines no flag";
            Err(AT.field("flags").index(0).err(Problem::Unknown { value: value.clone(), expected }))
        }
        None => Ok(()),
    }
}

/// `linux.memoryPolicy`: what set_mempolicy(2) takes.
pub(super) fn memory_policy(cx: &Context<'_>) -> Check {
    let at = LINUX.field("memoryPolicy");
    cx.linux.memory_policy.as_ref().map_or(Ok(()), |policy| mempolicy(policy, at))
}

fn mempolicy(policy: &MemoryPolicy, at: At<'_>) -> Check {
    /// `MAX_NUMNODES` at its highest.
    const MOST_NODES: u32 = 1024;
    text::word_of(&policy.mode, words::MEMORY_MODES, "a mode such as MPOL_BIND", at.field("mode"))?;
    let flags = at.field("flags");
    let mut listed = policy.flags.iter().enumerate();
    listed.try_for_each(|(i, flag)| {
        text::word_of(flag, words::MEMORY_FLAGS, "a flag such as MPOL_F_STATIC_NODES", flags.index(i))
    })?;
    let nodes = policy.nodes.as_deref().unwrap_or_default();
    text::number_list_below(MOST_NODES, nodes, text::NODE_LIST, at.field("nodes"))?;
    match (policy.mode.as_str(), nodes.trim().is_empty()) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", false) => {
            let with = at.field("mode").to_path();
            Err(at.field("nodes").err(Problem::Conflict { with, why: "this mode has no nodes" }))
        }
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", true) | (_, false) => Ok(()),
        (_, true) => Err(at.field("nodes").err(Problem::Missing { why: "with this mode" })),
    }
}

/// `linux.intelRdt`: a directory below `/sys/fs/resctrl`, and lines for its `schemata`.
pub(super) fn intel_rdt(cx: &Context<'_>) -> Check {
    let at = LINUX.field("intelRdt");
    cx.linux.intel_rdt.as_ref().map_or(Ok(()), |rdt| resctrl(rdt, at))
}

fn resctrl(rdt: &IntelRdt, at: At<'_>) -> Check {
    if let Some(id) = rdt.clos_id.as_deref() {
        // "/" alone is the root of resctrl.
        if matches!(id, "" | "." | "..") || (id != "/" && id.contains(['/', '\0', '\n'])) {
            let expected = "the name of a directory, or /";
            return Err(at.field("closID").err(Problem::Malformed { value: id.to_owned(), expected }));
        }
    }
    let line = |text: &str, prefix: &str, expected, at: At<'_>| {
        if text.starts_with(prefix) && !text.contains(['\n', '\0']) {
            return Ok(());
        }
        Err(at.err(Problem::Malformed { value: text.to_owned(), expected }))
    };
    if let Some(schema) = rdt.l3_cache_schema.as_deref() {
        line(schema, "L3:", "one line that begins with L3:", at.field("l3CacheSchema"))?;
    }
    if let Some(schema) = rdt.mem_bw_schema.as_deref() {
        line(schema, "MB:", "one line that begins with MB:", at.field("memBwSchema"))?;
    }
    let schemata = at.field("schemata");
    let mut lines = rdt.schemata.iter().enumerate();
    lines.try_for_each(|(i, text)| line(text, "", "one line", schemata.index(i)))
}
