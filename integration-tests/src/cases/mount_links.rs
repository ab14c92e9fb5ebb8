//! Symbolic links at the ends of a mount: options that crun has, and that podman uses.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Bundle, Ctx, Failure, ensure_eq};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("mount-link/{name}"), &["MOPT-66"], body).practice()
    };
    vec![
        case("copied", copied),
        case("copied-in-a-user-namespace", copied_in_a_user_namespace),
        case("copied-where-an-equal-one-is", copied_again),
        case("copied-where-another-one-is", copied_over),
        case("copied-is-no-link", no_link),
        case("source-itself", source_itself),
        case("target-itself", target_itself),
    ]
}

/// A file, and a link to it, both beside the root filesystem.
fn with_link(ctx: &Ctx) -> Result<(Bundle, PathBuf), Failure> {
    let b = ctx.bundle()?;
    fs::write(b.dir.join("file"), "of the host")?;
    let link = b.dir.join("link");
    symlink(b.dir.join("file"), &link)?;
    Ok((b, link))
}

fn copies(ctx: &Ctx, b: &Bundle) -> Verdict {
    let c = ctx.create(b)?;
    let found = fs::read_link(b.path("etc/made/link"))?;
    ensure_eq!(found, b.dir.join("file"), "where the copy points");
    c.delete_force().map(drop)
}

fn copied(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    b.mount("/etc/made/link", "bind", &link.to_string_lossy(), &["rbind", "copy-symlink"]);
    copies(ctx, &b)
}

fn copied_in_a_user_namespace(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    b.user_namespace(100_000)?;
    b.mount("/etc/made/link", "bind", &link.to_string_lossy(), &["rbind", "copy-symlink"]);
    copies(ctx, &b)
}

fn copied_again(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    fs::create_dir_all(b.path("etc/made"))?;
    symlink(b.dir.join("file"), b.path("etc/made/link"))?;
    b.mount("/etc/made/link", "bind", &link.to_string_lossy(), &["rbind", "copy-symlink"]);
    copies(ctx, &b)
}

fn copied_over(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    symlink("elsewhere", b.path("etc/link"))?;
    b.mount("/etc/link", "bind", &link.to_string_lossy(), &["rbind", "copy-symlink"]);
    ctx.fails(&b)?;
    ensure_eq!(fs::read_link(b.path("etc/link"))?, PathBuf::from("elsewhere"), "the link that was there");
    Ok(())
}

fn no_link(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    b.mount("/etc/file", "bind", &link.with_file_name("file").to_string_lossy(), &["rbind", "copy-symlink"]);
    b.steps(&[&["read", "/etc/file"]]);
    ensure_eq!(ctx.facts(&b)?.str("/text"), "of the host", "a file that is bound");
    Ok(())
}

fn source_itself(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    let inside = link.with_file_name("file");
    b.mount("/etc/link", "bind", &link.to_string_lossy(), &["bind", "src-nofollow"]);
    b.steps(&[&["read", "/etc/link"], &["stat", "/etc/link"]]);
    let seen = ctx.run_steps(&b)?;
    // It points to where the file is outside, and there is nothing in the container.
    ensure_eq!(seen[0].result(), "ENOENT", "reading through the link");
    ensure_eq!(seen[1].str("/stat/target"), inside.to_string_lossy(), "where the link points");
    Ok(())
}

fn target_itself(ctx: &Ctx) -> Verdict {
    let (mut b, link) = with_link(ctx)?;
    fs::write(b.path("etc/file"), "of the image")?;
    symlink("file", b.path("etc/link"))?;
    b.mount("/etc/link", "bind", &link.to_string_lossy(), &["bind", "dest-nofollow"]);
    b.steps(&[&["read", "/etc/link"], &["read", "/etc/file"]]);
    let seen = ctx.run_steps(&b)?;
    ensure_eq!(seen[0].str("/text"), "of the host", "what covers the link");
    ensure_eq!(seen[1].str("/text"), "of the image", "what the link points to");
    Ok(())
}
