//! The program with what is known at each instruction: which calls come by, and which rules made them do so.

use std::collections::BTreeMap;
use std::fmt;

use crate::seccomp::codegen::{AND, ARCH, JA, JEQ, JGE, JGT, JSET, LD_ABS, NR, RET};
use crate::seccomp::disasm::instruction_at;
use crate::seccomp::tables::X32_BIT;
use crate::seccomp::{Arch, SockFilter};

use super::{Analysis, Reason};

/// A program, disassembled, with a comment on each line:
///
/// ```text
///   23  jeq  56, 30, 24        ; x86_64, x32: 56-59 clone...execve
///   31  ret  ALLOW             ; x86_64: 0-13 read...rt_sigaction, 15 rt_sigreturn (syscalls[0])
/// ```
#[derive(Debug)]
pub struct Annotated<'a>(pub(super) &'a Analysis<'a>);

impl<'f> Analysis<'f> {
    /// The program with comments.
    #[must_use]
    pub fn annotate(&'f self) -> Annotated<'f> {
        Annotated(self)
    }
}

/// What the accumulator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    Arch,
    Number,
    Other,
}

/// Calls that come by an instruction: those of an architecture with a number in a range.
type Key = (usize, Holds);
/// For each key, ascending ranges; ends are included.
type Flow = BTreeMap<Key, Vec<(u32, u32)>>;

/// Ranges and rules on one line; the others are counted.
const SHOWN: usize = 4;
const COLUMN: usize = 32;

impl fmt::Display for Annotated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let analysis = self.0;
        let flows = flows(analysis);
        for (line, (instruction, flow)) in analysis.program().iter().zip(&flows).enumerate() {
            let mut text = format!("{line:4}  ");
            instruction_at(&mut text, line, instruction)?;
            let comment = comment(analysis, instruction, flow);
            if comment.is_empty() {
                writeln!(f, "{text}")?;
            } else {
                writeln!(f, "{text:COLUMN$} ; {comment}")?;
            }
        }
        Ok(())
    }
}

/// Follows all numbers of all architectures through the program. Jumps only lead forward, so one pass does.
fn flows(analysis: &Analysis<'_>) -> Vec<Flow> {
    let program = analysis.program();
    let mut flows = vec![Flow::new(); program.len()];
    let arches = analysis.filter.arches();
    if let Some(first) = flows.first_mut() {
        for (index, arch) in arches.iter().enumerate() {
            let range = match arch {
                Arch::X32 => (X32_BIT, i32::MAX as u32),
                Arch::X86_64 => (0, X32_BIT - 1),
                _ => (0, u32::MAX),
            };
            first.insert((index, Holds::Other), vec![range]);
        }
    }
    for at in 0..program.len() {
        for (key, range) in
            flows[at].clone().into_iter().flat_map(|(key, r)| r.into_iter().map(move |r| (key, r)))
        {
            for (target, key, range) in step(program, at, arches[key.0], key, range) {
                if let Some(flow) = flows.get_mut(target) {
                    add(flow.entry(key).or_default(), range);
                }
            }
        }
    }
    flows
}

/// Where a range of numbers goes from an instruction.
fn step(
    program: &[SockFilter],
    at: usize,
    arch: Arch,
    key: Key,
    (low, high): (u32, u32),
) -> Vec<(usize, Key, (u32, u32))> {
    let SockFilter { code, jt, jf, k } = program[at];
    let next = at + 1;
    let (yes, no) = (next + usize::from(jt), next + usize::from(jf));
    let holds = |holds| vec![(next, (key.0, holds), (low, high))];
    let branch = |taken: bool| vec![(if taken { yes } else { no }, key, (low, high))];
    match (code, key.1) {
        (RET, _) => Vec::new(),
        (JA, _) => vec![(next + k as usize, key, (low, high))],
        (LD_ABS, _) if k == NR => holds(Holds::Number),
        (LD_ABS, _) if k == ARCH => holds(Holds::Arch),
        // The number without the bit of x32: ranges keep it, comparisons do without.
        (AND, Holds::Number) => holds(Holds::Number),
        (JEQ, Holds::Arch) => branch(arch.token() == k),
        (JSET, Holds::Number) if k == X32_BIT => branch(low & k != 0),
        (JEQ | JGE | JGT, Holds::Number) => {
            let bit = if masked(program, at) { low & X32_BIT } else { 0 };
            let (low, high) = (low & !bit, high & !bit);
            // The first numbers from which on the comparison has another result.
            let (from, end) = match code {
                JEQ => (k, k.checked_add(1)),
                JGE => (k, None),
                _ => (k.saturating_add(1), None),
            };
            let pieces =
                [(0, Some(from)), (from, end), (end.unwrap_or_default(), end.is_none().then_some(0))];
            let mut out = Vec::new();
            for (i, (first, beyond)) in pieces.into_iter().enumerate() {
                let last = match beyond {
                    Some(0) => continue,
                    Some(beyond) => beyond - 1,
                    None => u32::MAX,
                };
                let (from, to) = (low.max(first), high.min(last));
                if from <= to {
                    out.push((if i == 1 { yes } else { no }, key, (from | bit, to | bit)));
                }
            }
            out
        }
        (JEQ | JGE | JGT | JSET, _) => vec![(yes, key, (low, high)), (no, key, (low, high))],
        (LD_ABS, _) => holds(Holds::Other),
        _ => holds(key.1),
    }
}

