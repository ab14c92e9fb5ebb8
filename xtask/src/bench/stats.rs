//! Order statistics: a machine's hiccups make means useless.

use serde::Serialize;

/// What is told of a set of figures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// The least.
    pub min: f64,
    /// A quarter of the figures is below.
    pub p25: f64,
    /// Half of the figures is below.
    pub median: f64,
    /// Three quarters of the figures are below.
    pub p75: f64,
}

impl Summary {
    /// Of no figures there is no summary.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            p25: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            p75: quantile(&sorted, 0.75),
        })
    }
}

/// Interpolates linearly between the two nearest figures.
fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * fraction;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_of_nothing_is_none() {
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn quantiles_interpolate_and_do_not_depend_on_order() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).expect("four figures");
        assert_eq!((summary.min, summary.p25, summary.median, summary.p75), (1.0, 1.75, 2.5, 3.25));
    }
}
