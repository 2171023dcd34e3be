//! The nodes whose votes count while the voter set changes under traffic.
//!
//! Lists are numbered. Each list differs from the one before it by a single change, so that any
//! majority of the one has a node in common with any majority of the other. Two lists further apart
//! need not have one: {1, 2} of {1, 2, 3} and {3, 4, 5} of {1, 2, 3, 4, 5} share no node. No node
//! may therefore claim a lease by list *n* + 1 while another node may hold it by list *n* − 1.
//!
//! ```text
//!   acceptor   list n ── reload ──▶ list n + 1     votes on claims by its own list and the one before
//!   claims by  list n ──────────────── settled ──▶ list n + 1
//! ```
//!
//! A node's acceptor uses the new list at once. Its claims use the old one until a majority of the
//! *old* list has been seen to use the new one for as long as a lease may last. This majority
//! refuses claims by list *n* − 1, whose majorities would need one of its nodes, and its earlier
//! grants have run out. Two lists with the same number cannot both get this far, because each needs
//! a majority of the list before them.
//!
//! An acceptor's version of the list never decreases. The version of the claims may, after an agent
//! restart: a new agent counts no vote of an earlier one. An agent without a record of its last
//! version begins with the older list.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use serde::{Deserialize, Serialize};

/// A list of nodes. A majority of them is needed to claim a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Voters {
    /// From 1.
    pub version: u16,
    /// All nodes of the list, in any order.
    pub nodes: Vec<NodeId>,
}

impl Voters {
    pub fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    pub fn has(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// A digest that is equal for lists of the same nodes, and almost never for others. It is
    /// 32-bit FNV-1a over the ids in ascending order, two bytes each, the higher first.
    pub fn digest(&self) -> u32 {
        let mut ids: Vec<u16> = self.nodes.iter().map(|node| node.0).collect();
        ids.sort_unstable();
        let bytes = ids.into_iter().flat_map(u16::to_be_bytes);
        bytes.fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }

    /// Whether each majority of this list has a node that is also on `new`.
    pub fn is_met_by(&self, new: &Self) -> bool {
        let gone = self.nodes.iter().filter(|node| !new.has(**node)).count();
        gone < self.majority()
    }

    /// The nodes that only one of the two lists has.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = NodeId> + 'a {
        let missing_in = |list: &'a Self| move |node: &NodeId| !list.has(*node);
        let own = self.nodes.iter().copied().filter(missing_in(other));
        own.chain(other.nodes.iter().copied().filter(missing_in(self)))
    }
}

/// A node's own list, and the progress of the other nodes towards it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    local: NodeId,
    list: Voters,
    /// The digest of `list`.
    digest: u32,
    /// The list of the claims. `None` until another node confirms that claims may use `list`.
    counted: Option<Voters>,
    /// The longest remaining time of an earlier lease, on any node's clock.
    settle: Duration,
    /// The time since which each node of either list is known to use `list`.
    confirmed: Vec<(NodeId, Boottime)>,
    /// Another node already claims leases by `list`.
    in_use: bool,
}

impl Membership {
    /// This node's acceptor uses `list`, and its claims use `counted`, as far as the node knows.
    /// `max_lease` is the longest lease that any acceptor grants.
    pub fn new(
        local: NodeId,
        list: Voters,
        counted: Option<Voters>,
        max_lease: Duration,
        drift_ppm: u32,
    ) -> Self {
        // The acceptor's clock and this node's may drift apart, each by the bound: (1 + d) / (1 -
        // d), rounded up.
        let margin = (max_lease.as_nanos() * 3 * u128::from(drift_ppm)).div_ceil(1_000_000);
        let margin = Duration::from_nanos(u64::try_from(margin).unwrap_or(u64::MAX));
        Self {
            local,
            digest: list.digest(),
            list,
            counted,
            settle: max_lease.saturating_add(margin),
            confirmed: Vec::new(),
            in_use: false,
        }
    }

    /// A membership that does not change.
    pub fn fixed(local: NodeId, nodes: Vec<NodeId>) -> Self {
        let list = Voters { version: 1, nodes };
        Self::new(local, list.clone(), Some(list), Duration::ZERO, 0)
    }

    /// The list of the acceptor.
    pub fn list(&self) -> &Voters {
        &self.list
    }

    /// The list of the claims; `None` as long as there must be no claims.
    pub fn counted(&self) -> Option<&Voters> {
        self.counted.as_ref()
    }

    /// Whether claims and acceptor go by the same list.
    pub fn is_settled(&self) -> bool {
        self.counted.as_ref().map(|counted| counted.version) == Some(self.list.version)
    }

    /// Whether another node claims leases by the acceptor's list already.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// The voter set as heartbeats carry it.
    pub fn voter_set(&self) -> VoterSet {
        VoterSet {
            version: self.list.version,
            counted: self.counted.as_ref().map_or(0, |counted| counted.version),
            voters: self.digest,
        }
    }

    /// Records the voter set of a node's answer that came at `now` at the latest.
    pub fn hear(&mut self, node: NodeId, said: VoterSet, now: Boottime) {
        if (said.version, said.voters) != (self.list.version, self.digest) {
            return;
        }
        self.in_use |= said.counted == said.version;
        if self.confirmed.iter().all(|(known, _)| *known != node) {
            self.confirmed.push((node, now));
        }
    }

    /// Whether claims may use the acceptor's list at `now`.
    pub fn may_settle(&mut self, now: Boottime) -> bool {
        if self.is_settled() {
            return false;
        }
        self.hear(self.local, self.voter_set(), now);
        if self.in_use {
            return true;
        }
        let since = |node: &NodeId| {
            let mut confirmed = self.confirmed.iter();
            confirmed
                .find(|(known, _)| known == node)
                .map(|(_, at)| *at)
        };
        let long = |node: &NodeId| since(node).is_some_and(|at| now.since(at) >= self.settle);
        match &self.counted {
            Some(old) => old.nodes.iter().filter(|node| long(node)).count() >= old.majority(),
            // Each of these nodes saw that its own older list could not have a majority without a
            // node of this list. All of them refuse claims by older lists.
            None => self.list.nodes.iter().all(long),
        }
    }

    /// Makes the claims use the acceptor's list from now on.
    pub fn settle(&mut self) {
        self.counted = Some(self.list.clone());
    }
}
