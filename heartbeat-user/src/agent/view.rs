//! What the slow side knows of the cluster: kept up to date by the pulse's commands and the mover's
//! outcomes, and turned into events and into a status.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use heartbeat_common::{
    time::Boottime,
    wire::{NodeId, NodeState},
};
use heartbeat_core::{Command, Rows as _, link::LinkState, link::Silence, peer::PeerState};

use crate::{
    clock,
    config::{Config, Node},
    control::protocol::{self, DownTrace, What},
    dataplane::{Dataplane, PeerRows},
    pulse::PulseStats,
    vip::Outcome,
};

#[derive(Debug)]
pub(super) struct View {
    config: Arc<Config>,
    stats: Arc<PulseStats>,
    rows: PeerRows,
    started: Boottime,
    state: NodeState,
    quorate: bool,
    peers: Vec<PeerView>,
    vips: Vec<VipView>,
}

#[derive(Debug)]
struct PeerView {
    node: NodeId,
    state: PeerState,
    links: Vec<LinkState>,
}

#[derive(Clone, Debug, Default)]
struct VipView {
    owner: Option<NodeId>,
    held: bool,
    error: Option<String>,
}

impl View {
    pub(super) fn new(config: Arc<Config>, stats: Arc<PulseStats>, rows: PeerRows) -> Self {
        let links = config.links.len();
        let peers = config.peers().map(|peer| PeerView {
            node: peer.id,
            state: PeerState::default(),
            links: vec![LinkState::default(); links],
        });
        Self {
            peers: peers.collect(),
            vips: vec![VipView::default(); config.vips.len()],
            config,
            stats,
            rows,
            started: clock::now(),
            state: NodeState::Starting,
            quorate: false,
        }
    }

