//! Labels of security modules, on a machine that has the module at work.

use crate::failure::Verdict;
use crate::host::on_path;
use crate::process::Cmd;
use crate::registry::{Case, Need};
use crate::{Bundle, Container, Ctx, Failure, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, need, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("label/{name}"), clauses, body).needs(&[need])
    };
    vec![
        case("apparmor-profile", &["PROC-23"], Need::AppArmor, profile),
        case("apparmor-exec", &["PROC-23"], Need::AppArmor, profile_of_exec),
        case("apparmor-unknown-profile", &["PROC-23", "OPS-06"], Need::AppArmor, unknown_profile),
        case("apparmor-with-forged-proc", &["PROC-23"], Need::AppArmor, forged_proc),
        case("selinux-process", &["PROC-24"], Need::SeLinux, process_label),
        case("selinux-exec", &["PROC-24"], Need::SeLinux, label_of_exec),
        case("selinux-unknown-context", &["PROC-24", "OPS-06"], Need::SeLinux, unknown_context),
        case("selinux-mount", &["LBL-01"], Need::SeLinux, mount_label),
    ]
}

/// A profile that allows everything, loaded until it is dropped.
struct Profile {
    name: String,
    file: PathBuf,
}

impl Profile {
    fn load(ctx: &Ctx) -> Result<Profile, Failure> {
        if !on_path("apparmor_parser") {
            return Err(Failure::skip("apparmor_parser is not on PATH"));
        }
        let name = format!("conformance-{}", ctx.id());
        let file = ctx.scratch().join("profile");
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, dbus, unix,";
        fs::write(
            &file,
            format!("profile {name} flags=(attach_disconnected) {{ {} }}\n", rules.replace(',', ",\n")),
        )?;
        Profile::parser(ctx, &file, "--replace")?;
        Ok(Profile { name, file })
    }

    fn parser(ctx: &Ctx, file: &std::path::Path, action: &str) -> Verdict {
        Cmd::new(std::path::Path::new("apparmor_parser"), ctx.scratch()).arg(action).arg(file).ok().map(drop)
    }

    fn unload(&self, ctx: &Ctx) -> Verdict {
        Profile::parser(ctx, &self.file, "--remove")
    }
}

/// The case with a profile, which is unloaded whatever becomes of the case.
fn with_profile(ctx: &Ctx, body: impl FnOnce(&str) -> Verdict) -> Verdict {
    let profile = Profile::load(ctx)?;
    let outcome = body(&profile.name);
    outcome.and(profile.unload(ctx))
}

