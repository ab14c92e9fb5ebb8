use std::io;
use std::path::PathBuf;

use crate::error::{FieldPath, Strerror};

/// Why a container could not be put under resource control, or its control not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system is not there: no such hardware, no kernel support, or it is not mounted.
    #[error("{field}: Intel RDT needs the file system resctrl, which is not mounted on /sys/fs/resctrl")]
    NotMounted {
        /// What asks for it.
        field: FieldPath,
    },
    /// A class of service that is asked for by name only, and that nobody has made.
    #[error("{field}: there is no class of service {}, and no schema to make it with", path.display())]
    Absent {
        /// Its place in the configuration.
        field: FieldPath,
        /// Its directory.
        path: PathBuf,
    },
    /// A class of service that is there, and is another one than asked for.
    #[error("{field}: {} has {found:?}, not {wanted:?}", path.display())]
    Mismatch {
        /// What asks for it.
        field: FieldPath,
        /// The file.
        path: PathBuf,
        /// The line that is asked for.
        wanted: String,
        /// The line of the same resource, or nothing.
        found: String,
    },
    /// The kernel does not want to.
    #[error("{field}: {doing} {}: {}{}", path.display(), Strerror(source), because(.status))]
    Refused {
        /// What asks for it.
        field: FieldPath,
        /// The call, with what was written.
        doing: String,
        /// The directory or file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What it said at length: `info/last_cmd_status`.
        status: String,
    },
    /// A change for a container that is in the group of all processes.
    #[error("{field}: the container is in the root group, which is not its own to change")]
    Root {
        /// What asks for it.
        field: FieldPath,
    },
}

fn because(status: &str) -> String {
    if status.is_empty() { String::new() } else { format!(" ({status})") }
}
