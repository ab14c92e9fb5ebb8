//! What a random configuration is made of: changes to the one that `runc spec` writes. Because each change is
//! data, a configuration that shows a difference is made small by leaving changes out.

use crate::bundle::{Bundle, PROBE, chown_tree};
use crate::failure::{Failure, Verdict};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// One thing that is done to the bundle.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Sets the value at a JSON pointer.
    Set(String, Value),
    /// Appends to the list at a JSON pointer.
    Push(String, Value),
    /// Removes the member at a JSON pointer.
    Remove(String),
    /// Removes namespaces of a type.
    NoNamespace(&'static str),
    /// Hands the rootfs to a user of the host.
    Owner(u32),
    /// Gives the program one more step.
    Step(Vec<String>),
    /// Makes a directory in the rootfs.
    Dir(&'static str),
    /// Makes a file in the rootfs.
    File(&'static str),
    /// Makes a symlink in the rootfs: its path, what it points to.
    Link(&'static str, &'static str),
}

/// Edits that belong together, under a name that says what they are about.
#[derive(Clone, Debug)]
pub struct Change {
    /// The part of the configuration.
    pub about: &'static str,
    /// What is done.
    pub edits: Vec<Edit>,
}

impl Change {
    /// A change of one member.
    pub fn set(about: &'static str, pointer: impl Into<String>, value: Value) -> Self {
        Change { about, edits: vec![Edit::Set(pointer.into(), value)] }
    }

    /// One more entry of a list.
    pub fn push(about: &'static str, pointer: impl Into<String>, value: Value) -> Self {
        Change { about, edits: vec![Edit::Push(pointer.into(), value)] }
    }

    /// The same with one more edit.
    pub fn and(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// The same with one more step of the program.
    pub fn step(self, words: &[&str]) -> Self {
        self.and(Edit::Step(words.iter().map(|w| (*w).to_owned()).collect()))
    }
}

/// Writes the bundle that the changes describe. `$BUNDLE`, `$PROBE` and `$ID` in them stand for the bundle's
/// directory, the probe on the host and the container's id.
///
/// # Errors
/// If the files cannot be written.
pub fn apply(changes: &[Change], dir: &Path, probe: &Path, id: &str) -> Result<Bundle, Failure> {
    let mut bundle = Bundle::make(dir.to_path_buf(), probe, false)?;
    furnish(&bundle)?;
    bundle.out();
    let edits: Vec<&Edit> = changes.iter().flat_map(|c| &c.edits).collect();
    let mut args = vec![PROBE.to_owned(), "facts".to_owned()];
    for edit in &edits {
        if let Edit::Step(words) = edit {
            args.push("+".to_owned());
            args.extend(words.iter().cloned());
        }
    }
    bundle.set("/process/args", json!(args));
    for edit in edits {
        apply_edit(edit, &mut bundle)?;
    }
    let text = bundle.config.to_string().replace("$BUNDLE", &dir.to_string_lossy());
    let text = text.replace("$PROBE", &probe.to_string_lossy()).replace("$ID", id);
    bundle.config = serde_json::from_str(&text)?;
    bundle.save()?;
    Ok(bundle)
}

fn apply_edit(edit: &Edit, bundle: &mut Bundle) -> Verdict {
    match edit {
        Edit::Set(pointer, value) => drop(bundle.set(pointer, value.clone())),
        Edit::Push(pointer, value) => {
            if !bundle.config.pointer(pointer).is_some_and(Value::is_array) {
                bundle.set(pointer, json!([]));
            }
            bundle.set(&format!("{pointer}/-"), value.clone());
        }
        Edit::Remove(pointer) => drop(bundle.remove(pointer)),
        Edit::NoNamespace(kind) => drop(bundle.without_namespace(kind)),
        // The probe is a hard link to the run's only copy: its owner stays.
        Edit::Owner(id) => {
            let probe = bundle.path("bin/probe");
            let aside = bundle.dir.join("probe");
            fs::rename(&probe, &aside)?;
            chown_tree(&bundle.dir.join("rootfs"), *id, *id)?;
            fs::rename(&aside, &probe)?;
        }
        Edit::Step(_) => {}
        Edit::Dir(path) => fs::create_dir_all(bundle.path(path))?,
        Edit::File(path) => fs::write(bundle.path(path), "text\n")?,
        Edit::Link(path, target) => symlink(target, bundle.path(path))?,
    }
    Ok(())
}

/// What every rootfs and bundle has beside the probe: something for mounts, masks and programs to hit.
fn furnish(bundle: &Bundle) -> Verdict {
    fs::write(bundle.path("etc/file"), "text\n")?;
    fs::write(bundle.path("etc/script"), "no program\n")?;
    fs::set_permissions(bundle.path("etc/script"), fs::Permissions::from_mode(0o755))?;
    symlink("/tmp", bundle.path("link"))?;
    symlink("file", bundle.path("etc/link"))?;
    symlink("/missing", bundle.path("dangling"))?;
    symlink("../../../../etc", bundle.path("up"))?;
    symlink("loop", bundle.path("loop"))?;
    // Hooks of any user write to one file, which a sticky directory may forbid (fs.protected_regular).
    fs::set_permissions(bundle.dir.join("out"), fs::Permissions::from_mode(0o777))?;
    let sources = bundle.dir.join("src");
    fs::create_dir_all(sources.join("sub"))?;
    fs::write(sources.join("file"), "source\n")?;
    symlink("file", sources.join("link"))?;
    Ok(())
}
