//! Disks and huge pages.

use super::{MIB, case, requires};
use crate::failure::{Failure, Verdict};
use crate::registry::Case;
use crate::{Ctx, ensure, ensure_eq};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub fn cases() -> Vec<Case> {
    vec![
        case("io-write-bytes", &["RBLK-05"], |ctx| throttled(ctx, "throttleWriteBpsDevice", MIB, &WRITE)),
        case("io-read-bytes", &["RBLK-04"], |ctx| throttled(ctx, "throttleReadBpsDevice", MIB, &READ)),
        case("io-write-operations", &["RBLK-07"], |ctx| {
            throttled(ctx, "throttleWriteIOPSDevice", 10, &SMALL)
        }),
        case("hugepages-hold", &["RHUG-02"], hugepages),
    ]
}

/// How to move data past the page cache: direction, bytes and the size of a block. At its limit each takes three
/// seconds, of which the kernel may grant one in advance.
type Transfer = [&'static str; 3];

const WRITE: Transfer = ["direct-write", "3145728", "65536"];
const READ: Transfer = ["direct-read", "3145728", "65536"];
const SMALL: Transfer = ["direct-write", "122880", "4096"];
const LEAST: f64 = 1.8;

fn throttled(ctx: &Ctx, member: &str, rate: u64, [direction, bytes, block]: &Transfer) -> Verdict {
    requires("blkio", "io")?;
    let (major, minor) = disk_of(ctx.scratch())?;
    let mut b = ctx.bundle()?;
    let limits = json!({member: [{"major": major, "minor": minor, "rate": rate}]});
    b.set("/linux/resources/blockIO", limits);
    let file = b.out().join("data");
    fs::write(&file, vec![1u8; 3 * MIB as usize])?;
    fs::File::open(&file)?.sync_all()?;
    b.steps(&[&[direction, "/out/data", bytes, block]]);
    let steps = ctx.run_steps(&b)?;
    if steps[0].result() == "EINVAL" {
        return Err(Failure::skip(
            "the scratch directory's filesystem cannot be written past the page cache",
        ));
    }
    ensure_eq!(steps[0].result(), "ok", "the transfer");
    let seconds = steps[0].get("/seconds").as_f64().unwrap_or(0.0);
    ensure!(seconds > LEAST, "{bytes} bytes took {seconds:.2} s at {rate} per second");
    Ok(())
}

/// The disk, not the partition, that a directory is on.
fn disk_of(directory: &Path) -> Result<(u64, u64), Failure> {
    let device = fs::metadata(directory)?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let sys = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    let Ok(sys) = fs::canonicalize(&sys) else {
        return Err(Failure::skip(format!("{} is on no disk", directory.display())));
    };
    let disk = if sys.join("partition").exists() { sys.parent().unwrap_or(&sys) } else { &sys };
    let text = fs::read_to_string(disk.join("dev"))?;
    let numbers = text.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| Failure::new(format!("{}/dev holds {text:?}", disk.display())))
}

fn hugepages(ctx: &Ctx) -> Verdict {
    requires("hugetlb", "hugetlb")?;
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    if free.ok().and_then(|n| n.trim().parse().ok()).unwrap_or(0) < 4 {
        return Err(Failure::skip("fewer than four free huge pages of 2 MiB"));
    }
    let mut b = ctx.bundle()?;
    b.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4 * MIB}]));
    b.steps(&[&["huge-pages", "2"], &["huge-pages", "3"]]);
    let steps = ctx.run_steps(&b)?;
    ensure_eq!(steps[0].result(), "ok", "two pages");
    // Refused when mapped, or SIGBUS when touched.
    ensure!(["ENOMEM", "signal 7"].contains(&steps[1].result()), "three pages: {}", steps[1].result());
    Ok(())
}
