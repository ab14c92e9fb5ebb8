//! A dockerd of the lane's own, with the containerd that it starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::check::{IMAGE, Place};
use super::manager::Manager;
use crate::error::{Doing, Error, Result};
use crate::{host, sys};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The running daemon, and where its things are.
pub struct Daemon {
    directory: PathBuf,
    namespace: String,
    manager: Manager,
    process: Child,
}

impl Daemon {
    /// Starts dockerd with the runtimes `subject` and `reference`, and waits until it answers.
    pub fn start(
        directory: &Path,
        subject: &Path,
        reference: &Path,
        cgroup: &str,
        manager: Manager,
    ) -> Result<Self> {
        let at = |name: &str| directory.join(name);
        let log = File::create(at("dockerd.log")).doing(|| "create dockerd's log".to_owned())?;
        // An empty file, so that the machine's own /etc/docker/daemon.json has no say here.
        fs::write(at("daemon.json"), "{}\n").doing(|| "write dockerd's configuration".to_owned())?;
        let mut command = Command::new("dockerd");
        command.arg("--config-file").arg(at("daemon.json")).arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("dockerd.pid"));
        command.arg("--host").arg(format!("unix://{}", at("docker.sock").display()));
        command.arg("--add-runtime").arg(format!("subject={}", subject.display()));
        command.arg("--add-runtime").arg(format!("reference={}", reference.display()));
        command.args(["--iptables=false", "--ip6tables=false", "--cgroup-parent", &manager.parent(cgroup)]);
        command.arg("--exec-opt").arg(format!("native.cgroupdriver={}", manager.name()));
        let errors = log.try_clone().doing(|| "share dockerd's log".to_owned())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = command.spawn().doing(|| "start dockerd".to_owned())?;
        let mut daemon =
            Self { directory: directory.to_owned(), namespace: cgroup.to_owned(), manager, process };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT * host::patience();
        loop {
            let mut probe = self.docker();
            let ready = probe.arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if ready.doing(|| "start docker".to_owned())?.success() {
                return Ok(());
            }
            let ended = self.process.try_wait().doing(|| "look after dockerd".to_owned())?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("dockerd.log")).unwrap_or_default();
                eprintln!("{log}");
                return Err(Error::Missing { what: "dockerd".to_owned(), hint: "its log is above" });
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The client, told which daemon to speak to.
    pub fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.docker_host()).env_remove("DOCKER_CONTEXT");
        command
    }

    /// The address of dockerd, as DOCKER_HOST has it.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.directory.join("docker.sock").display())
    }

    /// The address of the containerd that dockerd started.
    pub fn containerd_address(&self) -> PathBuf {
        self.directory.join("exec/containerd/containerd.sock")
    }

    /// The containerd namespace of the checks, which is also the name of their cgroup.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the engines call themselves.
    pub fn versions(&self) -> Result<String> {
        let mut docker = self.docker();
        docker.args(["version", "--format", "dockerd {{.Server.Version}}, client {{.Client.Version}}"]);
        let docker = docker.output().doing(|| "ask docker for its version".to_owned())?;
        let containerd = Command::new("containerd").arg("--version").output();
        let containerd = containerd.doing(|| "ask containerd for its version".to_owned())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let version = text(&containerd.stdout).split(' ').nth(2).unwrap_or("unknown").to_owned();
        Ok(format!("{}, containerd {version}", text(&docker.stdout)))
    }

    /// Where the checks run.
    pub fn place(&self) -> Place {
        let mut environment = vec![
            ("DOCKER_HOST", self.docker_host().into()),
            // An empty one counts as none.
            ("DOCKER_CONTEXT", "".into()),
            ("ADDRESS", self.containerd_address().into()),
            ("NAMESPACE", self.namespace.clone().into()),
        ];
        environment.extend(self.manager.environment(&self.namespace));
        Place { scratch: self.directory.join("scratch"), environment }
    }

    /// Makes an image of an archived root filesystem, in both engines.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        host::run(self.docker().arg("import").arg(archive).arg(IMAGE).stdout(Stdio::null()))?;
        let image = self.directory.join("image.tar");
        host::run(self.docker().args(["save", "-o"]).arg(&image).arg(IMAGE))?;
        let mut import = Command::new("ctr");
        import.arg("--address").arg(self.containerd_address()).args(["--namespace", &self.namespace]);
        host::run(import.args(["image", "import"]).arg(&image).stdout(Stdio::null()))
    }

    /// Ends dockerd the way its service manager does, which makes it end its containers and its containerd.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.process.id()).unwrap_or_default();
        sys::kill(pid, libc::SIGTERM).doing(|| "end dockerd".to_owned())?;
        let deadline = Instant::now() + STOP_TIMEOUT * host::patience();
        while self.process.try_wait().doing(|| "wait for dockerd".to_owned())?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::Missing {
                    what: "dockerd's end".to_owned(),
                    hint: "it does not react to SIGTERM",
                });
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
