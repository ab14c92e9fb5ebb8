//! The back end: maps, to classic BPF.
//!
//! ```text
//!       ld  arch            a section for each AUDIT_ARCH_… token, the native one first
//!       jeq …               no section: kill the thread
//!       ld  nr              a binary search over ranges of numbers that meet the same decision
//!       jge …
//!       ret …               the decisions, shared as far as jumps reach (255 instructions)
//! ```
//!
//! Code is emitted from its end to its beginning: the targets of a jump are then always known, and so is their distance.
//! A number that is decided without its arguments is decided with nothing but LD, JEQ, JGE, JSET, AND, JA and RET of
//! constants; these are what the kernel (since 5.11, `seccomp_is_const_allow`) understands when it computes the bitmap of
//! calls that need not run the filter at all.

use corten_init::bpf::SockFilter;

use super::action::Action;
use super::arch::{Arch, high_half, low_half};
use super::ir::{ArchMap, Check, Clause, Decision, Ir, not_implemented};
use super::rules::{Condition, Test};
use super::tables::{ARM_PRIVATE, X32_BIT};

/// The kernel's limit (`BPF_MAXINSNS`).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

pub(super) const LD_ABS: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const JSET: u16 = 0x45;
pub(super) const RET: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NR: u32 = 0;
pub(super) const ARCH: u32 = 4;

/// The longest conditional jump.
const REACH: usize = 255;

/// Calls of an architecture that the profile does not list, and x32 calls where only x86_64 is listed. libseccomp's
/// default for it (`SCMP_FLTATR_ACT_BADARCH`), which runc does not change.
pub(super) const BAD_ARCH: Action = Action::KillThread;

/// Checks with more clauses than this are laid out one after the other, not as a search: laying out a search takes
/// quadratic time.
const SEARCHED_CLAUSES: usize = 512;

/// Where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Return this value.
    Ret(u32),
    /// [`Ir::checks`].
    Check(u16),
    /// [`Emitter::modes`].
    Mode(u16),
    /// An instruction, counted from the end of the program.
    At(usize),
}

/// A range of numbers, up to the beginning of the next one.
type Segment = (u32, Goal);

/// Lays out the whole program. It may be longer than the kernel takes.
pub(super) fn generate(ir: &Ir) -> Vec<SockFilter> {
    let mut emitter =
        Emitter { ir, code: Vec::with_capacity(1024), modes: Vec::new(), known: Vec::new(), token: 0 };
    let mut tokens: Vec<u32> = Vec::new();
    for token in ir.maps.iter().map(|map| map.arch.token()) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    let sections: Vec<Goal> = tokens.iter().rev().map(|&token| emitter.section(token)).collect();
    let mut next = Goal::Ret(BAD_ARCH.to_ret());
    for (&token, &section) in tokens.iter().rev().zip(&sections) {
        next = emitter.branch(JEQ, token, section, next);
    }
    emitter.load(ARCH, next);
    emitter.code.reverse();
    emitter.code
}

struct Emitter<'a> {
    ir: &'a Ir,
    /// From the end.
    code: Vec<SockFilter>,
    /// What x86_64 and x32 meet where they differ.
    modes: Vec<(Goal, Goal)>,
    /// The nearest instruction that a goal is reached by.
    known: Vec<(Goal, usize)>,
    /// Of the section under construction.
    token: u32,
}

