//! The checks in a virtual machine, which is theirs alone: on cgroup v2, and with systemd as the cgroup manager.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs};

use super::lane::Lane;
use super::manager::Manager;
use super::{HERE, Options, absolute};
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile};
use crate::vm::image::Image;
use crate::vm::lane::PATIENCE;
use crate::vm::{lane, shell_words};

/// The file system of the machine has more room than its memory, and the engines' bridge is a module.
const PREPARE: &str = "\
modprobe -a overlay bridge veth >&2
mkdir -p /opt/corten
export TMPDIR=/opt/corten
";

/// Boots the machine, and has this program go on in there.
pub fn boot(options: Options) -> Result<ExitCode> {
    let begin = Instant::now();
    let image = Image::get()?;
    let subject = options.subject.map_or_else(|| host::build("corten", Profile::Dev), Ok)?;
    let subject = absolute(&subject)?;
    let program = env::current_exe().doing(|| "find this program".to_owned())?;
    let reference = options.reference.unwrap_or_else(|| "runc".into());
    let words = [program.as_path(), Path::new("test"), Path::new("engines"), Path::new(HERE)];
    let words = words.into_iter().chain([Path::new(options.manager.name()), &subject, &reference]);
    let words = words.map(|word| word.to_string_lossy().into_owned()).chain(options.filter);
    let command = shell_words(&words.collect::<Vec<_>>());
    let script = format!("{PREPARE}CORTEN_PATIENCE={PATIENCE} exec {command}\n");
    lane::boot(&image, &script, Some(&subject), begin)
}

/// In the machine.
pub fn check(manager: Manager, subject: &str, reference: &str, filter: Option<&str>) -> Result<ExitCode> {
    let reference = match reference.contains('/') {
        true => Some(reference.into()),
        false => host::on_path(reference),
    };
    let hint = "it is neither a path nor one of the machine's own runtimes";
    let reference = reference.ok_or(Error::Missing { what: "the reference".to_owned(), hint })?;
    // Nobody removes it: the machine goes away, with what the engines have mounted in there.
    let directory = env::temp_dir().join("corten-checks");
    fs::create_dir(&directory).doing(|| format!("create {}", directory.display()))?;
    // As the other lane has it: volumes can be shared.
    host::run(Command::new("mount").args(["--make-rshared", "/"]))?;
    println!("cgroup    {}, {}", CgroupView::current().name(), manager.name());
    let lane = Lane::prepare(&directory, &reference, Path::new(subject), manager)?;
    let tally = lane.check(filter)?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
