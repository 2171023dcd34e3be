//! The state of a check by its results: the number of equal results in a row that change it.
//!
//! This module has no clock and no knowledge of the checked thing.

/// The state of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No verdict yet.
    #[default]
    Unknown,
    Well,
    Failing,
}

impl State {
    /// The state's name in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Well => "well",
            Self::Failing => "failing",
        }
    }
}

/// A check's state, and the results against it.
///
/// A first success is enough for the state `Well`, since no earlier failure has to be made up for.
/// A first failure is not enough for `Failing` unless `fall` is 1: until then the check stays
/// unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hysteresis {
    state: State,
    /// Number of results against the state, counted from the last result back.
    against: u32,
}

impl Hysteresis {
    pub const fn state(self) -> State {
        self.state
    }

    /// Adds a result. Returns `true` if it changed the state. `rise` and `fall` below 1 count as 1.
    pub fn sample(&mut self, good: bool, rise: u32, fall: u32) -> bool {
        let (to, needed) = match (self.state, good) {
            (State::Well, true) | (State::Failing, false) => {
                self.against = 0;
                return false;
            }
            (State::Unknown, true) => (State::Well, 1),
            (State::Failing, true) => (State::Well, rise),
            (State::Unknown | State::Well, false) => (State::Failing, fall),
        };
        self.against += 1;
        if self.against < needed {
            return false;
        }
        *self = Self {
            state: to,
            against: 0,
        };
        true
    }

    /// Fails the check at once. Returns `true` if it was not failing before.
    pub fn fail(&mut self) -> bool {
        let before = self.state;
        *self = Self {
            state: State::Failing,
            against: 0,
        };
        before != State::Failing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computes the state from a whole history, by the manual's definition.
    fn by_the_book(results: &[bool], rise: usize, fall: usize) -> State {
        let mut state = State::Unknown;
        for end in 1..=results.len() {
            let row = |good: bool| {
                let results = results[..end].iter().rev();
                results.take_while(|result| **result == good).count()
            };
            state = match state {
                State::Unknown if row(true) > 0 => State::Well,
                State::Unknown | State::Well if row(false) >= fall => State::Failing,
                State::Failing if row(true) >= rise => State::Well,
                same => same,
            };
        }
        state
    }

    proptest! {
        #[test]
        fn state_follows_from_the_latest_equal_results(
            results in proptest::collection::vec(any::<bool>(), 0..60),
            rise in 1u32..5,
            fall in 1u32..5,
        ) {
            let mut hysteresis = Hysteresis::default();
            for (index, good) in results.iter().enumerate() {
                let before = hysteresis.state();
                let changed = hysteresis.sample(*good, rise, fall);
                prop_assert_eq!(changed, before != hysteresis.state());
                let expected = by_the_book(&results[..=index], rise as usize, fall as usize);
                prop_assert_eq!(hysteresis.state(), expected);
            }
        }

        #[test]
        fn recovery_after_a_process_end_needs_the_full_rise(
            results in proptest::collection::vec(any::<bool>(), 0..20),
            rise in 1u32..5,
            fall in 1u32..5,
        ) {
            let mut hysteresis = Hysteresis::default();
            for good in results {
                hysteresis.sample(good, rise, fall);
            }
            hysteresis.fail();
            prop_assert!(!hysteresis.fail(), "it failed already");
            for _ in 1..rise {
                prop_assert!(!hysteresis.sample(true, rise, fall));
            }
            prop_assert!(hysteresis.sample(true, rise, fall) && hysteresis.state() == State::Well);
        }
    }

    #[test]
    fn first_success_decides_and_first_failure_only_with_fall_one() {
        let mut hysteresis = Hysteresis::default();
        assert!(hysteresis.sample(true, 9, 9) && hysteresis.state() == State::Well);
        let mut hysteresis = Hysteresis::default();
        assert!(!hysteresis.sample(false, 1, 2) && hysteresis.state() == State::Unknown);
        assert!(hysteresis.sample(true, 9, 2) && hysteresis.state() == State::Well);
        let mut hysteresis = Hysteresis::default();
        assert!(hysteresis.sample(false, 0, 0) && hysteresis.state() == State::Failing);
    }
}