impl Emitter<'_> {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Goal {
        self.code.push(SockFilter { code, jt, jf, k });
        Goal::At(self.code.len() - 1)
    }

    /// The code for one token.
    fn section(&mut self, token: u32) -> Goal {
        // Checks of another architecture may have halves of arguments in another order.
        self.known.retain(|(goal, _)| matches!(goal, Goal::Ret(_)));
        self.token = token;
        let default = Goal::Ret(self.ir.default.to_ret());
        let find = |arch| self.ir.maps.iter().find(|map| map.arch == arch);
        if token != Arch::X86_64.token() {
            let map = self.ir.maps.iter().find(|map| map.arch.token() == token);
            let segments = map.map_or_else(Vec::new, |map| segments(map, default));
            let tree = self.tree(&segments);
            return self.load(NR, tree);
        }
        let long = find(Arch::X86_64).map(|map| segments(map, default));
        let Some(x32) = find(Arch::X32) else {
            let mut segments = long.unwrap_or_default();
            // -1 is what a tracer sets to have a call skipped (seccomp(2)): libseccomp lets it pass the guard.
            push(&mut segments, X32_BIT, Goal::Ret(BAD_ARCH.to_ret()));
            push(&mut segments, u32::MAX, default);
            let tree = self.tree(&segments);
            return self.load(NR, tree);
        };
        let long = long.unwrap_or_else(|| vec![(0, Goal::Ret(BAD_ARCH.to_ret()))]);
        let both = self.join(&long, &segments(x32, default));
        let tree = self.tree(&both);
        self.fall_into(tree);
        let masked = self.push(AND, 0, 0, !X32_BIT);
        self.load(NR, masked)
    }

    /// One map for x86_64 and x32: most numbers mean the same in both.
    fn join(&mut self, long: &[Segment], x32: &[Segment]) -> Vec<Segment> {
        let mut joined = Vec::with_capacity(long.len() + x32.len());
        let (mut i, mut j) = (0, 0);
        loop {
            let start = long[i].0.max(x32[j].0);
            let (a, b) = (long[i].1, x32[j].1);
            let goal = if a == b { a } else { self.mode(a, b) };
            push(&mut joined, start, goal);
            let next = |segments: &[Segment], i: usize| segments.get(i + 1).map_or(u64::MAX, |s| s.0.into());
            let (end_i, end_j) = (next(long, i), next(x32, j));
            if end_i == u64::MAX && end_j == u64::MAX {
                return joined;
            }
            i += usize::from(end_i <= end_j);
            j += usize::from(end_j <= end_i);
        }
    }

    fn mode(&mut self, long: Goal, x32: Goal) -> Goal {
        let index = self.modes.iter().position(|mode| *mode == (long, x32)).unwrap_or_else(|| {
            self.modes.push((long, x32));
            self.modes.len() - 1
        });
        Goal::Mode(index as u16)
    }

    /// Emits a load before its goal, unless the goal needs no value.
    fn load(&mut self, offset: u32, goal: Goal) -> Goal {
        if matches!(goal, Goal::Ret(_)) && offset != ARCH {
            return goal;
        }
        self.fall_into(goal);
        self.push(LD_ABS, 0, 0, offset)
    }

    /// Makes the goal the next instruction in the order of execution.
    fn fall_into(&mut self, goal: Goal) -> Goal {
        let at = match goal {
            Goal::At(at) => at,
            other => self.near(other),
        };
        if at + 1 == self.code.len() { Goal::At(at) } else { self.jump(at) }
    }

    /// Emits a jump of any length; a return instead of a jump to a return.
    fn jump(&mut self, to: usize) -> Goal {
        let target = self.code[to];
        if target.code == RET {
            return self.push(RET, 0, 0, target.k);
        }
        let distance = self.code.len() - to - 1;
        self.push(JA, 0, 0, distance as u32)
    }

    fn reaches(&self, to: usize) -> bool {
        self.code.len() - to - 1 <= REACH
    }

    /// An instruction, within reach of the next one, that leads to the goal.
    fn near(&mut self, goal: Goal) -> usize {
        let known = self.known.iter().position(|(g, _)| *g == goal);
        let at = match (goal, known) {
            (Goal::At(at), _) if self.reaches(at) => return at,
            (Goal::At(at), _) => self.jump(at),
            (_, Some(i)) if self.reaches(self.known[i].1) => return self.known[i].1,
            (_, Some(i)) => self.jump(self.known[i].1),
            (Goal::Ret(value), None) => self.push(RET, 0, 0, value),
            (Goal::Check(index), None) => self.check(index),
            (Goal::Mode(index), None) => {
                let (long, x32) = self.modes[usize::from(index)];
                let test = self.branch(JSET, X32_BIT, x32, long);
                self.load(NR, test)
            }
        };
        let Goal::At(at) = at else { return self.near(at) };
        // Emitting the block may have made the goal itself known, so look again.
        match self.known.iter_mut().find(|(g, _)| *g == goal) {
            Some(entry) => entry.1 = at,
            None if matches!(goal, Goal::At(_)) => (),
            None => self.known.push((goal, at)),
        }
        at
    }

    /// Emits a conditional jump.
    fn branch(&mut self, code: u16, k: u32, yes: Goal, no: Goal) -> Goal {
        if yes == no {
            return yes;
        }
        loop {
            let (jt, jf) = (self.near(yes), self.near(no));
            if self.reaches(jt) && self.reaches(jf) {
                let distance = |to: usize| (self.code.len() - to - 1) as u8;
                return self.push(code, distance(jt), distance(jf), k);
            }
        }
    }

    /// A search for the segment that the accumulator is in. The first segment counts from the lowest possible value.
    fn tree(&mut self, segments: &[Segment]) -> Goal {
        self.subtree(segments, 1 << 32)
    }

    fn subtree(&mut self, segments: &[Segment], end: u64) -> Goal {
        if segments.len() <= 7
            && let Some(background) = background(segments, end)
        {
            let mut goal = background;
            for &(value, other) in segments.iter().rev().filter(|(_, goal)| *goal != background) {
                goal = self.branch(JEQ, value, other, goal);
            }
            return goal;
        }
        let middle = segments.len() / 2;
        let pivot = segments[middle].0;
        let right = self.subtree(&segments[middle..], end);
        let left = self.subtree(&segments[..middle], pivot.into());
        self.branch(JGE, pivot, right, left)
    }

    fn check(&mut self, index: u16) -> Goal {
        let check = &self.ir.checks[usize::from(index)];
        if let Some(arg) = single_argument(check) {
            return self.search(check, arg);
        }
        let mut next = Goal::Ret(check.otherwise.to_ret());
        for clause in check.clauses.iter().rev() {
            next = self.clause(clause, check.wide, next);
        }
        next
    }

    fn clause(&mut self, clause: &Clause, wide: bool, otherwise: Goal) -> Goal {
        let mut goal = Goal::Ret(clause.action.to_ret());
        for condition in clause.conditions.iter().rev() {
            goal = self.condition(condition, wide, goal, otherwise);
        }
        goal
    }

    fn condition(&mut self, condition: &Condition, wide: bool, yes: Goal, no: Goal) -> Goal {
        let low = low_half(self.token, condition.arg);
        let high = wide.then(|| high_half(self.token, condition.arg));
        match condition.test {
            Test::Eq(v) => {
                let goal = self.branch(JEQ, v as u32, yes, no);
                let goal = self.load(low, goal);
                self.high(high, |emitter| emitter.branch(JEQ, (v >> 32) as u32, goal, no), goal)
            }
            Test::Ne(v) => self.condition(&Condition { test: Test::Eq(v), ..*condition }, wide, no, yes),
            Test::Gt(v) => self.greater(JGT, v, low, high, yes, no),
            Test::Ge(v) => self.greater(JGE, v, low, high, yes, no),
            Test::Le(v) => self.greater(JGT, v, low, high, no, yes),
            Test::Lt(v) => self.greater(JGE, v, low, high, no, yes),
            Test::Masked { mask, value } => {
                let goal = self.masked(mask as u32, value as u32, low, yes, no);
                match high {
                    Some(high) => self.masked((mask >> 32) as u32, (value >> 32) as u32, high, goal, no),
                    None => goal,
                }
            }
        }
    }

    /// Emits a test of the high half, if there is one.
    fn high(&mut self, offset: Option<u32>, test: impl FnOnce(&mut Self) -> Goal, low: Goal) -> Goal {
        match offset {
            Some(offset) => {
                let goal = test(self);
                self.load(offset, goal)
            }
            None => low,
        }
    }

    fn greater(&mut self, code: u16, v: u64, low: u32, high: Option<u32>, yes: Goal, no: Goal) -> Goal {
        let goal = self.branch(code, v as u32, yes, no);
        let goal = self.load(low, goal);
        let test = |emitter: &mut Self| match (v >> 32) as u32 {
            0 => emitter.branch(JEQ, 0, goal, yes),
            high => {
                let equal = emitter.branch(JEQ, high, goal, no);
                emitter.branch(JGT, high, yes, equal)
            }
        };
        self.high(high, test, goal)
    }

    /// `half & mask == value`
    fn masked(&mut self, mask: u32, value: u32, offset: u32, yes: Goal, no: Goal) -> Goal {
        if mask == 0 {
            return yes;
        }
        if value == 0 {
            let goal = self.branch(JSET, mask, no, yes);
            return self.load(offset, goal);
        }
        let goal = self.branch(JEQ, value, yes, no);
        if mask == u32::MAX {
            return self.load(offset, goal);
        }
        self.fall_into(goal);
        let and = self.push(AND, 0, 0, mask);
        self.load(offset, and)
    }

    /// Lays out clauses on one argument as a search over its values.
    fn search(&mut self, check: &Check, arg: u8) -> Goal {
        let ranges = value_ranges(check);
        let (low, high) = (low_half(self.token, arg), high_half(self.token, arg));
        if !check.wide {
            let segments: Vec<Segment> = ranges.iter().map(|&(start, goal)| (start as u32, goal)).collect();
            let tree = self.tree(&segments);
            return self.load(low, tree);
        }
        let mut highs: Vec<Segment> = Vec::new();
        let mut lows: Vec<Segment> = Vec::new();
        for (i, &(start, goal)) in ranges.iter().enumerate() {
            let end = ranges.get(i + 1).map_or(1 << 64, |next| u128::from(next.0));
            let mut cursor = u128::from(start);
            while cursor < end {
                let half = (cursor >> 32) as u32;
                let half_end = (u128::from(half) + 1) << 32;
                if cursor as u32 == 0 && end >= half_end {
                    push(&mut highs, half, goal);
                    cursor = end >> 32 << 32;
                    continue;
                }
                lows.push((cursor as u32, goal));
                cursor = end.min(half_end);
                if cursor == half_end {
                    let tree = self.tree(&lows);
                    let tree = self.load(low, tree);
                    push(&mut highs, half, tree);
                    lows.clear();
                }
            }
        }
        let tree = self.tree(&highs);
        self.load(high, tree)
    }
}

