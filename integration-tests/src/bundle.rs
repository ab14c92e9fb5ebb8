//! Bundles that cases hand to the runtime.

use crate::context::Ctx;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// Where the probe is in every rootfs.
pub const PROBE: &str = "/bin/probe";

/// Every option in `mounts` of [`Bundle::out`]: a directory shared with the harness.
pub const OUT: &str = "/out";

/// A bundle: a directory with a rootfs that holds only the probe, and a configuration that starts out as the
/// one that `runc spec` writes.
pub struct Bundle {
    /// The bundle's directory.
    pub dir: PathBuf,
    /// The configuration, written to `config.json` before every use.
    pub config: Value,
    /// Bytes to write instead of the configuration.
    pub raw: Option<Vec<u8>>,
    /// systemd makes the cgroup: its path is written as a unit's name.
    pub systemd: bool,
}

impl Bundle {
    /// Makes the directories.
    pub(crate) fn make(dir: PathBuf, probe: &Path, systemd: bool) -> Result<Self, Failure> {
        let rootfs = dir.join("rootfs");
        for sub in ["bin", "proc", "sys", "dev", "tmp", "etc", "out", "run"] {
            fs::create_dir_all(rootfs.join(sub))?;
        }
        fs::create_dir_all(dir.join("out"))?;
        fs::set_permissions(dir.join("out"), fs::Permissions::from_mode(0o1777))?;
        place(probe, &rootfs.join("bin/probe"))?;
        Ok(Bundle { dir, config: default_config(), raw: None, systemd })
    }

    /// Turns it into what `runc spec --rootless` writes, owned by an ordinary user.
    pub(crate) fn into_rootless(mut self, probe: &Path, uid: u32, gid: u32) -> Result<Self, Failure> {
        let in_rootfs = self.path("bin/probe");
        fs::remove_file(&in_rootfs)?;
        fs::copy(probe, &in_rootfs)?;
        fs::set_permissions(&in_rootfs, fs::Permissions::from_mode(0o755))?;
        let c = &mut self.config;
        let mounts = c["mounts"].as_array().cloned().unwrap_or_default();
        let mut kept: Vec<Value> = Vec::new();
        for mut m in mounts {
            match m["destination"].as_str() {
                Some("/sys/fs/cgroup") => continue,
                Some("/sys") => {
                    m = json!({"destination": "/sys", "type": "none", "source": "/sys",
                               "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
                }
                Some("/dev/pts") => {
                    m["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
                }
                _ => {}
            }
            kept.push(m);
        }
        c["mounts"] = Value::Array(kept);
        let linux = c["linux"].as_object_mut().expect("linux is an object");
        linux.remove("resources");
        linux.insert("uidMappings".into(), json!([{"containerID": 0, "hostID": uid, "size": 1}]));
        linux.insert("gidMappings".into(), json!([{"containerID": 0, "hostID": gid, "size": 1}]));
        linux.insert(
            "namespaces".into(),
            json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "user"}]),
        );
        chown_tree(&self.dir, uid, gid)?;
        Ok(self)
    }

