//! What `create` and `run` share: from a bundle to a container whose process waits to be started.
//!
//! Whatever is made is noted in a [`Site`]; if a later step fails, the site is cleared in reverse.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use corten_init::Phase;

use super::agent;
use super::bundle::Bundle;
use super::console::{Console, adopt_size};
use super::filter_check::Remaining;
use super::labels::check_labels;
use super::notify;
use super::options::CreateOptions;
use super::ownership::cgroup_owner;
use super::place::{Place, plan_cgroup};
use super::report::{hook_state, pid_inside};
use super::scheduling::{limit_process, set_limits, set_priorities};
use crate::cgroup::{Cgroup, DevicePolicy, Kind, Scope, Write, lower};
use crate::config::{Config, Hooks, NamespaceKind, Process};
use crate::error::{ConfigError, Error, FieldPath, PathError, Problem, Result};
use crate::hooks::{self, run_all_hooks, run_hooks};
use crate::host::{HostFacts, check_kernel};
use crate::launch::notify::make_directory;
use crate::launch::{
    ConsoleSocket, Event, Gate, LaunchError, NetDevices, Session, Sources, open_namespace, prepare,
    write_mappings,
};
use crate::plan::{Arena, Request, clone_flags, compile_create};
use crate::resctrl::{self, Resctrl};
use crate::seccomp::{self, Arch, Filter, Program};
use crate::state::{ContainerId, Entry, Lock, ProcessRef, State, StateError, Status, Store, time};
use crate::validate::{Valid, validate};

/// Where errors about resctrl point to.
pub(super) const INTEL_RDT: &str = "linux.intelRdt";

/// What differs between the commands that build a container.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// The process waits for `start` at a gate on disk.
    pub gate: bool,
    /// The runtime stays, and attends to a terminal for which there is no socket.
    pub attached: bool,
}

/// A container whose process has reported that it is ready.
pub(super) struct Built {
    pub site: Site,
    pub config: Config,
    pub state: State,
    /// Has received the terminal, if that is for the runtime itself.
    pub console: Option<ConsoleSocket>,
}

impl Built {
    /// Writes down that the container has been created: from here on others may do with it what they like.
    pub fn commit(&mut self) -> Result<()> {
        if !self.state.creating {
            return Ok(());
        }
        self.state.creating = false;
        self.site.write_state(&self.state)
    }
}

/// What has been made so far.
pub(super) struct Site {
    pub entry: Entry,
    /// While there is one, all of this is ours.
    own: Option<Lock>,
    pub cgroup: Cgroup,
    pub session: Option<Session>,
    /// Devices that are in its network namespace now.
    net_devices: Option<NetDevices>,
    /// Groups in resctrl that were made for it.
    resctrl: Option<resctrl::Made>,
    /// Whether hooks have begun to run: then `poststop` hooks have to run, too.
    hooked: bool,
}

