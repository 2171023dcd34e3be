//! Instants on the kernel's boot-time clock.

use core::{fmt, time::Duration};

/// An instant of `CLOCK_BOOTTIME`, in nanoseconds.
///
/// The kernel programs read it by `bpf_ktime_get_boot_ns`, the agent by `clock_gettime`. Both read
/// the same clock, so their instants compare. Instants of two machines do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Boottime(u64);

impl Boottime {
    #[inline(always)]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[inline(always)]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if `earlier` is in the future.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `duration`, stopping at the end of the clock.
    #[inline(always)]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(duration)))
    }

    /// This instant minus `duration`, stopping at boot.
    #[inline(always)]
    pub const fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(duration)))
    }
}

impl fmt::Display for Boottime {
    /// Seconds since boot with microseconds, as the kernel log prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

/// `duration` in whole nanoseconds, at most `u64::MAX` (584 years).
const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        nanos as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let boot = Boottime::from_nanos(0);
        let end = Boottime::from_nanos(u64::MAX);
        assert_eq!(boot.before(Duration::from_secs(1)), boot);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(boot.since(end), Duration::ZERO);
        assert_eq!(end.since(boot), Duration::from_nanos(u64::MAX));
    }
}
