//! The times at which a node announces an address again because another host has claimed it (RFC
//! 5227, section 2.4).
//!
//! The lease decides who owns the address, so the defence never ends. Its rate is limited, so that
//! two hosts which defend the same address do not fill the network.

use heartbeat_common::time::Boottime;
use std::time::Duration;

/// Pauses between two announcements that answer claims: after the first few of a row, which may be
/// the two forms of one claim; after some more; and in a long row.
const PAUSES: [(u32, Duration); 3] = [
    (3, Duration::from_millis(20)),
    (10, Duration::from_millis(200)),
    (u32::MAX, Duration::from_secs(1)),
];
/// `DEFEND_INTERVAL` of RFC 5227: a claim so long after the previous one begins a new row.
const QUIET: Duration = Duration::from_secs(10);
/// Delay of a further announcement after the last claim, for neighbours that missed the answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The defence of one address. The type has no clock, like [`super::Burst`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defence {
    claimed_at: Option<Boottime>,
    announced_at: Option<Boottime>,
    /// Number of announcements in this row.
    row: u32,
    due: Option<Boottime>,
    again: Option<Boottime>,
}

impl Defence {
    /// Records that another host claimed the address at `now`.
    pub fn claimed(&mut self, now: Boottime) {
        let last = self.claimed_at.replace(now);
        if last.is_none_or(|last| now.since(last) >= QUIET) {
            self.row = 0;
        }
        let pause = PAUSES.iter().find(|(row, _)| self.row < *row);
        let pause = pause.map_or(QUIET, |(_, pause)| *pause);
        let earliest = self.announced_at.map_or(now, |at| at.after(pause).max(now));
        self.due.get_or_insert(earliest);
        self.again = Some(now.after(AGAIN));
    }

    /// Time at which the next announcement is due, if there is one.
    pub fn due_at(&self) -> Option<Boottime> {
        self.due.into_iter().chain(self.again).min()
    }

    /// Whether to announce at `now`.
    pub fn poll(&mut self, now: Boottime) -> bool {
        let due = |at: Option<Boottime>| at.is_some_and(|at| at <= now);
        if !due(self.due_at()) {
            return false;
        }
        self.due = None;
        if due(self.again) {
            self.again = None;
        }
        self.announced_at = Some(now);
        self.row += 1;
        true
    }

    /// Stops the announcements of the address.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Boottime = Boottime::from_nanos(7_000_000_000);

    fn at(millis: u64) -> Boottime {
        START.after(Duration::from_millis(millis))
    }

    /// The times of announcements, in ms, for claims at these times.
    fn announced(claims: impl Fn(u64) -> bool, until: u64) -> Vec<u64> {
        let mut defence = Defence::default();
        let mut announced = Vec::new();
        for millis in 0..until {
            if claims(millis) {
                defence.claimed(at(millis));
            }
            if defence.poll(at(millis)) {
                announced.push(millis);
            }
        }
        announced
    }

    #[test]
    fn claim_is_answered_at_once_and_once_more() {
        assert_eq!(announced(|millis| millis == 5, 60_000), [5, 1_005]);
    }

    #[test]
    fn last_claim_of_a_series_is_answered_soon() {
        // QEMU announces a guest after its migration like this: five times in half a second.
        let series = [50, 150, 250, 350, 450];
        let said = announced(|millis| series.contains(&millis), 60_000);
        assert_eq!(said, [50, 150, 250, 450, 1_450]);
    }

    #[test]
    fn claim_without_end_is_answered_once_a_second() {
        let said = announced(|_| true, 60_000);
        assert!(said.len() < 75, "{}", said.len());
        let pauses = said[20..].windows(2).map(|pair| pair[1] - pair[0]);
        assert_eq!(pauses.min(), Some(1_000));
    }

    #[test]
    fn ended_defence_says_nothing() {
        let mut defence = Defence::default();
        defence.claimed(at(0));
        defence.end();
        assert_eq!(defence.due_at(), None);
        assert!(!defence.poll(at(5_000)));
    }

    #[test]
    fn claim_after_silence_is_answered_fast_again() {
        let claims = |millis: u64| millis < 20_000 || (40_000..40_050).contains(&millis);
        let said = announced(claims, 60_000);
        let late = said.iter().skip_while(|millis| **millis < 40_000);
        assert_eq!(
            late.copied().collect::<Vec<_>>()[..3],
            [40_000, 40_020, 40_040]
        );
    }
}
