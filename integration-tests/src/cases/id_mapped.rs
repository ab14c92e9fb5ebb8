//! Id-mapped mounts.

use super::process::in_effect_or_refused;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Facts, Failure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::chown;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("idmapped/{name}"), clauses, body).needs(&[Need::Kernel(5, 12), Need::UserNs])
    };
    vec![
        case("without-option", &["MNT-20"], without_option).practice(),
        case("groups-and-several", &["MNT-17", "MOPT-63"], several),
        case("container-mapping", &["MOPT-64"], container_mapping).practice(),
        case("own-mapping-in-a-user-namespace", &["MOPT-63"], own_mapping),
        case("idmap-leaves-mounts-below", &["MOPT-61"], not_recursive),
        case("ridmap-maps-mounts-below", &["MOPT-62"], recursive),
        case("tmpfs-is-refused", &["MNT-21"], tmpfs).practice(),
        case("writing-maps-back", &["MNT-17"], writing),
    ]
}

fn map(from: u32, to: u32) -> Value {
    json!([{"containerID": from, "hostID": to, "size": 1000}])
}

/// A bundle with the directory `data`, which has a file with these owners.
fn bundle(ctx: &Ctx, uid: u32, gid: u32) -> Result<Bundle, Failure> {
    let b = ctx.bundle()?;
    let data = b.dir.join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("file"), "")?;
    chown(data.join("file"), Some(uid), Some(gid))?;
    Ok(b)
}

fn bind(b: &mut Bundle, at: &str, options: &[&str], maps: Option<(Value, Value)>) {
    // crun does not find a relative source that is to be id-mapped.
    let source = b.dir.join("data").display().to_string();
    let mut mount = json!({"destination": at, "type": "bind", "source": source, "options": options});
    if let Some((uids, gids)) = maps {
        mount["uidMappings"] = uids;
        mount["gidMappings"] = gids;
    }
    b.set("/mounts/-", mount);
}

fn owner(f: &Facts) -> [Value; 2] {
    [f.get("/stat/uid").clone(), f.get("/stat/gid").clone()]
}

fn without_option(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, 3, 4)?;
    bind(&mut b, "/tmp", &["bind"], Some((map(0, 5000), map(0, 6000))));
    b.steps(&[&["stat", "/tmp/file"]]);
    in_effect_or_refused(ctx, &b, "Mappings", |f| {
        ensure_eq!(owner(f), [json!(5003), json!(6004)], "owner");
        Ok(())
    })
}

fn several(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, 3, 4)?;
    bind(&mut b, "/tmp", &["bind", "idmap"], Some((map(0, 5000), map(0, 6000))));
    bind(&mut b, "/run", &["rbind", "ro", "idmap"], Some((map(0, 7000), map(0, 8000))));
    b.steps(&[&["stat", "/tmp/file"], &["stat", "/run/file"]]);
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        return out.refused(&["idmap", "Mappings"]).map(drop);
    }
    let f = Facts::lines(&out.stdout)?;
    ensure_eq!(owner(&f[0]), [json!(5003), json!(6004)], "owner through the first mount");
    ensure_eq!(owner(&f[1]), [json!(7003), json!(8004)], "owner through the second mount");
    Ok(())
}

/// Without mappings of its own a mount shows the container's users as owners.
fn container_mapping(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, 3, 4)?;
    b.user_namespace(100_000)?;
    bind(&mut b, "/tmp", &["bind", "idmap"], None);
    b.steps(&[&["stat", "/tmp/file"]]);
    in_effect_or_refused(ctx, &b, "idmap", |f| {
        ensure_eq!(owner(f), [json!(3), json!(4)], "owner inside");
        Ok(())
    })
}

fn own_mapping(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, 3, 4)?;
    b.user_namespace(100_000)?;
    bind(&mut b, "/tmp", &["bind", "idmap"], Some((map(0, 100_010), map(0, 100_020))));
    b.steps(&[&["stat", "/tmp/file"]]);
    in_effect_or_refused(ctx, &b, "idmap", |f| {
        ensure_eq!(owner(f), [json!(13), json!(24)], "owner inside");
        Ok(())
    })
}

/// The owners of two files: in the directory, and in a mount below it.
fn below(ctx: &Ctx, option: &str) -> Result<Option<[Value; 2]>, Failure> {
    ctx.change_mounts();
    let mut b = bundle(ctx, 3, 4)?;
    let sub = b.dir.join("data/sub");
    fs::create_dir(&sub)?;
    crate::sys::mount("sub", &sub, "tmpfs", 0, "")?;
    fs::write(sub.join("file"), "")?;
    bind(&mut b, "/tmp", &["rbind", option], Some((map(0, 5000), map(0, 6000))));
    b.steps(&[&["stat", "/tmp/file"], &["stat", "/tmp/sub/file"]]);
    let out = ctx.run(&b)?;
    if out.code() != 0 {
        return out.refused(&["idmap", "Mappings"]).map(|_| None);
    }
    let f = Facts::lines(&out.stdout)?;
    Ok(Some([f[0].get("/stat/uid").clone(), f[1].get("/stat/uid").clone()]))
}

fn not_recursive(ctx: &Ctx) -> Verdict {
    if let Some(owners) = below(ctx, "idmap")? {
        ensure_eq!(owners, [json!(5003), json!(0)], "owners");
    }
    Ok(())
}

fn recursive(ctx: &Ctx) -> Verdict {
    if let Some(owners) = below(ctx, "ridmap")? {
        ensure_eq!(owners, [json!(5003), json!(5000)], "owners");
    }
    Ok(())
}

fn tmpfs(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "tmpfs", &["idmap"]);
    ctx.refuses(&b, &["idmap", "mounts["]).map(drop)
}

/// What the container's user makes belongs to the user of the source's filesystem.
fn writing(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, 0, 0)?;
    bind(&mut b, "/tmp", &["bind", "idmap"], Some((map(40, 0), map(50, 0))));
    chown(b.dir.join("data"), Some(40), Some(50))?;
    b.steps(&[&["create", "/tmp/new", "text"]]);
    in_effect_or_refused(ctx, &b, "idmap", |f| {
        use std::os::unix::fs::MetadataExt;
        ensure_eq!(f.result(), "ok", "writing");
        let made = fs::metadata(b.dir.join("data/new"))?;
        ensure_eq!((made.uid(), made.gid()), (40, 50), "owner outside");
        Ok(())
    })
}
