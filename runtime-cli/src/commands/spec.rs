use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use libcontainer::config::Config;
use libcontainer::spec;
use serde::Serialize;

use super::path;
use crate::Failure;
use crate::args::{Command, Flag, Invocation};

pub const COMMAND: Command = Command {
    name: "spec",
    summary: "write a config.json to start from",
    arguments: "",
    count: 0..=0,
    verbatim_after: None,
    flags: &[
        Flag::value("bundle", "dir", "directory to write it to").short(b'b').default("the current directory"),
        Flag::value("file", "path", "file to write instead of the bundle's config.json").short(b'f'),
        Flag::switch("rootless", "write one for an ordinary user"),
    ],
    details: "Writes a config.json that runs `sh` in the directory `rootfs` beside it, with a safe set of namespaces, \
              mounts and capabilities. An existing file is not overwritten.",
    examples: &["mkdir -p demo/rootfs && corten spec --bundle demo"],
    see_also: &["run", "create"],
    run: execute,
};

fn execute(invocation: &Invocation) -> Result<u8, Failure> {
    let bundle = path(&invocation.flags, "bundle").unwrap_or_else(|| PathBuf::from("."));
    let mut config = spec::default_config();
    if invocation.flags.is_on("rootless") {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        config = spec::rootless(config, uid.as_raw(), gid.as_raw());
    }
    let file = path(&invocation.flags, "file").unwrap_or_else(|| bundle.join("config.json"));
    write(&file, &json(&config)?)?;
    Ok(0)
}

/// Indented by tabs, as runc does it.
fn json(config: &Config) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    Ok(text)
}

fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::SpecExists(path.to_path_buf()),
        _ => Failure::Spec { path: path.to_path_buf(), source },
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text).map_err(|e| {
        // Half a configuration is worse than none; the first error is the one to tell.
        let _ = fs::remove_file(path);
        failed(e)
    })
}
