//! `tmpcopyup`: a tmpfs that begins with what it covers.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Bundle, Ctx, Facts, Failure, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("tmpcopyup/{name}"), &["MOPT-58"], body).practice()
    };
    vec![
        case("tree", tree),
        case("image-stays", image_stays),
        case("read-only", read_only),
        case("too-small", too_small),
        case("deep", deep),
        case("bind-is-refused", bind),
    ]
}

/// A bundle with a tmpfs over `/tmp`.
fn bundle(ctx: &Ctx, options: &[&str], steps: &[&[&str]]) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "tmpfs", options).steps(steps);
    Ok(b)
}

/// The steps of a run, or none if the runtime refuses the option.
fn run(ctx: &Ctx, b: &Bundle) -> Result<Option<Vec<Facts>>, Failure> {
    let out = ctx.run(b)?;
    if out.code() != 0 {
        return out.refused(&["tmpcopyup", "mounts["]).map(|_| None);
    }
    Facts::lines(&out.stdout).map(Some)
}

fn tree(ctx: &Ctx) -> Verdict {
    let steps: [&[&str]; 6] = [
        &["read", "/tmp/dir/deeper/file"],
        &["stat", "/tmp/dir"],
        &["stat", "/tmp/dir/deeper/file"],
        &["stat", "/tmp/link"],
        &["stat", "/tmp/fifo"],
        &["ls", "/tmp"],
    ];
    let b = bundle(ctx, &["nosuid", "nodev", "tmpcopyup"], &steps)?;
    let (dir, file) = (b.path("tmp/dir"), b.path("tmp/dir/deeper/file"));
    fs::create_dir_all(b.path("tmp/dir/deeper"))?;
    fs::write(&file, "text")?;
    chown(&file, Some(12), Some(34))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755))?;
    chown(&dir, Some(56), Some(78))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1755))?;
    symlink("dir/deeper", b.path("tmp/link"))?;
    lchown(b.path("tmp/link"), Some(9), Some(9))?;
    crate::sys::mkfifo(&b.path("tmp/fifo"), 0o640)?;
    let Some(f) = run(ctx, &b)? else { return Ok(()) };
    ensure_eq!(f[0].str("/text"), "text", "content");
    let what = |f: &Facts| {
        [f.get("/stat/kind"), f.get("/stat/mode"), f.get("/stat/uid"), f.get("/stat/gid")].map(Clone::clone)
    };
    ensure_eq!(what(&f[1]), [json!("dir"), json!("1755"), json!(56), json!(78)], "directory");
    ensure_eq!(what(&f[2]), [json!("file"), json!("4755"), json!(12), json!(34)], "file");
    ensure_eq!(f[3].str("/stat/target"), "dir/deeper", "link");
    ensure_eq!(*f[3].get("/stat/uid"), json!(9), "owner of the link");
    ensure_eq!(f[4].str("/stat/kind"), "fifo", "fifo");
    ensure_eq!(*f[5].get("/names"), json!(["dir", "fifo", "link"]), "entries");
    Ok(())
}

fn image_stays(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &["tmpcopyup"], &[&["write", "/tmp/file", "changed"], &["read", "/tmp/file"]])?;
    fs::write(b.path("tmp/file"), "as it was")?;
    let Some(f) = run(ctx, &b)? else { return Ok(()) };
    ensure!(f[1].str("/text").starts_with("changed"), "content inside: {}", f[1].str("/text"));
    ensure_eq!(fs::read_to_string(b.path("tmp/file"))?, "as it was", "content outside");
    Ok(())
}

fn read_only(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &["ro", "tmpcopyup"], &[&["read", "/tmp/file"], &["create", "/tmp/new", ""]])?;
    fs::write(b.path("tmp/file"), "text")?;
    let Some(f) = run(ctx, &b)? else { return Ok(()) };
    ensure_eq!(f[0].str("/text"), "text", "content");
    ensure_eq!(f[1].result(), "EROFS", "writing");
    Ok(())
}

/// What does not fit is an error, not a part of it.
fn too_small(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, &["size=64k", "tmpcopyup"], &[&["facts"]])?;
    fs::write(b.path("tmp/file"), vec![b'x'; 1 << 20])?;
    ctx.fails(&b).map(drop)
}

fn deep(ctx: &Ctx) -> Verdict {
    let path = format!("tmp{}", "/d".repeat(100));
    let inside = format!("/{path}/file");
    let b = bundle(ctx, &["tmpcopyup"], &[&["read", &inside]])?;
    fs::create_dir_all(b.path(&path))?;
    fs::write(b.path(&inside[1..]), "text")?;
    let Some(f) = run(ctx, &b)? else { return Ok(()) };
    ensure_eq!(f[0].str("/text"), "text", "content");
    Ok(())
}

fn bind(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.out();
    b.mount("/tmp", "bind", "out", &["bind", "tmpcopyup"]);
    ctx.refuses(&b, &["tmpcopyup", "mounts["]).map(drop)
}
