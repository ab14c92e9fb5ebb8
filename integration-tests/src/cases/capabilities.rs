//! The five capability sets.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::json;

/// Bits of `capabilities(7)` that the cases use.
const BITS: [(&str, u32); 6] = [
    ("CAP_CHOWN", 0),
    ("CAP_KILL", 5),
    ("CAP_SETUID", 7),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_NET_RAW", 13),
    ("CAP_AUDIT_WRITE", 29),
];

const FIELDS: [(&str, &str); 5] = [
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("permitted", "CapPrm"),
    ("inheritable", "CapInh"),
    ("ambient", "CapAmb"),
];

/// A label and the five sets in the order of [`FIELDS`].
type Row = (&'static str, [&'static [&'static str]; 5]);

const ALL: &[&str] = &["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"];
const ONE: &[&str] = &["CAP_KILL"];

const ROWS: [Row; 6] = [
    ("all-equal", [ALL, ALL, ALL, ALL, ALL]),
    ("empty", [&[], &[], &[], &[], &[]]),
    ("bounding-only", [ALL, &[], &[], &[], &[]]),
    ("no-inheritable", [ALL, ALL, ALL, &[], &[]]),
    ("effective-subset", [ALL, ONE, ALL, &[], &[]]),
    ("ambient-subset", [ALL, ALL, ALL, ONE, ONE]),
];

pub fn cases() -> Vec<Case> {
    let clauses = &["CAP-01", "CAP-02", "CAP-03", "CAP-04", "CAP-05"];
    let mut cases = Vec::new();
    for (label, sets) in ROWS {
        for (user, uid) in [("root", 0), ("user", 1234)] {
            let name = format!("capabilities/{label}-{user}");
            cases.push(Case::new(name, clauses, move |ctx| row(ctx, sets, uid)));
        }
    }
    cases.push(Case::new("capabilities/unknown-is-a-warning", &["CAP-06", "CAP-07"], unknown).should());
    cases.push(Case::new("capabilities/absent", &["CAP-08"], absent).practice());
    cases.push(Case::new("capabilities/ambient-without-inheritable", &["CAP-05"], ambient_alone).practice());
    cases
}

fn mask(names: &[&str]) -> u64 {
    BITS.iter().filter(|(n, _)| names.contains(n)).map(|(_, bit)| 1u64 << bit).sum()
}

fn row(ctx: &Ctx, sets: [&[&str]; 5], uid: u32) -> Verdict {
    let mut b = ctx.bundle()?;
    for ((set, _), names) in FIELDS.iter().zip(sets) {
        b.set(&format!("/process/capabilities/{set}"), json!(names));
    }
    b.set("/process/user/uid", json!(uid));
    let facts = ctx.facts(&b)?;
    let want = expected(sets, uid);
    for ((set, field), want) in FIELDS.iter().zip(want) {
        ensure_eq!(facts.status(field), format!("{want:016x}"), "{set} ({field})");
    }
    Ok(())
}

/// The sets as they are after execve(2) (capabilities(7), "Transformation of capabilities during
/// execve"): uid 0 regains what is in bounding, an ordinary user keeps what is ambient. With no_new_privs,
/// which the bundle has, nothing is gained that was not permitted before.
fn expected(sets: [&[&str]; 5], uid: u32) -> [u64; 5] {
    let [bounding, _, permitted, inheritable, ambient] = sets.map(mask);
    if uid == 0 {
        let permitted = (bounding | inheritable) & permitted;
        return [bounding, permitted, permitted, inheritable, ambient];
    }
    [bounding, ambient, ambient, inheritable, ambient]
}

fn unknown(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_FUTURE"]));
    let out = ctx.run(&b)?.ok()?;
    let facts = Facts::lines(&out.stdout)?.remove(0);
    ensure_eq!(facts.status("CapBnd"), "0000000000000020", "CapBnd");
    Ok(())
}

/// runc leaves its own sets, crun and the safe choice are empty sets. Never more than the runtime's.
fn absent(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.remove("/process/capabilities");
    let facts = ctx.facts(&b)?;
    let bits = |f: &Facts| u64::from_str_radix(f.status("CapEff"), 16).unwrap_or(u64::MAX);
    ensure!(
        bits(&facts) == 0 || facts.status("CapEff") == facts.status("CapBnd"),
        "CapEff {}",
        facts.status("CapEff")
    );
    Ok(())
}

/// What `runc spec` writes: ambient without inheritable cannot be raised, and that is no error.
fn ambient_alone(ctx: &Ctx) -> Verdict {
    let facts = ctx.facts(&ctx.bundle()?)?;
    ensure_eq!(facts.status("CapAmb"), "0000000000000000", "CapAmb");
    ensure_eq!(facts.status("CapBnd"), "0000000020000420", "CapBnd");
    Ok(())
}
