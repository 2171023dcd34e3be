//! The owner of a lease, as this node's acceptor and its proposer know it.

use std::sync::atomic::Ordering::Relaxed;

use heartbeat_common::{
    lease::Ballot,
    time::Boottime,
    wire::{GroupId, NodeId},
};

use super::View;
use crate::{clock, control::protocol};

/// The owner of a lease, and its terms.
pub(super) struct Claim {
    pub(super) owner: Option<NodeId>,
    pub(super) lease: Option<protocol::Lease>,
    pub(super) votes: Option<protocol::Votes>,
}

impl View {
    pub(super) fn claim(&self, group: GroupId, now: Boottime) -> Claim {
        let slot = self.slots.slot(group);
        // The lease may have been renewed since `now`. The status must never show a longer
        // remaining time than there is.
        let now = now.max(clock::now());
        let index = self.config.groups.position(|own| own.id == group);
        let stats = index.and_then(|index| self.stats.groups.get(index));
        let open_until = stats.map_or(0, |stats| stats.open_until.load(Relaxed));
        let local = self.config.local().id;
        let owner = if open_until > now.as_nanos() {
            Some(local)
        } else {
            slot.live_owner(now)
        };
        let of = self.stats.voters.load(Relaxed) as usize;
        let votes = protocol::Votes {
            granted: stats.map_or(0, |stats| stats.votes.load(Relaxed) as usize),
            needed: of / 2 + 1,
            of,
        };
        Claim {
            owner,
            lease: slot.live_owner(now).map(|_| protocol::Lease {
                ballot: slot.ballot,
                ballot_round: Ballot(slot.ballot).round(),
                ballot_node: Ballot(slot.ballot).node().0,
                remaining_ns: slot.expires.saturating_sub(now.as_nanos()),
            }),
            votes: (owner == Some(local)).then_some(votes),
        }
    }
}
