//! What holds for every conversion, whatever the numbers.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{BlockIo, ThrottleDevice, WeightDevice};

fn of(value: Value, kind: Kind) -> Vec<Write> {
    let resources: Resources = serde_json::from_value(value.clone()).unwrap();
    let lowered = lower(&resources, kind, &FieldPath::new("linux.resources"));
    lowered.unwrap_or_else(|e| panic!("{value}: {e}"))
}

fn value<'a>(writes: &'a [Write], file: &str) -> Option<&'a str> {
    writes.iter().find(|w| w.file == file).map(|w| w.value.as_str())
}

fn number(writes: &[Write], file: &str) -> Option<i128> {
    value(writes, file)?.parse().ok()
}

/// Members with any numbers, sound or not.
fn any_resources() -> impl Strategy<Value = Resources> {
    let memory = prop::option::of(
        (any::<Option<i64>>(), any::<Option<i64>>(), any::<Option<i64>>())
            .prop_map(|(limit, reservation, swap)| Memory { limit, reservation, swap, ..Memory::default() }),
    );
    let cpu = prop::option::of(
        (any::<Option<u64>>(), any::<Option<i64>>(), any::<Option<u64>>(), any::<Option<u64>>(), ".{0,6}")
            .prop_map(|(shares, quota, period, burst, cpus)| Cpu {
                shares,
                quota,
                period,
                burst,
                cpus: Some(cpus),
                ..Cpu::default()
            }),
    );
    let throttle = (any::<i64>(), 0i64..9, any::<u64>()).prop_map(|(major, minor, rate)| ThrottleDevice {
        major,
        minor,
        rate,
    });
    let weight = (0i64..99, any::<i64>(), any::<Option<u16>>())
        .prop_map(|(major, minor, weight)| WeightDevice { major, minor, weight, leaf_weight: None });
    let io =
        prop::option::of((any::<Option<u16>>(), prop::collection::vec(throttle, 0..3), weight).prop_map(
            |(w, throttle_read_bps_device, device)| BlockIo {
                weight: w,
                throttle_read_bps_device,
                weight_device: vec![device],
                ..BlockIo::default()
            },
        ));
    let unified = prop::collection::btree_map("[a-z./\n]{0,12}", ".{0,8}\n?.{0,3}", 0..3);
    (memory, cpu, io, unified).prop_map(|(memory, cpu, block_io, unified)| Resources {
        memory,
        cpu,
        block_io,
        unified,
        ..Resources::default()
    })
}

proptest! {
    /// Whatever is accepted becomes one line for one file of the cgroup's own directory, and says where it is from.
    #[test]
    fn writes_are_lines_for_files(resources in any_resources(), unified: bool) {
        let kind = if unified { Kind::Unified } else { Kind::Legacy };
        for w in lower(&resources, kind, &FieldPath::new("linux.resources")).unwrap_or_default() {
            prop_assert!(!w.file.contains(['/', '\n', '\0']) && w.file.contains('.'), "{w:?}");
            prop_assert!(!w.value.contains('\n') && !w.value.is_empty(), "{w:?}");
            prop_assert_eq!(w.file.split('.').next(), Some(&*w.controller));
            prop_assert!(w.field.as_str().starts_with("linux.resources."), "{w:?}");
        }
    }

    /// The same numbers on version 1, and together the same on version 2.
    #[test]
    fn memory_and_swap_add_up(limit in 1..i64::MAX / 2, more in 0..i64::MAX / 2) {
        let config = json!({"memory": {"limit": limit, "swap": limit + more}});
        let v1 = of(config.clone(), Kind::Legacy);
        prop_assert_eq!(number(&v1, "memory.limit_in_bytes"), Some(limit.into()));
        prop_assert_eq!(number(&v1, "memory.memsw.limit_in_bytes"), Some((limit + more).into()));
        let v2 = of(config, Kind::Unified);
        prop_assert_eq!(number(&v2, "memory.max"), Some(limit.into()));
        prop_assert_eq!(number(&v2, "memory.swap.max"), Some(more.into()));
    }

    #[test]
    fn less_swap_than_memory_is_refused(limit in 2..i64::MAX, part in 1..1000i64) {
        let swap = (limit / 1000 * part).clamp(1, limit - 1);
        let resources = json!({"memory": {"limit": limit, "swap": swap}});
        let resources: Resources = serde_json::from_value(resources).unwrap();
        for kind in [Kind::Legacy, Kind::Unified] {
            let error = lower(&resources, kind, &FieldPath::new("linux.resources")).unwrap_err();
            prop_assert_eq!(error.path.as_str(), "linux.resources.memory.swap");
        }
    }

    #[test]
    fn bandwidth_keeps_its_numbers(quota in 1..i64::MAX, period in 1000..1_000_000u64) {
        let config = json!({"cpu": {"quota": quota, "period": period}});
        let v1 = of(config.clone(), Kind::Legacy);
        prop_assert_eq!(number(&v1, "cpu.cfs_quota_us"), Some(quota.into()));
        prop_assert_eq!(number(&v1, "cpu.cfs_period_us"), Some(period.into()));
        let v2 = of(config, Kind::Unified);
        let expected = format!("{quota} {period}");
        prop_assert_eq!(value(&v2, "cpu.max"), Some(expected.as_str()));
    }

    /// A greater share is never a smaller weight, and the weight is one that the kernel takes.
    #[test]
    fn weights_keep_the_order(a in 1..=262_144u64, b in 1..=262_144u64) {
        let weight = |shares: u64| {
            number(&of(json!({"cpu": {"shares": shares}}), Kind::Unified), "cpu.weight").unwrap()
        };
        let (less, more) = (weight(a.min(b)), weight(a.max(b)));
        prop_assert!(1 <= less && less <= more && more <= 10_000, "{a} {b}: {less} {more}");
    }

    #[test]
    fn block_weights_keep_the_order(a in 10..=1000u16, b in 10..=1000u16) {
        let weight = |w: u16| {
            let writes = of(json!({"blockIO": {"weight": w}}), Kind::Unified);
            assert_eq!(number(&writes, "io.bfq.weight"), Some(w.into()));
            let Policy::OrElse(other) = &writes[0].policy else { panic!("io.weight is the other file") };
            other.value.parse::<u64>().unwrap()
        };
        let (less, more) = (weight(a.min(b)), weight(a.max(b)));
        prop_assert!(1 <= less && less <= more && more <= 10_000, "{a} {b}: {less} {more}");
    }

    #[test]
    fn limits_of_tasks(limit in -1..i64::MAX) {
        let expected = match limit {
            -1 => "max".to_owned(),
            n => n.max(1).to_string(),
        };
        for kind in [Kind::Legacy, Kind::Unified] {
            let writes = of(json!({"pids": {"limit": limit}}), kind);
            prop_assert_eq!(value(&writes, "pids.max"), Some(expected.as_str()));
        }
    }
}
