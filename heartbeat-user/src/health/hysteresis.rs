//! How a check stands after the looks that were had: how often in a row good or bad it takes for a change.
//!
//! Knows no clock, and not what is looked at.

/// What is held true of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No verdict yet.
    #[default]
    Unknown,
    Well,
    Failing,
}

impl State {
    /// As the status shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Well => "well",
            Self::Failing => "failing",
        }
    }
}

/// A check's state, and what speaks against it.
///
/// The first good look is a verdict: nothing is known that would have to be made up for. The first bad one is
/// not unless `fall` is 1: until then the check stays unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hysteresis {
    state: State,
    /// Looks in a row, the last ones, that speak against the state.
    against: u32,
}

impl Hysteresis {
    pub const fn state(self) -> State {
        self.state
    }

    /// Counts a look. `true` if the state has changed with it. `rise` and `fall` below 1 count as 1.
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

    /// Fails without further ado. `true` if it did not before.
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

    /// The state that a whole history leads to, in the words of the manual.
    fn by_the_book(looks: &[bool], rise: usize, fall: usize) -> State {
        let mut state = State::Unknown;
        for end in 1..=looks.len() {
            let row = |good: bool| {
                let looks = looks[..end].iter().rev();
                looks.take_while(|look| **look == good).count()
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
        fn a_state_is_what_the_latest_looks_in_a_row_make_it(
            looks in proptest::collection::vec(any::<bool>(), 0..60), rise in 1u32..5, fall in 1u32..5,
        ) {
            let mut hysteresis = Hysteresis::default();
            for (index, good) in looks.iter().enumerate() {
                let before = hysteresis.state();
                let changed = hysteresis.sample(*good, rise, fall);
                prop_assert_eq!(changed, before != hysteresis.state());
                let expected = by_the_book(&looks[..=index], rise as usize, fall as usize);
                prop_assert_eq!(hysteresis.state(), expected);
            }
        }

        #[test]
        fn after_an_end_all_of_rise_is_needed(
            looks in proptest::collection::vec(any::<bool>(), 0..20), rise in 1u32..5, fall in 1u32..5,
        ) {
            let mut hysteresis = Hysteresis::default();
            for good in looks {
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
    fn the_first_good_look_is_enough_and_a_bad_one_only_where_one_is() {
        let mut hysteresis = Hysteresis::default();
        assert!(hysteresis.sample(true, 9, 9) && hysteresis.state() == State::Well);
        let mut hysteresis = Hysteresis::default();
        assert!(!hysteresis.sample(false, 1, 2) && hysteresis.state() == State::Unknown);
        assert!(hysteresis.sample(true, 9, 2) && hysteresis.state() == State::Well);
        let mut hysteresis = Hysteresis::default();
        assert!(hysteresis.sample(false, 0, 0) && hysteresis.state() == State::Failing);
    }
}
