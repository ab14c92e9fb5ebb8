//! `linux.resources` (config-linux.md#control-groups), for `create` and `update` alike.
//!
//! Only what is wrong on every machine. How a value becomes that of a v1 or v2 file, and what has no such file, is known
//! where it is converted.

use super::at::At;
use super::{Check, devices, text};
use crate::config::{BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Network, Resources, ThrottleDevice};
use crate::error::Problem;

/// Every limit is one that some kernel could enforce.
pub(super) fn resources(resources: &Resources, at: At<'_>) -> Check {
    let rules = at.field("devices");
    resources.devices.iter().enumerate().try_for_each(|(i, r)| device_rule(r, rules.index(i)))?;
    resources.memory.as_ref().map_or(Ok(()), |m| memory(m, at.field("memory")))?;
    resources.cpu.as_ref().map_or(Ok(()), |c| cpu(c, at.field("cpu")))?;
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        limit_or_minus_one(Some(limit), at.field("pids").field("limit"))?;
    }
    resources.block_io.as_ref().map_or(Ok(()), |b| block_io(b, at.field("blockIO")))?;
    hugepages(&resources.hugepage_limits, at.field("hugepageLimits"))?;
    resources.network.as_ref().map_or(Ok(()), |n| network(n, at.field("network")))?;
    for (device, limits) in &resources.rdma {
        let rdma = at.field("rdma");
        file_name(device, rdma.field(device))?;
        if limits.hca_handles.is_none() && limits.hca_objects.is_none() {
            let why = "unless hcaObjects is given";
            return Err(rdma.field(device).field("hcaHandles").err(Problem::Missing { why }));
        }
    }
    let unified = at.field("unified");
    resources.unified.keys().try_for_each(|file| file_name(file, unified.field(file)))
}

/// The limit of kernel memory is no more: Linux 5.16 ignores it, version 2 never had it, and the specification advises
/// against it. Engines may still send it.
pub(super) fn warnings(resources: Option<&Resources>, warnings: &mut Vec<String>) {
    let memory = resources.and_then(|r| r.memory.as_ref());
    if let Some(limit @ 1..) = memory.and_then(|m| m.kernel) {
        warnings.push(format!("linux.resources.memory.kernel: ignoring {limit}, use memory.limit"));
    }
}

/// The name of a file of the container's own cgroup, and of no other: `../cgroup.procs` would be the parent's.
fn file_name(name: &str, at: At<'_>) -> Check {
    let sound = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0', '\n']);
    if sound {
        Ok(())
    } else {
        Err(at.err(Problem::Malformed { value: name.to_owned(), expected: "a file name" }))
    }
}

fn device_rule(rule: &DeviceRule, at: At<'_>) -> Check {
    if let Some(kind) = rule.kind.as_deref() {
        text::one_of(kind, &["a", "b", "c", ""], "a, b or c", at.field("type"))?;
    }
    // Any negative number is a wildcard.
    devices::numbers(rule.major.unwrap_or(0).max(0), rule.minor.unwrap_or(0).max(0), at)?;
    match rule.access.as_deref() {
        Some("") => Err(at.field("access").err(Problem::Empty)),
        Some(access) if access.bytes().any(|b| !b"rwm".contains(&b)) => {
            let value = access.to_owned();
            Err(at.field("access").err(Problem::Malformed { value, expected: "a combination of r, w and m" }))
        }
        _ => Ok(()),
    }
}

fn limit_or_minus_one(limit: Option<i64>, at: At<'_>) -> Check {
    text::in_range(limit.unwrap_or(0), -1..=i64::MAX.into(), "-1 for unlimited, or not negative", at)
}

fn memory(memory: &Memory, at: At<'_>) -> Check {
    limit_or_minus_one(memory.limit, at.field("limit"))?;
    limit_or_minus_one(memory.reservation, at.field("reservation"))?;
    limit_or_minus_one(memory.swap, at.field("swap"))?;
    limit_or_minus_one(memory.kernel, at.field("kernel"))?;
    limit_or_minus_one(memory.kernel_tcp, at.field("kernelTCP"))?;
    if let Some(swappiness) = memory.swappiness {
        text::in_range(swappiness, 0..=100, "between 0 and 100", at.field("swappiness"))?;
    }
    match (memory.limit, memory.swap) {
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            let why = "swap counts memory and swap together, and cannot be less than the limit";
            Err(at.field("swap").err(Problem::Conflict { with: at.field("limit").to_path(), why }))
        }
        _ => Ok(()),
    }
}

