//! Races: while a container is made, somebody who shares a volume with it exchanges a directory for a link, again and
//! again. Each goes on for two seconds; `CORTEN_RACE_SECONDS` makes that longer.

use crate::failure::Verdict;
use crate::process::Out;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Facts, Failure, ensure, ensure_eq, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long each race lasts.
pub const SECONDS_VARIABLE: &str = "CORTEN_RACE_SECONDS";

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("swap/{name}"), clauses, body).practice().limit(60 + 2 * seconds())
    };
    vec![
        case("mount-target", &["MNT-08"], mount_target),
        case("mount-target-made", &["MNT-08"], mount_target_made),
        case("working-directory-made", &["PROC-08"], working_directory_made),
        case("device-made", &["DEV-03"], device_made),
        case("read-only-path", &["RO-01"], read_only_path),
        case("null-device", &["MASK-03"], null_device).needs(&[Need::Capability(27, "CAP_MKNOD")]),
        case("proc-directory", &["MNT-09"], proc_directory),
        case("mount-inside-proc", &["MNT-10"], mount_inside_proc),
    ]
}

fn seconds() -> u64 {
    std::env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Runs the bundle again and again, each time with the two paths being exchanged meanwhile. `judge` fails if the attack
/// succeeded.
fn race(
    ctx: &Ctx,
    b: &Bundle,
    (one, other): (&Path, &Path),
    mut judge: impl FnMut(&Out) -> Verdict,
) -> Verdict {
    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut runs, mut successes, mut exchanges) = (0u32, 0u32, 0u64);
    while runs < 24 || Instant::now() < end {
        let over = AtomicBool::new(false);
        let out = std::thread::scope(|scope| {
            let swapper = scope.spawn(|| swap_until(&over, one, other, runs));
            let out = ctx.run(b);
            over.store(true, Ordering::Relaxed);
            exchanges += swapper.join().map_err(|_| Failure::new("the exchanging thread panicked"))??;
            out
        })?;
        runs += 1;
        successes += u32::from(out.code() == 0);
        judge(&out).map_err(|e| Failure { message: format!("run {runs}: {}", e.message), ..e })?;
    }
    let figures = crate::driver::FIGURES;
    eprintln!("{figures}{runs} runs, {successes} containers came into being, {exchanges} exchanges");
    ensure!(exchanges > 0, "nothing was exchanged");
    Ok(())
}

/// With pauses that differ from run to run. Asleep, it takes the processor from the runtime when it wakes, which matters
/// where there are few of them.
fn swap_until(over: &AtomicBool, one: &Path, other: &Path, run: u32) -> std::io::Result<u64> {
    let mut exchanges = 0;
    while !over.load(Ordering::Relaxed) {
        sys::exchange(one, other)?;
        exchanges += 1;
        match run % 4 {
            0 => {}
            1 => (0..exchanges % 1000).for_each(|_| std::hint::spin_loop()),
            2 => std::thread::sleep(Duration::from_nanos(1)),
            _ => std::thread::sleep(Duration::from_micros(exchanges % 100)),
        }
    }
    Ok(exchanges)
}

/// A directory of the host that nothing may happen to.
fn canary(ctx: &Ctx) -> Result<PathBuf, Failure> {
    let dir = ctx.scratch().join("canary");
    fs::create_dir(&dir)?;
    fs::write(dir.join("file"), "host")?;
    Ok(dir)
}

fn untouched(dir: &Path) -> Verdict {
    let names: Vec<_> = fs::read_dir(dir)?.flatten().map(|e| e.file_name()).collect();
    ensure_eq!(names, ["file"], "entries of the host's directory");
    ensure_eq!(fs::read_to_string(dir.join("file"))?, "host", "the host's file");
    Ok(())
}

/// A volume with an empty directory `dir`, and beside it a link that is exchanged for it.
fn volume(ctx: &Ctx, name: &str, link: &Path) -> Result<PathBuf, Failure> {
    let volume = ctx.scratch().join(name);
    fs::create_dir_all(volume.join("dir"))?;
    symlink(link, volume.join("link"))?;
    Ok(volume)
}