impl Site {
    pub fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(|| LaunchError::Protocol { verb: "no process" }.into())
    }

    /// The container is there: what has moved into it is its own, and it is anybody's.
    pub fn settle(&mut self) {
        self.resctrl = None;
        self.net_devices = None;
        self.own = None;
    }

    pub fn own(&self) -> Result<&Lock> {
        let deleted = || StateError::NotFound { id: self.entry.id().to_string() };
        self.own.as_ref().ok_or_else(|| deleted().into())
    }

    pub fn write_state(&self, state: &State) -> Result<()> {
        self.entry.write_state(self.own()?, state)
    }

    /// Does something that may take any time, or that may call this runtime: meanwhile the container is nobody's, so that
    /// `delete --force` need not wait. The others leave alone what is `creating`.
    ///
    /// # Errors
    ///
    /// [`StateError::NotFound`] if the container was deleted meanwhile; those of `wait`.
    pub fn let_go<T>(&mut self, wait: impl FnOnce(&mut Site) -> Result<T>) -> Result<T> {
        self.own = None;
        let done = wait(self);
        self.own = Some(self.entry.lock()?);
        done
    }

    /// The child may have been ended, by the OOM killer or by `delete --force`: then that is what has to be said, whatever
    /// failed for that. If the container was deleted meanwhile, its cgroup is not ours to look at.
    fn explain(&mut self, error: Error) -> Error {
        let Some(session) = self.session.as_mut().filter(|s| self.own.is_some() && s.has_ended()) else {
            return error;
        };
        if self.cgroup.oom_killed() {
            return oom_killed("while it was set up", &self.cgroup);
        }
        match error {
            Error::Path(_) | Error::Syscall(_) | Error::Cgroup(_) => session.next().err().unwrap_or(error),
            error => error,
        }
    }

    /// Removes everything again. What cannot be removed is logged: the failure that led here is the one to report.
    pub fn clear(mut self, config: &Config, state: &State) {
        if let Some(session) = self.session.take() {
            session.kill();
        }
        if let Some(devices) = self.net_devices.take() {
            devices.give_back();
        }
        let own = match self.own.take().map_or_else(|| self.entry.lock(), Ok) {
            Ok(own) => own,
            // With all that has a name, hooks included.
            Err(Error::State(StateError::NotFound { .. })) => return,
            Err(e) => return log::warn!("{e}; `delete --force {}` removes what is left", state.id),
        };
        if let Some(groups) = self.resctrl.take() {
            groups.undo();
        }
        let killed = self.cgroup.kill_all(libc::SIGKILL);
        let destroyed = killed.and_then(|()| self.cgroup.destroy());
        match destroyed {
            Ok(()) => {
                if let Err(e) = self.entry.remove(&own) {
                    log::warn!("cannot remove the state: {e}");
                }
            }
            // The state says where it is: it stays, so that `delete --force` can find the rest.
            Err(e) => log::warn!("cannot remove the cgroup: {e}; `delete --force {}` will", state.id),
        }
        if self.hooked {
            run_poststop(config, state);
        }
    }
}

/// `poststop` hooks: a failure is a warning, and the next ones still run (runtime.md#lifecycle).
pub(super) fn run_poststop(config: &Config, state: &State) {
    let Some(hooks) = config.hooks.as_ref().filter(|h| !h.poststop.is_empty()) else { return };
    let json = hook_state(state, config, Status::Stopped, None);
    let place = hooks::Place::Runtime { cwd: &state.bundle };
    for failure in run_all_hooks(&hooks.poststop, &FieldPath::new("hooks.poststop"), &json, &place) {
        log::warn!("{failure}");
    }
}

/// Builds a container up to the point where its process waits for the word to start.
pub(super) fn build(store: &Store, options: &CreateOptions, wanted: Wanted) -> Result<Built> {
    let id = ContainerId::new(&options.id)?;
    let mut bundle = Bundle::open(&options.bundle, options.config.as_deref())?;
    if wanted.attached {
        adopt_size(bundle.config.process.as_mut());
    }
    let notified = notify::add_mount(&mut bundle.config, store, options);
    let valid = validate(&bundle.config)?;
    for warning in &valid.warnings {
        log::warn!("{warning}");
    }
    if !wanted.gate && valid.config.process.is_none() {
        let why = "to start a container";
        return Err(ConfigError::new(FieldPath::new("process"), Problem::Missing { why }).into());
    }
    check_kernel()?;
    let host = HostFacts::probe()?;
    check_circumstances(&valid, &host)?;
    let filter =
        compile_filter(&bundle.config, options.seccomp.as_ref(), valid.config.process.as_ref(), wanted.gate)?;
    let mut limits = Limits::of(&valid, &host)?;
    let socket = options.console_socket.as_deref();
    let console = Console::open(socket, valid.config.process.as_ref(), !wanted.attached)?;
    let place = plan_cgroup(&host, &bundle.config, options, &mut limits.writes, &limits.devices)?;

    let (entry, own) = store.reserve(&id)?;
    let mut state = new_state(&bundle, &host, options);
    let mut site = Site {
        entry,
        own: Some(own),
        cgroup: Cgroup::none(),
        session: None,
        net_devices: None,
        resctrl: None,
        hooked: false,
    };
    let work = Work {
        options,
        bundle: &bundle,
        valid: &valid,
        host: &host,
        filter: filter.as_ref(),
        gate: wanted.gate,
        notified,
    };
    match work.perform(&mut site, &mut state, place, &limits, console.theirs) {
        Ok(()) => Ok(Built { site, state, config: bundle.config, console: console.ours }),
        Err(error) => {
            let error = site.explain(error);
            site.clear(&bundle.config, &state);
            Err(error)
        }
    }
}

