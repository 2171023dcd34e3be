//! The control task's view of the cluster. Commands of the pulse and events of the resource manager
//! update it; the view turns them into log events and the status.

mod addresses;
mod claim;
mod events;
mod groups;
mod nodes;
mod status;
mod votes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{Health, LinkId, NodeId, NodeState},
};
use heartbeat_core::{
    index::{PeerIndex, VipIndex},
    index_vec::IndexVec,
    link::LinkState,
    peer::PeerState,
};

use self::addresses::VipView;
use super::{abstentions::Abstentions, groups::Groups, loss::Losses, vitals::Vitals};
use crate::{
    clock,
    config::{Config, key::Keys},
    control::protocol,
    dataplane::{Attachment, Dataplane, GuardView, LeaseSlots, LocalView, PeerRows, SocketGuard},
    interface_monitor::Signal,
    load::late::Host,
    pulse::PulseStats,
};

#[derive(Debug)]
pub(super) struct View {
    config: Arc<Config>,
    keys: Arc<Keys>,
    /// The digests of the configuration, one under each key.
    digests: Vec<u32>,
    stats: Arc<PulseStats>,
    rows: PeerRows,
    local: LocalView,
    slots: LeaseSlots,
    guard: GuardView,
    started: Boottime,
    state: NodeState,
    quorate: bool,
    peers: IndexVec<PeerIndex, PeerView>,
    vips: IndexVec<VipIndex, VipView>,
    /// The interfaces of the links, by name.
    interfaces: BTreeMap<String, InterfaceView>,
    socket_guard: Option<protocol::SocketGuard>,
    confinement: protocol::Confinement,
    losses: Losses,
    abstentions: Abstentions,
    local_stall_since: Option<Boottime>,
    /// The total duration of earlier local stalls.
    local_stall_for: Duration,
    pub(super) vitals: Vitals,
    pub(super) groups: Groups,
}

/// The view as the tasks beside the control task share it. The lock is held briefly, and never
/// across an `await`.
pub(super) type Shared = Arc<Mutex<View>>;

pub(super) fn lock(view: &Shared) -> MutexGuard<'_, View> {
    // The view stays usable after a panic of another holder.
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct PeerView {
    node: NodeId,
    state: PeerState,
    links: IndexVec<LinkId, LinkState>,
}

impl PeerView {
    fn new(node: NodeId, links: usize) -> Self {
        Self {
            node,
            state: PeerState::default(),
            links: vec![LinkState::default(); links].into(),
        }
    }
}

/// The attachment to an interface, and the fault there.
#[derive(Clone, Debug, Default)]
struct InterfaceView {
    attachment: Option<Attachment>,
    problem: Option<String>,
    signal: Signal,
    /// The time of the last change of the signal.
    since: Boottime,
}

fn socket_guard(found: &SocketGuard) -> Option<protocol::SocketGuard> {
    let problem = match found {
        SocketGuard::Idle => return None,
        SocketGuard::Attached(_) => None,
        SocketGuard::Missing(why) => Some(why.clone()),
    };
    Some(protocol::SocketGuard {
        attached: problem.is_none(),
        problem,
    })
}