fn cpu(cpu: &Cpu, at: At<'_>) -> Check {
    if let Some(period @ 1..) = cpu.period {
        text::in_range(
            period,
            1_000..=1_000_000,
            "between 1000 and 1000000 microseconds",
            at.field("period"),
        )?;
    }
    if let (Some(burst), Some(quota @ 1..)) = (cpu.burst, cpu.quota)
        && i128::from(burst) > i128::from(quota)
    {
        let with = at.field("quota").to_path();
        return Err(at.field("burst").err(Problem::Conflict { with, why: "the burst is above the quota" }));
    }
    if let (Some(runtime), Some(period @ 1..)) = (cpu.realtime_runtime, cpu.realtime_period)
        && i128::from(runtime) > i128::from(period)
    {
        let with = at.field("realtimePeriod").to_path();
        let why = "the real-time share is above its period";
        return Err(at.field("realtimeRuntime").err(Problem::Conflict { with, why }));
    }
    if let Some(idle) = cpu.idle {
        text::in_range(idle, 0..=1, "0 or 1", at.field("idle"))?;
    }
    let list = |list: &Option<String>, expected, at| {
        list.as_deref().map_or(Ok(()), |list| text::number_list(list, expected, at))
    };
    list(&cpu.cpus, text::CPU_LIST, at.field("cpus"))?;
    list(&cpu.mems, text::NODE_LIST, at.field("mems"))
}

/// A weight as the specification bounds it; Go's zero value is "absent".
fn weight(weight: Option<u16>, at: At<'_>) -> Check {
    match weight {
        Some(weight @ 1..) => text::in_range(weight, 10..=1000, "between 10 and 1000", at),
        _ => Ok(()),
    }
}

fn block_io(io: &BlockIo, at: At<'_>) -> Check {
    weight(io.weight, at.field("weight"))?;
    weight(io.leaf_weight, at.field("leafWeight"))?;
    let weights = at.field("weightDevice");
    for (i, device) in io.weight_device.iter().enumerate() {
        let at = weights.index(i);
        devices::numbers(device.major, device.minor, at)?;
        if device.weight.is_none() && device.leaf_weight.is_none() {
            return Err(at.field("weight").err(Problem::Missing { why: "unless leafWeight is given" }));
        }
        weight(device.weight, at.field("weight"))?;
        weight(device.leaf_weight, at.field("leafWeight"))?;
    }
    let throttle = |list: &[ThrottleDevice], at: At<'_>| -> Check {
        list.iter()
            .enumerate()
            .try_for_each(|(i, device)| devices::numbers(device.major, device.minor, at.index(i)))
    };
    throttle(&io.throttle_read_bps_device, at.field("throttleReadBpsDevice"))?;
    throttle(&io.throttle_write_bps_device, at.field("throttleWriteBpsDevice"))?;
    throttle(&io.throttle_read_iops_device, at.field("throttleReadIOPSDevice"))?;
    throttle(&io.throttle_write_iops_device, at.field("throttleWriteIOPSDevice"))
}

/// `64KB`, `2MB`, `1GB`: a power of two with the unit that the kernel's file names have.
fn hugepages(limits: &[HugepageLimit], at: At<'_>) -> Check {
    for (i, limit) in limits.iter().enumerate() {
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| limit.page_size.strip_suffix(unit));
        let digits = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if !digits.and_then(|n| n.parse::<u64>().ok()).is_some_and(u64::is_power_of_two) {
            let value = limit.page_size.clone();
            let expected = "a size of huge pages such as 64KB, 2MB or 1GB";
            return Err(at.index(i).field("pageSize").err(Problem::Malformed { value, expected }));
        }
        if limits[..i].iter().any(|other| other.page_size == limit.page_size) {
            let value = limit.page_size.clone();
            return Err(at.index(i).field("pageSize").err(Problem::Duplicate { value }));
        }
    }
    Ok(())
}

fn network(network: &Network, at: At<'_>) -> Check {
    let priorities = at.field("priorities");
    let mut entries = network.priorities.iter().enumerate();
    entries
        .try_for_each(|(i, entry)| super::net_devices::name(&entry.name, priorities.index(i).field("name")))
}
