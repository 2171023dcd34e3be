//! The rate limit for repairs of an address that another program keeps removing.

use std::time::Duration;

use heartbeat_common::time::Boottime;

/// The number of losses in a row that are repaired at once.
const AT_ONCE: u32 = 5;
/// The shortest time between two later repairs.
const PAUSE: Duration = Duration::from_secs(1);
/// A loss this long after the last one begins a new row.
const QUIET: Duration = Duration::from_secs(60);
/// In a long row, one loss in this many is reported.
const TOLD: u32 = 30;

/// The losses of one address. This type has no clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    last: Option<Boottime>,
    row: u32,
}

impl Backoff {
    /// Returns the time of the repair for a loss that was found at `now`.
    pub(super) fn due(&self, now: Boottime) -> Boottime {
        match self.last {
            Some(last) if self.row >= AT_ONCE && now.since(last) < QUIET => {
                last.after(PAUSE).max(now)
            }
            _ => now,
        }
    }

    /// Records a repair at `now`. Returns the number of repairs in a row, if this one is to be
    /// reported.
    pub(super) fn done(&mut self, now: Boottime) -> Option<u32> {
        let last = self.last.replace(now);
        if last.is_none_or(|last| now.since(last) >= QUIET) {
            self.row = 0;
        }
        self.row = self.row.saturating_add(1);
        (self.row <= AT_ONCE || self.row.is_multiple_of(TOLD)).then_some(self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_losses_are_undone_at_once_and_many_at_a_bounded_rate() {
        let mut backoff = Backoff::default();
        let mut now = Boottime::from_nanos(1);
        let start = now;
        let mut told = 0;
        // The address is removed again after a millisecond each time.
        for _ in 0..65 {
            now = backoff.due(now);
            told += u32::from(backoff.done(now).is_some());
            now = now.after(Duration::from_millis(1));
        }
        let took = now.since(start);
        assert!((59..62).contains(&took.as_secs()), "{took:?}");
        assert_eq!(told, AT_ONCE + 2);
    }

    #[test]
    fn loss_after_a_quiet_while_is_the_first() {
        let mut backoff = Backoff::default();
        let mut now = Boottime::from_nanos(1);
        for _ in 0..20 {
            now = backoff.due(now);
            backoff.done(now);
        }
        assert!(backoff.due(now) > now);
        now = now.after(QUIET);
        assert_eq!(backoff.due(now), now);
        assert_eq!(backoff.done(now), Some(1));
    }
}