/// Appends a segment, unless it continues the last one.
fn push(segments: &mut Vec<Segment>, start: u32, goal: Goal) {
    if segments.last().is_none_or(|last| last.1 != goal) {
        segments.push((start, goal));
    }
}

/// All numbers of an architecture, without the bit that marks x32.
fn segments(map: &ArchMap, default: Goal) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(map.entries.len() + 8);
    let beyond = map.newest.map_or(default, |_| Goal::Ret(not_implemented(map.arch).to_ret()));
    let newer = map.newest.map_or(u64::MAX, |nr| u64::from(plain(map, nr)) + 1);
    let private = if map.arch == Arch::Arm { ARM_PRIVATE.into() } else { u64::MAX };
    let unlisted = [(0, newer, default), (newer, private, beyond), (private, u64::MAX, default)];
    let fill = |segments: &mut Vec<Segment>, from: u64, to: u64| {
        for (first, end, goal) in unlisted {
            if from.max(first) < to.min(end) {
                push(segments, from.max(first) as u32, goal);
            }
        }
    };
    let mut next = 0;
    for &(nr, decision) in &map.entries {
        let nr = plain(map, nr);
        fill(&mut segments, next, nr.into());
        push(&mut segments, nr, goal_of(decision));
        next = u64::from(nr) + 1;
    }
    fill(&mut segments, next, 1 << 32);
    segments
}