    /// Takes in a command of the core and says what happened.
    pub(super) fn command(&mut self, command: &Command) -> Option<What> {
        match *command {
            Command::LinkChanged {
                node,
                link,
                from,
                to,
            } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node)
                    && let Some(state) = peer.links.get_mut(usize::from(link.0))
                {
                    *state = to;
                }
                Some(What::Link {
                    node: self.name(node),
                    link: link.0,
                    from: from.name().to_owned(),
                    to: to.name().to_owned(),
                })
            }
            Command::PeerChanged {
                node,
                from,
                to,
                silence,
            } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node) {
                    peer.state = to;
                }
                Some(What::Peer {
                    node: self.name(node),
                    from: from.name().to_owned(),
                    to: to.name().to_owned(),
                    trace: silence.map(trace),
                })
            }
            Command::BecameDeaf { late } => Some(What::Deaf {
                deaf: true,
                reason: format!("this node looked {} us too late", late.as_micros()),
            }),
            Command::Hears => Some(What::Deaf {
                deaf: false,
                reason: "probes leave and are listened for again".to_owned(),
            }),
            Command::QuorumChanged { quorate, alive } => {
                self.quorate = quorate;
                Some(What::Quorum { quorate, alive })
            }
            Command::Announce(state) => {
                self.state = state;
                None
            }
            Command::OwnerChanged { vip, owner } => {
                self.vips[vip].owner = owner;
                None
            }
            Command::Acquire { .. } | Command::Release { .. } => None,
        }
    }

    /// Takes in what became of an address and says what happened.
    pub(super) fn outcome(&mut self, outcome: &Outcome) -> What {
        let (Outcome::Acquired { vip, .. }
        | Outcome::Released { vip, .. }
        | Outcome::Failed { vip, .. }) = outcome;
        let name = self.config.vips[*vip].name.clone();
        let view = &mut self.vips[*vip];
        match outcome {
            Outcome::Acquired {
                decided,
                address,
                announced,
                ..
            } => {
                *view = VipView {
                    held: true,
                    error: None,
                    ..*view
                };
                What::Takeover {
                    vip: name,
                    decided_ns: decided.as_nanos(),
                    address_ns: address.as_nanos(),
                    announced_ns: announced.as_nanos(),
                }
            }
            Outcome::Released {
                decided, address, ..
            } => {
                *view = VipView {
                    held: false,
                    error: None,
                    ..*view
                };
                What::Release {
                    vip: name,
                    decided_ns: decided.as_nanos(),
                    address_ns: address.as_nanos(),
                }
            }
            Outcome::Failed { message, .. } => {
                view.error = Some(message.clone());
                What::VipError {
                    vip: name,
                    message: message.clone(),
                }
            }
        }
    }

    pub(super) fn status(&self, dataplane: &Dataplane) -> anyhow::Result<protocol::Status> {
        let config = &self.config;
        let now = clock::now();
        let counters = dataplane.counters()?;
        let configured = config.nodes.len();
        Ok(protocol::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: config.cluster.clone(),
            instance: config.instance.clone(),
            node: config.local().name.clone(),
            pid: std::process::id(),
            at_ns: now.as_nanos(),
            uptime_ns: now.since(self.started).as_nanos() as u64,
            interval_ns: config.interval.as_nanos() as u64,
            timeout_ns: config.timeout.as_nanos() as u64,
            state: self.state.name().to_owned(),
            quorum: protocol::Quorum {
                quorate: self.quorate,
                alive: self.stats.alive.load(Relaxed) as usize,
                needed: configured / 2 + 1,
                configured,
            },
            pulse: self.pulse(),
            nodes: config
                .nodes
                .iter()
                .map(|node| self.node(node, now, dataplane))
                .collect(),
            vips: self.vips(),
            counters: counters
                .into_iter()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
        })
    }

    fn pulse(&self) -> protocol::Pulse {
        let stats = &self.stats;
        protocol::Pulse {
            realtime_priority: stats.realtime_priority.load(Relaxed),
            memory_locked: stats.memory_locked.load(Relaxed),
            ticks: stats.ticks.load(Relaxed),
            missed_ticks: stats.missed_ticks.load(Relaxed),
            max_lateness_ns: stats.max_lateness_ns.load(Relaxed),
            deaf: stats.deaf.load(Relaxed),
            deaf_count: stats.deaf_count.load(Relaxed),
            send_errors: stats.send_errors.load(Relaxed),
        }
    }

    fn node(&self, node: &Node, now: Boottime, dataplane: &Dataplane) -> protocol::Node {
        let peer = self.peers.iter().position(|peer| peer.node == node.id);
        let links = node.addresses.iter().zip(&node.interfaces).enumerate();
        let links = links.map(|(index, (address, interface))| protocol::Link {
            link: index as u8,
            interface: interface.clone(),
            address: address.to_string(),
            xdp_mode: peer
                .is_none()
                .then(|| dataplane.attached()[index].name().to_owned()),
            state: peer.map(|peer| self.peers[peer].links[index].name().to_owned()),
            peer: peer.map(|peer| self.peer_link(peer, index, now)),
        });
        let (state, agent) = match peer {
            None => ("up", self.state),
            Some(peer) => {
                let said = self.rows.row(peer * self.config.links.len()).state;
                let said = u8::try_from(said).map_or(NodeState::Responder, NodeState::from_wire);
                (self.peers[peer].state.name(), said)
            }
        };
        protocol::Node {
            name: node.name.clone(),
            id: node.id.0,
            local: peer.is_none(),
            state: state.to_owned(),
            agent: agent.name().to_owned(),
            links: links.collect(),
        }
    }

    fn peer_link(&self, peer: usize, link: usize, now: Boottime) -> protocol::PeerLink {
        let row = self.rows.row(peer * self.config.links.len() + link);
        let last_reply = (row.last_reply_at != 0).then(|| Boottime::from_nanos(row.last_reply_at));
        protocol::PeerLink {
            rtt_ns: row.rtt_ns,
            last_reply_age_ns: last_reply.map(|at| now.since(at).as_nanos() as u64),
            probes: row.probes_left,
            replies: row.replies,
            late_replies: row.late_replies,
            answered: row.answered,
            deadlines: row.deadlines,
        }
    }

    fn vips(&self) -> Vec<protocol::Vip> {
        let vips = self.config.vips.iter().zip(&self.vips);
        let vips = vips.map(|(vip, view)| protocol::Vip {
            name: vip.name.clone(),
            address: vip.address.to_string(),
            interface: vip.interface.clone(),
            owner: view.owner.map(|owner| self.name(owner)),
            held: view.held,
            error: view.error.clone(),
        });
        vips.collect()
    }

    fn name(&self, node: NodeId) -> String {
        self.config
            .node(node)
            .map_or_else(|| node.0.to_string(), |node| node.name.clone())
    }
}

fn trace(silence: Silence) -> DownTrace {
    let nanos = |at: Option<Boottime>| at.map_or(0, Boottime::as_nanos);
    DownTrace {
        last_reply_ns: nanos(silence.last_reply),
        deadline_ns: silence.deadline.as_nanos(),
        fired_ns: nanos(silence.fired),
        awake_ns: silence.decided.as_nanos(),
    }
}
