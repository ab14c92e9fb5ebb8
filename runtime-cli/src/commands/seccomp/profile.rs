//! Reading a profile, in whichever form it comes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use corten_seccomp_profiles::{Circumstances, ENGINE_CAPABILITIES, EngineProfile, Kernel, LeftOut, profile};
use libcontainer::config::{self, Config, Seccomp};
use libcontainer::error::{ConfigError, FieldPath, Strerror};
use libcontainer::seccomp::{self, Arch, Filter};
use libcontainer::validate::capabilities;

use crate::Failure;
use crate::args::{Flag, Invocation, UsageError};

/// Longer than any profile.
const LIMIT: u64 = 16 << 20;

pub const ARCH: Flag = Flag::value("arch", "arch", "architecture, such as x86_64, arm64 or SCMP_ARCH_S390X")
    .short(b'a')
    .default("this machine's");
pub const CAP_ADD: Flag =
    Flag::value("cap-add", "cap", "for conditional profiles: a capability more, or ALL; may be repeated");
pub const CAP_DROP: Flag =
    Flag::value("cap-drop", "cap", "for conditional profiles: a capability less, or ALL; may be repeated");
pub const KERNEL: Flag = Flag::value("kernel", "version", "for conditional profiles: the version of Linux")
    .default("this machine's");

/// What is wrong with a profile, and with which.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFailure {
    #[error("{name}: {}", Strerror(.source), name = .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{name}: more than 16 MiB, which is no profile", name = .path.display())]
    TooLong { path: PathBuf },
    #[error("no profile @{name}: there are @default, @strict, @nested and @unconfined-logged")]
    NoSuch { name: String },
    #[error("{name}: {}{}", place(source), .source.problem)]
    Format { name: String, source: ConfigError },
    #[error("{name}: {source}")]
    Resolve { name: String, source: corten_seccomp_profiles::ResolveError },
    #[error(
        "{name}: linux.seccomp is missing: such a container has no filter, and may make every system call"
    )]
    Unconfined { name: String },
}

/// The member at fault, and a colon; nothing if it is all of the document.
fn place(error: &ConfigError) -> String {
    if error.path.as_str().is_empty() { String::new() } else { format!("{}: ", error.path) }
}

/// A profile that was read, for one container on one machine.
pub struct Loaded {
    /// As given.
    pub name: String,
    pub profile: Seccomp,
    pub left_out: Vec<LeftOut>,
    /// The conditional profile.
    pub conditional: Option<EngineProfile>,
    /// Where each rule stands in the profile as written.
    origins: Vec<usize>,
    at: FieldPath,
}

impl Loaded {
    /// Compiles it for the kernel of a machine. Rules are told by their place in the profile as written.
    pub fn compile(&self, machine: Arch) -> Result<Filter, Failure> {
        let filter = seccomp::compile(&self.profile, &self.at, machine).map_err(|mut source| {
            source.path = FieldPath::new(self.original(source.path.as_str()));
            ProfileFailure::Format { name: self.name.clone(), source }
        })?;
        for warning in &filter.warnings {
            log::warn!("{}: {}", self.name, self.original(&warning.to_string()));
        }
        Ok(filter.with_origins(&self.origins))
    }

    /// A text with the place of a rule, for the profile as written.
    fn original(&self, text: &str) -> String {
        let split = text.split_once("syscalls[").and_then(|(before, rest)| {
            let (index, after) = rest.split_once(']')?;
            Some((before, *self.origins.get(index.parse::<usize>().ok()?)?, after))
        });
        match split {
            Some((before, index, after)) => format!("{before}syscalls[{index}]{after}"),
            None => text.to_owned(),
        }
    }
}

/// The text of a profile.
pub struct Source<'n> {
    name: &'n str,
    text: Vec<u8>,
}

