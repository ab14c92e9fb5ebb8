//! Which part of the configuration an operation comes from, for the words of an error.

use crate::error::FieldPath;

/// Where an operation of the plan comes from. Cheap to make; it is turned into words only when something fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A member of `config.json`.
    Field(&'static str),
    /// An element of `mounts`.
    Mount {
        /// Its index.
        index: usize,
        /// Its destination, and for a bind its source.
        place: String,
        /// The parameters of its filesystem, in the order of the plan.
        params: Vec<String>,
    },
    /// `linux.namespaces[i]` with this path.
    Namespace(String),
    /// Nodes of one directory: a place of the configuration for each, or none for a default one.
    Nodes(Vec<(Option<usize>, String)>),
    /// `linux.maskedPaths`
    MaskedPaths(Vec<String>),
    /// `linux.readonlyPaths`
    ReadonlyPaths(Vec<String>),
    /// `linux.sysctl`, with the key.
    Sysctl(String),
    /// An element of `process.rlimits`.
    Rlimit {
        /// Its index.
        index: usize,
        /// `RLIMIT_NOFILE`
        name: &'static str,
    },
    /// Nothing in particular: a step that every container needs.
    Runtime(&'static str),
}

impl Origin {
    /// The words that go in front of an error: `mounts[3] (/proc)`. `item` is the element at fault where there are many.
    #[must_use]
    pub fn describe(&self, item: usize) -> String {
        match self {
            Origin::Field(path) => (*path).to_owned(),
            Origin::Mount { index, place, .. } => {
                format!("{} ({place})", FieldPath::new("mounts").index(*index))
            }
            Origin::Namespace(path) => format!("linux.namespaces ({path})"),
            Origin::Nodes(nodes) => match nodes.get(item) {
                Some((Some(i), path)) => format!("linux.devices[{i}] ({path})"),
                Some((None, path)) => format!("default device {path}"),
                None => "linux.devices".to_owned(),
            },
            Origin::MaskedPaths(paths) => of_list("linux.maskedPaths", paths, item),
            Origin::ReadonlyPaths(paths) => of_list("linux.readonlyPaths", paths, item),
            Origin::Sysctl(key) => format!("linux.sysctl[{key:?}]"),
            Origin::Rlimit { index, name } => {
                format!("{} ({name})", FieldPath::new("process").field("rlimits").index(*index))
            }
            Origin::Runtime(what) => (*what).to_owned(),
        }
    }
}

impl Origin {
    /// The parameter of a filesystem that a failed fsconfig(2) was about.
    #[must_use]
    pub fn parameter(&self, item: usize) -> Option<&str> {
        match self {
            Origin::Mount { params, .. } => params.get(item).map(String::as_str),
            _ => None,
        }
    }
}

fn of_list(field: &str, paths: &[String], item: usize) -> String {
    match paths.get(item) {
        Some(path) => format!("{field}[{item}] ({path})"),
        None => field.to_owned(),
    }
}
