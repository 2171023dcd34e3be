//! Applies a changed node list while the agent runs: one node more or less.
//!
//! Peers that stay keep their rows, and with them the kernel's state about them. The counted votes
//! change later, when the other nodes have the new list too: `heartbeat_core::membership` decides
//! that.

use std::sync::Arc;

use anyhow::{Result, ensure};
use heartbeat_common::{maps::PeerRow, wire::NodeId};
use heartbeat_core::{index::PeerIndex, membership::Membership};

use super::ControlTask;
use crate::{
    agent::{
        operate::Operator,
        refusals::Refusals,
        setup,
        view::{self, View},
    },
    config::{Config, Node},
    dataplane::PeerRows,
    membership_store,
    pulse::Reform,
};

/// A changed node list, with the maps that its users need.
pub(super) struct Reformed {
    pub(super) pulses: Reform,
    pub(super) views: PeerRows,
    /// One each for the exchange of reports, the refusals and the operator.
    pub(super) rows: [PeerRows; 3],
}

impl ControlTask<'_> {
    /// Returns the membership under the nodes of `new`.
    ///
    /// Refuses a change that could lose a vote or a lease.
    pub(super) fn may_reform(&self, new: &Config) -> Result<Membership> {
        let version = self.config.version;
        let view = view::lock(&self.view);
        self.dataplane.has_room(&setup::peers(new))?;
        for node in &new.nodes {
            let same = |old: &Node| (&old.name, &old.addresses) == (&node.name, &node.addresses);
            ensure!(
                self.config.node(node.id).is_none_or(same),
                "node id {} is of another node now ({})\n  an id stands for one acceptor: give the \
                 new node a new one, or restart the agents",
                node.id.0,
                node.name
            );
        }
        if self.is_late(new, &view) {
            ensure!(
                self.local.read().owned().groups() == 0,
                "this node missed a change and serves groups: move them away first (`heartbeat \
                 standby {}`)",
                self.config.local().name
            );
            membership_store::may_skip(&self.config.voters(), &new.voters())?;
            // The node claims nothing before nodes of the former list confirm the new list.
            return Ok(membership_store::change(new, None));
        }
        let said = self.local.read().voter_set();
        membership_store::may_follow(&self.config.voters(), &new.voters())?;
        let behind = view.behind();
        ensure!(
            behind.is_empty(),
            "the change to config_version {version} is not complete: not yet at {}\n  \
             reload there first, or stop the agent there",
            behind.join(", ")
        );
        ensure!(
            (said.version, said.claiming) == (version, version),
            "the change to config_version {version} is not complete: leases are still claimed by \
             version {}\n  that takes a majority of the nodes, and max_lease; see `heartbeat \
             status`",
            said.claiming
        );
        let gone = self
            .config
            .peers()
            .filter(|peer| new.node(peer.id).is_none());
        for peer in gone {
            ensure!(
                !view.serves(peer.id),
                "node {0} cannot be removed while it serves groups\n  move them away first: \
                 heartbeat drain {0}",
                peer.name
            );
        }
        Ok(membership_store::change(new, Some(self.config.voters())))
    }

    /// Returns whether this node missed a change: other nodes use a later list, and confirm that
    /// this node's own list is or was in force.
    fn is_late(&self, new: &Config, view: &View) -> bool {
        let own = self.config.version;
        let said = self.local.read().voter_set();
        let skips = u32::from(new.version) > u32::from(own) + 1;
        if skips {
            view.others_claim_by(own + 1)
        } else {
            new.version > own && said.claiming != own && view.others_claim_by(own)
        }
    }

    /// Makes the kernel answer the peers of `config`.
    pub(super) fn reform(&mut self, config: &Config, membership: Membership) -> Result<Reformed> {
        self.dataplane.reform(setup::peers(config))?;
        let rows = || self.dataplane.peer_rows();
        Ok(Reformed {
            pulses: Reform::new(config, membership, self.identity, rows()?),
            views: rows()?,
            rows: [rows()?, rows()?, rows()?],
        })
    }

    /// Makes the control task use the peers of `config`.
    pub(super) fn turn_to(&mut self, config: &Arc<Config>, rows: [PeerRows; 3]) {
        let [exchanges, refusals, operators] = rows;
        self.exchange.reform(Arc::clone(config), exchanges);
        self.refusals = Refusals::new(refusals);
        self.operator = Arc::new(Operator {
            rows: Arc::new(operators),
            ..Operator::clone(&self.operator)
        });
        self.peers.send_replace(Arc::clone(config));
    }

    /// Records that claims use the list with this version from now on: the next agent may begin
    /// with this list.
    pub(super) fn keep_settled(&self, version: u16) {
        if version != self.config.version {
            // Another change has begun meanwhile, and has recorded its own predecessor.
            return;
        }
        let config = Arc::clone(&self.config);
        drop(self.operator.writer.run(move || {
            // A reload in progress may have written the next list before this.
            if let Err(error) = membership_store::keep_settled(&config) {
                log::warn!(
                    "could not record that config_version {} is in force, so the next agent here \
                     needs this confirmed again: {error:#}",
                    config.version
                );
            }
        }));
    }
}

impl View {
    /// Returns whether a live node uses a later list than this node, and claims by list `version`
    /// or a later one.
    fn others_claim_by(&self, version: u16) -> bool {
        let own = self.config().version;
        let ahead = |row: PeerRow| row.config_version > own && row.claiming_version >= version;
        let mut peers = self.config().peers_enumerated();
        peers.any(|(index, peer)| self.lives(peer.id) && ahead(self.latest(index)))
    }

    /// Returns the live nodes that do not use this node's list yet.
    fn behind(&self) -> Vec<String> {
        let own = self.config().version;
        let behind = |(index, peer): &(PeerIndex, &Node)| {
            let said = self.latest(*index);
            let (version, claiming) = (said.config_version, said.claiming_version);
            // A node without an agent claims nothing.
            let joining = version == own && said.incarnation != 0 && claiming < own;
            self.lives(peer.id) && (version < own || joining)
        };
        let peers = self.config().peers_enumerated();
        peers
            .filter(behind)
            .map(|(_, peer)| peer.name.clone())
            .collect()
    }

    /// Returns whether a live peer reports that it serves a group.
    fn serves(&self, node: NodeId) -> bool {
        let peer = self.config().peer_index(node);
        peer.is_some_and(|peer| self.lives(node) && self.latest(peer).owned().groups() > 0)
    }
}
