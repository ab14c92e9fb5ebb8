//! From `linux.resources` to what is written to which control file. Pure.
//!
//! Zero means «leave it alone» for the fields where engines have always sent it so (memory, shares, quota, weights),
//! and so does an absent field; -1 is «unlimited» wherever the specification says so.

mod convert;
mod v1;
mod v2;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use convert::shares_to_weight;

use super::layout::Kind;
use crate::config::{Cpu, Memory, Resources};
use crate::error::{ConfigError, FieldPath, Problem};

type Result<T> = std::result::Result<T, ConfigError>;

/// One value for one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller that has the file: `memory`, `io`, `blkio`; `cgroup` for files that every v2 cgroup has.
    pub controller: Cow<'static, str>,
    /// Name in the cgroup's directory; never a path.
    pub file: Cow<'static, str>,
    /// What to write, in one write(2).
    pub value: String,
    /// The member of `config.json` that it comes from.
    pub field: FieldPath,
    /// What to do if that does not work.
    pub policy: Policy,
}

/// What the kernel's refusal of a [`Write`] means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// An error.
    Must,
    /// Nothing, if the file does not exist: older or smaller kernels do not have it.
    IfPresent,
    /// `EINVAL` may be due to the order of dependent files (limit and memory+swap limit, quota and period and burst):
    /// try again after the others. Which order is right depends on the present values, and trying is cheaper than
    /// reading them.
    Reorder,
    /// If the file does not exist, this one instead.
    OrElse(Box<Write>),
    /// An error already if this file has a greater number (`checkBeforeUpdate`).
    NotBelow(&'static str),
}

/// Turns `resources`, without its devices, into writes. `at` is its place in the document, `linux.resources`.
///
/// # Errors
/// Values outside of their range, members that contradict each other, and members that this kind of hierarchy has no
/// counterpart for.
pub fn lower(resources: &Resources, kind: Kind, at: &FieldPath) -> Result<Vec<Write>> {
    let mut out = Lowering { at, writes: Vec::new() };
    check(resources, at)?;
    match kind {
        Kind::Legacy => v1::lower(&mut out, resources)?,
        Kind::Unified => v2::lower(&mut out, resources)?,
    }
    Ok(out.writes)
}

/// The writes so far.
struct Lowering<'a> {
    at: &'a FieldPath,
    writes: Vec<Write>,
}

impl Lowering<'_> {
    /// The controller is what is before the first dot of the file's name.
    fn add(&mut self, file: &'static str, value: impl ToString, field: FieldPath) -> &mut Write {
        let controller = file.split('.').next().unwrap_or(file);
        self.push(Cow::Borrowed(controller), Cow::Borrowed(file), value.to_string(), field)
    }

    fn push(
        &mut self,
        controller: Cow<'static, str>,
        file: Cow<'static, str>,
        value: String,
        field: FieldPath,
    ) -> &mut Write {
        self.writes.push(Write { controller, file, value, field, policy: Policy::Must });
        let last = self.writes.len() - 1;
        &mut self.writes[last]
    }
}

fn out_of_range<T>(field: FieldPath, value: impl Into<i128>, range: &'static str) -> Result<T> {
    Err(ConfigError::new(field, Problem::OutOfRange { value: value.into(), range }))
}

fn unsupported<T>(field: FieldPath, why: &'static str) -> Result<T> {
    Err(ConfigError::new(field, Problem::Unsupported { why }))
}

fn conflict<T>(field: FieldPath, with: FieldPath, why: &'static str) -> Result<T> {
    Err(ConfigError::new(field, Problem::Conflict { with, why }))
}

fn malformed<T>(field: FieldPath, value: &str, expected: &'static str) -> Result<T> {
    Err(ConfigError::new(field, Problem::Malformed { value: value.to_owned(), expected }))
}

/// What is wrong on either kind of hierarchy.
fn check(r: &Resources, at: &FieldPath) -> Result<()> {
    if let Some(m) = &r.memory {
        check_memory(m, &at.field("memory"))?;
    }
    if let Some(c) = &r.cpu {
        check_cpu(c, &at.field("cpu"))?;
    }
    if let Some(limit) = r.pids.as_ref().and_then(|p| p.limit)
        && limit < -1
    {
        return out_of_range(at.field("pids").field("limit"), limit, "-1 or more");
    }
    check_block_io(r, &at.field("blockIO"))?;
    check_hugepages(r, &at.field("hugepageLimits"))?;
    check_rdma(r, &at.field("rdma"))?;
    if let Some(n) = &r.network {
        let at = at.field("network").field("priorities");
        for (i, p) in n.priorities.iter().enumerate() {
            check_word(&p.name, at.index(i).field("name"), "the name of a network interface")?;
        }
    }
    Ok(())
}

fn check_memory(m: &Memory, at: &FieldPath) -> Result<()> {
    let fields = [
        ("limit", m.limit),
        ("reservation", m.reservation),
        ("swap", m.swap),
        ("kernel", m.kernel),
        ("kernelTCP", m.kernel_tcp),
    ];
    for (name, value) in fields {
        if let Some(v) = value
            && v < -1
        {
            return out_of_range(at.field(name), v, "-1 or more");
        }
    }
    if let (Some(limit), Some(swap)) = (m.limit, m.swap)
        && swap > 0
        && limit > swap
    {
        return conflict(at.field("swap"), at.field("limit"), "must not be less than the memory limit");
    }
    match m.swappiness {
        Some(s) if s > 100 => out_of_range(at.field("swappiness"), s, "between 0 and 100"),
        _ => Ok(()),
    }
}