impl<'n> Source<'n> {
    /// Reads the profile that an argument names.
    pub fn read(name: &'n str) -> Result<Source<'n>, Failure> {
        Ok(Source { name, text: read(name)? })
    }

    /// The profile for one container on one machine.
    pub fn resolve(&self, invocation: &Invocation, machine: Arch) -> Result<Loaded, Failure> {
        let name = self.name.to_owned();
        let format = |source| ProfileFailure::Format { name: name.clone(), source };
        let circumstances = circumstances(invocation, machine)?;
        if is_config(&self.text) {
            let config = Config::from_slice(&self.text).map_err(format)?;
            let profile = config.linux.and_then(|linux| linux.seccomp);
            let profile = profile.ok_or_else(|| ProfileFailure::Unconfined { name: name.clone() })?;
            let (origins, at) = ((0..profile.syscalls.len()).collect(), FieldPath::new("linux.seccomp"));
            return Ok(Loaded { name, profile, left_out: Vec::new(), conditional: None, origins, at });
        }
        let engine = EngineProfile::from_slice(&self.text).map_err(format)?;
        let resolve = |source| ProfileFailure::Resolve { name: name.clone(), source };
        let resolved = engine.resolve(&circumstances).map_err(resolve)?;
        Ok(Loaded {
            profile: resolved.profile,
            left_out: resolved.left_out,
            conditional: engine.is_conditional().then_some(engine),
            origins: resolved.origins,
            at: FieldPath::root(),
            name,
        })
    }
}

fn read(name: &str) -> Result<Vec<u8>, ProfileFailure> {
    if let Some(own) = name.strip_prefix('@') {
        let text = profile(own).ok_or_else(|| ProfileFailure::NoSuch { name: own.to_owned() })?;
        return Ok(text.as_bytes().to_vec());
    }
    let path = Path::new(name);
    let failed = |source| ProfileFailure::Read { path: path.to_path_buf(), source };
    let mut text = Vec::new();
    let read = if name == "-" {
        io::stdin().lock().take(LIMIT + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text))
    };
    match read.map_err(failed)? as u64 {
        0..=LIMIT => Ok(text),
        _ => Err(ProfileFailure::TooLong { path: path.to_path_buf() }),
    }
}

/// Whether it is a whole configuration: no profile has one of its members.
fn is_config(text: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Members {
        #[serde(rename = "ociVersion")]
        version: Option<serde::de::IgnoredAny>,
        linux: Option<serde::de::IgnoredAny>,
    }
    config::from_slice::<Members>(text).is_ok_and(|m| m.version.is_some() || m.linux.is_some())
}

/// What a conditional profile depends on, from the flags.
fn circumstances(invocation: &Invocation, arch: Arch) -> Result<Circumstances, Failure> {
    let flags = &invocation.flags;
    let mut capabilities: BTreeSet<String> = ENGINE_CAPABILITIES.map(String::from).into();
    // As `docker run` has it: first what is dropped, and single ones win over ALL.
    let (add, drop) = (capabilities_of(invocation, "cap-add")?, capabilities_of(invocation, "cap-drop")?);
    if add.iter().any(|cap| cap == "ALL") {
        capabilities = capabilities::NAMES.into_iter().map(String::from).collect();
    }
    if drop.iter().any(|cap| cap == "ALL") {
        capabilities.clear();
    }
    capabilities.retain(|cap| !drop.contains(cap));
    capabilities.extend(add.into_iter().filter(|cap| cap != "ALL"));
    let kernel: Option<Kernel> = flags.parsed("kernel", "a version of Linux, such as 6.18")?;
    let running = || rustix::system::uname().release().to_string_lossy().parse();
    // A kernel whose release is no number is newer than any that a profile asks for.
    let kernel = kernel.or_else(|| running().ok()).unwrap_or(Kernel { major: u32::MAX, minor: 0 });
    Ok(Circumstances { capabilities, kernel, arch })
}

/// Names with or without `CAP_`, in small or capital letters.
fn capabilities_of(invocation: &Invocation, flag: &'static str) -> Result<Vec<String>, UsageError> {
    let given = invocation.flags.texts(flag)?;
    let name = |value: String| {
        let upper = value.to_uppercase();
        let name = if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if name == "ALL" || capabilities::NAMES.contains(&name.as_str()) {
            return Ok(name);
        }
        Err(UsageError::InvalidValue { flag, value, expected: "a capability such as SYS_ADMIN, or ALL" })
    };
    given.into_iter().map(name).collect()
}

/// The architectures of `--arch`, or this machine's.
pub fn arches(invocation: &Invocation) -> Result<Vec<Arch>, UsageError> {
    let names = invocation.flags.texts("arch")?;
    if names.is_empty() {
        // Where there is no table, questions about x86_64 can be answered just the same.
        return Ok(vec![Arch::native().unwrap_or(Arch::X86_64)]);
    }
    let mut arches = Vec::new();
    for value in names {
        let name = value.to_lowercase();
        let is = |arch: &Arch| {
            [arch.short_name(), arch.go_name()].contains(&name.as_str())
                || arch.name() == value.to_uppercase()
        };
        let Some(arch) = Arch::all().find(is) else {
            let expected = "an architecture such as x86_64, x86, x32, arm64, riscv64 or SCMP_ARCH_S390X";
            return Err(UsageError::InvalidValue { flag: "arch", value, expected });
        };
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    Ok(arches)
}

/// The kernel's architecture on a machine that runs programs of this one: this machine's, if it does.
pub fn machine(arch: Arch) -> Arch {
    Arch::native().filter(|native| arch.runs_on(*native)).unwrap_or_else(|| arch.machine())
}
