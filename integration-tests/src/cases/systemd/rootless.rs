//! Containers of an ordinary user, made by that user's systemd.

use super::{show, systemctl};
use crate::context::USER;
use crate::failure::Verdict;
use crate::process::Cmd;
use crate::registry::{Case, Need};
use crate::{Ctx, Facts, Failure, ensure, ensure_eq};
use serde_json::json;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let needs = [Need::Root, Need::Unified, Need::UnprivilegedUserNs, Need::File("/usr/bin/nsenter")];
    vec![Case::new("systemd/rootless", &["CG-03", "IDM-08", "RPID-01"], rootless).needs(&needs)]
}

/// One case: the user's systemd ends with it.
fn rootless(ctx: &Ctx) -> Verdict {
    let user = User::new(ctx)?;
    let controllers = [Need::V2("memory"), Need::V2("pids")];
    let has_controllers = controllers.into_iter().all(|need| ctx.host.lacks(need).is_none());
    let verdict = life(&user).and_then(|()| if has_controllers { limits(&user) } else { Ok(()) });
    user.end(verdict)
}

/// The user, with a systemd of its own while the case lasts.
struct User<'c> {
    ctx: &'c Ctx,
    state: PathBuf,
    runtime: PathBuf,
}

impl<'c> User<'c> {
    fn new(ctx: &'c Ctx) -> Result<Self, Failure> {
        let state = ctx.scratch().join("user");
        std::fs::create_dir(&state)?;
        chown(&state, Some(USER), Some(USER))?;
        let runtime = PathBuf::from(format!("/run/user/{USER}"));
        let user = User { ctx, state, runtime };
        let started = systemctl(ctx, &["start", &format!("user@{USER}.service")]);
        let bus = PathBuf::from("/proc/1/root").join(user.runtime.strip_prefix("/").unwrap_or(&user.runtime));
        let reached = ctx.wait_for(Duration::from_secs(30), || bus.join("bus").exists());
        if started.is_ok() && reached {
            Ok(user)
        } else {
            Err(Failure::skip(format!("uid {USER} gets no systemd")))
        }
    }

    fn end(&self, verdict: Verdict) -> Verdict {
        let ended = systemctl(self.ctx, &["stop", &format!("user@{USER}.service")]);
        verdict.and(ended.map(drop))
    }

    /// A program of the user's, in the machine's mount namespace: the user's runtime directory was mounted there after
    /// the case's own had been made.
    fn program(&self, path: &Path) -> Cmd {
        let cmd = self.ctx.program(Path::new("nsenter")).args(["--target", "1", "--mount"]);
        let cmd = cmd.arg(format!("--setuid={USER}")).arg(format!("--setgid={USER}")).args(["--wd=/", "--"]);
        cmd.env("XDG_RUNTIME_DIR", &self.runtime).env("DBUS_SESSION_BUS_ADDRESS", "").arg(path)
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let cmd = self.program(&self.ctx.settings.runtime).arg("--systemd-cgroup");
        cmd.arg("--root").arg(&self.state).args(args)
    }

    /// A running container; its pid.
    fn start(&self, id: &str, resources: serde_json::Value) -> Result<i32, Failure> {
        let mut b = self.ctx.rootless_bundle()?;
        b.set("/linux/cgroupsPath", json!(format!("user.slice:mine:{id}"))).steps(&[&["sleep"]]);
        b.set("/linux/resources", resources);
        b.save()?;
        self.cmd(&["create", "-b"]).arg(&b.dir).arg(id).ok()?;
        self.cmd(&["start", id]).ok()?;
        let state = self.cmd(&["state", id]).ok()?.json()?;
        Ok(state["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or(0))
    }

    fn units(&self) -> Result<String, Failure> {
        let args = ["--user", "list-units", "--all", "--full", "--plain", "--no-legend", "mine-*"];
        Ok(self.program(Path::new("systemctl")).args(args).ok()?.stdout)
    }

    fn no_unit(&self) -> Verdict {
        let gone =
            self.ctx.wait_for(Duration::from_secs(20), || self.units().is_ok_and(|u| u.trim().is_empty()));
        ensure!(gone, "a unit is left: {}", self.units()?);
        Ok(())
    }
}

fn life(user: &User<'_>) -> Verdict {
    let id = user.ctx.id();
    let pid = user.start(&id, json!({}))?;
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let want = format!("/user@{USER}.service/user.slice/mine-{id}.scope\n");
    ensure!(cgroup.ends_with(&want), "the container is in {cgroup}, want …{want}");
    // Its cgroup and the caller's have no ancestor that the user may write to.
    let out = user.cmd(&["exec", &id, "/bin/probe", "facts"]).ok()?;
    ensure_eq!(Facts::lines(&out.stdout)?[0].str("/cgroup"), cgroup, "cgroup of exec");
    user.cmd(&["pause", &id]).ok()?;
    user.cmd(&["resume", &id]).ok()?;
    user.cmd(&["kill", &id, "KILL"]).ok()?;
    user.ctx.wait_for(Duration::from_secs(10), || {
        crate::process::reap_orphans();
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    user.cmd(&["delete", &id]).ok()?;
    user.no_unit()?;
    user.start(&id, json!({}))?;
    user.cmd(&["delete", "--force", &id]).spawn()?.finish_reaping()?.ok()?;
    user.no_unit()?;
    // Not even started: nothing to be seen of it either.
    ensure_eq!(
        show(user.ctx, &format!("mine-{id}.scope"), &["LoadState"])?["LoadState"],
        "not-found",
        "root's systemd"
    );
    Ok(())
}

fn limits(user: &User<'_>) -> Verdict {
    let id = user.ctx.id();
    let pid = user.start(&id, json!({"pids": {"limit": 20}, "memory": {"limit": 67108864}}))?;
    let dir = crate::cgroup::dir_of(pid, "")?;
    ensure_eq!(crate::cgroup::read(&dir, "pids.max")?, "20", "pids.max");
    ensure_eq!(crate::cgroup::read(&dir, "memory.max")?, "67108864", "memory.max");
    user.cmd(&["update", "--pids-limit", "25", &id]).ok()?;
    ensure_eq!(crate::cgroup::read(&dir, "pids.max")?, "25", "pids.max after update");
    user.cmd(&["delete", "--force", &id]).spawn()?.finish_reaping()?.ok()?;
    user.no_unit()
}
