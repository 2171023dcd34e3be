//! How fast an address goes back that somebody else keeps removing.

use std::time::Duration;

use heartbeat_common::time::Boottime;

/// So many times in a row it goes back at once.
const AT_ONCE: u32 = 5;
/// After that, at least so long after the last time.
const PAUSE: Duration = Duration::from_secs(1);
/// A loss so long after the last one begins a new row.
const QUIET: Duration = Duration::from_secs(60);
/// Of a long row each so many-th loss is told.
const TOLD: u32 = 30;

/// The losses of one address. Has no clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    last: Option<Boottime>,
    row: u32,
}

impl Backoff {
    /// When an address goes back that is found gone at `now`.
    pub(super) fn due(&self, now: Boottime) -> Boottime {
        match self.last {
            Some(last) if self.row >= AT_ONCE && now.since(last) < QUIET => {
                last.after(PAUSE).max(now)
            }
            _ => now,
        }
    }

    /// Notes that it went back at `now`. Returns how often in a row it has, if that is to be told.
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
    fn a_few_losses_are_undone_at_once_and_many_at_a_bounded_rate() {
        let mut backoff = Backoff::default();
        let mut now = Boottime::from_nanos(1);
        let start = now;
        let mut told = 0;
        // It is gone again each time after a millisecond.
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
    fn a_loss_after_a_quiet_while_is_the_first() {
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
