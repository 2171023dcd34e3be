//! The control task's view of the cluster. Commands of the pulse and events of the resource manager
//! update it; the view turns them into log events and the status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use heartbeat_common::{
    lease::Ballot,
    maps::PeerRow,
    time::Boottime,
    units::Short,
    wire::{GroupId, Health, LinkId, LinkSet, NodeId, NodeState},
};
use heartbeat_core::{
    Command,
    group::GroupEvent,
    index::{GroupIndex, PeerIndex, RowNumber, VipIndex},
    index_vec::IndexVec,
    link::{LinkState, Silence},
    peer::PeerState,
    reach::{RECOVERY, Reach},
};

use super::{
    abstentions::{self, Abstentions},
    groups::Groups,
    loss::Losses,
    refusals::ethernet,
    vitals::Vitals,
    voters::{Absence, Voter},
};
use crate::{
    clock,
    config::{Config, Group, Node, ResourceKind, Role, Vip, key::Keys},
    control::protocol::{self, DownTrace, EventKind, VipEvent},
    dataplane::{Attachment, Dataplane, GuardView, LeaseSlots, LocalView, PeerRows, SocketGuard},
    interface_monitor::{SOCKETS, Signal},
    load::late::Host,
    messages::{InterfaceEvent, ResourceEvent},
    pulse::{
        PulseStats,
        realtime::{Granted, Scheduling},
    },
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

/// An owner whose lease ended less than this long ago may be the node that was just lost.
const JUST_BEFORE: Duration = Duration::from_secs(5);

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

/// The state of an interface in an event: no peer answers on its link, while peers answer on
/// others.
pub(super) const SILENT: &str = "silent";

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

/// The owner of a lease, and its terms.
struct Claim {
    owner: Option<NodeId>,
    lease: Option<protocol::Lease>,
    votes: Option<protocol::Votes>,
}

#[derive(Clone, Debug, Default)]
struct VipView {
    held: bool,
    error: Option<String>,
    /// The last action of another host or program on the address, and its time.
    notice: Option<(String, Boottime)>,
}

/// The time for which the status shows such an action.
const NOTICED: Duration = Duration::from_secs(600);

impl VipView {
    fn note(&mut self, message: &str) {
        self.notice = Some((message.to_owned(), clock::now()));
    }

    fn shown_notice(&self, now: Boottime) -> Option<protocol::Notice> {
        let (message, at) = self.notice.as_ref()?;
        let age = now.since(*at);
        (age < NOTICED).then(|| protocol::Notice {
            message: message.clone(),
            age_ns: age.as_nanos() as u64,
        })
    }
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

    /// Records a command of the core and returns its event.
    pub(super) fn command(&mut self, command: &Command) -> Option<EventKind> {
        match *command {
            Command::LinkChanged {
                node,
                link,
                from,
                to,
            } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == node)
                    && let Some(state) = peer.links.get_mut(link)
                {
                    *state = to;
                }
                Some(EventKind::Link {
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
                // A peer that was never down here may have voted all along.
                if to.is_alive() && from == PeerState::Down {
                    self.abstentions.appeared(node, clock::now());
                }
                if matches!(to, PeerState::Down | PeerState::AgentStalled) {
                    self.agent_lost(node, clock::now());
                }
                Some(EventKind::Peer {
                    node: self.name(node),
                    from: from.name().to_owned(),
                    to: to.name().to_owned(),
                    trace: silence.map(trace),
                })
            }
            Command::PeerHealth { node, health } => Some(EventKind::PeerHealth {
                node: self.name(node),
                failing: self.failing(node, health),
                fatal: health.is_fatal(),
            }),
            Command::LocalStallBegan { late } => {
                self.local_stall_since.get_or_insert(clock::now());
                Some(EventKind::LocalStall {
                    began: true,
                    reason: format!(
                        "pulse {} late ({})",
                        Short(late),
                        self.vitals
                            .lateness(late, self.stats.missed_ticks.load(Relaxed))
                    ),
                })
            }
            Command::LocalStallEnded => {
                let since = self.local_stall_since.take();
                let lasted = since.map_or(Duration::ZERO, |since| clock::now().since(since));
                self.local_stall_for += lasted;
                Some(EventKind::LocalStall {
                    began: false,
                    reason: format!("it lasted {}", Short(lasted)),
                })
            }
            Command::QuorumChanged { quorate, alive } => {
                self.quorate = quorate;
                Some(EventKind::Quorum { quorate, alive })
            }
            Command::Announce(state) => {
                self.state = state;
                None
            }
            Command::Settled { version } => Some(EventKind::ConfigVersion { version }),
            Command::Reach { link, reach } => self.reach(link, reach),
            Command::Group {
                group,
                event: GroupEvent::State(state),
            } => self.groups.changed(group, state),
            Command::Group { group, event } => Some(self.groups.named(group, event)),
        }
    }

    /// Returns the event of a link that became silent or whole. The interface monitor reports
    /// broken interfaces.
    fn reach(&self, link: LinkId, reach: Reach) -> Option<EventKind> {
        let own = self.config.local_links().find(|own| own.id == link)?;
        let (state, message) = match reach {
            Reach::Broken => return None,
            Reach::Silent => (
                SILENT,
                "no replies from any node, while other links work: check the cable, the switch \
                 port and the VLAN; its addresses move to a node that is not cut off"
                    .to_owned(),
            ),
            Reach::Whole => (
                "well",
                format!(
                    "working for {} s: addresses may be served there again",
                    RECOVERY.as_secs()
                ),
            ),
        };
        Some(EventKind::Interface {
            interface: own.interface.to_owned(),
            state: state.to_owned(),
            message,
        })
    }

    /// Records a change of an interface and returns its event.
    pub(super) fn interface(&mut self, news: InterfaceEvent) -> EventKind {
        if news.interface == SOCKETS {
            self.socket_guard = Some(protocol::SocketGuard {
                attached: news.problem.is_none(),
                problem: news.problem,
            });
            return EventKind::SocketGuard {
                state: news.change.name().to_owned(),
                message: news.message,
            };
        }
        let before = self.interfaces.get(&news.interface);
        let same = before.filter(|before| before.signal == news.signal);
        let view = InterfaceView {
            attachment: news.attachment,
            problem: news.problem,
            signal: news.signal,
            since: same.map_or_else(clock::now, |before| before.since),
        };
        self.interfaces.insert(news.interface.clone(), view);
        EventKind::Interface {
            interface: news.interface,
            state: news.change.name().to_owned(),
            message: news.message,
        }
    }

    /// Records an event of the resource manager and returns its log event.
    pub(super) fn resource_event(&mut self, event: &ResourceEvent) -> Option<EventKind> {
        let ResourceEvent::Vip { vip, event: change } = event else {
            return self.groups.resource_event(event);
        };
        let view = &mut self.vips[*vip];
        match change {
            VipEvent::Takeover { .. } => {
                *view = VipView {
                    held: true,
                    ..VipView::default()
                };
            }
            VipEvent::Release { .. } => *view = VipView::default(),
            VipEvent::Failed { message } => view.error = Some(message.clone()),
            VipEvent::PutBack { message, .. }
            | VipEvent::Claimed { message, .. }
            | VipEvent::Stray { message } => view.note(message),
        }
        Some(EventKind::Vip {
            vip: self.config.vips[*vip].name.clone(),
            event: change.clone(),
        })
    }

    pub(super) fn status(&self, dataplane: &Dataplane) -> anyhow::Result<protocol::Status> {
        let config = &self.config;
        let now = clock::now();
        let counters = dataplane.counters()?;
        let voters = self.stats.voters.load(Relaxed) as usize;
        let claiming_version =
            Some(self.local.read().claiming_version).filter(|version| *version != 0);
        Ok(protocol::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: config.cluster.clone(),
            port: config.port,
            instance: config.instance.clone(),
            node: config.local().name.clone(),
            pid: std::process::id(),
            at_ns: now.as_nanos(),
            uptime_ns: now.since(self.started).as_nanos() as u64,
            interval_ns: config.interval.as_nanos() as u64,
            timeout_ns: config.timeout.as_nanos() as u64,
            lease_ns: config.lease.as_nanos() as u64,
            state: self.state.name().to_owned(),
            quorum: protocol::Quorum {
                quorate: self.quorate,
                alive: self.stats.alive.load(Relaxed) as usize,
                needed: voters / 2 + 1,
                configured: voters,
            },
            config_version: config.version,
            claiming_version,
            counted_version: claiming_version,
            pulse: self.pulse(now, dataplane.votes_lost()?),
            load: self.vitals.show_load(),
            health: self.vitals.show_checks(now),
            nodes: config
                .nodes
                .iter()
                .map(|node| self.node(node, now))
                .collect(),
            vips: self.vips(now),
            maintenance: self.groups.maintenance(),
            config: self.digest(),
            keys: Some(described(&self.keys)),
            groups: config
                .groups
                .iter_enumerated()
                .filter(|(_, group)| !group.is_removed())
                .map(|(index, group)| self.group(index, group, now))
                .collect(),
            failures: self.groups.failures(),
            counters: counters
                .into_iter()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            socket_guard: self.socket_guard.clone(),
            confinement: Some(self.confinement.clone()),
            // The control task fills in this count.
            witness_commands: 0,
            decisions_lost: self.groups.lost_decisions().is_some(),
        })
    }

    fn pulse(&self, now: Boottime, votes_lost: u64) -> protocol::Pulse {
        let stats = &self.stats;
        let rows = self.rows.numbers();
        let stalled = self
            .local_stall_since
            .map_or(Duration::ZERO, |since| now.since(since));
        let granted = stats.granted.get();
        let scheduling = granted.map_or(Scheduling::Ordinary, |granted| granted.scheduling);
        let (runtime, period) = scheduling.reserved();
        let refused = granted.map(Granted::reason);
        let local_stalls = protocol::LocalStalls {
            local_stall: stats.local_stall.load(Relaxed),
            local_stall_count: stats.local_stalls.load(Relaxed),
            local_stall_ns: (self.local_stall_for + stalled).as_nanos() as u64,
        };
        protocol::Pulse {
            scheduling: scheduling.name().to_owned(),
            realtime_priority: scheduling.priority(),
            runtime_ns: runtime.as_nanos() as u64,
            period_ns: period.as_nanos() as u64,
            overruns: stats.overruns.load(Relaxed),
            scheduling_refused: refused.filter(|refused| !refused.is_empty()),
            memory_locked: stats.memory_locked.load(Relaxed),
            ticks: stats.ticks.load(Relaxed),
            missed_ticks: stats.missed_ticks.load(Relaxed),
            late_ticks: stats.late_ticks.load(Relaxed),
            max_lateness_ns: stats.max_lateness_ns.load(Relaxed),
            local_stalls,
            former: local_stalls.into(),
            send_errors: stats.send_errors.load(Relaxed),
            events_lost: rows.map(|row| self.rows.row(row).events_lost).sum(),
            votes_lost,
            steal_ms: self.vitals.steal().as_millis() as u64,
            starved: self.vitals.show_starved(),
        }
    }

    /// Returns the status entry of the node called `name`.
    pub(super) fn node_named(&self, name: &str, now: Boottime) -> Option<protocol::Node> {
        let node = self.config.nodes.iter().find(|node| node.name == name)?;
        Some(self.node(node, now))
    }

    pub(super) fn is_quorate(&self) -> bool {
        self.quorate
    }

    fn node(&self, node: &Node, now: Boottime) -> protocol::Node {
        let peer = self.peers.position(|peer| peer.node == node.id);
        let links = node.addresses.iter().zip(&node.interfaces).enumerate();
        let links = links.map(|(index, (address, interface))| {
            let link = LinkId(index as u8);
            let own = self.interfaces.get(interface).filter(|_| peer.is_none());
            let outage = self.outage_of_link(link, now);
            let attachment = own.and_then(|own| own.attachment.as_ref());
            protocol::Link {
                link: link.0,
                interface: interface.clone(),
                address: address.to_string(),
                xdp_mode: attachment.map(|now| now.how.name().to_owned()),
                xdp_fallback: attachment.and_then(|now| now.fallback.clone()),
                problem: own.and_then(|own| own.problem.clone()),
                // The last known state of the link is out of date.
                state: peer.map(|peer| match outage {
                    Some(_) => LinkState::Unknown.name().to_owned(),
                    None => self.peers[peer].links[link].name().to_owned(),
                }),
                own_outage: outage,
                peer: peer.map(|peer| self.peer_link(peer, link, now)),
            }
        });
        let row = peer.map(|peer| self.latest(peer));
        let (state, agent, config, groups, health) = match peer.zip(row) {
            None => {
                let health = self.vitals.health();
                let owned = self.stats.groups.iter();
                let owned = owned.filter(|group| group.open_until.load(Relaxed) > now.as_nanos());
                let owned = u16::try_from(owned.count()).unwrap_or(u16::MAX);
                let state = match self.state {
                    _ if health.is_fatal() => PeerState::Unhealthy,
                    NodeState::Draining => PeerState::Draining,
                    _ => PeerState::Up,
                };
                let state = state.name();
                (state, self.state, self.digest(), owned, health)
            }
            Some((peer, row)) => {
                let said =
                    u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire);
                let state = match self.is_alone(now) {
                    true => PeerState::Unknown,
                    false => self.peers[peer].state,
                };
                let state = state.name();
                let health = Health(row.health);
                (
                    state,
                    said,
                    self.digest_of(&row),
                    row.owned().groups(),
                    health,
                )
            }
        };
        let row = row.filter(|row| row.incarnation != 0);
        let keys = self.keys_of(node.id);
        let failing = self.failing(node.id, health);
        let complaint = match peer {
            None => self.vitals.complaint(),
            Some(_) => self.groups.complaint(node.id),
        };
        protocol::Node {
            name: node.name.clone(),
            id: node.id.0,
            local: peer.is_none(),
            witness: node.role == Role::Witness,
            state: state.to_owned(),
            agent: agent.name().to_owned(),
            config,
            config_version: match peer {
                None => Some(self.config.version),
                Some(peer) => {
                    Some(self.latest(peer).config_version).filter(|version| *version != 0)
                }
            },
            key: keys.and_then(|(_, seals)| seals),
            same_keys: keys.map(|(mark, _)| mark == self.keys.mark()),
            unanswered_ns: self.unanswered(node.id, now),
            refused_by: self.refused_by(node.id),
            abstains: self.abstention(node.id, now),
            groups,
            load: match peer {
                None => self.vitals.load(),
                Some(_) => row.map(|row| row.load),
            },
            health: health.0,
            complaint: complaint.filter(|_| !failing.is_empty()),
            failing,
            pulse_age_us: row.map(|row| row.pulse_age_us),
            control_age_us: row.map(|row| row.control_age_us),
            reason_age_us: row.map(|row| row.control_age_us),
            links: links.collect(),
        }
    }

    /// Returns the remaining abstention of this node's acceptor.
    pub(super) fn own_abstention(&self, now: Boottime) -> Option<protocol::Abstention> {
        abstentions::abstention(self.slots.votes_from(), false, now)
    }

    /// Returns the remaining abstention of an answering node's acceptor.
    fn abstention(&self, node: NodeId, now: Boottime) -> Option<protocol::Abstention> {
        if node == self.config.local().id {
            return self.own_abstention(now);
        }
        let known = self.abstentions.of(node, self.config.max_lease, now);
        known.filter(|_| self.lives(node))
    }

    /// Records the remaining abstention of a peer from its report, which has just arrived.
    pub(super) fn abstains(&mut self, node: NodeId, for_ns: u64) {
        let left = Duration::from_nanos(for_ns).min(self.config.max_lease);
        self.abstentions.reported(node, left, clock::now());
    }

    /// Returns the voting state of all nodes. A peer without an answer since `asked` counts as
    /// absent.
    pub(super) fn voters(&self, now: Boottime, asked: Boottime) -> Vec<Voter> {
        let voter = |node: &Node| Voter {
            node: node.id,
            name: node.name.clone(),
            absence: self.absence(node.id, asked),
            abstains: self.abstention(node.id, now),
        };
        self.config.nodes.iter().map(voter).collect()
    }

    /// Returns the reason why the vote of a node does not count, if any, apart from an abstention.
    fn absence(&self, node: NodeId, asked: Boottime) -> Option<Absence> {
        let peer = self.config.peer_index(node)?;
        let answered_at = Boottime::from_nanos(self.latest(peer).last_reply_at);
        match () {
            () if !self.lives(node) => Some(Absence::Down),
            () if self.groups.is_stopping(node) => Some(Absence::Stopping),
            () if answered_at < asked => Some(Absence::Silent),
            () => None,
        }
    }

    /// Returns whether a live peer has not answered since `asked`.
    pub(super) fn is_any_silent_since(&self, asked: Boottime) -> bool {
        let mut peers = self.config.peers();
        peers.any(|peer| self.absence(peer.id, asked) == Some(Absence::Silent))
    }

    /// Returns the nodes that refuse the heartbeats of `node` as outdated, as far as known.
    fn refused_by(&self, node: NodeId) -> Vec<String> {
        let lives = |by: &NodeId| *by != node && self.lives_or_asks(*by);
        let others = self.groups.refusing(node).filter(lives);
        let local = self.config.local().id;
        let own = self.groups.refuses(node).then_some(local);
        let mut all: Vec<NodeId> = others.chain(own).collect();
        all.sort_unstable();
        all.into_iter().map(|by| self.name(by)).collect()
    }

    /// Returns whether a peer answers, or at least sends probes.
    fn lives_or_asks(&self, node: NodeId) -> bool {
        let asks = |peer: PeerIndex| {
            let row = self.latest(peer);
            clock::now().since(Boottime::from_nanos(row.last_asked_at)) < self.config.timeout * 2
        };
        let peer = self.peers.position(|peer| peer.node == node);
        self.lives(node) || peer.is_some_and(asks)
    }

    /// Returns the fault of one of this node's own links, if the link carries no traffic.
    fn outage_of_link(&self, link: LinkId, now: Boottime) -> Option<protocol::Outage> {
        let own = self.config.local_links().nth(link.0.into())?;
        let view = self.interfaces.get(own.interface)?;
        (!view.signal.is_up()).then(|| protocol::Outage {
            signal: view.signal.name().to_owned(),
            age_ns: now.since(view.since).as_nanos() as u64,
        })
    }

    /// Returns whether none of this node's own links carries traffic: the state of all peers is
    /// then unknown.
    fn is_alone(&self, now: Boottime) -> bool {
        let mut links = (0..self.config.links.len() as u8).map(LinkId);
        links.all(|link| self.outage_of_link(link, now).is_some())
    }

    /// Returns the nodes that do not reach the network of a group's addresses, as far as known.
    pub(super) fn cut_off(&self, group: &Group, broken: &[String]) -> Vec<String> {
        let links = self.links_of(group);
        let silent = |node: &NodeId| {
            let peer = self.peers.position(|peer| peer.node == *node);
            let owned = match peer {
                Some(peer) if self.peers[peer].state.is_alive() => self.latest(peer).owned(),
                Some(_) => return false,
                None => self.local.read().owned(),
            };
            owned.cut_off().meets(links)
        };
        let nodes = group.rank.iter();
        let named = nodes.map(|node| (node, self.name(*node)));
        let named = named.filter(|(node, name)| broken.contains(name) || silent(node));
        named.map(|(_, name)| name).collect()
    }

    /// Returns the links whose interfaces carry a group's addresses.
    fn links_of(&self, group: &Group) -> LinkSet {
        let vips = self.config.vips.iter_enumerated();
        let vips = vips.filter(|(index, _)| group.has_address(*index));
        let interfaces: Vec<&str> = vips.map(|(_, vip)| vip.interface.as_str()).collect();
        let links = self.config.local_links();
        let links = links.filter(|link| interfaces.contains(&link.interface));
        links.fold(LinkSet::default(), |all, link| {
            all.and(LinkSet::of(link.id))
        })
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

    fn peer_link(&self, peer: PeerIndex, link: LinkId, now: Boottime) -> protocol::PeerLink {
        let number = RowNumber::first_of(peer, self.config.links.len()).on(link);
        let row = self.rows.row(number);
        let last_reply = (row.last_reply_at != 0).then(|| Boottime::from_nanos(row.last_reply_at));
        protocol::PeerLink {
            rtt_ns: row.rtt_ns,
            loss: self.losses.of(number, &row),
            last_reply_age_ns: last_reply.map(|at| now.since(at).as_nanos() as u64),
            probes: row.probes_left,
            replies: row.replies,
            late_replies: row.late_replies,
            answered: row.answered,
            deadlines: row.deadlines,
            bad_tags: row.bad_tags,
            bad_macs: row.bad_tags,
            unknown_keys: row.unknown_keys,
            refused_from: (row.refused_at != 0).then(|| ethernet(row.refused_from)),
        }
    }

    fn vips(&self, now: Boottime) -> Vec<protocol::Vip> {
        let is_used = |vip: VipIndex| {
            let groups = self.config.groups.iter();
            let mut kept = groups.filter(|group| !group.is_removed());
            kept.any(|group| group.has_address(vip))
        };
        let vips = self.config.vips.iter_enumerated();
        vips.filter(|(index, _)| is_used(*index))
            .map(|(index, vip)| self.vip(index, vip, now))
            .collect()
    }

    fn vip(&self, index: VipIndex, vip: &Vip, now: Boottime) -> protocol::Vip {
        let claim = self.claim(vip.group, now);
        let guard = self.guard.row(index).unwrap_or_default();
        protocol::Vip {
            name: vip.name.clone(),
            address: vip.address.to_string(),
            interface: vip.interface.clone(),
            group: vip.group.0,
            owner: claim.owner.map(|owner| self.name(owner)),
            lease: claim.lease,
            votes: claim.votes,
            guard: protocol::Guard {
                open: guard.open_until > now.as_nanos(),
                dropped_in: guard.dropped_in,
                dropped_out: guard.dropped_out,
            },
            held: self.vips[index].held,
            error: self.vips[index].error.clone(),
            notice: self.vips[index].shown_notice(now),
        }
    }

    fn group(&self, index: GroupIndex, group: &Group, now: Boottime) -> protocol::Group {
        let claim = self.claim(group.id, now);
        let lives = |node| {
            let peer = self.peers.iter().find(|peer| peer.node == node);
            peer.is_some_and(|peer| peer.state != PeerState::Down)
        };
        let described = self
            .groups
            .describe(index, claim.owner, lives, |node| self.name(node));
        let remains = self.groups.remains(group).into_iter();
        let remains = remains.filter(|(node, _)| claim.owner != Some(*node));
        let unreported = claim
            .owner
            .is_some_and(|owner| self.unanswered(owner, now).is_some());
        // Addresses need only a lease, and the heartbeats carry the lease.
        let addresses = group
            .resources
            .iter()
            .all(|one| matches!(one.kind, ResourceKind::Vip(_)));
        protocol::Group {
            lease: claim.lease,
            votes: claim.votes,
            unreported,
            running: described.running || unreported && addresses,
            remains: remains
                .map(|(node, since)| self.remains(node, since, now))
                .collect(),
            cut_off: self.cut_off(group, &described.cut_off),
            lacking: self.lacking(group),
            ..described
        }
    }

    /// Returns the nodes with an agent whose configurations lack the group, as far as known.
    fn lacking(&self, group: &Group) -> Vec<String> {
        let lacking = self.groups.lacking(group, |node| self.is_awake(node));
        lacking.into_iter().map(|node| self.name(node)).collect()
    }

    fn remains(&self, node: NodeId, since: Boottime, now: Boottime) -> protocol::Remains {
        protocol::Remains {
            node: self.name(node),
            cause: self.why_unknown(node).to_owned(),
            for_ns: now.since(since).as_nanos() as u64,
        }
    }

    /// Returns why the resources that run on a peer are unknown.
    fn why_unknown(&self, node: NodeId) -> &'static str {
        let peer = self.peers.position(|peer| peer.node == node);
        match peer.map(|peer| (self.peers[peer].state, self.latest(peer).state)) {
            None | Some((PeerState::Down | PeerState::Unknown, _)) => "unreachable",
            Some((PeerState::AgentStalled, state)) if state == NodeState::Responder as u16 => {
                "agent dead"
            }
            Some((PeerState::AgentStalled, _)) => "agent dead or stalled",
            Some(_) => "not looked at yet",
        }
    }

    /// Returns the time for which a peer whose heartbeats arrive has not answered over TCP.
    fn unanswered(&self, node: NodeId, now: Boottime) -> Option<u64> {
        let peer = self.peers.iter().find(|peer| peer.node == node)?;
        let answers = peer.state.is_alive() && peer.state != PeerState::AgentStalled;
        let since = self.groups.unanswered_since(node).filter(|_| answers)?;
        Some(now.since(since).as_nanos() as u64)
    }

    /// Records the loss of a peer's agent, and logs the groups that may still run there.
    fn agent_lost(&mut self, node: NodeId, now: Boottime) {
        let slots = &self.slots;
        // A lease that has just ended counts, too: it may have ended before this node noticed the
        // loss.
        let owns = |group: &Group| {
            let slot = slots.slot(group.id);
            slot.owner == u32::from(node.0)
                && now < Boottime::from_nanos(slot.expires).after(JUST_BEFORE)
        };
        let groups = self.groups.agent_lost(node, now, owns);
        if !groups.is_empty() {
            log::warn!(
                "node {}: {}: {} may run on there beside the node that takes over, since no agent \
                 is known to stop it",
                self.name(node),
                self.why_unknown(node),
                groups.join(", ")
            );
        }
    }

    fn claim(&self, group: GroupId, now: Boottime) -> Claim {
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

fn trace(silence: Silence) -> DownTrace {
    let nanos = |at: Option<Boottime>| at.map_or(0, Boottime::as_nanos);
    DownTrace {
        last_reply_ns: nanos(silence.last_reply),
        deadline_ns: silence.deadline.as_nanos(),
        fired_ns: nanos(silence.fired),
        awake_ns: silence.decided.as_nanos(),
    }
}
