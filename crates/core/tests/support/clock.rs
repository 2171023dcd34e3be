//! The boot-time clock of one machine. It runs a little fast or slow, and independently of other
//! clocks.

/// Parts per million.
const MILLION: u128 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The instant of the simulation at which the clock showed `began`.
    set_at: u64,
    began: u64,
    /// The number of nanoseconds that it counts in a millisecond.
    rate: u128,
}

impl Clock {
    /// A clock with the time of the simulation itself.
    pub(crate) fn exact() -> Self {
        Self::new(0, 0, 0)
    }

    /// A clock that shows `began` at the instant `at`, and runs too fast by `ppm` from then on.
    pub(crate) fn new(at: u64, began: u64, ppm: i32) -> Self {
        let rate = i64::from(ppm) + MILLION as i64;
        Self {
            set_at: at,
            began,
            rate: u128::try_from(rate).expect("no clock runs backwards"),
        }
    }

    /// The reading at the instant `at`.
    pub(crate) fn reads(&self, at: u64) -> u64 {
        let passed = u128::from(at.saturating_sub(self.set_at)) * self.rate / MILLION;
        self.began.saturating_add(narrow(passed))
    }

    /// The first instant with a reading of `time` or more.
    pub(crate) fn when(&self, time: u64) -> u64 {
        let counted = u128::from(time.saturating_sub(self.began)) * MILLION;
        self.set_at
            .saturating_add(narrow(counted.div_ceil(self.rate)))
    }
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
