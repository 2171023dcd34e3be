//! An exponentially weighted moving average over the time that really went by, so that a look that
//! came late counts for as long as it stood for.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Smooth {
    /// After so long, half of what differs is gone; zero is at once.
    half_life: Duration,
    /// Per mille; absent before the first.
    value: Option<f64>,
}

impl Smooth {
    pub(super) const fn new(half_life: Duration) -> Self {
        Self {
            half_life,
            value: None,
        }
    }

    /// The average after `raw`, which was seen `elapsed` after the one before. Both are per mille, 0 to
    /// 1,000. The first is taken as it is.
    pub(super) fn next(&mut self, raw: u16, elapsed: Duration) -> u16 {
        let raw = f64::from(raw.min(1_000));
        let value = match self.value {
            Some(value) if !self.half_life.is_zero() => {
                let half_lives = elapsed.as_secs_f64() / self.half_life.as_secs_f64();
                raw + (value - raw) * (-half_lives).exp2()
            }
            _ => raw,
        };
        self.value = Some(value);
        // Between two numbers of the scale, so on it.
        value.round() as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_change_counts_by_half_after_the_half_life() {
        let mut smooth = Smooth::new(5 * SECOND);
        assert_eq!(smooth.next(200, Duration::ZERO), 200);
        assert_eq!(smooth.next(1_000, 5 * SECOND), 600);
        assert_eq!(smooth.next(1_000, 5 * SECOND), 800);
        assert_eq!(smooth.next(0, 10 * SECOND), 200);
        // Nothing has changed while no time went by.
        assert_eq!(smooth.next(1_000, Duration::ZERO), 200);
    }

    #[test]
    fn without_a_half_life_it_is_what_was_seen() {
        let mut smooth = Smooth::new(Duration::ZERO);
        for raw in [7, 1_000, 0] {
            assert_eq!(smooth.next(raw, SECOND), raw);
        }
    }

    fn looks() -> impl Strategy<Value = Vec<(u16, u64)>> {
        prop::collection::vec((0_u16..=1_000, 0_u64..100_000), 1..50)
    }

    /// What comes of `looks`, in milliseconds.
    fn all(half_life: u64, looks: &[(u16, u64)]) -> Vec<u16> {
        let mut smooth = Smooth::new(Duration::from_millis(half_life));
        let next = |(raw, millis): &(u16, u64)| smooth.next(*raw, Duration::from_millis(*millis));
        looks.iter().map(next).collect()
    }

    proptest! {
        #[test]
        fn it_stays_among_what_was_seen(half_life in 0_u64..600_000, looks in looks()) {
            let raw: Vec<u16> = looks.iter().map(|(raw, _)| *raw).collect();
            let (low, high) = (*raw.iter().min().unwrap(), *raw.iter().max().unwrap());
            for value in all(half_life, &looks) {
                prop_assert!((low..=high).contains(&value) && value <= 1_000);
            }
        }

        #[test]
        fn it_comes_to_what_stays(half_life in 0_u64..60_000, mut looks in looks(), raw in 0_u16..=1_000) {
            // Twelve half-lives leave a quarter of a per mille of the widest difference.
            looks.extend([(raw, half_life); 12]);
            prop_assert_eq!(all(half_life, &looks).pop(), Some(raw));
        }

        #[test]
        fn more_seen_is_never_less_load(half_life in 0_u64..60_000, looks in looks(), at in any::<prop::sample::Index>(), more in 0_u16..1_000) {
            let mut higher = looks.clone();
            let raw = &mut higher[at.index(looks.len())].0;
            *raw = (*raw + more).min(1_000);
            for (less, more) in all(half_life, &looks).into_iter().zip(all(half_life, &higher)) {
                prop_assert!(less <= more);
            }
        }

        #[test]
        fn how_often_is_looked_does_not_matter(half_life in 1_u64..60_000, raw in 0_u16..=1_000, millis in 1_u64..10_000) {
            let once = all(half_life, &[(0, 0), (raw, 4 * millis)]);
            let often = all(half_life, &[(0, 0), (raw, millis), (raw, millis), (raw, millis), (raw, millis)]);
            prop_assert!(once.last().unwrap().abs_diff(*often.last().unwrap()) <= 1);
        }
    }
}
