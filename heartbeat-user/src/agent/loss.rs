//! The share of the latest probes without an answer, on each link to each peer.

use std::time::Duration;

use heartbeat_common::{maps::PeerRow, time::Boottime};
use heartbeat_core::{index::RowNumber, index_vec::IndexVec};

use crate::dataplane::PeerRows;

/// Half of the longest measured time: the measurement begins one to two of these ago.
const HALF: Duration = Duration::from_secs(30);
/// The number of the newest probes whose answers may still be in flight.
const IN_FLIGHT: u64 = 2;

/// The counters of a row at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    probes: u64,
    replies: u64,
}

impl Count {
    fn of(row: &PeerRow) -> Self {
        Self {
            probes: row.probes_left,
            replies: row.replies,
        }
    }

    /// Returns the loss since `before`, per mille.
    fn loss_since(self, before: Self) -> Option<u16> {
        let probes = self.probes.saturating_sub(before.probes);
        let replies = self.replies.saturating_sub(before.replies);
        let lost = probes.saturating_sub(replies);
        // The newest probes may still be answered.
        let lost = if lost <= IN_FLIGHT { 0 } else { lost };
        (probes > 0).then(|| u16::try_from(lost * 1_000 / probes).unwrap_or(1_000))
    }
}

/// Two samples of all rows. The present is compared with the older one.
#[derive(Debug, Default)]
pub(super) struct Losses {
    older: IndexVec<RowNumber, Count>,
    newer: IndexVec<RowNumber, Count>,
    turned_at: Option<Boottime>,
}

impl Losses {
    /// Takes a sample if one is due. Call this about once a second.
    pub(super) fn sample(&mut self, rows: &PeerRows, now: Boottime) {
        if self.turned_at.is_none_or(|at| now.since(at) >= HALF) {
            self.turned_at = Some(now);
            // The last row is this node's own.
            let counts = rows.numbers().map(|row| Count::of(&rows.row(row)));
            self.older = std::mem::replace(&mut self.newer, counts.collect());
        }
    }

    /// Returns the loss of the row with this number, per mille.
    pub(super) fn of(&self, number: RowNumber, row: &PeerRow) -> Option<u16> {
        let before = self.older.get(number).copied().unwrap_or_default();
        Count::of(row).loss_since(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_of_late() {
        let count = |probes, replies| Count { probes, replies };
        assert_eq!(count(0, 0).loss_since(count(0, 0)), None);
        assert_eq!(count(100, 98).loss_since(count(0, 0)), Some(0));
        assert_eq!(count(200, 90).loss_since(count(100, 90)), Some(1_000));
        assert_eq!(count(1_100, 900).loss_since(count(100, 100)), Some(200));
        // Late replies to probes that left before the sample.
        assert_eq!(count(110, 120).loss_since(count(100, 100)), Some(0));
    }
}
