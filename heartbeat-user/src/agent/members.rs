//! Takes over a list of nodes that changed, while the agent runs: one node more or less.
//!
//! Peers that stay keep their rows, and with them what the kernel knows of them. Whose votes count changes later, when the
//! others have the new list too: `heartbeat_core::membership` decides that.

use std::sync::Arc;

use anyhow::{Result, ensure};
use heartbeat_common::{maps::PeerRow, wire::NodeId};

use super::{
    operate::Operator,
    reason::Reason,
    refusals::Refusals,
    view::{self, View},
};
use crate::{
    config::{Config, Node},
    dataplane::{PeerRows, Setup},
    electorate,
    pulse::Reform,
};

/// A changed list with all that goes on with it needs.
pub(super) struct Reformed {
    pub(super) pulses: Reform,
    /// One each for the view, the exchange of reports, the refusals and the operator.
    pub(super) rows: [PeerRows; 4],
}

impl Reason<'_> {
    /// That the nodes may become those of `new` now: no vote is lost by it, and no lease.
    pub(super) fn may_reform(&self, new: &Config) -> Result<()> {
        let version = self.config.version;
        let view = view::lock(&self.view);
        let said = self.local.read().electorate();
        let skips = u32::from(new.version) > u32::from(version) + 1;
        if new.version > version && (skips || said.counted != version) && view.is_late() {
            return Ok(());
        }
        electorate::may_follow(&self.config.voters(), &new.voters())?;
        let behind = view.behind();
        ensure!(
            behind.is_empty(),
            "the change to config_version {version} is not complete: not yet at {}\n  \
             reload there first, or stop the agent there",
            behind.join(", ")
        );
        ensure!(
            said.counted == said.version,
            "the change to config_version {version} is not complete: leases are still claimed by version {}\n  \
             that takes a majority of the nodes, and max_lease; see `heartbeat status`",
            said.counted
        );
        let gone = self
            .config
            .peers()
            .filter(|peer| new.node(peer.id).is_none());
        for peer in gone {
            ensure!(
                !view.serves(peer.id),
                "node {0} is to go, but it serves groups\n  move them away first: heartbeat drain {0}",
                peer.name
            );
        }
        Ok(())
    }

    /// Lets the kernel answer the peers of `config`. From here on there is no way back but forward.
    pub(super) fn reform(&mut self, config: &Config) -> Result<Reformed> {
        let peers = Setup::peers(config);
        self.dataplane.has_room(&peers)?;
        let said = self.local.read().electorate();
        let is_next = u32::from(config.version) <= u32::from(self.config.version) + 1;
        // Who comes late claims nothing before those who were there vouch for the list.
        let counted = (is_next && said.counted == said.version).then(|| self.config.voters());
        let membership = electorate::change(config, counted);
        electorate::keep(config, &membership)?;
        self.dataplane.reform(peers)?;
        let rows = || self.dataplane.peer_rows();
        Ok(Reformed {
            pulses: Reform::new(config, membership, self.identity, rows()?),
            rows: [rows()?, rows()?, rows()?, rows()?],
        })
    }

    /// Goes on with the peers of `config` on the slow side.
    pub(super) fn turn_to(&mut self, config: &Arc<Config>, rows: [PeerRows; 4]) {
        let [views, exchanges, refusals, operators] = rows;
        view::lock(&self.view).reform(config, views);
        self.exchange.reform(Arc::clone(config), exchanges);
        self.refusals = Refusals::new(refusals);
        self.operator = Arc::new(Operator {
            rows: Arc::new(operators),
            ..Operator::clone(&self.operator)
        });
        self.peers.send_replace(Arc::clone(config));
    }

    /// Claims go by the list of the configuration from now on: the next agent may begin with it.
    pub(super) fn keep_settled(&self) {
        let membership = electorate::change(&self.config, Some(self.config.voters()));
        if let Err(error) = electorate::keep(&self.config, &membership) {
            log::warn!(
                "an agent that starts here will have to find out anew that config_version {} is in force: {error:#}",
                self.config.version
            );
        }
    }
}

impl View {
    /// Whether a node lives that goes by a later list, and knows that this node's is or was in force.
    fn is_late(&self) -> bool {
        let own = self.config().version;
        let ahead = |row: PeerRow| row.config_version > own && row.counted_version >= own;
        let mut peers = self.config().peers().enumerate();
        peers.any(|(number, peer)| self.lives(peer.id) && ahead(self.latest(number)))
    }

    /// The nodes that live and do not go by this node's list yet.
    fn behind(&self) -> Vec<String> {
        let behind = |(number, peer): &(usize, &Node)| {
            let said = self.latest(*number);
            let (row, electorate) = (said.incarnation != 0, said.electorate());
            self.lives(peer.id)
                && (electorate.version < self.config().version
                    || row && electorate.counted < self.config().version)
        };
        let peers = self.config().peers().enumerate();
        peers
            .filter(behind)
            .map(|(_, peer)| peer.name.clone())
            .collect()
    }

    /// Whether a peer lives and says that it serves something.
    fn serves(&self, node: NodeId) -> bool {
        let peer = self.config().peers().position(|peer| peer.id == node);
        peer.is_some_and(|peer| self.lives(node) && self.latest(peer).groups_owned > 0)
    }
}