impl View {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Arc<Keys>,
        stats: Arc<PulseStats>,
        dataplane: &Dataplane,
        mut groups: Groups,
        confinement: protocol::Confinement,
    ) -> anyhow::Result<Self> {
        groups.rekey(described(&keys));
        let links = config.links.len();
        let peers = config.peers().map(|peer| PeerView::new(peer.id, links));
        let inherited = dataplane.inherited();
        let vips = (0..config.vips.len()).map(|index| VipView {
            held: inherited.get(index).is_some_and(Option::is_some),
            ..VipView::default()
        });
        let interfaces = config.local_links().zip(dataplane.attached());
        let interfaces = interfaces.map(|(link, attachment)| {
            let view = InterfaceView {
                attachment: attachment.clone(),
                ..InterfaceView::default()
            };
            (link.interface.to_owned(), view)
        });
        Ok(Self {
            interfaces: interfaces.collect(),
            socket_guard: socket_guard(dataplane.socket_guard()),
            confinement,
            losses: Losses::default(),
            abstentions: Abstentions::default(),
            peers: peers.collect(),
            vips: vips.collect(),
            groups,
            digests: config.digests(&keys),
            keys,
            config,
            stats,
            rows: dataplane.peer_rows()?,
            local: dataplane.local()?,
            slots: dataplane.slots()?,
            guard: dataplane.guard()?,
            started: clock::now(),
            local_stall_since: None,
            local_stall_for: Duration::ZERO,
            vitals: Vitals::default(),
            state: NodeState::Starting,
            quorate: false,
        })
    }

    /// Switches to a changed configuration. Earlier groups and addresses keep their indices. New
    /// rows mean that peers were added or removed.
    pub(super) fn replan(&mut self, config: Arc<Config>, guard: GuardView, rows: Option<PeerRows>) {
        if let Some(rows) = rows {
            self.reform(&config, rows);
        }
        self.digests = config.digests(&self.keys);
        self.vips.resize_with(config.vips.len(), VipView::default);
        self.groups.replan(Arc::clone(&config));
        self.guard = guard;
        self.config = config;
    }

    /// Switches to the peers of `config`, whose rows are `rows`.
    fn reform(&mut self, config: &Config, rows: PeerRows) {
        let mut old = std::mem::take(&mut self.peers).into_vec();
        let peer = |node| match old.iter().position(|peer| peer.node == node) {
            Some(at) => old.swap_remove(at),
            None => PeerView::new(node, config.links.len()),
        };
        self.peers = config.peers().map(|peer| peer.id).map(peer).collect();
        self.losses = Losses::default();
        self.rows = rows;
    }

    /// Switches to changed keys. Returns their description.
    pub(super) fn rekey(&mut self, keys: Arc<Keys>) -> protocol::Keys {
        let described = described(&keys);
        self.groups.rekey(described.clone());
        self.digests = self.config.digests(&keys);
        self.keys = keys;
        described
    }

    /// Returns the digest of the configuration in this node's heartbeats.
    fn digest(&self) -> u32 {
        self.digests.first().copied().unwrap_or_default()
    }

    /// Returns the digest of a peer's configuration; this node's own digest, if both are the same.
    fn digest_of(&self, row: &PeerRow) -> u32 {
        match row.config_generation {
            // A kernel without an agent puts another value in this field.
            _ if row.incarnation == 0 => 0,
            same if self.digests.contains(&same) => self.digest(),
            other => other,
        }
    }

    /// Returns the mark of a node's keys and the id of the key that it seals with, as far as known.
    /// Only a node with an agent announces the id.
    pub(super) fn keys_of(&self, node: NodeId) -> Option<(u32, Option<u8>)> {
        let Some(peer) = self.peers.position(|peer| peer.node == node) else {
            return Some((self.keys.mark(), Some(self.keys.active.0)));
        };
        let row = self.latest(peer);
        match self.groups.keys(node) {
            _ if !self.is_awake(node) => None,
            _ if row.incarnation == 0 => Some((row.config_generation, None)),
            keys => keys.map(|keys| (keys.mark, Some(keys.seals))),
        }
        .filter(|(mark, _)| *mark != 0)
    }

    /// Returns whether a peer's agent is running, as far as known.
    pub(super) fn is_awake(&self, node: NodeId) -> bool {
        let peer = self.peers.iter().find(|peer| peer.node == node);
        let awake = |state| {
            use PeerState::{Draining, Suspect, Unhealthy, Up};
            matches!(state, Up | Suspect | Unhealthy | Draining)
        };
        peer.is_some_and(|peer| awake(peer.state))
    }

    /// Records a sample of the host.
    pub(super) fn host_sampled(&mut self, host: Host) {
        self.losses.sample(&self.rows, clock::now());
        let missed = self.stats.missed_ticks.load(Relaxed);
        self.vitals.host_sampled(host, missed);
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns whether a peer's kernel answers, as far as known.
    pub(super) fn lives(&self, node: NodeId) -> bool {
        let peer = self.peers.iter().find(|peer| peer.node == node);
        peer.is_some_and(|peer| peer.state.is_alive())
    }

    /// Returns the latest row of `peer`.
    pub(super) fn latest(&self, peer: PeerIndex) -> PeerRow {
        self.rows.latest(peer, self.config.links.len())
    }

    /// Returns the state that this node announces.
    pub(super) fn state(&self) -> NodeState {
        self.state
    }

    /// Returns a peer's load and its failing checks.
    pub(super) fn load_and_failing(&self, node: NodeId) -> (u16, Vec<String>) {
        let Some(peer) = self.peers.position(|peer| peer.node == node) else {
            return (0, Vec::new());
        };
        let row = self.latest(peer);
        (row.load, self.failing(node, Health(row.health)))
    }

    pub(super) fn is_quorate(&self) -> bool {
        self.quorate
    }

    /// Returns the names of a node's failing checks.
    fn failing(&self, node: NodeId, health: Health) -> Vec<String> {
        let numbers = (0..Health::MAX_CHECKS).filter(|number| health.fails(*number));
        let own = numbers.map(|number| match self.config.health.get(number) {
            Some(check) => check.name.clone(),
            None => format!("check {number}"),
        });
        let own: Vec<String> = own.collect();
        let peer = self.peers.position(|peer| peer.node == node);
        let differs = peer.is_some_and(|peer| self.digest_of(&self.latest(peer)) != self.digest());
        // A peer with another configuration may have other checks. Their names are only in its
        // report, which arrives later.
        let said = self.groups.failing(node).filter(|_| differs);
        said.filter(|said| said.len() == own.len()).unwrap_or(own)
    }

    fn name(&self, node: NodeId) -> String {
        self.config
            .node(node)
            .map_or_else(|| node.0.to_string(), |node| node.name.clone())
    }
}

fn described(keys: &Keys) -> protocol::Keys {
    protocol::Keys {
        seals: keys.active.0,
        takes: keys.ids(),
        mark: keys.mark(),
    }
}
