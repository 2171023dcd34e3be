//! An exponentially weighted moving average over the real time, so that a late sample counts for
//! the time that it covers.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Smooth {
    /// Time in which a difference decays to its half; zero means at once.
    half_life: Duration,
    /// The average per mille; `None` before the first sample.
    value: Option<f64>,
}

impl Smooth {
    pub(super) const fn new(half_life: Duration) -> Self {
        Self {
            half_life,
            value: None,
        }
    }

    /// Returns the average after `raw`, which was sampled `elapsed` after the one before. Both are
    /// per mille, 0 to 1,000. The first sample is the first average.
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
        // The average lies between two numbers of the scale.
        value.round() as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn change_counts_by_half_after_the_half_life() {
        let mut smooth = Smooth::new(5 * SECOND);
        assert_eq!(smooth.next(200, Duration::ZERO), 200);
        assert_eq!(smooth.next(1_000, 5 * SECOND), 600);
        assert_eq!(smooth.next(1_000, 5 * SECOND), 800);
        assert_eq!(smooth.next(0, 10 * SECOND), 200);
        // A sample after no time changes nothing.
        assert_eq!(smooth.next(1_000, Duration::ZERO), 200);
    }

    #[test]
    fn zero_half_life_gives_the_latest_input() {
        let mut smooth = Smooth::new(Duration::ZERO);
        for raw in [7, 1_000, 0] {
            assert_eq!(smooth.next(raw, SECOND), raw);
        }
    }

    fn inputs() -> impl Strategy<Value = Vec<(u16, u64)>> {
        prop::collection::vec((0_u16..=1_000, 0_u64..100_000), 1..50)
    }

    /// Returns the averages after `inputs`, whose times are in milliseconds.
    fn all(half_life: u64, inputs: &[(u16, u64)]) -> Vec<u16> {
        let mut smooth = Smooth::new(Duration::from_millis(half_life));
        let next = |(raw, millis): &(u16, u64)| smooth.next(*raw, Duration::from_millis(*millis));
        inputs.iter().map(next).collect()
    }

    proptest! {
        #[test]
        fn average_stays_within_the_range_of_its_inputs(
            half_life in 0_u64..600_000,
            inputs in inputs(),
        ) {
            let raw: Vec<u16> = inputs.iter().map(|(raw, _)| *raw).collect();
            let (low, high) = (*raw.iter().min().unwrap(), *raw.iter().max().unwrap());
            for value in all(half_life, &inputs) {
                prop_assert!((low..=high).contains(&value) && value <= 1_000);
            }
        }

        #[test]
        fn average_approaches_a_constant_input(
            half_life in 0_u64..60_000,
            mut inputs in inputs(),
            raw in 0_u16..=1_000,
        ) {
            // After twelve half-lives a quarter of a per mille of the widest difference remains.
            inputs.extend([(raw, half_life); 12]);
            prop_assert_eq!(all(half_life, &inputs).pop(), Some(raw));
        }

        #[test]
        fn average_grows_with_an_input(
            half_life in 0_u64..60_000,
            inputs in inputs(),
            at in any::<prop::sample::Index>(),
            more in 0_u16..1_000,
        ) {
            let mut higher = inputs.clone();
            let raw = &mut higher[at.index(inputs.len())].0;
            *raw = (*raw + more).min(1_000);
            for (less, more) in all(half_life, &inputs).into_iter().zip(all(half_life, &higher)) {
                prop_assert!(less <= more);
            }
        }

        #[test]
        fn average_does_not_depend_on_the_sampling_rate(
            half_life in 1_u64..60_000,
            raw in 0_u16..=1_000,
            millis in 1_u64..10_000,
        ) {
            let once = all(half_life, &[(0, 0), (raw, 4 * millis)]);
            let step = (raw, millis);
            let often = all(half_life, &[(0, 0), step, step, step, step]);
            prop_assert!(once.last().unwrap().abs_diff(*often.last().unwrap()) <= 1);
        }
    }
}