/// Whether the number in the accumulator has lost x32's bit: the program has an AND before here and it is the only one.
fn masked(program: &[SockFilter], at: usize) -> bool {
    program[..at].iter().any(|i| i.code == AND && i.k == !X32_BIT)
}

fn add(ranges: &mut Vec<(u32, u32)>, (low, high): (u32, u32)) {
    ranges.push((low, high));
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for &(low, high) in ranges.iter() {
        match merged.last_mut() {
            Some(last) if last.1 >= low || last.1 + 1 == low => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    *ranges = merged;
}

fn comment(analysis: &Analysis<'_>, instruction: &SockFilter, flow: &Flow) -> String {
    let mut by_arch: BTreeMap<usize, Vec<(u32, u32)>> = BTreeMap::new();
    for ((index, holds), ranges) in flow {
        // The start of the program and the search for the architecture say nothing of numbers.
        if *holds == Holds::Arch && ranges.len() == 1 {
            continue;
        }
        ranges.iter().for_each(|range| add(by_arch.entry(*index).or_default(), *range));
    }
    let mut parts: Vec<(String, String)> = Vec::new();
    let mut rules: Vec<String> = Vec::new();
    for (index, ranges) in by_arch {
        let arch = analysis.filter.arches()[index];
        let words: Vec<String> = ranges.iter().filter_map(|range| calls(arch, *range)).collect();
        let more = words.len().saturating_sub(SHOWN);
        let mut words = words.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        if words.is_empty() {
            words = "no call of the table".to_owned();
        }
        if more > 0 {
            words.push_str(&format!(", {more} more ranges"));
        }
        // x86_64 and x32 mostly go the same way.
        match parts.iter_mut().find(|(_, known)| *known == words) {
            Some((arches, _)) => arches.push_str(&format!(", {}", arch.short_name())),
            None => parts.push((arch.short_name().to_owned(), words)),
        }
        if instruction.code == RET || matches!(instruction.code, LD_ABS if instruction.k > ARCH) {
            name_rules(analysis, arch, &ranges, &mut rules);
        }
    }
    let more = rules.len().saturating_sub(SHOWN);
    rules.truncate(SHOWN);
    if more > 0 {
        rules.push(format!("{more} more"));
    }
    let parts: Vec<String> = parts.into_iter().map(|(arches, words)| format!("{arches}: {words}")).collect();
    match rules[..] {
        [] => parts.join("; "),
        _ => format!("{} ({})", parts.join("; "), rules.join(", ")),
    }
}

/// `0-13 read...rt_sigaction`; nothing if no number of the range is a call.
fn calls(arch: Arch, (low, high): (u32, u32)) -> Option<String> {
    let all = crate::seccomp::calls_of(arch);
    let first = all.iter().find(|(nr, _)| *nr >= low && *nr <= high)?;
    let last = all.iter().rev().find(|(nr, _)| *nr >= low && *nr <= high)?;
    let plain = |nr: u32| if arch == Arch::X32 { nr & !X32_BIT } else { nr };
    if first == last {
        return Some(format!("{} {}", plain(first.0), first.1));
    }
    Some(format!("{}-{} {}...{}", plain(first.0), plain(last.0), first.1, last.1))
}

/// The rules that decide the calls of some ranges.
fn name_rules(analysis: &Analysis<'_>, arch: Arch, ranges: &[(u32, u32)], rules: &mut Vec<String>) {
    for &(low, high) in ranges {
        let known = crate::seccomp::calls_of(arch).into_iter().map(|(nr, _)| nr);
        for nr in known.filter(|nr| (low..=high).contains(nr)) {
            for (_, reason) in analysis.explain(arch, nr, &[None; 6]).outcomes {
                let text = match reason {
                    Reason::Rule(path) | Reason::Behind(path) | Reason::Default(path) => {
                        path.as_str().rsplit_once('.').map_or(path.to_string(), |(_, last)| last.to_owned())
                    }
                    Reason::NewerThanProfile { .. } | Reason::NoNumber => "newer than the profile".to_owned(),
                    Reason::ArchNotListed => "architecture not listed".to_owned(),
                };
                if !rules.contains(&text) {
                    rules.push(text);
                }
            }
        }
    }
}
