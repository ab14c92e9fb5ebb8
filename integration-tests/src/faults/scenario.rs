//! The commands that are tried.

use super::rich;
use crate::failure::Failure;
use crate::{Bundle, Ctx};
use serde_json::json;

/// What has to be there before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Nothing: the command makes it.
    Nothing,
    /// A container that waits for `start`.
    Created,
    /// One whose program sleeps.
    Running,
    /// The same, frozen.
    Paused,
}

/// One command line, and where it begins.
pub struct Scenario {
    /// What reports call it.
    pub name: &'static str,
    /// What has to be there.
    pub needs: Needed,
    /// The bundle.
    pub bundle: fn(&Ctx) -> Result<Bundle, Failure>,
    /// The arguments; `ID`, `BUNDLE` and `PIDFILE` stand for what they say.
    pub words: &'static [&'static str],
    /// The program prints what it finds.
    pub prints_facts: bool,
    /// The same container serves every attempt.
    pub keeps_container: bool,
    /// The container's first process is tried as well.
    pub follows_init: bool,
    /// What the container is afterwards, whatever happens to the command.
    pub leaves: Option<&'static str>,
}

/// A command for a running container, to build others from.
pub const BASE: Scenario = Scenario {
    name: "",
    needs: Needed::Running,
    bundle: sleeper,
    words: &[],
    prints_facts: false,
    keeps_container: false,
    follows_init: false,
    leaves: None,
};

/// Each command once, those that make processes in several ways.
pub static SCENARIOS: [Scenario; 18] = [
    Scenario {
        name: "run",
        needs: Needed::Nothing,
        bundle: rich,
        words: &["run", "-b", "BUNDLE", "ID"],
        prints_facts: true,
        ..BASE
    },
    Scenario {
        name: "run-userns",
        needs: Needed::Nothing,
        bundle: mapped,
        words: &["run", "-b", "BUNDLE", "ID"],
        prints_facts: true,
        ..BASE
    },
    Scenario {
        name: "create",
        needs: Needed::Nothing,
        bundle: sleeper,
        words: &["create", "--pid-file", "PIDFILE", "-b", "BUNDLE", "ID"],
        ..BASE
    },
    Scenario {
        name: "create-hooks",
        needs: Needed::Nothing,
        bundle: hooked,
        words: &["create", "-b", "BUNDLE", "ID"],
        ..BASE
    },
    Scenario { name: "start", needs: Needed::Created, follows_init: true, words: &["start", "ID"], ..BASE },
    Scenario {
        name: "exec",
        words: &["exec", "ID", "/bin/probe", "facts"],
        prints_facts: true,
        leaves: Some("running"),
        ..BASE
    },
    Scenario {
        name: "exec-detached",
        words: &["exec", "-d", "--pid-file", "PIDFILE", "ID", "/bin/probe", "sleep"],
        leaves: Some("running"),
        ..BASE
    },
    Scenario { name: "kill", words: &["kill", "ID", "KILL"], ..BASE },
    Scenario { name: "delete", needs: Needed::Created, words: &["delete", "ID"], ..BASE },
    Scenario { name: "delete-force", words: &["delete", "--force", "ID"], ..BASE },
    Scenario { name: "pause", words: &["pause", "ID"], ..BASE },
    Scenario { name: "resume", needs: Needed::Paused, words: &["resume", "ID"], ..BASE },
    Scenario {
        name: "update",
        words: &["update", "--memory", "33554432", "--cpu-share", "512", "ID"],
        leaves: Some("running"),
        ..BASE
    },
    reading("state", &["state", "ID"]),
    reading("list", &["list", "--format", "json"]),
    reading("ps", &["ps", "--format", "json", "ID"]),
    reading("events-stats", &["events", "--stats", "ID"]),
    reading("features", &["features"]),
];

/// What `update` is not given where there is nothing to limit.
pub const LIMITS: [&str; 4] = ["--memory", "33554432", "--cpu-share", "512"];

const fn reading(name: &'static str, words: &'static [&'static str]) -> Scenario {
    Scenario { name, words, keeps_container: true, leaves: Some("running"), ..BASE }
}

/// A program that waits, in a container with a little of everything.
fn sleeper(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = rich(ctx)?;
    b.steps(&[&["sleep"]]);
    Ok(b)
}

fn mapped(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = rich(ctx)?;
    // Neither network nor cgroup files belong to the user namespace in every kernel.
    b.remove("/linux/sysctl").remove("/linux/devices").user_namespace(100_000)?;
    Ok(b)
}

fn hooked(ctx: &Ctx) -> Result<Bundle, Failure> {
    let mut b = sleeper(ctx)?;
    let log = ctx.scratch().join("hooks");
    for kind in ["prestart", "createRuntime", "createContainer", "poststop"] {
        b.hook(kind, ctx, &log, kind, &[]);
    }
    b.set("/annotations", json!({"a": "b"}));
    Ok(b)
}
