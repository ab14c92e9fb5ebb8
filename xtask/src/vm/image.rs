//! The machine's disk, kernel and tools: built once per recipe, kept in the user's cache directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use crate::error::{Doing, Error, Result};
use crate::host::{self, TempDir};
use crate::setup;

/// The release of Debian that the machine runs.
const SUITE: &str = "trixie";

/// What runs the machine. From the same release as the machine, so that it is the same everywhere.
const TOOLS: &[&str] = &["qemu-system-x86", "virtiofsd"];

/// What is in the machine beside Debian's minimal system: an init, the kernel, what the tests use, runc and crun
/// as runtimes to compare with, and the engines.
const PACKAGES: &[&str] = &[
    "apparmor",
    "buildah",
    "busybox-static",
    "catatonit",
    "conmon",
    "containerd",
    "crun",
    "dbus",
    "dbus-user-session",
    "docker-cli",
    "docker.io",
    "e2fsprogs",
    "iproute2",
    "jq",
    "kmod",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "podman",
    "procps",
    "python3",
    "runc",
    "slirp4netns",
    "strace",
    "systemd",
    "systemd-sysv",
    "udev",
    "uidmap",
    "util-linux",
    "xz-utils",
];

/// The files that turn the packages into a machine.
const FILES: &[(&str, &str)] = &[
    ("prepare.sh", include_str!("guest/prepare.sh")),
    ("initramfs-init", include_str!("guest/initramfs-init")),
    ("corten-vm", include_str!("guest/corten-vm")),
    ("corten-vm.service", include_str!("guest/corten-vm.service")),
    ("apparmor-profile", include_str!("guest/apparmor-profile")),
];

/// A machine's image, ready to boot.
pub struct Image {
    /// The tree that QEMU runs in; the image's files are in its `/vm`.
    pub tree: PathBuf,
}

impl Image {
    /// Finds the image of this recipe in the cache, or builds it.
    pub fn get() -> Result<Self> {
        super::require_root()?;
        let cache = cache_directory()?;
        fs::create_dir_all(&cache).doing(|| format!("create {}", cache.display()))?;
        let lock = cache.join("vm.lock");
        let lock = fs::File::create(&lock).doing(|| format!("create {}", lock.display()))?;
        // Held until the image is there: whoever comes second finds it.
        lock.lock().doing(|| "wait for another build of the image".to_owned())?;
        let tree = cache.join(format!("vm-{:016x}", recipe_hash()));
        if !tree.exists() {
            build(&cache, &tree)?;
        }
        Ok(Self { tree })
    }
}

fn cache_directory() -> Result<PathBuf> {
    let xdg = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = xdg.or_else(home).ok_or_else(|| Error::Missing {
        what: "a cache directory".to_owned(),
        hint: "set HOME or XDG_CACHE_HOME",
    })?;
    Ok(base.join("corten"))
}

/// FNV-1a over everything that decides what the image holds, save the packages' versions.
fn recipe_hash() -> u64 {
    let names = TOOLS.iter().chain(PACKAGES).copied().chain([SUITE]);
    let texts = names.chain(FILES.iter().flat_map(|(name, text)| [*name, *text]));
    texts
        .flat_map(|text| text.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn build(cache: &Path, tree: &Path) -> Result<()> {
    let begin = Instant::now();
    eprintln!("xtask: building the machine's image in {} (once)", tree.display());
    setup::install_absent(&setup::FOR_VM)?;
    let archive = Archive::of_apt()?;
    let work = TempDir::below(cache)?;
    let packages = work.path().join("packages");
    let recipe = work.path().join("recipe");
    for directory in [&packages, &recipe] {
        fs::create_dir(directory).doing(|| format!("create {}", directory.display()))?;
    }
    for (name, text) in FILES {
        fs::write(recipe.join(name), text).doing(|| format!("write {name}"))?;
    }
    archive.debootstrap(&packages, TOOLS, &work.path().join("tools"))?;
    archive.debootstrap(&packages, PACKAGES, &work.path().join("guest"))?;
    let mut prepare = Command::new("sh");
    prepare.arg(recipe.join("prepare.sh")).env("RECIPE", &recipe).current_dir(work.path());
    host::run(&mut prepare)?;
    fs::rename(work.path().join("tools"), tree).doing(|| format!("rename to {}", tree.display()))?;
    eprintln!("xtask: built in {} s", begin.elapsed().as_secs());
    Ok(())
}

/// The distribution's archive, as this machine's apt reaches it.
struct Archive {
    uri: String,
    proxy: Option<String>,
}

impl Archive {
    fn of_apt() -> Result<Self> {
        let mut uri = archive_uri()?;
        if uri.is_none() {
            // What an archive is, stands in the lists that apt has fetched.
            host::run(setup::apt_get().arg("update"))?;
            uri = archive_uri()?;
        }
        let uri = uri.ok_or_else(|| Error::Missing {
            what: "an archive of Debian in apt's configuration".to_owned(),
            hint: "the machine's packages come from where this machine's do",
        })?;
        let proxy = answer(Command::new("apt-config").args(["shell", "P", "Acquire::http::Proxy"]))?;
        let proxy = proxy.trim().strip_prefix("P=").map(|value| value.trim_matches('\'').to_owned());
        Ok(Self { uri, proxy: proxy.filter(|value| !value.is_empty()) })
    }

    fn debootstrap(&self, cache: &Path, packages: &[&str], tree: &Path) -> Result<()> {
        let mut command = Command::new("debootstrap");
        command.arg("--variant=minbase").arg(format!("--include={}", packages.join(",")));
        command.arg(format!("--cache-dir={}", cache.display()));
        command.arg(SUITE).arg(tree).arg(&self.uri);
        if let Some(proxy) = &self.proxy {
            command.env("http_proxy", proxy).env("https_proxy", proxy);
        }
        let output = command.output().doing(|| "start debootstrap".to_owned())?;
        if output.status.success() {
            return Ok(());
        }
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        host::succeeded(&command, &output)
    }
}

fn archive_uri() -> Result<Option<String>> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let targets = answer(&mut command)?;
    Ok(targets.lines().find_map(|line| line.strip_prefix("Debian Debian ")).map(str::to_owned))
}

fn answer(command: &mut Command) -> Result<String> {
    let output = command.output().doing(|| format!("start {}", command.get_program().display()))?;
    host::succeeded(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
