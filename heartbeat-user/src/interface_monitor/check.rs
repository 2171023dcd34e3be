//! The check that an attached XDP program runs: some drivers accept a program and never call it.

use std::time::Duration;

use heartbeat_common::time::Boottime;

/// The frames between two conclusive samples. Fewer may still be in flight, so the check waits for
/// more.
const ENOUGH: u64 = 8;
/// The number of conclusive samples in which the program saw no frame. Several are needed, because
/// some drivers count earlier frames late.
const SAMPLES: u32 = 3;
/// The shortest time between two conclusive samples.
const PAUSE: Duration = Duration::from_millis(250);

/// The known state of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Finding {
    /// The interface has received no frames that the program could have seen.
    #[default]
    Unknown,
    Runs,
    DoesNotRun,
}

/// The samples of one interface since a program was attached there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SelfCheck {
    /// The program's frame count at the first sample.
    seen: Option<u64>,
    /// The interface's frame count at the last conclusive sample, and the time of that sample.
    last: Option<(u64, Boottime)>,
    suspicious: u32,
    finding: Finding,
}

impl SelfCheck {
    /// Adds a sample at `now`: the interface has `received` and the program has `seen` this many
    /// frames. The caller reads `received` before `seen`.
    pub(super) fn check(&mut self, received: u64, seen: u64, now: Boottime) -> Finding {
        let before = *self.seen.get_or_insert(seen);
        if seen != before {
            self.finding = Finding::Runs;
            return self.finding;
        }
        let Some((last, at)) = self.last else {
            self.last = Some((received, now));
            return self.finding;
        };
        // A count that decreased belongs to another card.
        if received < last {
            self.last = Some((received, now));
            self.suspicious = 0;
        }
        // Heartbeats may be seconds apart. The conclusive samples then are, too.
        if now.since(at) < PAUSE || received < last.saturating_add(ENOUGH) {
            return self.finding;
        }
        self.last = Some((received, now));
        self.suspicious += 1;
        if self.suspicious >= SAMPLES {
            self.finding = Finding::DoesNotRun;
        }
        self.finding
    }

    /// Returns whether another sample may change the finding.
    pub(super) fn is_open(&self) -> bool {
        self.finding != Finding::Runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the finding after samples of these received and seen counts, a pause apart.
    fn after(samples: &[(u64, u64)]) -> Finding {
        let mut check = SelfCheck::default();
        let mut now = Boottime::from_nanos(1);
        let mut finding = Finding::Unknown;
        for (received, seen) in samples {
            finding = check.check(*received, *seen, now);
            now = now.after(PAUSE);
        }
        finding
    }

    #[test]
    fn silent_network_gives_no_finding() {
        assert_eq!(after(&[(0, 0); 100]), Finding::Unknown);
        // A network with very few frames gives no finding either.
        assert_eq!(after(&[(0, 0), (7, 0), (14, 0), (21, 0)]), Finding::Unknown);
    }

    #[test]
    fn slow_heartbeats_tell_as_much_as_fast_ones_but_later() {
        let slow: Vec<_> = (0..100).map(|sample| (sample, 0)).collect();
        let enough = (ENOUGH * u64::from(SAMPLES)) as usize;
        assert_eq!(after(&slow[..enough]), Finding::Unknown);
        assert_eq!(after(&slow[..=enough]), Finding::DoesNotRun);
    }

    #[test]
    fn count_of_another_card_begins_anew() {
        let other = [(100, 0), (120, 0), (140, 0), (0, 0), (20, 0), (40, 0)];
        assert_eq!(after(&other), Finding::Unknown);
        assert_eq!(
            after(&[&other[..], &[(60, 0)]].concat()),
            Finding::DoesNotRun
        );
    }

    #[test]
    fn program_that_sees_anything_runs() {
        assert_eq!(after(&[(1_000, 5), (1_000, 6)]), Finding::Runs);
        assert_eq!(after(&[(0, 0), (9, 0), (18, 0), (19, 1)]), Finding::Runs);
    }

    #[test]
    fn program_that_never_sees_what_comes_does_not_run() {
        let samples = [(0, 7), (20, 7), (40, 7), (60, 7)];
        assert_eq!(after(&samples[..3]), Finding::Unknown);
        assert_eq!(after(&samples), Finding::DoesNotRun);
        // The program may begin to run later.
        assert_eq!(after(&[&samples[..], &[(80, 8)]].concat()), Finding::Runs);
    }

    #[test]
    fn late_counts_are_no_evidence() {
        let late = [(0, 0), (500, 0), (500, 0), (900, 0), (900, 0), (901, 0)];
        assert_eq!(after(&late), Finding::Unknown);
    }

    #[test]
    fn samples_in_quick_succession_count_as_one() {
        let mut check = SelfCheck::default();
        for sample in 0..100 {
            let now = Boottime::from_nanos(1 + sample);
            assert_eq!(check.check(sample * 100, 0, now), Finding::Unknown);
        }
        assert!(check.is_open());
    }
}
