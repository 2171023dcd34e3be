//! The times at which a node announces an address after a takeover.

use heartbeat_common::time::Boottime;
use std::time::Duration;

/// Delays after the takeover: at once, and again while switches and hosts may have missed it.
const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];
/// Interval after the burst, for neighbours that appear later or forget the address.
const REFRESH: Duration = Duration::from_secs(60);

/// The announcements of one address since one takeover. The type has no clock: the caller passes
/// the time, and announces when [`poll`](Self::poll) returns true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    taken_at: Boottime,
    next: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Index into [`BURST`].
    Burst(usize),
    Refresh(Boottime),
}

impl Burst {
    pub fn new(taken_at: Boottime) -> Self {
        Self {
            taken_at,
            next: Step::Burst(0),
        }
    }

    /// Time at which the next announcement is due.
    pub fn due_at(&self) -> Boottime {
        match self.next {
            Step::Burst(index) => self.taken_at.after(BURST[index]),
            Step::Refresh(at) => at,
        }
    }

    /// Whether to announce at `now`. Missed announcements are not made up for: one is as good as
    /// many.
    pub fn poll(&mut self, now: Boottime) -> bool {
        if now < self.due_at() {
            return false;
        }
        let left = BURST
            .iter()
            .position(|offset| self.taken_at.after(*offset) > now);
        self.next = left.map_or(Step::Refresh(now.after(REFRESH)), Step::Burst);
        true
    }

    /// Whether the last announcement should come with a probe for other owners of the address. That
    /// is the first announcement, and each one after the burst.
    pub fn asks(&self) -> bool {
        !matches!(self.next, Step::Burst(index) if index > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Boottime = Boottime::from_nanos(7_000_000_000);

    fn at(millis: u64) -> Boottime {
        TAKEN.after(Duration::from_millis(millis))
    }

    #[test]
    fn burst_then_a_refresh_each_minute() {
        let mut burst = Burst::new(TAKEN);
        let announced: Vec<u64> = (0..200_000)
            .filter(|millis| burst.poll(at(*millis)))
            .collect();
        assert_eq!(
            announced,
            [0, 20, 100, 500, 2_000, 62_000, 122_000, 182_000]
        );
    }

    #[test]
    fn others_are_asked_at_first_and_when_all_is_quiet() {
        let mut burst = Burst::new(TAKEN);
        let asked: Vec<u64> = (0..70_000)
            .filter(|millis| burst.poll(at(*millis)) && burst.asks())
            .collect();
        assert_eq!(asked, [0, 2_000, 62_000]);
    }

    #[test]
    fn missed_announcements_are_not_made_up_for() {
        let mut burst = Burst::new(TAKEN);
        assert!(burst.poll(at(150)));
        assert!(!burst.poll(at(150)));
        assert_eq!(burst.due_at(), at(500));
        assert!(burst.poll(at(1_000_000)));
        assert_eq!(burst.due_at(), at(1_060_000));
    }

    #[test]
    fn nothing_before_the_takeover() {
        assert!(!Burst::new(TAKEN).poll(Boottime::from_nanos(0)));
    }
}
