//! What a case works with.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::host::Host;
use crate::process::{Cmd, Out};
use crate::runtime::Settings;
use crate::{cgroup, ensure, ensure_eq, leaks};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The ordinary user of rootless cases.
pub const USER: u32 = 65534;

/// One case's view of the harness: the runtime, a scratch directory, unique ids.
pub struct Ctx {
    /// What this machine has.
    pub host: Host,
    /// The run's settings.
    pub settings: Settings,
    case_id: String,
    scratch: PathBuf,
    serial: Cell<u32>,
    changes_mounts: Cell<bool>,
}

impl Ctx {
    /// A context for the case with this id (part of every container's id and cgroup).
    pub(crate) fn new(settings: Settings, case_id: &str) -> Result<Self, Failure> {
        let scratch = settings.scratch_root.join(case_id);
        fs::create_dir_all(scratch.join("state"))?;
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755))?;
        let case_id = case_id.to_owned();
        Ok(Ctx {
            host: Host::probe(settings.systemd),
            settings,
            case_id,
            scratch,
            serial: Cell::new(0),
            changes_mounts: Cell::new(false),
        })
    }

    /// The same case with another runtime.
    pub(crate) fn with(&self, settings: Settings) -> Result<Self, Failure> {
        let other = Ctx::new(settings, &self.case_id)?;
        other.serial.set(self.serial.get() + 1000);
        Ok(other)
    }

    /// A directory of the case's own, removed afterwards.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The runtime's `--root` directory.
    pub fn state_root(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// The probe on the host.
    pub fn probe(&self) -> PathBuf {
        self.settings.scratch_root.join("probe")
    }

    /// Whether `/sys/fs/cgroup` is the unified hierarchy in this case.
    pub fn unified(&self) -> bool {
        cgroup::is_unified()
    }

    fn next(&self) -> u32 {
        self.serial.replace(self.serial.get() + 1)
    }

    /// Announces that the case itself changes the mounts of its mount namespace (every case has its own):
    /// they are not compared afterwards.
    pub fn change_mounts(&self) {
        self.changes_mounts.set(true);
    }

    /// Whether the case changes mounts itself.
    pub fn changes_mounts(&self) -> bool {
        self.changes_mounts.get()
    }

    /// A container id that nobody used before.
    pub fn id(&self) -> String {
        format!("{}-{}", self.case_id, self.next())
    }

    /// What every container id of the case begins with.
    pub fn id_prefix(&self) -> String {
        format!("{}-", self.case_id)
    }

    /// A bundle as `runc spec` writes it, with the probe's `facts` as its program.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn bundle(&self) -> Result<Bundle, Failure> {
        Bundle::make(self.scratch.join(format!("b{}", self.next())), &self.probe(), self.settings.systemd)
    }

    /// A bundle as `runc spec --rootless` writes it, for [`USER`].
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn rootless_bundle(&self) -> Result<Bundle, Failure> {
        self.bundle()?.into_rootless(&self.probe(), USER, USER)
    }

    /// Any program, its output in the case's scratch directory.
    pub fn program(&self, path: &Path) -> Cmd {
        Cmd::new(path, &self.scratch)
    }

    /// The runtime without any arguments.
    pub fn bare(&self) -> Cmd {
        self.program(&self.settings.runtime)
    }

    /// The runtime with the case's `--root` and these arguments.
    pub fn rt<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let systemd = self.settings.systemd.then_some("--systemd-cgroup");
        self.bare().arg("--root").arg(self.state_root()).args(systemd).args(args)
    }

    /// `run` in the foreground.
    ///
    /// # Errors
    /// If the runtime cannot be executed or does not end.
    pub fn run(&self, bundle: &Bundle) -> Result<Out, Failure> {
        bundle.save()?;
        self.rt(["run", "-b"]).arg(&bundle.dir).arg(self.id()).run()
    }

    /// `run` in the foreground, which has to succeed; what the probe printed, one value per step.
    ///
    /// # Errors
    /// If the exit code is not 0 or the output is not the probe's.
    #[track_caller]
    pub fn run_steps(&self, bundle: &Bundle) -> Result<Vec<Facts>, Failure> {
        let out = self.run(bundle)?.ok()?;
        let lines = Facts::lines(&out.stdout)?;
        ensure!(!lines.is_empty(), "the container printed nothing; stderr: {}", out.stderr);
        Ok(lines)
    }

    /// `run` in the foreground; the first thing that the probe printed.
    ///
    /// # Errors
    /// As for [`run_steps`](Self::run_steps).
    #[track_caller]
    pub fn facts(&self, bundle: &Bundle) -> Result<Facts, Failure> {
        Ok(self.run_steps(bundle)?.remove(0))
    }

    /// `create`, which has to succeed.
    ///
    /// # Errors
    /// If it does not.
    #[track_caller]
    pub fn create(&self, bundle: &Bundle) -> Result<Container<'_>, Failure> {
        self.create_with(bundle, &[])
    }

    /// `create` with more options.
    ///
    /// # Errors
    /// If it does not succeed.
    #[track_caller]
    pub fn create_with(&self, bundle: &Bundle, options: &[&str]) -> Result<Container<'_>, Failure> {
        bundle.save()?;
        let id = self.id();
        let pid_file = self.scratch.join(format!("{id}.pid"));
        // Before the command: whatever it leaves is deleted even if it fails.
        let mut container = Container::new(self, &id);
        let cmd = self.rt(["create", "-b"]).arg(&bundle.dir).arg("--pid-file").arg(&pid_file);
        let running = cmd.args(options).arg(&id).spawn()?;
        container.output = running.output_path();
        running.finish()?.ok()?;
        let text = fs::read_to_string(&pid_file)?;
        container.pid = text.parse().map_err(|_| Failure::new(format!("pid file holds {text:?}")))?;
        Ok(container)
    }

    /// `create` and `start`.
    ///
    /// # Errors
    /// If one of them fails.
    #[track_caller]
    pub fn start(&self, bundle: &Bundle) -> Result<Container<'_>, Failure> {
        let container = self.create(bundle)?;
        container.start()?;
        Ok(container)
    }

    /// A running container whose program sleeps.
    ///
    /// # Errors
    /// If it cannot be made.
    #[track_caller]
    pub fn sleeper(&self) -> Result<Container<'_>, Failure> {
        let mut bundle = self.bundle()?;
        bundle.steps(&[&["sleep"]]);
        self.start(&bundle)
    }

    /// `create` has to fail with exit code 1 and one line that contains one of the needles, and nothing may
    /// be left.
    ///
    /// # Errors
    /// If it succeeds, says something else or leaves something.
    #[track_caller]
    pub fn refuses(&self, bundle: &Bundle, needles: &[&str]) -> Result<Out, Failure> {
        bundle.save()?;
        let id = self.id();
        let _guard = Container::new(self, &id);
        let out = self.rt(["create", "-b"]).arg(&bundle.dir).arg(&id).run()?;
        let out = out.refused(needles)?;
        self.nothing_left(&id)?;
        Ok(out)
    }

    /// As [`refuses`](Self::refuses), but only the failure and its cleanliness matter, not the words.
    ///
    /// # Errors
    /// If it succeeds or leaves something.
    #[track_caller]
    pub fn fails(&self, bundle: &Bundle) -> Result<Out, Failure> {
        bundle.save()?;
        let id = self.id();
        let _guard = Container::new(self, &id);
        let out = self.rt(["create", "-b"]).arg(&bundle.dir).arg(&id).run()?;
        ensure!(out.code() != 0, "`{}` succeeded, want a failure", out.shown);
        ensure!(!out.stderr.trim().is_empty(), "`{}` failed without a word", out.shown);
        self.nothing_left(&id)?;
        Ok(out)
    }

    /// No state, cgroup or process of this container exists.
    ///
    /// # Errors
    /// If something does.
    #[track_caller]
    pub fn nothing_left(&self, id: &str) -> Result<(), Failure> {
        ensure_eq!(leaks::state_left(&self.state_root()), Vec::<String>::new(), "state left behind");
        let groups = cgroup::find(id);
        ensure!(groups.is_empty(), "cgroups left behind: {groups:?}");
        let gone = self.wait_for(Duration::from_secs(2), || {
            crate::process::reap_orphans();
            leaks::descendants(std::process::id() as i32).is_empty()
        });
        ensure!(gone, "a process is left behind");
        Ok(())
    }

    /// Polls until the condition holds or the time is over.
    pub fn wait_for(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = crate::process::deadline(limit);
        while !condition() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Waits until a file exists and gives its text.
    ///
    /// # Errors
    /// If it does not appear within ten seconds.
    #[track_caller]
    pub fn wait_file(&self, path: &Path) -> Result<String, Failure> {
        let there = self.wait_for(Duration::from_secs(10), || fs::metadata(path).is_ok_and(|m| m.len() > 0));
        ensure!(there, "{} did not appear", path.display());
        Ok(fs::read_to_string(path)?)
    }
}
