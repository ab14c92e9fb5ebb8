//! Attacks that once worked on corten itself.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Bundle, Ctx, ensure};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

pub fn cases() -> Vec<Case> {
    vec![Case::new("attack/parents-after-missing-component", &["MNT-08"], parents_after_missing).practice()]
}

/// A dangling link such as `missing/../../victim`: whoever makes `missing` and then walks on by hand is led past the
/// root by `..`, and makes the rest on the host.
fn parents_after_missing(ctx: &Ctx) -> Verdict {
    type Change = fn(&mut Bundle) -> &mut Bundle;
    let places: [(&str, Change); 5] = [
        ("link", |b| b.mount("/link", "tmpfs", "tmpfs", &[])),
        ("link", |b| b.mount("/link", "bind", "/etc/hosts", &["bind"])),
        ("link", |b| b.set("/process/cwd", json!("/link/made"))),
        ("link", |b| {
            let device = json!({"path": "/link/node", "type": "c", "major": 1, "minor": 3, "fileMode": 438});
            b.set("/linux/devices", json!([device]))
        }),
        ("dev", |b| b.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))),
    ];
    let victim = ctx.scratch().join("victim");
    fs::create_dir(&victim)?;
    for (i, (at, change)) in places.iter().enumerate() {
        let mut b = ctx.bundle()?;
        if b.path(at).exists() {
            fs::remove_dir(b.path(at))?;
        }
        symlink(format!("missing/{}{}/made", "../".repeat(30), victim.display()), b.path(at))?;
        change(b.writable());
        // Whether it runs is the runtime's choice.
        ctx.run(&b)?;
        ensure!(fs::read_dir(&victim)?.next().is_none(), "place {i}: made on the host: {:?}", victim);
    }
    Ok(())
}