fn bind(b: &mut Bundle, from: &Path, to: &str) {
    fs::create_dir_all(b.path(to)).expect("the rootfs is writable");
    b.mount(to, "bind", &from.to_string_lossy(), &["rbind"]);
}

/// CVE-2021-30465: the target of the second volume is exchanged for a link to where the host keeps the volumes. If it is
/// mounted there, the source of the third one is found in it, which is a link to whatever the attacker likes.
fn mount_target(ctx: &Ctx) -> Verdict {
    let canary = canary(ctx)?;
    let volumes = ctx.scratch().join("volumes");
    let shared = volume(ctx, "volumes/first", &volumes)?;
    fs::create_dir_all(volumes.join("second"))?;
    fs::create_dir_all(volumes.join("third"))?;
    symlink(&canary, volumes.join("second/third"))?;
    let mut b = ctx.bundle()?;
    bind(&mut b, &shared, "/first");
    b.mount("/first/dir", "bind", &volumes.join("second").to_string_lossy(), &["rbind"]);
    bind(&mut b, &volumes.join("third"), "/third");
    b.steps(&[&["read", "/third/file"]]);
    race(ctx, &b, (&shared.join("dir"), &shared.join("link")), |out| {
        ensure!(!out.stdout.contains("\"text\":\"host\""), "the container read a file of the host");
        Ok(())
    })
}

/// CVE-2024-45310: what is missing of a path is made where the link leads.
fn made_in_volume(ctx: &Ctx, change: impl FnOnce(&mut Bundle)) -> Verdict {
    let canary = canary(ctx)?;
    let shared = volume(ctx, "volume", &canary)?;
    let mut b = ctx.bundle()?;
    b.writable();
    bind(&mut b, &shared, "/vol");
    change(&mut b);
    race(ctx, &b, (&shared.join("dir"), &shared.join("link")), |_| {
        untouched(&canary)?;
        // What is exchanged may be under either name now, and has to be made once more.
        for name in ["dir", "link"].iter().filter(|name| !shared.join(name).is_symlink()) {
            fs::remove_dir_all(shared.join(name))?;
            fs::create_dir(shared.join(name))?;
        }
        Ok(())
    })
}

fn mount_target_made(ctx: &Ctx) -> Verdict {
    made_in_volume(ctx, |b| {
        b.mount("/vol/dir/made/deep", "tmpfs", "t", &[]);
        b.mount("/vol/dir/for-a-file", "bind", &b.dir.join("config.json").to_string_lossy(), &["bind"]);
    })
}

fn working_directory_made(ctx: &Ctx) -> Verdict {
    made_in_volume(ctx, |b| {
        b.set("/process/cwd", json!("/vol/dir/made/deep"));
    })
}

fn device_made(ctx: &Ctx) -> Verdict {
    made_in_volume(ctx, |b| {
        let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 438});
        b.set("/linux/devices", json!([device("/vol/dir/node"), device("/vol/dir/made/node")]));
    })
}

/// GHSA-3q8j-pf29-vwv8: the path is bound on itself and then, by its name once more, made read-only. Between the two
/// the name leads to another mount, and what was bound stays writable.
fn read_only_path(ctx: &Ctx) -> Verdict {
    let shared = ctx.scratch().join("volume");
    let places = ["one/secret", "other/secret"].map(|name| shared.join(name));
    for place in &places {
        fs::create_dir_all(place)?;
        sys::mount("t", place, "tmpfs", 0, "")?;
    }
    let mut b = ctx.bundle()?;
    bind(&mut b, &shared, "/vol");
    b.set("/linux/readonlyPaths", json!(["/vol/one/secret"]));
    let verdict = race(ctx, &b, (&shared.join("one"), &shared.join("other")), |out| {
        if out.code() != 0 {
            return Ok(());
        }
        let mounts = Facts::lines(&out.stdout)?.remove(0).mounts();
        // By their ids: the names are still being exchanged when they are read.
        let places: Vec<_> =
            mounts.iter().filter(|m| m.target.starts_with("/vol/") && m.target.ends_with("secret")).collect();
        let on_another = |id: u32| places.iter().any(|m| m.id == id);
        let covers: Vec<_> = places.iter().filter(|m| on_another(m.parent)).collect();
        ensure!(!covers.is_empty(), "nothing was made read-only: {places:?}");
        ensure!(covers.iter().all(|m| m.own("ro")), "left writable: {places:?}");
        Ok(())
    });
    places.iter().try_for_each(|place| sys::detach(place))?;
    verdict
}

