//! Quantiles of a sample, by nearest rank.

/// Returns the smallest value that at least `per_mille` of the sample do not exceed. `sorted` must
/// be in ascending order; the result is `None` if it is empty.
pub(super) fn quantile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_the_nearest_rank() {
        let sorted: Vec<u64> = (1..=10).collect();
        assert_eq!(quantile(&sorted, 500), Some(5));
        assert_eq!(quantile(&sorted, 990), Some(10));
        assert_eq!(quantile(&sorted, 0), Some(1));
        assert_eq!(quantile(&[7], 999), Some(7));
        assert_eq!(quantile(&[], 500), None);
    }
}
