//! `cargo xtask setup`: what the tests need beside Rust, from the distribution's packages.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};
use crate::{bundle, host, sys};

/// A program that a lane needs, and the Debian package that brings it.
pub struct Tool {
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

const FOR_ENGINES: [Tool; 9] = [
    Tool {
        package: "docker.io",
        present: || host::on_path("dockerd").is_some() && host::on_path("docker").is_some(),
    },
    Tool {
        package: "containerd",
        present: || host::on_path("containerd").is_some() && host::on_path("ctr").is_some(),
    },
    Tool { package: "iproute2", present: || host::on_path("ip").is_some() },
    Tool { package: "podman", present: || host::on_path("podman").is_some() },
    Tool { package: "conmon", present: || host::on_path("conmon").is_some() },
    Tool { package: "buildah", present: || host::on_path("buildah").is_some() },
    // What Podman starts for `--init` and pods, for a network without a bridge, and for ranges of ids.
    Tool { package: "catatonit", present: || host::on_path("catatonit").is_some() },
    Tool { package: "slirp4netns", present: || host::on_path("slirp4netns").is_some() },
    Tool { package: "uidmap", present: || host::on_path("newuidmap").is_some() },
];

/// What builds the virtual machine's image. The machine's own programs are in the image (see `vm/image.rs`).
pub const FOR_VM: [Tool; 4] = [
    Tool { package: "debootstrap", present: || host::on_path("debootstrap").is_some() },
    Tool { package: "debian-archive-keyring", present: || Path::new(DEBIAN_KEYRING).exists() },
    Tool { package: "e2fsprogs", present: || host::on_path("mke2fs").is_some() },
    Tool { package: "xz-utils", present: || host::on_path("xz").is_some() },
];

const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// `cargo xtask setup [engines|vm]`: installs what is absent; does nothing where all is there.
pub fn install(args: &[String]) -> Result<ExitCode> {
    let tools: Vec<&Tool> = match args {
        [] => FOR_TESTS.iter().collect(),
        [lane] if lane == "engines" => FOR_TESTS.iter().chain(&FOR_ENGINES).collect(),
        [lane] if lane == "vm" => FOR_TESTS.iter().chain(&FOR_VM).collect(),
        _ => return Err(Error::Usage),
    };
    if !install_absent(tools)? {
        println!("setup: nothing to install");
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs the tools that are not there; answers whether there were any.
pub fn install_absent<'t>(tools: impl IntoIterator<Item = &'t Tool>) -> Result<bool> {
    let absent: Vec<&str> =
        tools.into_iter().filter(|tool| !(tool.present)()).map(|tool| tool.package).collect();
    if absent.is_empty() {
        return Ok(false);
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
    Ok(true)
}

pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
    command
}
