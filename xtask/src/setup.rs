//! `cargo xtask setup`: what the tests need beside Rust, from the distribution's packages.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};
use crate::{bundle, host, sys};

/// A program that a lane needs, and the Debian package that brings it.
struct Tool {
    package: &'static str,
    present: fn() -> bool,
}

const FOR_TESTS: [Tool; 3] = [
    Tool { package: "busybox-static", present: || bundle::static_busybox().is_ok() },
    // The reference that some tests compare /proc with.
    Tool { package: "runc", present: || host::on_path("runc").is_some() },
    // What seccomp filters are compared with (.ci/run).
    Tool { package: "libseccomp-dev", present: || Path::new("/usr/include/seccomp.h").exists() },
];

const FOR_ENGINES: [Tool; 3] = [
    Tool {
        package: "docker.io",
        present: || host::on_path("dockerd").is_some() && host::on_path("docker").is_some(),
    },
    Tool {
        package: "containerd",
        present: || host::on_path("containerd").is_some() && host::on_path("ctr").is_some(),
    },
    Tool { package: "iproute2", present: || host::on_path("ip").is_some() },
];

/// `cargo xtask setup [engines]`: installs what is absent; does nothing where all is there.
pub fn install(args: &[String]) -> Result<ExitCode> {
    let tools: Vec<&Tool> = match args {
        [] => FOR_TESTS.iter().collect(),
        [lane] if lane == "engines" => FOR_TESTS.iter().chain(&FOR_ENGINES).collect(),
        _ => return Err(Error::Usage),
    };
    let absent: Vec<&str> = tools.iter().filter(|tool| !(tool.present)()).map(|tool| tool.package).collect();
    if absent.is_empty() {
        println!("setup: nothing to install");
        return Ok(ExitCode::SUCCESS);
    }
    println!("setup: installing {}", absent.join(" "));
    let missing = |hint| Error::Missing { what: absent.join(", "), hint };
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(missing("there is no apt-get here; install them as this distribution does"));
    }
    if sys::effective_ids().0 != 0 {
        return Err(missing("installing them needs root"));
    }
    host::run(apt_get().arg("update"))?;
    host::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&absent))?;
    Ok(ExitCode::SUCCESS)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
    command
}