fn check_cpu(c: &Cpu, at: &FieldPath) -> Result<()> {
    if let Some(idle) = c.idle
        && !(0..=1).contains(&idle)
    {
        return out_of_range(at.field("idle"), idle, "0 or 1");
    }
    if let (Some(burst), Some(quota)) = (c.burst, c.quota)
        && quota > 0
        && i128::from(burst) > i128::from(quota)
    {
        return conflict(at.field("burst"), at.field("quota"), "must not be more than the quota");
    }
    for (name, list) in [("cpus", &c.cpus), ("mems", &c.mems)] {
        if let Some(list) = list
            && !list.bytes().all(|b| b.is_ascii_digit() || b"-,: ".contains(&b))
        {
            return malformed(at.field(name), list, "a list such as 0-3,7");
        }
    }
    Ok(())
}

fn check_block_io(r: &Resources, at: &FieldPath) -> Result<()> {
    let Some(b) = &r.block_io else { return Ok(()) };
    let weight = |field: FieldPath, value: Option<u16>| match value {
        Some(w) if w != 0 && !(10..=1000).contains(&w) => out_of_range(field, w, "between 10 and 1000"),
        _ => Ok(()),
    };
    weight(at.field("weight"), b.weight)?;
    weight(at.field("leafWeight"), b.leaf_weight)?;
    for (i, d) in b.weight_device.iter().enumerate() {
        let at = at.field("weightDevice").index(i);
        weight(at.field("weight"), d.weight)?;
        weight(at.field("leafWeight"), d.leaf_weight)?;
        check_device(&at, d.major, d.minor)?;
        if d.weight.is_none() && d.leaf_weight.is_none() {
            return Err(ConfigError::new(at.field("weight"), Problem::Missing { why: "without leafWeight" }));
        }
    }
    for (list, name, _, _) in throttles(b) {
        for (i, d) in list.iter().enumerate() {
            check_device(&at.field(name).index(i), d.major, d.minor)?;
        }
    }
    Ok(())
}

fn check_device(at: &FieldPath, major: i64, minor: i64) -> Result<()> {
    for (name, n) in [("major", major), ("minor", minor)] {
        if u32::try_from(n).is_err() {
            return out_of_range(at.field(name), n, "a device number");
        }
    }
    Ok(())
}

/// Page sizes are named by the kernel, `2MB` and never `2048KB` or `2M`; whether there is such a file shows later.
fn check_hugepages(r: &Resources, at: &FieldPath) -> Result<()> {
    for (i, h) in r.hugepage_limits.iter().enumerate() {
        let at = at.index(i).field("pageSize");
        let digits = ["KB", "MB", "GB"].iter().find_map(|unit| h.page_size.strip_suffix(unit));
        let size =
            digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
        if !size.is_some_and(u64::is_power_of_two) {
            return malformed(at, &h.page_size, "a page size such as 2MB");
        }
    }
    Ok(())
}

fn check_rdma(r: &Resources, at: &FieldPath) -> Result<()> {
    for (device, limits) in &r.rdma {
        let at = at.field(device);
        check_word(device, at.clone(), "the name of an RDMA device")?;
        if limits.hca_handles.is_none() && limits.hca_objects.is_none() {
            return Err(ConfigError::new(
                at.field("hcaHandles"),
                Problem::Missing { why: "without hcaObjects" },
            ));
        }
    }
    Ok(())
}

/// A name that becomes a part of a line must not be able to begin another one.
fn check_word(word: &str, field: FieldPath, expected: &'static str) -> Result<()> {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return malformed(field, word, expected);
    }
    Ok(())
}

type Throttle<'a> = (&'a [crate::config::ThrottleDevice], &'static str, &'static str, &'static str);

/// The four rate limits: devices, name of the member, file of version 1, key in `io.max`.
fn throttles(b: &crate::config::BlockIo) -> [Throttle<'_>; 4] {
    [
        (&b.throttle_read_bps_device, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
        (&b.throttle_write_bps_device, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
        (&b.throttle_read_iops_device, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
        (
            &b.throttle_write_iops_device,
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ]
}

/// pids.max has the same file and words in both versions.
fn pids(out: &mut Lowering<'_>, r: &Resources) {
    let Some(limit) = r.pids.as_ref().and_then(|p| p.limit) else { return };
    let value = match limit {
        -1 => "max".to_owned(),
        // A process cannot even be cloned into a cgroup with 0. 1 is its own first process and no other: the same
        // thing for the container.
        0 => "1".to_owned(),
        n => n.to_string(),
    };
    out.add("pids.max", value, out.at.field("pids").field("limit"));
}

/// rdma.max has the same file and words in both versions.
fn rdma(out: &mut Lowering<'_>, r: &Resources) {
    for (device, limits) in &r.rdma {
        let mut value = device.clone();
        for (key, n) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
            if let Some(n) = n {
                value.push_str(&format!(" {key}={n}"));
            }
        }
        out.add("rdma.max", value, out.at.field("rdma").field(device));
    }
}

/// Huge pages differ in the last part of the names. Reservations are limited as well where the kernel counts them
/// (Linux 5.7), or else a container could reserve what it may not fault in.
fn hugepages(out: &mut Lowering<'_>, r: &Resources, suffix: &str) {
    for (i, h) in r.hugepage_limits.iter().enumerate() {
        let field = out.at.field("hugepageLimits").index(i).field("limit");
        for (infix, policy) in [("", Policy::Must), ("rsvd.", Policy::IfPresent)] {
            let file = format!("hugetlb.{}.{infix}{suffix}", h.page_size);
            out.push("hugetlb".into(), file.into(), h.limit.to_string(), field.clone()).policy = policy;
        }
    }
}