/// A death may be the OOM killer's doing; then that is what has to be said.
pub(super) fn explain_oom(error: Error, cgroup: &Cgroup) -> Error {
    match error {
        Error::Launch(LaunchError::InitDied { phase, .. }) if cgroup.oom_killed() => {
            oom_killed(phase, cgroup)
        }
        other => other,
    }
}

fn oom_killed(phase: &'static str, cgroup: &Cgroup) -> Error {
    let memory = cgroup.memory();
    LaunchError::OomKilled { phase, limit: memory.limit, peak: memory.peak }.into()
}

fn new_state(bundle: &Bundle, host: &HostFacts, options: &CreateOptions) -> State {
    State {
        corten_state: crate::state::FORMAT,
        oci_version: bundle.config.oci_version.clone(),
        id: options.id.clone(),
        bundle: bundle.dir.clone(),
        rootfs: bundle.rootfs.clone(),
        pid: None,
        start_time: 0,
        created: time::now(),
        annotations: bundle.config.annotations.clone(),
        owner: host.euid,
        cgroup: crate::cgroup::Saved::default(),
        intel_rdt: None,
        cgroup_manager: options.cgroup_manager,
        rootless: host.euid != 0,
        creating: true,
        shares_pid_namespace: !creates_pid_namespace(&bundle.config),
        poststop: bundle.config.hooks.as_ref().map(|h| h.poststop.clone()).unwrap_or_default(),
        seccomp: options.seccomp.clone(),
    }
}

fn creates_pid_namespace(config: &Config) -> bool {
    let namespaces = config.linux.as_ref().map_or(&[][..], |l| &l.namespaces);
    let own = |n: &crate::config::Namespace| n.path.as_deref().unwrap_or_default().is_empty();
    namespaces.iter().any(|n| n.kind == NamespaceKind::Pid && own(n))
}

/// What cannot be seen from the configuration alone.
fn check_circumstances(valid: &Valid<'_>, host: &HostFacts) -> Result<()> {
    if host.euid != 0 && !valid.namespaces.has(NamespaceKind::User) {
        let why = "a user namespace when the runtime is not root; see `corten spec --rootless`";
        let problem = Problem::Missing { why };
        return Err(ConfigError::new(FieldPath::new("linux.namespaces"), problem).into());
    }
    if host.euid != 0 && valid.config.linux.as_ref().is_some_and(|l| !l.net_devices.is_empty()) {
        let why = "the devices are the host's; moving them needs root";
        return Err(ConfigError::new(FieldPath::new("linux.netDevices"), Problem::Unsupported { why }).into());
    }
    check_labels(valid.config.process.as_ref(), valid.config.linux.as_ref())?;
    Ok(())
}

/// Compiles the filter, and proves that the child's own last calls pass it.
pub(super) fn compile_filter(
    config: &Config,
    program: Option<&Program>,
    process: Option<&Process>,
    gate: bool,
) -> Result<Option<Filter>> {
    let profile = config.linux.as_ref().and_then(|l| l.seccomp.as_ref());
    let at = FieldPath::new("linux.seccomp");
    if profile.is_some() && program.is_some() {
        let (with, why) = (FieldPath::new("CreateOptions::seccomp"), "a filter was handed over in its place");
        return Err(ConfigError::new(at, Problem::Conflict { with, why }).into());
    }
    if profile.is_none() && program.is_none() {
        return Ok(None);
    }
    let Some(native) = Arch::native() else {
        let why = "this architecture has no table of system calls here";
        return Err(ConfigError::new(at, Problem::Unsupported { why }).into());
    };
    let filter = match (profile, program) {
        (Some(profile), _) => seccomp::compile(profile, &at, native)?,
        (None, Some(program)) => program.to_filter(native),
        (None, None) => return Ok(None),
    };
    for warning in &filter.warnings {
        log::debug!("{warning}");
    }
    let keeps_privileges = process.is_some_and(|p| !p.no_new_privileges);
    super::filter_check::check(&filter, native, Remaining { keeps_privileges, gate })?;
    Ok(Some(filter))
}