fn plain(map: &ArchMap, nr: u32) -> u32 {
    if map.arch == Arch::X32 { nr & !X32_BIT } else { nr }
}

fn goal_of(decision: Decision) -> Goal {
    match decision {
        Decision::Act(action) => Goal::Ret(action.to_ret()),
        Decision::Check(index) => Goal::Check(index),
    }
}

/// The goal of all segments but at most three, if each of these is a single number: then it takes fewer jumps to ask for
/// these than to search.
fn background(segments: &[Segment], end: u64) -> Option<Goal> {
    let ends = segments[1..].iter().map(|s| u64::from(s.0)).chain([end]);
    let single = |(segment, end): (&Segment, u64)| end - u64::from(segment.0) == 1;
    let is_single: Vec<bool> = segments.iter().zip(ends).map(single).collect();
    let fits = |candidate: Goal| {
        let mut others = 0;
        let all = segments.iter().zip(&is_single).all(|(segment, single)| {
            others += usize::from(segment.1 != candidate);
            segment.1 == candidate || *single
        });
        all && others <= 3 && others < segments.len()
    };
    segments.iter().map(|s| s.1).find(|goal| fits(*goal))
}

/// The argument that all clauses are about, if each has one condition that is a range.
fn single_argument(check: &Check) -> Option<u8> {
    let arg = check.clauses.first()?.conditions[0].arg;
    let ranges = |clause: &Clause| {
        matches!(clause.conditions[..], [Condition { arg: a, test }]
            if a == arg && !matches!(test, Test::Masked { .. }))
    };
    (check.clauses.len() <= SEARCHED_CLAUSES && check.clauses.iter().all(ranges)).then_some(arg)
}

/// All values of the argument of such clauses, as ranges from a first value on.
fn value_ranges(check: &Check) -> Vec<(u64, Goal)> {
    let max = if check.wide { u64::MAX } else { u32::MAX.into() };
    let mut starts = vec![0];
    for clause in &check.clauses {
        let (value, from, beyond) = match clause.conditions[0].test {
            Test::Ge(v) | Test::Lt(v) => (v, true, false),
            Test::Gt(v) | Test::Le(v) => (v, false, true),
            Test::Eq(v) | Test::Ne(v) => (v, true, true),
            Test::Masked { value, .. } => (value, true, true),
        };
        starts.extend(from.then_some(value));
        starts.extend((beyond && value < max).then_some(value.wrapping_add(1)));
    }
    starts.sort_unstable();
    starts.dedup();
    let mut ranges: Vec<(u64, Goal)> = Vec::with_capacity(starts.len());
    for start in starts {
        let hit = check.clauses.iter().find(|clause| clause.conditions[0].test.holds(start));
        let goal = Goal::Ret(hit.map_or(check.otherwise, |clause| clause.action).to_ret());
        if ranges.last().is_none_or(|last| last.1 != goal) {
            ranges.push((start, goal));
        }
    }
    ranges
}
