//! What is not a matter of time, or not of the same commands again and again.

use std::fs;

use serde_json::json;

use super::lane::{Lane, container_id};
use super::places::{Places, prepare};
use super::scenario::Scenario;
use super::subject::Subject;
use crate::cgroup_view::CgroupView;
use crate::error::{Doing, Result};
use crate::sys;

const MEMORY_RUNS: usize = 5;
/// A limit holds if that many runs in a row succeed.
const LIMIT_RUNS: usize = 3;
const PAGE: u64 = 4;
/// Where the search for the smallest limit begins, in KiB.
const ENOUGH: u64 = 64 << 10;

/// Peak memory of `run`, by way of a starter smaller than any subject: the kernel counts the starter's own.
pub fn memory(subject: &Subject, places: &Places) -> Result<Lane> {
    let mut lane = Lane::empty(Scenario::Memory, subject);
    let bundle = places.bundle_tiny()?;
    let run = places.line(subject, &["run", "--bundle", &bundle, &container_id(subject)]);
    let command = prepare([vec![places.meter.clone().into(), "rss".into()], run].concat())?;
    for _ in 0..MEMORY_RUNS {
        if let Err(reason) = places.complete(&command)? {
            lane.failure = Some(reason);
            break;
        }
        lane.samples.push(places.output()?.trim().parse().unwrap_or_default());
    }
    Ok(lane)
}

/// Halves the distance between a limit that does and one that does not, down to a page.
pub fn smallest_limit(subject: &Subject, places: &Places) -> Result<Lane> {
    let mut lane = Lane::empty(Scenario::Limit, subject);
    let has_controller = match CgroupView::current() {
        CgroupView::V2 => fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|text| text.split_whitespace().any(|name| name == "memory")),
        CgroupView::V1 | CgroupView::Hybrid => {
            fs::exists("/sys/fs/cgroup/memory/memory.limit_in_bytes").unwrap_or(false)
        }
    };
    if !has_controller {
        lane.failure = Some("this hierarchy has no memory controller".to_owned());
        return Ok(lane);
    }
    let (mut too_small, mut enough) = (0, ENOUGH);
    if let Err(reason) = runs_within(enough, subject, places)? {
        lane.failure = Some(reason);
        return Ok(lane);
    }
    while enough - too_small > PAGE {
        let middle = (too_small + enough) / 2 / PAGE * PAGE;
        match runs_within(middle, subject, places)? {
            Ok(()) => enough = middle,
            Err(_) => too_small = middle,
        }
    }
    lane.samples.push(enough as f64);
    Ok(lane)
}

fn runs_within(limit: u64, subject: &Subject, places: &Places) -> Result<std::result::Result<(), String>> {
    let bundle = places.bundle(&format!("limit-{limit}"), "busybox", &["true"], |config| {
        config["linux"]["resources"]["memory"] = json!({"limit": limit << 10});
    })?;
    let id = container_id(subject);
    let run = prepare(places.line(subject, &["run", "--bundle", &bundle, &id]))?;
    for _ in 0..LIMIT_RUNS {
        if let Err(reason) = places.complete(&run)? {
            // Whether something is left depends on where it failed.
            let _ = places.complete(&prepare(places.line(subject, &["delete", "--force", &id]))?)?;
            sys::reap_ended();
            return Ok(Err(reason));
        }
    }
    Ok(Ok(()))
}

/// The cycle alone, and again beside `count` other containers.
pub fn beside_others(subject: &Subject, places: &Places, count: usize, runs: usize) -> Result<Lane> {
    let mut lane = Lane::empty(Scenario::Alive, subject);
    let Some(mut cycle) = Lane::new(Scenario::Cycle, subject, &[], places)? else { return Ok(lane) };
    for _ in 0..runs {
        lane.alone.extend(cycle.sample(places)?);
    }
    let bundle = places.bundle_sleep()?;
    let id = |i: usize| format!("{}-beside-{i}", container_id(subject));
    let mut made = 0;
    while made < count && cycle.failure.is_none() {
        let id = id(made);
        made += 1;
        for words in [&["create", "--bundle", &bundle, &id][..], &["start", &id]] {
            if let Err(reason) = places.complete(&prepare(places.line(subject, words))?)? {
                cycle.failure = Some(format!("container {made}: {reason}"));
                break;
            }
        }
    }
    for _ in 0..runs {
        lane.samples.extend(cycle.sample(places)?);
    }
    for i in 0..made {
        // The failure that matters was noted above.
        let _ = places.complete(&prepare(places.line(subject, &["delete", "--force", &id(i)]))?)?;
    }
    sys::reap_ended();
    lane.failure = cycle.failure;
    Ok(lane)
}

/// Bytes of the program's file.
pub fn size(subject: &Subject) -> Result<Lane> {
    let mut lane = Lane::empty(Scenario::Size, subject);
    let file = fs::metadata(&subject.path).doing(|| format!("look at {}", subject.path.display()))?;
    lane.samples.push(file.len() as f64 / 1024.0);
    Ok(lane)
}
