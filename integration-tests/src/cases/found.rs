//! What the comparison of random configurations and the official validation programs found wrong once.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, ensure, ensure_eq};
use serde_json::json;
use std::fs;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mount/bind-with-data", &["MNT-06"], bind_with_data).practice(),
        Case::new("mount-option/atime-takes-back-noatime-only", &["MOPT-02"], atime).practice(),
        Case::new("device/host-has-another", &["DEV-02"], host_has_another).needs(&[Need::UserNs]),
        Case::new("device/rules-turned-round", &["RDEV-01"], rules_turned_round)
            .practice()
            .needs(&[Need::V1("devices")]),
        Case::new("hook/start-container-env-exact", &["HK-04"], hook_env),
    ]
}

/// The kernel ignores `mode=755` of a bind mount, and the official programs have it.
fn bind_with_data(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.out();
    let source = b.dir.join("out").to_string_lossy().into_owned();
    b.mount("/tmp", "bind", &source, &["bind", "nosuid", "mode=755", "size=1k"]);
    let mount = ctx.facts(&b)?.mount("/tmp")?;
    ensure!(mount.own("nosuid"), "options: {:?}", mount.options);
    Ok(())
}

fn atime(ctx: &Ctx) -> Verdict {
    for options in [&["strictatime", "atime"] as &[&str], &["strictatime", "norelatime"]] {
        let mut b = ctx.bundle()?;
        b.mount("/tmp", "tmpfs", "t", options);
        let mount = ctx.facts(&b)?.mount("/tmp")?;
        ensure!(!mount.own("relatime") && !mount.own("noatime"), "{options:?}: {:?}", mount.options);
    }
    Ok(())
}

/// In a user namespace the host's node is bound: it has to be the device that is asked for.
fn host_has_another(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.user_namespace(200_000)?;
    b.set("/linux/devices", json!([{"path": "/dev/full", "type": "c", "major": 10, "minor": 229}]));
    ctx.fails(&b).map(drop)
}

/// Everything but character devices: the default devices are allowed all the same.
fn rules_turned_round(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let rules = json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "access": "rw"}]);
    b.set("/linux/resources/devices", rules);
    b.set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]));
    b.steps(&[&["open", "/dev/null", "rw"], &["open", "/dev/fuse", "r"]]);
    let results = ctx.run_steps(&b)?;
    let results: Vec<&str> = results.iter().map(Facts::result).collect();
    ensure_eq!(results, ["ok", "EPERM"], "null device, another device");
    Ok(())
}

/// A hook's `env` is its environment, without a HOME from the runtime.
fn hook_env(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let log = b.out().join("log");
    let hook = json!({"path": "/bin/probe", "args": ["probe", "hook", "/out/log", "t"], "env": ["A=1"]});
    b.set("/hooks/startContainer", json!([hook]));
    ctx.run(&b)?.ok()?;
    let line: serde_json::Value = serde_json::from_str(fs::read_to_string(log)?.trim())?;
    ensure_eq!(line["env"], json!(["A=1"]), "the hook's environment");
    Ok(())
}
