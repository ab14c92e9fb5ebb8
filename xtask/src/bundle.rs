//! `cargo xtask bundle` and `cargo xtask hello`: the example bundles, made ready for this host and this caller.

use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use serde_json::{Value, json};

use crate::error::{Doing, Error, Result};
use crate::host::{self, Profile, TempDir};
use crate::sys;

/// `cargo xtask bundle NAME DIR [ARG...]`.
pub fn write_command(args: &[String]) -> Result<ExitCode> {
    let [name, directory, words @ ..] = args else { return Err(Error::Usage) };
    write(name, Path::new(directory), words)?;
    println!("{directory}: a bundle of {name}; try `cd {directory} && corten run ID`");
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask hello [--runtime PATH]`: the first thing to try in a fresh clone.
pub fn hello(args: &[String]) -> Result<ExitCode> {
    let runtime = match args {
        [] => host::build("corten", Profile::Dev)?,
        [option, path] if option == "--runtime" => path.into(),
        _ => return Err(Error::Usage),
    };
    let directory = TempDir::new()?;
    host::run(&mut hello_command(&runtime, directory.path(), sys::effective_ids())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks that the greeting comes out: of the caller's bundle, and for root also as an ordinary user.
pub fn check_hello(runtime: &Path) -> Result<()> {
    const ORDINARY: (u32, u32) = (65534, 65534);
    let caller = sys::effective_ids();
    for ids in if caller.0 == 0 { vec![caller, ORDINARY] } else { vec![caller] } {
        let directory = TempDir::new()?;
        chown(directory.path(), Some(ids.0), Some(ids.1)).doing(|| "give the bundle away".to_owned())?;
        let program = directory.path().join("runtime");
        // The build directory may lie where an ordinary user cannot look.
        fs::copy(runtime, &program).doing(|| format!("copy {}", runtime.display()))?;
        let mut command = hello_command(&program, directory.path(), ids)?;
        if ids != caller {
            // Drops the supplementary groups as well, since the caller is root.
            command.uid(ids.0).gid(ids.1).env_remove("XDG_RUNTIME_DIR");
        }
        let output = command.output().doing(|| "start the runtime".to_owned())?;
        host::succeeded(&command, &output)?;
        let greeted = String::from_utf8_lossy(&output.stdout).starts_with("Hello from inside a container");
        let verdict = if greeted { "ok" } else { "FAILED" };
        println!("test hello as user {} ... {verdict}", ids.0);
        if !greeted {
            return Err(Error::Missing {
                what: format!("the greeting of user {}", ids.0),
                hint: "the container ended well but said something else",
            });
        }
    }
    Ok(())
}

/// Makes the hello bundle of user and group `ids` below `directory`, and the command line that runs it.
fn hello_command(runtime: &Path, directory: &Path, ids: (u32, u32)) -> Result<Command> {
    let bundle = directory.join("bundle");
    make(if ids.0 == 0 { "hello" } else { "hello-rootless" }, &bundle, &[], ids)?;
    for path in [&bundle, &bundle.join("rootfs")] {
        chown(path, Some(ids.0), Some(ids.1)).doing(|| format!("give {} away", path.display()))?;
    }
    let mut command = Command::new(runtime);
    // State beside the bundle: the greeting works where nobody has made /run/corten or XDG_RUNTIME_DIR.
    command.arg("--root").arg(directory.join("state"));
    command.arg("run").arg("--bundle").arg(&bundle).arg(format!("hello-{}", std::process::id()));
    Ok(command)
}

/// Writes `bundles/NAME` to `directory`, ready to run; `words` replace the arguments of its process.
pub fn write(name: &str, directory: &Path, words: &[String]) -> Result<()> {
    make(name, directory, words, sys::effective_ids())
}

fn make(name: &str, directory: &Path, words: &[String], ids: (u32, u32)) -> Result<()> {
    let source = host::workspace().join("bundles").join(name);
    let path = source.join("config.json");
    let text = fs::read(&path).doing(|| format!("read {}", path.display()))?;
    let mut config: Value = serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
    if !words.is_empty() {
        config["process"]["args"] = json!(words);
    }
    let rootfs = directory.join("rootfs");
    fs::create_dir_all(&rootfs).doing(|| format!("create {}", rootfs.display()))?;
    if name.starts_with("hello") {
        leave_out_absent_sources(&mut config);
        map_to(ids, &mut config);
    } else {
        populate(&rootfs)?;
    }
    copy_files(&source.join("etc"), &directory.join("etc")).doing(|| format!("copy the files of {name}"))?;
    let target = directory.join("config.json");
    fs::write(&target, format!("{config:#}\n")).doing(|| format!("write {}", target.display()))
}

/// Drops the bind mounts whose source this host lacks: /lib64 is not everywhere.
fn leave_out_absent_sources(config: &mut Value) {
    let Some(mounts) = config["mounts"].as_array_mut() else { return };
    mounts.retain(|mount| {
        mount["type"] != "bind" || mount["source"].as_str().is_some_and(|path| Path::new(path).exists())
    });
}

/// Puts the ids of the user at hand where the bundle maps some user's.
fn map_to((user, group): (u32, u32), config: &mut Value) {
    for (mappings, id) in [("uidMappings", user), ("gidMappings", group)] {
        if let Some(mapping) = config["linux"].get_mut(mappings) {
            mapping[0]["hostID"] = json!(id);
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Fills `rootfs` with a static busybox, a link for each of its applets, and the files that name users.
pub fn populate(rootfs: &Path) -> Result<()> {
    let busybox = static_busybox()?;
    let applets =
        Command::new(&busybox).arg("--list").output().doing(|| "list busybox's applets".to_owned())?;
    let fill = || -> io::Result<()> {
        for name in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::copy(&busybox, rootfs.join("bin/busybox"))?;
        for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|name| *name != "busybox") {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n",
        )?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\ntty:x:5:\nuser:x:1000:\n")
    };
    fill().doing(|| format!("fill {}", rootfs.display()))
}

/// Finds a busybox that needs no C library in the rootfs.
pub fn static_busybox() -> Result<PathBuf> {
    let missing = |what: &str| Error::Missing {
        what: what.to_owned(),
        hint: "`cargo xtask setup` installs it (package busybox-static)",
    };
    let busybox = host::on_path("busybox").ok_or_else(|| missing("busybox"))?;
    let image = fs::read(&busybox).doing(|| format!("read {}", busybox.display()))?;
    if has_interpreter(&image) { Err(missing("a statically linked busybox")) } else { Ok(busybox) }
}

/// Whether a 64-bit little-endian ELF image asks for a dynamic linker (a PT_INTERP program header).
fn has_interpreter(image: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    const HEADER_SIZE: usize = 56;
    let number = |offset: usize, length: usize| -> Option<usize> {
        let bytes = image.get(offset..offset + length)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    let (Some(table), Some(count)) = (number(0x20, 8), number(0x38, 2)) else { return false };
    (0..count).any(|index| number(table + index * HEADER_SIZE, 4) == Some(PT_INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path) -> Value {
        let text = fs::read(directory.join("config.json")).expect("the bundle has a config.json");
        serde_json::from_slice(&text).expect("config.json is JSON")
    }

    #[test]
    fn a_rootless_hello_maps_the_user_at_hand() {
        let directory = TempDir::new().expect("a temporary directory");
        make("hello-rootless", directory.path(), &[], (1234, 56)).expect("the bundle is made");
        let config = read(directory.path());
        assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1234, "size": 1}]));
        assert_eq!(config["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": 56, "size": 1}]));
    }

    #[test]
    fn binds_of_what_the_host_lacks_are_left_out() {
        let bind = |source: &str| json!({"destination": "/x", "type": "bind", "source": source});
        let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
        let mut config = json!({"mounts": [bind("/"), bind("/no/such/directory"), proc]});
        leave_out_absent_sources(&mut config);
        assert_eq!(config, json!({"mounts": [bind("/"), proc]}));
    }

    #[test]
    fn arguments_replace_those_of_the_bundle() {
        let directory = TempDir::new().expect("a temporary directory");
        make("hello", directory.path(), &["/bin/true".to_owned()], (0, 0)).expect("the bundle is made");
        assert_eq!(read(directory.path())["process"]["args"], json!(["/bin/true"]));
    }

    #[test]
    fn this_static_test_program_asks_for_no_dynamic_linker() {
        let image = fs::read("/proc/self/exe").expect("this program can read itself");
        assert!(!has_interpreter(&image));
    }
}
