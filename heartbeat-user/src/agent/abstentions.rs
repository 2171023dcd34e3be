//! The remaining abstentions of peers' acceptors, as far as this node has been informed.
//!
//! An acceptor with new slots abstains for `max_lease` (docs/design/leases.md#rule-2), and
//! heartbeats do not carry this fact. The report of a node with an agent gives the remaining time.
//! For a witness without an agent only the time of its first new answer is known: at worst its
//! acceptor was loaded at that time.

use std::{collections::BTreeMap, time::Duration};

use heartbeat_common::{time::Boottime, wire::NodeId};

use crate::control::protocol::Abstention;

#[derive(Debug, Default)]
pub(super) struct Abstentions(BTreeMap<NodeId, Known>);

#[derive(Clone, Copy, Debug)]
enum Known {
    /// The peer has answered since then, and did not answer before.
    Answers { since: Boottime },
    /// The peer's report gave this end.
    Reported { until: Boottime },
}

impl Abstentions {
    /// Records that a peer which was down answers again.
    pub(super) fn appeared(&mut self, node: NodeId, now: Boottime) {
        self.0.insert(node, Known::Answers { since: now });
    }

    /// Records the remaining abstention of a peer from its report, which arrived at `now`.
    pub(super) fn reported(&mut self, node: NodeId, remaining: Duration, now: Boottime) {
        let until = now.after(remaining);
        self.0.insert(node, Known::Reported { until });
    }

    /// Returns the remaining abstention of a live peer; `None` if its acceptor votes.
    pub(super) fn of(
        &self,
        node: NodeId,
        max_lease: Duration,
        now: Boottime,
    ) -> Option<Abstention> {
        let (until, at_most) = match *self.0.get(&node)? {
            Known::Answers { since } => (since.after(max_lease), true),
            Known::Reported { until } => (until, false),
        };
        abstention(until, at_most, now)
    }
}

/// Returns the part of an abstention that is left at `now`.
pub(super) fn abstention(until: Boottime, at_most: bool, now: Boottime) -> Option<Abstention> {
    let left = until.since(now);
    (!left.is_zero()).then(|| Abstention {
        for_ns: u64::try_from(left.as_nanos()).unwrap_or(u64::MAX),
        at_most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(3);
    const SECOND: Duration = Duration::from_secs(1);
    const START: Boottime = Boottime::from_nanos(5_000_000_000);

    fn left(abstentions: &Abstentions, after: Duration) -> Option<(u64, bool)> {
        let found = abstentions.of(NODE, SECOND, START.after(after))?;
        Some((found.for_ns / 1_000_000, found.at_most))
    }

    #[test]
    fn peer_that_appeared_may_abstain_for_the_longest_lease_until_its_report_says_less() {
        let mut abstentions = Abstentions::default();
        assert_eq!(
            left(&abstentions, Duration::ZERO),
            None,
            "it was always there"
        );
        abstentions.appeared(NODE, START);
        assert_eq!(left(&abstentions, SECOND / 4), Some((750, true)));
        abstentions.reported(NODE, SECOND / 2, START.after(SECOND / 4));
        assert_eq!(left(&abstentions, SECOND / 2), Some((250, false)));
        assert_eq!(left(&abstentions, SECOND), None);
        abstentions.appeared(NODE, START.after(SECOND * 9));
        assert_eq!(left(&abstentions, SECOND * 9), Some((1_000, true)));
        abstentions.reported(NODE, Duration::ZERO, START.after(SECOND * 9));
        assert_eq!(left(&abstentions, SECOND * 9), None, "it kept its slots");
    }
}
