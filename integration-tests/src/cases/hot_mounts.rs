//! `mounts add` and `mounts remove`, as crun has them, on a running container; and volumes shared with the host.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mounts/add-and-remove", &[], add_and_remove).practice().needs(&[Need::Root]),
        Case::new("mounts/bad-input", &[], bad_input).practice().needs(&[Need::Root]),
        Case::new("propagation/shared-volume", &["PROP-01", "MOPT-44"], shared_volume)
            .practice()
            .needs(&[Need::Root]),
    ]
}

/// Not every runtime has the verb.
fn needs_verb(ctx: &Ctx) -> Verdict {
    let out = ctx.rt(["mounts", "--help"]).run()?;
    if out.code() == 0 { Ok(()) } else { Err(Failure::skip("the runtime has no verb `mounts`")) }
}

fn add_and_remove(ctx: &Ctx) -> Verdict {
    needs_verb(ctx)?;
    let source = ctx.scratch().join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "from outside")?;
    let list = ctx.scratch().join("mounts.json");
    let mounts = json!({"mounts": [
        {"destination": "/tmp/new/data", "source": source, "options": ["bind", "ro", "nosuid"]},
        {"destination": "/tmp/new/data2", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
    ]});
    fs::write(&list, mounts.to_string())?;
    let mut b = ctx.bundle()?;
    b.writable().steps(&[&["say", "up"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let before = c.exec_facts(&[])?.mounts().len();
    ctx.rt(["mounts".as_ref(), "add".as_ref(), c.id.as_ref(), list.as_os_str()]).ok()?;
    let during = c.exec_facts(&[])?;
    ensure_eq!(during.mounts().len(), before + 2, "mounts after add");
    let data = during.mount("/tmp/new/data")?;
    for option in ["ro", "nosuid"] {
        ensure!(data.options.iter().any(|o| o == option), "{option} missing: {:?}", data.options);
    }
    ensure_eq!(during.mount("/tmp/new/data2")?.fstype, "tmpfs", "type of the second mount");
    ctx.rt(["mounts".as_ref(), "remove".as_ref(), c.id.as_ref(), list.as_os_str()]).ok()?;
    ensure_eq!(c.exec_facts(&[])?.mounts().len(), before, "mounts after remove");
    Ok(())
}

fn bad_input(ctx: &Ctx) -> Verdict {
    needs_verb(ctx)?;
    let c = ctx.sleeper()?;
    let list = ctx.scratch().join("mounts.json");
    let refuses = |verb: &str, content: &str, needle: &str| -> Verdict {
        fs::write(&list, content)?;
        let out = ctx.rt(["mounts".as_ref(), verb.as_ref(), c.id.as_ref(), list.as_os_str()]).run()?;
        ensure_eq!(out.code(), 1, "exit code of {verb} with {content}");
        ensure!(out.stderr.contains(needle), "{needle:?} not in {:?}", out.stderr);
        Ok(())
    };
    refuses("add", "{}", "mounts")?;
    refuses(
        "add",
        r#"{"mounts":[{"destination":"/tmp/x","source":"/no/where","options":["bind"]}]}"#,
        "/no/where",
    )?;
    refuses(
        "add",
        r#"{"mounts":[{"destination":"/proc/self/attr","source":"/etc","options":["bind"]}]}"#,
        "/proc",
    )?;
    refuses("remove", r#"{"mounts":[{"destination":"/never/there"}]}"#, "/never/there")?;
    refuses("change", "{}", "add or remove")
}

/// What a container mounts in a volume that is shared with the host shows on the host.
fn shared_volume(ctx: &Ctx) -> Verdict {
    ctx.change_mounts();
    crate::sys::mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "")?;
    // A mount of its own: the one that holds the root filesystem is taken out of its peer group.
    let volume = ctx.scratch().join("volume");
    fs::create_dir(&volume)?;
    crate::sys::mount("volume", &volume, "tmpfs", 0, "")?;
    crate::sys::mount("none", &volume, "", libc::MS_SHARED, "")?;
    fs::create_dir(volume.join("inside"))?;
    let source = volume.display().to_string();
    let mut b = ctx.bundle()?;
    b.set("/linux/rootfsPropagation", json!("shared"));
    b.mount("/volume", "bind", &source, &["rbind", "rshared"]);
    b.steps(&[&["say", "up"], &["sleep"]]);
    let c = ctx.start(&b)?;
    let mount = c.exec_facts(&[])?.mount("/volume")?;
    let tags = mount.propagation.join(" ");
    ensure!(tags.contains("shared:") && !tags.contains("master:"), "propagation of the volume: {tags:?}");
    crate::sys::mount("later", &volume.join("inside"), "tmpfs", 0, "")?;
    let seen = c.exec_facts(&[])?.mount("/volume/inside").is_ok();
    crate::sys::detach(&volume.join("inside"))?;
    c.delete_force()?;
    crate::sys::detach(&volume)?;
    ensure!(seen, "the host's later mount is not seen inside");
    Ok(())
}
