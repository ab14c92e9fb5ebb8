//! `cargo xtask test engines`: real engines drive the runtime, beside a reference, and the answers are compared.
//!
//! The lane runs in mount, network and process namespaces of its own: dockerd's bridge, the overlay mounts, /run and
//! whatever a failed check leaves running end with it. The cgroups are below one directory that is removed afterwards.

mod buildah_checks;
mod check;
mod common_checks;
mod conmon_checks;
mod containerd_checks;
mod daemon;
mod docker_checks;
mod in_vm;
mod lane;
mod manager;
mod podman;
mod podman_checks;
mod rootless_checks;
mod timing;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile, TempDir};
use crate::sys::{self, Prepared};

use lane::Lane;
use manager::Manager;

/// Names the lane's directory to the process inside of the namespaces, and its cgroups.
const INSIDE: &str = "inside";
const INIT: &str = "init";
/// To the process in the machine that is nobody else's.
const HERE: &str = "here";
/// Between two filters.
const OR: &str = "|";
/// Instead of a filter: nothing is checked, and so many containers are timed.
const TIMED: &str = "--timed=";
const DEFAULT_RUNS: &str = "100";

struct Options {
    subject: Option<PathBuf>,
    reference: Option<PathBuf>,
    view: CgroupView,
    filter: Option<String>,
    runs: Option<String>,
    in_vm: bool,
    manager: Manager,
}

/// `cargo xtask test engines [--runtime PATH] [--reference PATH] [--cgroup v1|v2|hybrid] [-- FILTER...]`, or in the virtual
/// machine, `--vm [--systemd-cgroup]`.
pub fn run(args: &[String]) -> Result<ExitCode> {
    match args {
        [mode, inside @ ..] if mode == INIT => return init(inside),
        [mode, directory, subject, reference, filter @ ..] if mode == INSIDE => {
            return inside(Path::new(directory), subject, reference, filter.first().map(String::as_str));
        }
        [mode, manager, subject, reference, filter @ ..] if mode == HERE => {
            let manager = Manager::named(manager).ok_or(Error::Usage)?;
            return in_vm::check(manager, subject, reference, filter.first().map(String::as_str));
        }
        _ => {}
    }
    let options = parse(args)?;
    match (options.in_vm, options.manager) {
        (true, _) => in_vm::boot(options),
        (false, Manager::Cgroupfs) => drive(options, Profile::Dev),
        (false, Manager::Systemd) => Err(Error::Missing {
            what: "a systemd for these checks alone".to_owned(),
            hint: "--systemd-cgroup is for --vm",
        }),
    }
}

/// `cargo xtask bench engines [--runs N] [--runtime PATH] [--reference PATH] [--cgroup v1|v2|hybrid]`.
pub fn time(args: &[String]) -> Result<ExitCode> {
    let mut options = parse(args)?;
    let runs = options.runs.take().unwrap_or_else(|| DEFAULT_RUNS.to_owned());
    options.filter = Some(format!("{TIMED}{runs}"));
    drive(options, Profile::Release)
}

fn drive(options: Options, profile: Profile) -> Result<ExitCode> {
    if sys::effective_ids().0 != 0 {
        return Err(Error::Missing { what: "root".to_owned(), hint: "the engines are started as root" });
    }
    for program in ["runc", "ip"] {
        let hint = "`cargo xtask setup engines` installs it";
        host::on_path(program).ok_or_else(|| Error::Missing { what: program.to_owned(), hint })?;
    }
    let subject = options.subject.map_or_else(|| host::build("corten", profile), Ok)?;
    let reference = options.reference.or_else(|| host::on_path("runc")).unwrap_or_default();
    options.view.enter()?;
    let directory = TempDir::new()?;
    if options.filter.as_ref().is_some_and(|filter| filter.starts_with(TIMED)) {
        let floor = host::build("corten-bench-floor", Profile::Release)?;
        fs::copy(floor, directory.path().join(timing::WEIGHER))
            .doing(|| "copy the floor program".to_owned())?;
    }
    let program = env::current_exe().doing(|| "find this program".to_owned())?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(&program).args(["test", "engines", INIT, INSIDE]).arg(directory.path());
    command.arg(absolute(&subject)?).arg(absolute(&reference)?).args(options.filter);
    let status = command.status().doing(|| "start unshare".to_owned())?;
    remove_cgroups(&cgroup_name(directory.path()));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options {
        subject: None,
        reference: None,
        view: CgroupView::current(),
        filter: None,
        runs: None,
        in_vm: false,
        manager: Manager::Cgroupfs,
    };
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(Error::Usage);
        match option.as_str() {
            "--vm" => options.in_vm = true,
            "--systemd-cgroup" => options.manager = Manager::Systemd,
            "--runtime" => options.subject = Some(value()?.into()),
            "--reference" => options.reference = Some(value()?.into()),
            "--cgroup" => options.view = CgroupView::parse(value()?)?,
            "--runs" => options.runs = Some(value()?.clone()),
            "--" => options.filter = Some(args.by_ref().cloned().collect::<Vec<_>>().join(OR)),
            _ => return Err(Error::Usage),
        }
    }
    Ok(options)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).doing(|| format!("find {}", path.display()))
}

/// Process 1 of the namespace: starts the lane, and reaps what the lane's processes leave behind.
fn init(args: &[String]) -> Result<ExitCode> {
    let program = env::current_exe().doing(|| "find this program".to_owned())?;
    let words = ["test".into(), "engines".into()].into_iter().chain(args.iter().map(Into::into));
    let lane = Prepared::new(std::iter::once(program.into_os_string()).chain(words));
    let pid = lane.and_then(|lane| lane.spawn_here()).doing(|| "start the lane".to_owned())?;
    let status = sys::wait_reaping(pid).doing(|| "wait for the lane".to_owned())?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

fn inside(directory: &Path, subject: &str, reference: &str, filter: Option<&str>) -> Result<ExitCode> {
    // As systemd has it: Docker offers shared and slave volumes only below a shared mount. The peers are all in here.
    host::run(Command::new("mount").args(["--make-rshared", "/"]))?;
    sys::mount_tmpfs(Path::new("/run")).doing(|| "mount a private /run".to_owned())?;
    podman::hide_shared_places()?;
    host::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    println!("cgroup    {}", CgroupView::current().name());
    let lane = Lane::prepare(directory, Path::new(reference), Path::new(subject), Manager::Cgroupfs)?;
    if let Some(runs) = filter.and_then(|word| word.strip_prefix(TIMED)?.parse().ok()) {
        return lane.time(runs).map(|()| ExitCode::SUCCESS);
    }
    let tally = lane.check(filter)?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cgroup_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes the lane's cgroups, deepest first. What is killed with the namespace may take a moment to be gone.
fn remove_cgroups(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let roots = || {
        let hierarchies =
            fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        hierarchies
            .chain([PathBuf::from("/sys/fs/cgroup")])
            .map(|root| root.join(name))
            .filter(|root| root.is_dir())
    };
    while roots().count() > 0 {
        roots().for_each(|root| remove_tree(&root));
        if Instant::now() > deadline {
            eprintln!("xtask: cgroups named {name} stay behind: they are not empty");
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // One that is still busy is met again in the next round.
    let _ = fs::remove_dir(directory);
}