/// CVE-2025-31133: the null device is looked at, and then exchanged.
fn null_device(ctx: &Ctx) -> Verdict {
    let dev = ctx.scratch().join("dev");
    fs::create_dir(&dev)?;
    sys::make_device(&dev.join("null"), 1, 3)?;
    fs::set_permissions(dev.join("null"), fs::Permissions::from_mode(0o666))?;
    symlink("/etc/precious", dev.join("link"))?;
    let mut b = ctx.bundle()?;
    without_mounts_at(&mut b, "/dev");
    bind(&mut b, &dev, "/dev");
    fs::write(b.path("etc/precious"), "precious")?;
    fs::write(b.path("etc/secret"), "secret")?;
    b.set("/linux/maskedPaths", json!(["/etc/secret"])).steps(&[&["stat", "/etc/secret"]]);
    race(ctx, &b, (&dev.join("null"), &dev.join("link")), |out| {
        if out.code() != 0 {
            return Ok(());
        }
        ensure_eq!(Facts::lines(&out.stdout)?.remove(0).str("/stat/rdev"), "1:3", "what masks the file");
        Ok(())
    })
}

pub(super) fn without_mounts_at(b: &mut Bundle, prefix: &str) {
    if let Some(mounts) = b.config["mounts"].as_array_mut() {
        mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with(prefix)));
    }
}

/// CVE-2019-19921 and CVE-2023-27561: somebody shares the root filesystem, and exchanges /proc for a link to a directory
/// with files of the same names. What the runtime writes into procfs must not be written there.
fn proc_directory(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    let forged = b.path("forged/sys/net/ipv4");
    fs::create_dir_all(&forged)?;
    fs::write(forged.join("ip_forward"), "forged")?;
    symlink("/forged", b.path("link"))?;
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let (proc, link) = (b.path("proc"), b.path("link"));
    race(ctx, &b, (&proc, &link), |_| {
        ensure_eq!(
            fs::read_to_string(forged.join("ip_forward"))?,
            "forged",
            "the file that is not in procfs"
        );
        Ok(())
    })
}

/// CVE-2025-52881: a mount that is to go into a volume lands on a file of procfs, and what is written there goes
/// elsewhere: a limit that is not in force, or a file such as /proc/sysrq-trigger that is written instead.
fn mount_inside_proc(ctx: &Ctx) -> Verdict {
    let shared = volume(ctx, "volume", Path::new("/proc/sys/net/ipv4"))?;
    fs::write(shared.join("dir/ip_forward"), "")?;
    let trigger = ctx.scratch().join("trigger");
    fs::write(&trigger, "untouched")?;
    let mut b = ctx.bundle()?;
    bind(&mut b, &shared, "/vol");
    b.mount("/vol/dir/ip_forward", "bind", &trigger.to_string_lossy(), &["bind"]);
    b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    b.steps(&[&["read", "/proc/sys/net/ipv4/ip_forward"]]);
    race(ctx, &b, (&shared.join("dir"), &shared.join("link")), |out| {
        ensure_eq!(fs::read_to_string(&trigger)?, "untouched", "the file that is not the parameter");
        if out.code() == 0 {
            ensure_eq!(Facts::lines(&out.stdout)?.remove(0).str("/text"), "1\n", "the parameter");
        }
        Ok(())
    })
}
