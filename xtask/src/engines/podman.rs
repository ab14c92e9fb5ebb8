//! Podman and Buildah, which have no daemon: their configuration, storage and image, all in the lane's directory.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::check::{IMAGE, Place, USER};
use super::manager::Manager;
use crate::error::{Doing, Result};
use crate::{host, sys};

/// A user for the rootless checks, with ids of its own; only the lane's mount namespace has it.
const PASSWD: &str = "lane:x:1000:1000::/nonexistent:/bin/sh\n";
const RANGE: &str = "lane:200000:65536\n";

/// Hides what Podman keeps in places of the machine that cannot be configured: its locks, and the networks' addresses.
pub fn hide_shared_places() -> Result<()> {
    for place in ["/dev/shm", "/var/lib/cni"].map(Path::new) {
        if place.is_dir() {
            sys::mount_tmpfs(place).doing(|| format!("mount a private {}", place.display()))?;
            fs::set_permissions(place, Permissions::from_mode(0o1777))
                .doing(|| "open it to all".to_owned())?;
        }
    }
    fs::create_dir_all("/run/lock").doing(|| "create /run/lock".to_owned())
}

/// Where root's Podman, Buildah and conmon run, with the image in their storage.
pub fn root(directory: &Path, cgroup: &str, manager: Manager, archive: &Path) -> Result<Place> {
    let home = directory.join("podman");
    let mut place = configured(&home, directory.join("scratch"), manager)?;
    place.environment.extend(manager.environment(cgroup));
    place.environment.push(("ROOTFS", directory.join("rootfs").into()));
    if host::on_path("podman").is_some() {
        host::run(command_in(&place).args(["podman", "import", "--quiet"]).arg(archive).arg(IMAGE))?;
    }
    Ok(place)
}

/// Where an ordinary user's Podman runs, with the image in its storage.
pub fn rootless(directory: &Path, archive: &Path) -> Result<Place> {
    for (file, line) in [("passwd", PASSWD), ("subuid", RANGE), ("subgid", RANGE)] {
        let original = Path::new("/etc").join(file);
        let copy = directory.join(file);
        let text = fs::read_to_string(&original).doing(|| format!("read {}", original.display()))?;
        let others = text.lines().filter(|line| file != "passwd" || line.split(':').nth(2) != Some("1000"));
        let text = others.map(|line| format!("{line}\n")).collect::<String>() + line;
        fs::write(&copy, text).doing(|| format!("write {}", copy.display()))?;
        host::run(Command::new("mount").arg("--bind").arg(&copy).arg(&original))?;
    }
    let home = directory.join("home");
    let mut place = configured(&home, directory.join("user-scratch"), Manager::Cgroupfs)?;
    let run = home.join("run");
    fs::create_dir_all(&run).doing(|| format!("create {}", run.display()))?;
    for path in [&home, &run] {
        chown(path, Some(USER), Some(USER)).doing(|| format!("give away {}", path.display()))?;
    }
    place.environment.extend([
        ("USER", "lane".into()),
        ("TMPDIR", run.clone().into()),
        ("HOME", home.into()),
        ("XDG_RUNTIME_DIR", run.into()),
        ("G", "".into()),
    ]);
    let user = USER.to_string();
    let mut import = command_in(&place);
    import.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    host::run(import.args(["podman", "import", "--quiet"]).arg(archive).arg(IMAGE))?;
    Ok(place)
}

/// Writes the configuration: nothing of the machine's own has a say, and whole copies of the image need no kernel's help.
fn configured(home: &Path, scratch: PathBuf, manager: Manager) -> Result<Place> {
    fs::create_dir_all(home).doing(|| format!("create {}", home.display()))?;
    let at = |name: &str| home.join(name);
    let containers = format!(
        "[containers]\nlog_driver = \"k8s-file\"\n[engine]\ncgroup_manager = {:?}\nevents_logger = \"file\"\n\
         runtime_supports_json = [\"corten\", \"runc\"]\nruntime_supports_nocgroups = []\n\
         [network]\nnetwork_config_dir = {:?}\n",
        manager.name(),
        at("networks")
    );
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        at("storage"),
        at("run-storage")
    );
    let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";
    let files =
        [("containers.conf", containers.as_str()), ("storage.conf", &storage), ("policy.json", policy)];
    for (name, text) in files {
        fs::write(at(name), text).doing(|| format!("write {name}"))?;
    }
    let environment: Vec<(&'static str, OsString)> = vec![
        ("CONTAINERS_CONF", at("containers.conf").into()),
        ("CONTAINERS_STORAGE_CONF", at("storage.conf").into()),
        ("POLICY", at("policy.json").into()),
        // There is no systemd in the lane's namespaces that could run health checks.
        ("DISABLE_HC_SYSTEMD", "true".into()),
    ];
    Ok(Place { scratch, environment })
}

/// `env`, followed by what is to be run in that place.
fn command_in(place: &Place) -> Command {
    let mut command = Command::new("env");
    command.envs(place.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    command
}