/// `linux.resources`, lowered.
struct Limits {
    writes: Vec<Write>,
    devices: DevicePolicy,
    asked_for: bool,
}

impl Limits {
    fn of(valid: &Valid<'_>, host: &HostFacts) -> Result<Limits> {
        let resources = valid.config.linux.as_ref().and_then(|l| l.resources.as_ref());
        let at = FieldPath::new("linux.resources");
        let writes = match resources {
            Some(resources) => lower(resources, host.layout.kind(), &at)?,
            None => Vec::new(),
        };
        let rules = resources.map_or(&[][..], |r| &r.devices);
        let devices = DevicePolicy::new(rules, &at.field("devices"))?;
        Ok(Limits { writes, devices, asked_for: resources.is_some() })
    }
}

/// The inputs of a build.
struct Work<'a> {
    options: &'a CreateOptions,
    bundle: &'a Bundle,
    valid: &'a Valid<'a>,
    host: &'a HostFacts,
    filter: Option<&'a Filter>,
    gate: bool,
    /// The container gets a socket for sd_notify(3).
    notified: bool,
}

impl Work<'_> {
    fn perform(
        &self,
        site: &mut Site,
        state: &mut State,
        place: Place,
        limits: &Limits,
        console: Option<OwnedFd>,
    ) -> Result<()> {
        site.entry.write_config(site.own()?, &self.bundle.bytes)?;
        if self.notified {
            make_directory(&site.entry)?;
        }
        // What would have to be removed is on disk before it is made: a `create` that is killed in between can still
        // be deleted.
        let scope = match place {
            Place::None => None,
            Place::Paths(paths) => {
                state.cgroup = paths.saved();
                site.write_state(state)?;
                site.cgroup = Cgroup::create(paths)?;
                state.cgroup = site.cgroup.saved();
                None
            }
            Place::Scope(scope) => {
                state.cgroup = scope.saved();
                site.write_state(state)?;
                Some(scope)
            }
        };
        self.control_resources(site, state)?;
        // Version 1 refuses (EBUSY) a limit of memory that is used already, so the child must not be there yet.
        let early = site.cgroup.kind() == Kind::Legacy;
        if early {
            site.cgroup.apply(&limits.writes)?;
        }
        site.session = Some(self.spawn(site, scope.as_deref(), console)?);
        let at_once = self.may_run_at_once(site.session()?);
        // `delete --force` has to find whom to kill. The status of one that may run at once is `creating` all the same,
        // for as long as it has not executed its program.
        state.creating = !at_once;
        record_process(site, state)?;
        if let Some(groups) = &state.intel_rdt {
            groups.join(site.session()?.pid, &FieldPath::new(INTEL_RDT))?;
        }
        if let Some(scope) = scope {
            site.cgroup = site.session()?.enter_cgroup(|pid| Ok(scope.start(pid)?))?;
            state.cgroup = site.cgroup.saved();
            site.write_state(state)?;
        }
        site.net_devices = self.move_net_devices(site.session()?.pid)?;
        self.configure(site, limits, early)?;
        let process = self.valid.config.process.as_ref();
        if self.valid.namespaces.joins(NamespaceKind::User).is_some() {
            set_limits(site.session()?.pid, &self.valid.rlimits, &self.valid.namespaces, self.host)?;
        }
        set_priorities(site.session()?.pid, process, &self.valid.namespaces, self.host)?;
        if at_once {
            site.session()?.go_ahead()?;
        }
        site.session()?.release();
        self.converse(site, state)?;
        if self.filter.is_some_and(|filter| filter.notifies) {
            let config = self.valid.config;
            site.let_go(|site| agent::inform(site.session()?, config, state, Status::Creating))?;
        }
        Ok(())
    }

    /// Whether the program may run as soon as the child is ready: nobody has asked for anything in between.
    fn may_run_at_once(&self, session: &Session) -> bool {
        let asks = self.options.pid_file.is_some() || self.options.pidfd_socket.is_some() || self.notified;
        let has_hooks =
            self.valid.config.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty());
        session.may_go_ahead() && !self.gate && !asks && !has_hooks
    }

    /// `linux.intelRdt`: as with the cgroup, where the groups will be is on disk before they are made.
    fn control_resources(&self, site: &mut Site, state: &mut State) -> Result<()> {
        let Some(config) = self.valid.config.linux.as_ref().and_then(|l| l.intel_rdt.as_ref()) else {
            return Ok(());
        };
        let at = FieldPath::new(INTEL_RDT);
        let resctrl = Resctrl::find()?.ok_or_else(|| resctrl::Error::NotMounted { field: at.clone() })?;
        let groups = state.intel_rdt.insert(resctrl.plan(config, &self.options.id)).clone();
        site.write_state(state)?;
        site.resctrl = Some(groups.create(config, &at)?);
        Ok(())
    }

    fn spawn(&self, site: &Site, scope: Option<&Scope>, console: Option<OwnedFd>) -> Result<Session> {
        let arena = Arena::new();
        let passed = self.options.preserve_fds.saturating_add(self.options.listen_fds);
        let cgroups = site.cgroup.join_fds(true)?;
        let gate = if self.gate { Some(Gate::new(&site.entry)?.0) } else { None };
        let dirs: Vec<(String, PathBuf)> = match scope {
            Some(scope) => scope.dirs().collect(),
            None => site.cgroup.paths().map(|(controllers, path)| (controllers, path.to_owned())).collect(),
        };
        let request = Request {
            valid: self.valid,
            id: &self.options.id,
            bundle: &self.bundle.dir,
            rootfs: &self.bundle.rootfs,
            host: self.host,
            cgroup_dirs: &dirs,
            cgroup_files: cgroups.len(),
            waits_for_cgroup: scope.is_some(),
            filter: self.filter,
            gate: self.gate,
            console: console.is_some(),
            joins_container: false,
            can_leave_network: self.host.euid == 0 && !self.host.in_user_namespace,
            no_pivot: self.options.no_pivot,
            no_new_keyring: self.options.no_new_keyring,
            preserve_fds: passed,
            extra_env: &notify::environment(self.options, self.notified),
        };
        let compiled = compile_create(&arena, &request)?;
        let sources = Sources { cgroups, gate, console, ..Sources::default() };
        let prepared = prepare(&compiled.demands, sources)?;
        let process = self.valid.config.process.as_ref();
        let program = process.and_then(|p| p.args.first()).cloned().unwrap_or_default();
        Session::spawn(compiled, prepared, &site.cgroup, passed, program)
    }

    /// Moves `linux.netDevices` into the network namespace, which the child has been cloned into or is about to join.
    fn move_net_devices(&self, pid: i32) -> Result<Option<NetDevices>> {
        let devices = self.valid.config.linux.as_ref().map(|l| &l.net_devices).filter(|d| !d.is_empty());
        let Some(devices) = devices else { return Ok(None) };
        let own = || PathBuf::from(format!("/proc/{pid}/ns/net"));
        let path = self.valid.namespaces.joins(NamespaceKind::Network).map_or_else(own, PathBuf::from);
        let namespace = open_namespace(NamespaceKind::Network, &path)?;
        let moved = NetDevices::move_into(namespace, devices).map_err(LaunchError::from)?;
        Ok(Some(moved))
    }

    /// What the parent does while the child mounts: limits, if they are not `limited` yet, and the score of the OOM killer.
    fn configure(&self, site: &mut Site, limits: &Limits, limited: bool) -> Result<()> {
        let pid = site.session()?.pid;
        let score = self.valid.config.process.as_ref().and_then(|p| p.oom_score_adj);
        if let Some(score) = score {
            write_oom_score(pid, score)?;
        }
        if site.cgroup.is_none() && !limits.asked_for {
            return Ok(());
        }
        if !limited {
            site.cgroup.apply(&limits.writes)?;
        }
        if let Some(owner) = cgroup_owner(self.valid, self.host) {
            site.cgroup.delegate_to(owner)?;
        }
        // Not permitted to an ordinary user nor in a user namespace, where the kernel keeps the container away from
        // devices anyhow. A user namespace of the container's own does not count: this is the runtime's doing.
        let ordinary = self.host.euid != 0;
        match site.cgroup.apply_devices(&limits.devices, ordinary) {
            Err(_) if !ordinary && self.host.in_user_namespace => {
                Ok(site.cgroup.apply_devices(&limits.devices, true)?)
            }
            done => Ok(done?),
        }
    }

    /// Answers the child until it is ready.
    fn converse(&self, site: &mut Site, state: &State) -> Result<()> {
        loop {
            match site.session()?.next()? {
                Event::Reached(Phase::Mappings) => self.map_ids(site)?,
                Event::Reached(Phase::Mounted) => self.run_create_hooks(site, state)?,
                Event::Reached(Phase::Cgroup) => {}
                Event::Ready => return Ok(()),
                Event::Running => return Err(LaunchError::Protocol { verb: "running" }.into()),
            }
            site.session()?.go()?;
        }
    }

    fn map_ids(&self, site: &mut Site) -> Result<()> {
        let pid = site.session()?.pid;
        let Some(linux) = &self.valid.config.linux else { return Ok(()) };
        write_mappings(pid, self.host.euid, &linux.uid_mappings, &linux.gid_mappings)?;
        if self.host.euid != 0 {
            return Ok(());
        }
        for (index, limit) in self.valid.rlimits.iter().enumerate() {
            limit_process(pid, index, *limit)?;
        }
        Ok(())
    }

    /// `prestart` and `createRuntime` in the runtime's namespaces, then `createContainer` in the container's.
    fn run_create_hooks(&self, site: &mut Site, state: &State) -> Result<()> {
        let Some(hooks) = &self.valid.config.hooks else { return Ok(()) };
        site.hooked = true;
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty() {
            return Ok(());
        }
        site.let_go(|site| self.run_hooks_outside(hooks, site.session()?, state))
    }

    fn run_hooks_outside(&self, hooks: &Hooks, session: &Session, state: &State) -> Result<()> {
        let config = self.valid.config;
        let json = hook_state(state, config, Status::Creating, Some(session.pid));
        let place = hooks::Place::Runtime { cwd: &self.bundle.dir };
        run_hooks(&hooks.prestart, &FieldPath::new("hooks.prestart"), &json, &place)?;
        run_hooks(&hooks.create_runtime, &FieldPath::new("hooks.createRuntime"), &json, &place)?;
        self.run_container_hooks(hooks, session, state)
    }

    fn run_container_hooks(&self, hooks: &Hooks, session: &Session, state: &State) -> Result<()> {
        if hooks.create_container.is_empty() {
            return Ok(());
        }
        let inside = pid_inside(session.pid);
        let json = hook_state(state, self.valid.config, Status::Creating, Some(inside));
        let namespaces = clone_flags(&self.valid.namespaces);
        let place =
            hooks::Place::Container { pidfd: session.pidfd.as_fd(), namespaces, cwd: Some(&self.bundle.dir) };
        let at = FieldPath::new("hooks.createContainer");
        Ok(run_hooks(&hooks.create_container, &at, &json, &place)?)
    }
}

/// Writes down who the container's process is.
fn record_process(site: &mut Site, state: &mut State) -> Result<()> {
    let session = site.session()?;
    let pid = session.pid;
    let start_time = match session.start_time {
        Some(known) => known,
        None => ProcessRef::of(pid).map_err(PathError::doing("read", &stat_path(pid)))?.start_time,
    };
    (state.pid, state.start_time) = (Some(pid), start_time);
    site.write_state(state)
}

fn stat_path(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/stat"))
}

pub(super) fn write_oom_score(pid: i32, score: i32) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
    let written = std::fs::write(&path, score.to_string());
    Ok(written.map_err(PathError::doing("process.oomScoreAdj: write", &path))?)
}
