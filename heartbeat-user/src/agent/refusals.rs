//! Reports heartbeats from peers' addresses whose sender has no valid key.
//!
//! The kernel counts such frames in the peers' rows. Their number does not matter here: for each
//! link to each peer there is at most one event a minute, and only the counts of the last event are
//! kept.

use std::{sync::Arc, time::Duration};

use heartbeat_common::{maps::PeerRow, time::Boottime};
use heartbeat_core::{index::RowNumber, index_vec::IndexVec};

use crate::{config::Config, control::protocol::EventKind, dataplane::PeerRows};

/// The time between two checks.
const PERIOD: Duration = Duration::from_secs(1);
/// The shortest time between two events about one row.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Refusals {
    rows: PeerRows,
    checked_at: Boottime,
    reported: IndexVec<RowNumber, Reported>,
}

/// The counts of the last event about a row, and its time.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    bad_tags: u64,
    unknown_keys: u64,
    at: Option<Boottime>,
}

impl Refusals {
    /// Starts with the present counts: only later frames cause events.
    pub(super) fn new(rows: PeerRows) -> Self {
        let so_far = |row: RowNumber| {
            let row = rows.row(row);
            Reported {
                bad_tags: row.bad_tags,
                unknown_keys: row.unknown_keys,
                at: None,
            }
        };
        Self {
            checked_at: Boottime::default(),
            reported: rows.numbers().map(so_far).collect(),
            rows,
        }
    }

    /// The rows of the peers.
    pub(super) fn rows(&self) -> &PeerRows {
        &self.rows
    }

    /// Returns the events that are due at `now`. Most calls return early, without reading the rows.
    pub(super) fn check(&mut self, config: &Arc<Config>, now: Boottime) -> Vec<EventKind> {
        if now.since(self.checked_at) < PERIOD {
            return Vec::new();
        }
        self.checked_at = now;
        let links = config.links.len();
        let mut news = Vec::new();
        for (index, peer) in config.peers_enumerated() {
            for link in config.links.iter().map(|link| link.id) {
                let row = RowNumber::first_of(index, links).on(link);
                let (was, is) = (&mut self.reported[row], self.rows.row(row));
                let Some((bad_tags, unknown_keys)) = was.due(&is, now) else {
                    continue;
                };
                news.push(EventKind::Refused {
                    node: peer.name.clone(),
                    link: link.0,
                    bad_tags,
                    bad_macs: bad_tags,
                    unknown_keys,
                    from: ethernet(is.refused_from),
                });
            }
        }
        news
    }
}

impl Reported {
    /// Returns the numbers of bad tags and unknown keys for a new event, if one is due.
    fn due(&mut self, row: &PeerRow, now: Boottime) -> Option<(u64, u64)> {
        let new = (
            row.bad_tags - self.bad_tags,
            row.unknown_keys - self.unknown_keys,
        );
        let lately = self.at.is_some_and(|at| now.since(at) < PAUSE);
        if new == (0, 0) || lately {
            return None;
        }
        *self = Self {
            bad_tags: row.bad_tags,
            unknown_keys: row.unknown_keys,
            at: Some(now),
        };
        Some(new)
    }
}

/// Returns an Ethernet address in the usual notation.
pub(super) fn ethernet(address: u64) -> String {
    let [_, _, bytes @ ..] = address.to_be_bytes();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bad_tags: u64, unknown_keys: u64) -> PeerRow {
        PeerRow {
            bad_tags,
            unknown_keys,
            ..PeerRow::default()
        }
    }

    #[test]
    fn flood_is_reported_once_a_minute() {
        let start = Boottime::from_nanos(1);
        let mut reported = Reported::default();
        assert_eq!(reported.due(&row(0, 0), start), None);
        assert_eq!(reported.due(&row(3, 1), start), Some((3, 1)));
        for second in 0..60 {
            let now = start.after(Duration::from_secs(second));
            assert_eq!(reported.due(&row(1_000 * second + 3, 1), now), None);
        }
        assert_eq!(
            reported.due(&row(60_003, 1), start.after(PAUSE)),
            Some((60_000, 0))
        );
        assert_eq!(reported.due(&row(60_003, 1), start.after(PAUSE * 3)), None);
    }

    #[test]
    fn ethernet_address_has_the_usual_notation() {
        assert_eq!(ethernet(0x0002_be00_a7ff), "00:02:be:00:a7:ff");
    }
}