    /// A path inside the rootfs, seen from the host.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.join("rootfs").join(inside.trim_start_matches('/'))
    }

    /// Sets the value at a JSON pointer. Missing objects on the way are made; `-` appends to an array.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut at = &mut self.config;
        for part in pointer.split('/').skip(1) {
            if !at.is_object() && !at.is_array() {
                *at = json!({});
            }
            at = match at {
                Value::Array(list) => {
                    if part == "-" {
                        list.push(Value::Null);
                    }
                    let index = part.parse().unwrap_or(list.len() - 1);
                    &mut list[index]
                }
                Value::Object(map) => map.entry(part).or_insert(Value::Null),
                _ => unreachable!("made a container above"),
            };
        }
        *at = value;
        self
    }

    /// Removes the member at a JSON pointer.
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match self.config.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(key)),
            Some(Value::Array(list)) => drop(list.remove(key.parse().expect("an index"))),
            _ => {}
        }
        self
    }

    /// The program: steps of the probe, executed one after the other.
    pub fn steps(&mut self, steps: &[&[&str]]) -> &mut Self {
        let args = steps_to_args(steps);
        self.set("/process/args", json!(args))
    }

    /// Adds a mount at the end of the list.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        self.set(
            "/mounts/-",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Mounts a directory shared with the harness at `/out` and gives its path on the host.
    pub fn out(&mut self) -> PathBuf {
        let host = self.dir.join("out");
        let source = host.to_string_lossy().into_owned();
        self.mount(OUT, "bind", &source, &["rbind", "rw"]);
        host
    }

    /// Makes the root writable.
    pub fn writable(&mut self) -> &mut Self {
        self.set("/root/readonly", json!(false))
    }

    /// Grants all five capability sets these capabilities.
    pub fn caps(&mut self, names: &[&str]) -> &mut Self {
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        self
    }

    /// Replaces the list of namespaces by new ones of these types.
    pub fn namespaces(&mut self, kinds: &[&str]) -> &mut Self {
        let list: Vec<Value> = kinds.iter().map(|k| json!({"type": k})).collect();
        self.set("/linux/namespaces", Value::Array(list))
    }

    /// Removes a namespace type from the list.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        if let Some(list) = self.config["linux"]["namespaces"].as_array_mut() {
            list.retain(|n| n["type"] != kind);
        }
        self
    }

    /// Adds a user namespace that maps 0..65536 to this range of the host, and hands the rootfs to it.
    ///
    /// # Errors
    /// If the rootfs cannot be chowned.
    pub fn user_namespace(&mut self, host_id: u32) -> Result<&mut Self, Failure> {
        let map = json!([{"containerID": 0, "hostID": host_id, "size": 65536}]);
        self.set("/linux/namespaces/-", json!({"type": "user"}));
        self.set("/linux/uidMappings", map.clone());
        self.set("/linux/gidMappings", map);
        // The probe is a hard link to the run's only copy: its owner stays.
        for dir in ["", "bin", "proc", "sys", "dev", "tmp", "etc", "out", "run"] {
            lchown(self.path(dir), Some(host_id), Some(host_id))?;
        }
        Ok(self)
    }

    /// Adds a hook that runs the probe on the host, appending to `log`.
    pub fn hook(&mut self, kind: &str, ctx: &Ctx, log: &Path, tag: &str, extra: &[&str]) -> &mut Self {
        let probe = ctx.probe().to_string_lossy().into_owned();
        let hook = hook(&probe, &log.to_string_lossy(), tag, extra);
        if !self.config["hooks"][kind].is_array() {
            self.set(&format!("/hooks/{kind}"), json!([]));
        }
        self.set(&format!("/hooks/{kind}/-"), hook)
    }

    /// Writes `config.json`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        let bytes = match (&self.raw, self.systemd) {
            (Some(raw), _) => raw.clone(),
            (None, false) => serde_json::to_vec_pretty(&self.config)?,
            (None, true) => serde_json::to_vec_pretty(&for_systemd(self.config.clone()))?,
        };
        Ok(fs::write(self.dir.join("config.json"), bytes)?)
    }
}

/// The configuration with a path of directories as the name of a unit: `/a/b` is `:a-b`.
fn for_systemd(mut config: Value) -> Value {
    if let Some(path) = config["linux"]["cgroupsPath"].as_str().filter(|path| !path.contains(':')) {
        config["linux"]["cgroupsPath"] =
            json!(format!(":harness:{}", path.trim_matches('/').replace('/', "-")));
    }
    config
}

/// A hook object that runs the probe's `hook` step.
pub fn hook(probe: &str, log: &str, tag: &str, extra: &[&str]) -> Value {
    let mut args = vec!["probe", "hook", log, tag];
    args.extend_from_slice(extra);
    json!({"path": probe, "args": args, "env": ["HOOK=1"]})
}

/// The probe's argument vector for a list of steps.
pub fn steps_to_args(steps: &[&[&str]]) -> Vec<String> {
    let mut args = vec![PROBE.to_owned()];
    for (i, step) in steps.iter().enumerate() {
        if i > 0 {
            args.push("+".into());
        }
        args.extend(step.iter().map(|s| (*s).to_owned()));
    }
    args
}

/// Hard link if possible, copy if not.
fn place(from: &Path, to: &Path) -> Result<(), Failure> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Hands a whole directory tree to a user.
///
/// # Errors
/// If one of the entries cannot be chowned.
pub fn chown_tree(dir: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
    lchown(dir, Some(uid), Some(gid))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            chown_tree(&entry.path(), uid, gid)?;
        } else {
            lchown(entry.path(), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// What `runc spec` writes, without a terminal and with the probe as the program.
fn default_config() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": [PROBE, "facts"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps, "ambient": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "probe",
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
    ])
}
