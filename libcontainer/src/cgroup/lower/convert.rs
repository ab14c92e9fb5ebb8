//! Numbers of version 1, in which `config.json` is written, as numbers of version 2.

/// `cpu.weight` for `cpu.shares`.
///
/// A quadratic in log2 that maps 2, 1024 and 262144 to 1, 100 and 10000 (crun 1.23, runc 1.3.2). The older straight
/// line gave the default of 1024 a weight of 39, less than half of what a process outside a container has.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

/// `io.weight` (1..=10000) for `blkio.weight` (10..=1000).
pub(super) fn block_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// A limit where -1 is the word of version 2.
pub(super) fn or_max(limit: i64) -> String {
    if limit == -1 { "max".to_owned() } else { limit.to_string() }
}
