//! What an engine knows of a container when it resolves a profile.

use std::collections::BTreeSet;
use std::str::FromStr;

use libcontainer::seccomp::Arch;

/// The capabilities that Docker, containerd and Podman give to a container that asks for nothing (the older list, with
/// `CAP_NET_RAW`).
pub const ENGINE_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// A version of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    /// 6 of 6.18.
    pub major: u32,
    /// 18 of 6.18.
    pub minor: u32,
}

/// Not a version of Linux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a version of Linux: {0:?}")]
pub struct NotAVersion(String);

impl FromStr for Kernel {
    type Err = NotAVersion;

    /// Reads `6.18`, and the release of a kernel, `6.18.44-arch1`.
    fn from_str(text: &str) -> Result<Kernel, NotAVersion> {
        let digits = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().ok()
        };
        let mut parts = text.split('.');
        let major = parts.next().filter(|p| p.bytes().all(|b| b.is_ascii_digit())).and_then(digits);
        let minor = parts.next().and_then(digits);
        match (major, minor) {
            (Some(major), Some(minor)) => Ok(Kernel { major, minor }),
            _ => Err(NotAVersion(text.chars().take(80).collect())),
        }
    }
}

/// What rules of the engines' format depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Names of capabilities, `CAP_…`, in the bounding set.
    pub capabilities: BTreeSet<String>,
    /// The kernel that the container will run on.
    pub kernel: Kernel,
    /// The native architecture of that machine.
    pub arch: Arch,
}

impl Circumstances {
    /// A container that asked its engine for nothing.
    #[must_use]
    pub fn of_engines(kernel: Kernel, arch: Arch) -> Circumstances {
        Circumstances { capabilities: ENGINE_CAPABILITIES.map(String::from).into(), kernel, arch }
    }

    /// Whether a name in `arches` is that of the native architecture. Engines write Go's names and a few of their own.
    pub(crate) fn is_native(&self, name: &str) -> bool {
        let engines = match self.arch {
            Arch::Mipsel64 => "mipsel64",
            Arch::Mips64N32 => "mips64n32",
            Arch::Mipsel64N32 => "mips3l64n32",
            Arch::Mipsel => "mipsel",
            _ => "",
        };
        [self.arch.go_name(), self.arch.short_name(), self.arch.name(), engines].contains(&name)
            && !name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Kernel;

    #[test]
    fn versions_and_releases() {
        let of = |text: &str| text.parse::<Kernel>().ok().map(|k| (k.major, k.minor));
        assert_eq!(of("4.8"), Some((4, 8)));
        assert_eq!(of("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(of("6.18-rc1"), Some((6, 18)));
        for odd in ["", "6", "6.", "x.1", "6x.1", ".1", "99999999999.1"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}
