//! Every member of `linux.resources`: what `resources/rows.table` says, read back from the kernel and compared with runc.

mod table;

use super::parity::{Peer, find_runc};
use crate::failure::Verdict;
use crate::registry::{Case, Deviation, Need};
use crate::{Ctx, Failure, cgroup, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use table::{Expected, Reading, Row, Version};

pub fn cases() -> Vec<Case> {
    let rows: &'static [Row] = Vec::leak(table::rows());
    rows.iter().flat_map(|row| [Version::V1, Version::V2].into_iter().flat_map(|v| of_row(row, v))).collect()
}

/// The row itself, and its comparison with runc.
fn of_row(row: &'static Row, version: Version) -> Vec<Case> {
    let Some(expected) = row.expected(version) else { return Vec::new() };
    let v = version.word();
    let needs: Vec<Need> = match version {
        // Any controller: those of the row are looked for in a cgroup made for that.
        Version::V1 => vec![Need::V1("devices")],
        Version::V2 => vec![Need::Unified],
    };
    let mut read =
        Case::new(format!("cgroup-{v}/{}", row.name), row.clauses, move |ctx| read(ctx, row, expected))
            .needs(&needs);
    let known = row.deviations.iter().filter(|d| d.versions.contains(&version));
    read.deviations.extend(known.map(|d| Deviation {
        runtime: d.runtime,
        version: d.release,
        reason: d.reason,
    }));
    if version == Version::V2 && matches!(expected, Expected::Refused(_)) {
        let reason = "leaves the cgroup when create fails";
        read.deviations.push(Deviation { runtime: "crun", version: "1", reason });
    }
    let name = format!("resources-as-runc/{}-{v}", row.name);
    let compared = Case::new(name, row.clauses, move |ctx| compare(ctx, row, version, expected));
    vec![read, compared.practice().needs(&needs).needs(&[Need::Runc])]
}

fn read(ctx: &Ctx, row: &Row, expected: &Expected) -> Verdict {
    let (b, expected) = prepare(ctx, row, expected)?;
    match &expected {
        Expected::Refused(word) => ctx.refuses(&b, &[word]).map(drop),
        Expected::Readings(readings) => {
            let c = ctx.create(&b)?;
            for reading in readings {
                let (file, want) = &reading.one_of[0];
                let got = text_of(c.pid, file)?;
                // Some files hold more lines than the one that was set.
                let holds = got == *want || got.lines().any(|l| l == want);
                ensure!(holds, "{file}: got {got:?}, want {want:?}");
            }
            Ok(())
        }
    }
}

/// The same files of a container of runc, or the same refusal.
fn compare(ctx: &Ctx, row: &Row, version: Version, expected: &Expected) -> Verdict {
    if ctx.settings.name == "runc" {
        return Err(Failure::skip("it is runc itself that this compares with"));
    }
    let (b, expected) = prepare(ctx, row, expected)?;
    let runc = find_runc()?;
    let ours = seen(ctx, &ctx.settings.runtime, &b, &expected)?;
    let theirs = seen(ctx, &runc, &b, &expected)?;
    let release = ctx.program(&runc).arg("--version").ok()?.stdout;
    let release = release.split_whitespace().nth(2).unwrap_or_default();
    let known = row.deviations.iter().find(|d| {
        let same = d.runtime == "runc" && release.starts_with(d.release);
        same && !d.words_only && d.versions.contains(&version)
    });
    match known {
        Some(known) => {
            // A peer may well refuse for another reason: a controller that this machine lacks.
            let refused = matches!(expected, Expected::Refused(_));
            ensure!(
                refused || ours != theirs,
                "the difference that the table lists is gone: {}",
                known.reason
            );
            Ok(())
        }
        None => {
            ensure_eq!(ours, theirs, "not as runc {release}");
            Ok(())
        }
    }
}

fn seen(ctx: &Ctx, runtime: &Path, b: &crate::Bundle, expected: &Expected) -> Result<Value, Failure> {
    let peer = Peer::start(ctx, runtime, b);
    let Expected::Readings(readings) = expected else { return Ok(json!(peer.is_ok())) };
    let c = match peer {
        Ok(c) => c,
        Err(e) => return Ok(json!(format!("failed: {e}"))),
    };
    let pid = c.cmd(&["state", &c.id]).ok()?.json()?["pid"].as_i64().unwrap_or(0);
    let mut files = json!({});
    for reading in readings {
        let file = &reading.one_of[0].0;
        files[file] = json!(text_of(pid as i32, file)?);
    }
    Ok(files)
}

fn text_of(pid: i32, file: &str) -> Result<String, Failure> {
    let controller = if cgroup::is_unified() { "" } else { controller_of(file) };
    cgroup::read(&cgroup::dir_of(pid, controller)?, file)
}

fn controller_of(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

/// The row's bundle, with what this machine has in place of placeholders, and of each reading the file that it has.
fn prepare(ctx: &Ctx, row: &Row, expected: &Expected) -> Result<(crate::Bundle, Expected), Failure> {
    let expected = match expected {
        Expected::Refused(word) => Expected::Refused(word.clone()),
        Expected::Readings(readings) => {
            let kept = readings.iter().map(|r| choose(ctx, r)).collect::<Result<_, _>>()?;
            Expected::Readings(kept)
        }
    };
    let mut b = ctx.bundle()?;
    let members: Value = serde_json::from_str(&fill(&row.resources)?)?;
    for (member, value) in members.as_object().into_iter().flatten() {
        b.set(&format!("/linux/resources/{member}"), value.clone());
    }
    b.steps(&[&["sleep"]]);
    Ok((b, expected))
}

fn choose(ctx: &Ctx, reading: &Reading) -> Result<Reading, Failure> {
    for (file, want) in &reading.one_of {
        if has_file(ctx, file)? {
            return Ok(Reading { one_of: vec![(file.clone(), fill(want)?)] });
        }
    }
    let files: Vec<&str> = reading.one_of.iter().map(|(file, _)| file.as_str()).collect();
    Err(Failure::skip(format!("this kernel has no cgroup file {}", files.join(" nor "))))
}

/// Whether a cgroup below the root has this file: the root itself lacks most.
fn has_file(ctx: &Ctx, file: &str) -> Result<bool, Failure> {
    let controller = controller_of(file);
    let mut root = PathBuf::from(cgroup::ROOT);
    if !cgroup::is_unified() {
        root.push(controller);
    } else if controller != "cgroup" {
        if ctx.host.lacks(Need::V2(leak(controller))).is_some() {
            return Ok(false);
        }
        // What every runtime does as well; the kernel's refusal means that the file is not there.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    if !root.join("cgroup.procs").exists() {
        return Ok(false);
    }
    let dir = root.join(format!("{}-probe", ctx.id()));
    fs::create_dir(&dir)?;
    let has = dir.join(file).exists();
    fs::remove_dir(&dir)?;
    Ok(has)
}

fn leak(word: &str) -> &'static str {
    Box::leak(word.to_owned().into_boxed_str())
}

/// Puts what this machine has in place of placeholders.
fn fill(text: &str) -> Result<String, Failure> {
    let mut text = text.to_owned();
    if text.contains("$RDMA") {
        let device = fs::read_dir("/sys/class/infiniband").into_iter().flatten().flatten().next();
        let name = device.ok_or_else(|| Failure::skip("no RDMA device"))?.file_name();
        text = text.replace("$RDMA", &name.to_string_lossy());
    }
    for (prefix, wanted, missing) in
        [("$BFQ_", Some("[bfq]"), "no disk with the scheduler bfq"), ("$", None, "no disk")]
    {
        let names = ["DISK", "MAJOR", "MINOR"].map(|n| format!("{prefix}{n}"));
        if names.iter().any(|n| text.contains(n)) {
            let disk = disk(wanted).ok_or_else(|| Failure::skip(missing))?;
            let (major, minor) = disk.split_once(':').unwrap_or(("0", "0"));
            for (name, value) in names.iter().zip([disk.as_str(), major, minor]) {
                text = text.replace(name.as_str(), value);
            }
        }
    }
    Ok(text)
}

/// A whole disk, as MAJOR:MINOR: the kernel throttles no partitions.
fn disk(scheduler: Option<&str>) -> Option<String> {
    fs::read_dir("/sys/block").ok()?.flatten().find_map(|e| {
        let name = e.file_name().to_string_lossy().into_owned();
        let real = !["loop", "ram", "zram"].iter().any(|p| name.starts_with(p));
        let schedulers = fs::read_to_string(e.path().join("queue/scheduler")).unwrap_or_default();
        let fits = real && scheduler.is_none_or(|s| schedulers.contains(s));
        fits.then(|| fs::read_to_string(e.path().join("dev")).ok()).flatten().map(|d| d.trim().to_owned())
    })
}
