//! The nodes whose votes count while the voter set changes under traffic.
//!
//! Lists are numbered. Each list differs from the list before it by one node, so that every
//! majority of the first list has a node in common with every majority of the second. Majorities of
//! two lists that are further apart need not have a common node: {1, 2} of {1, 2, 3} and {3, 4, 5}
//! of {1, 2, 3, 4, 5} share no node. Therefore no node may claim a lease by list *n* + 1 while
//! another node may hold the lease by list *n* − 1.
//!
//! ```text
//!   acceptor   list n ── reload ──▶ list n + 1     votes on claims by its own list and the one before
//!   claims by  list n ──────────────── settled ──▶ list n + 1
//! ```
//!
//! A node's acceptor uses the new list at once. Its claims use the old list until the node has
//! known, for as long as a lease may last, that a majority of the *old* list uses the new list. The
//! nodes of this majority abstain on claims by list *n* − 1, and their earlier grants have run out.
//! Every majority of list *n* − 1 contains one of these nodes, so no node can hold a lease by list
//! *n* − 1. Two lists with the same number cannot both get this far, because each needs a majority
//! of the list before them.
//!
//! An acceptor's version of the list never decreases. The version of a node's claims may decrease
//! when the agent restarts: a new agent counts no vote that an earlier agent received. If the
//! change of the claims was not recorded on disk, the new agent begins with the older list.

use std::time::Duration;

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, VoterSet},
};
use serde::{Deserialize, Serialize};

/// A voter set: a numbered list of nodes. A claim to a lease needs a majority of these nodes.
///
/// Heartbeats carry a [`VoterSet`] instead, which has numbers and a digest, but no nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Voters {
    /// The number of the list (`config_version`), from 1.
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

    /// A digest of the nodes. Lists of the same nodes have equal digests, other lists almost never.
    /// The digest is 32-bit FNV-1a over the ids in ascending order, two bytes each, the higher
    /// first.
    pub fn digest(&self) -> u32 {
        let mut ids: Vec<u16> = self.nodes.iter().map(|node| node.0).collect();
        ids.sort_unstable();
        let bytes = ids.into_iter().flat_map(u16::to_be_bytes);
        bytes.fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }

    /// Whether every majority of this list contains a node that is also on `new`.
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

/// The list of this node's acceptor, the list of its claims, and the nodes that use the first one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    local: NodeId,
    list: Voters,
    /// The digest of `list`.
    digest: u32,
    /// The list of the claims. `None` while this node must not claim: it does not know yet whether
    /// claims may use `list`.
    claiming: Option<Voters>,
    /// The longest time for which a lease that was granted earlier may still last, on any node's
    /// clock.
    settle: Duration,
    /// By node: the time since which that node is known to use `list`.
    confirmed: Vec<(NodeId, Boottime)>,
    /// Whether a node is known to claim leases by `list` already.
    in_use: bool,
}

impl Membership {
    /// Creates the membership of a node whose acceptor uses `list` and whose claims use `claiming`.
    /// `max_lease` is the longest lease that any acceptor grants.
    pub fn new(
        local: NodeId,
        list: Voters,
        claiming: Option<Voters>,
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
            claiming,
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

    /// The list of the claims. `None` while this node must not claim.
    pub fn claiming(&self) -> Option<&Voters> {
        self.claiming.as_ref()
    }

    /// Whether claims and acceptor use the same list.
    pub fn is_settled(&self) -> bool {
        self.claiming.as_ref().map(|claiming| claiming.version) == Some(self.list.version)
    }

    /// Whether a node is known to claim leases by the acceptor's list already.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// The numbers of both lists, and the digest of the acceptor's list, as heartbeats carry them.
    pub fn voter_set(&self) -> VoterSet {
        VoterSet {
            version: self.list.version,
            claiming: self
                .claiming
                .as_ref()
                .map_or(0, |claiming| claiming.version),
            voters: self.digest,
        }
    }

    /// Records the [`VoterSet`] in an answer of `node`. The answer arrived at `now` or earlier.
    pub fn observe(&mut self, node: NodeId, seen: VoterSet, now: Boottime) {
        if (seen.version, seen.voters) != (self.list.version, self.digest) {
            return;
        }
        self.in_use |= seen.claiming == seen.version;
        if self.confirmed.iter().all(|(known, _)| *known != node) {
            self.confirmed.push((node, now));
        }
    }

    /// Whether claims may use the acceptor's list at `now`.
    pub fn may_settle(&mut self, now: Boottime) -> bool {
        if self.is_settled() {
            return false;
        }
        self.observe(self.local, self.voter_set(), now);
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
        match &self.claiming {
            Some(old) => old.nodes.iter().filter(|node| long(node)).count() >= old.majority(),
            // Each of these nodes has checked that every majority of its older list contains a node
            // of this list. All nodes of this list abstain on claims by such older lists.
            None => self.list.nodes.iter().all(long),
        }
    }

    /// Makes the claims use the acceptor's list from now on.
    pub fn settle(&mut self) {
        self.claiming = Some(self.list.clone());
    }
}