/// The label of a process, seen from outside: the first word of `name (mode)` with AppArmor.
fn label_of(pid: i32, module: &str) -> Result<String, Failure> {
    let own = format!("/proc/{pid}/attr/{module}/current");
    let path = if fs::metadata(&own).is_ok() { own } else { format!("/proc/{pid}/attr/current") };
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

fn sleeper(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.steps(&[&["say", "hello"], &["sleep"]]);
    Ok(b)
}

fn profile(ctx: &Ctx) -> Verdict {
    with_profile(ctx, |name| {
        let mut b = sleeper(ctx)?;
        b.set("/process/apparmorProfile", json!(name));
        let c = ctx.start(&b)?;
        c.lines(1)?;
        ensure_eq!(label_of(c.pid, "apparmor")?, format!("{name} (enforce)"), "label of init");
        c.delete_force().map(drop)
    })
}

/// The pid of a process that was started with `exec --detach` and these options.
fn exec_pid(ctx: &Ctx, c: &Container<'_>, options: &[&str]) -> Result<i32, Failure> {
    let file = ctx.scratch().join("exec.pid").to_string_lossy().into_owned();
    let options = [&["--detach", "--pid-file", &file], options].concat();
    c.exec(&options, &[&["sleep"]]).ok()?;
    fs::read_to_string(&file)?.parse().map_err(|_| Failure::new("the pid file holds no number"))
}

fn profile_of_exec(ctx: &Ctx) -> Verdict {
    with_profile(ctx, |name| {
        let (plain, mut confined) = (sleeper(ctx)?, sleeper(ctx)?);
        let c = ctx.start(&plain)?;
        let pid = exec_pid(ctx, &c, &["--apparmor", name])?;
        ensure_eq!(label_of(pid, "apparmor")?, format!("{name} (enforce)"), "label with --apparmor");
        ensure!(!label_of(c.pid, "apparmor")?.contains(name), "init has the label of exec");
        c.delete_force()?;

        confined.set("/process/apparmorProfile", json!(name));
        let c = ctx.start(&confined)?;
        let pid = exec_pid(ctx, &c, &[])?;
        ensure_eq!(label_of(pid, "apparmor")?, format!("{name} (enforce)"), "label of the container's");
        c.delete_force().map(drop)
    })
}

fn unknown_profile(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/apparmorProfile", json!("no-such-profile"));
    ctx.refuses(&b, &["apparmor"])?;
    let c = ctx.sleeper()?;
    let out = c.exec(&["--apparmor", "no-such-profile"], &[&["say", "x"]]).run()?;
    ensure!(out.code() != 0 && out.stdout.is_empty(), "exec ran without the profile");
    Ok(())
}

/// What the container shows as `/proc` has no say in where the label is written (CVE-2019-16884, CVE-2025-52881).
fn forged_proc(ctx: &Ctx) -> Verdict {
    with_profile(ctx, |name| {
        let mut b = sleeper(ctx)?;
        for id in ["self", "thread-self"] {
            fs::create_dir_all(b.path("proc").join(id).join("attr/apparmor"))?;
            fs::write(b.path("proc").join(id).join("attr/exec"), "")?;
            fs::write(b.path("proc").join(id).join("attr/apparmor/exec"), "")?;
        }
        let mounts = b.config["mounts"].as_array().cloned().unwrap_or_default();
        let mounts: Vec<_> = mounts.into_iter().filter(|m| m["destination"] != "/proc").collect();
        b.set("/mounts", json!(mounts)).set("/process/apparmorProfile", json!(name));
        b.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
        let out = ctx.create(&b);
        // To refuse it is as good as to see through it; what must not be is a container without the label.
        let Ok(c) = out else { return Ok(()) };
        c.start()?;
        c.lines(1)?;
        ensure_eq!(label_of(c.pid, "apparmor")?, format!("{name} (enforce)"), "label of init");
        c.delete_force().map(drop)
    })
}

/// The harness's own context: one that the policy knows, and that a process of it may have.
fn own_context() -> Result<String, Failure> {
    label_of(std::process::id() as i32, "selinux")
}

fn process_label(ctx: &Ctx) -> Verdict {
    let context = own_context()?;
    let mut b = sleeper(ctx)?;
    b.set("/process/selinuxLabel", json!(context));
    let c = ctx.start(&b)?;
    c.lines(1)?;
    ensure_eq!(label_of(c.pid, "selinux")?, context, "context of init");
    Ok(())
}

fn label_of_exec(ctx: &Ctx) -> Verdict {
    let context = own_context()?;
    let c = ctx.start(&sleeper(ctx)?)?;
    let pid = exec_pid(ctx, &c, &["--process-label", &context])?;
    ensure_eq!(label_of(pid, "selinux")?, context, "context with --process-label");
    Ok(())
}

fn unknown_context(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.set("/process/selinuxLabel", json!("no such context"));
    ctx.refuses(&b, &["selinux", "label", "attr/exec"]).map(drop)
}

fn mount_label(ctx: &Ctx) -> Verdict {
    let context = fs::read_to_string("/sys/fs/selinux/initial_contexts/unlabeled")?;
    let context = context.trim_end_matches('\0').to_owned();
    let mut b = ctx.bundle()?;
    b.mount("/tmp", "tmpfs", "t", &[]).set("/linux/mountLabel", json!(context));
    let f = ctx.facts(&b)?;
    let options = f.mount("/tmp")?.super_options;
    ensure!(options.iter().any(|o| o.contains(&context)), "options of /tmp: {options:?}");
    Ok(())
}
