//! The boot-time clock of one machine: it runs a little fast or slow, and says nothing of any other.

/// Parts per million.
const MILLION: u128 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The instant of the simulation at which it said `began`.
    set_at: u64,
    began: u64,
    /// Nanoseconds that it counts in a millisecond.
    rate: u128,
}

impl Clock {
    /// The time of the simulation itself.
    pub(crate) fn exact() -> Self {
        Self::new(0, 0, 0)
    }

    /// A clock that says `began` at the instant `at`, and runs too fast by `ppm` from then on.
    pub(crate) fn new(at: u64, began: u64, ppm: i32) -> Self {
        let rate = i64::from(ppm) + MILLION as i64;
        Self {
            set_at: at,
            began,
            rate: u128::try_from(rate).expect("no clock runs backwards"),
        }
    }

    /// What it says at the instant `at`.
    pub(crate) fn reads(&self, at: u64) -> u64 {
        let passed = u128::from(at.saturating_sub(self.set_at)) * self.rate / MILLION;
        self.began.saturating_add(narrow(passed))
    }

    /// The first instant at which it says `time` or more.
    pub(crate) fn when(&self, time: u64) -> u64 {
        let counted = u128::from(time.saturating_sub(self.began)) * MILLION;
        self.set_at
            .saturating_add(narrow(counted.div_ceil(self.rate)))
    }
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
