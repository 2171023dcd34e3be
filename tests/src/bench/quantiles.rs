//! Quantiles of round trips, some of which never came back.

use serde::Serialize;

/// Nearest-rank quantiles in microseconds. A lost round trip counts as longer than any measured
/// one, so a quantile among the lost ones has no value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    pub sent: usize,
    pub lost: usize,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    /// Of those that came back.
    pub max: Option<f64>,
}

impl Quantiles {
    /// Of `nanos`, each a round trip, out of `sent`.
    pub(super) fn new(mut nanos: Vec<u64>, sent: usize) -> Self {
        nanos.sort_unstable();
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |share: f64| {
            let rank = (share * sent as f64).ceil() as usize;
            nanos.get(rank.saturating_sub(1)).copied().map(micros)
        };
        Self {
            sent,
            lost: sent.saturating_sub(nanos.len()),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: nanos.last().copied().map(micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let thousand = Quantiles::new((1..=1_000).rev().map(|n| n * 1_000).collect(), 1_000);
        let expected = Quantiles {
            sent: 1_000,
            lost: 0,
            p50: Some(500.0),
            p99: Some(990.0),
            p999: Some(999.0),
            max: Some(1_000.0),
        };
        assert_eq!(thousand, expected);
    }

    #[test]
    fn lost_answer_is_longer_than_any_other() {
        let half = Quantiles::new(vec![2_000, 1_000], 4);
        assert_eq!((half.lost, half.p50, half.p99), (2, Some(2.0), None));
        assert_eq!(half.max, Some(2.0));
        let none = Quantiles::new(Vec::new(), 0);
        assert_eq!((none.lost, none.p50, none.max), (0, None, None));
    }
}
