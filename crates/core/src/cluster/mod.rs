//! One node's view of its cluster, and the decisions that follow from it.
//!
//! The caller runs [`Cluster::step`] at each tick, at each event of the kernel, and at
//! [`Cluster::next_deadline`]. Votes come in by [`Cluster::count`]. Actions come out as
//! [`Command`]s, requests to the acceptors come out of [`Cluster::requests`], and
//! [`Group::open_until`] is the time until which each group may be served.

mod facts;
mod groups;
mod members;
mod moves;
mod reach;
mod slots;
mod terms;

use std::time::Duration;

use heartbeat_common::{
    maps::{PeerRow, VoteEvent},
    time::Boottime,
    wire::{GroupId, Health, LeaseEntry, LinkId, NodeId, NodeState},
};

use crate::{
    eligibility::Eligibility,
    group::{Group, GroupEvent, GroupPlan, Note, Serving},
    index::{AcceptorIndex, GroupIndex, PeerIndex},
    index_vec::{ByGroup, IndexVec},
    link::{Finding, LinkDetector, Silence, last_reply},
    membership::Membership,
    network,
    peer::{Peer, PeerState},
    placement::{GroupSnapshot, Layout, NodeView, Ranked, View},
    proposer::Proposer,
    reach::Distance,
    report::{GroupReports, Reported},
    timing::Timing,
};
use facts::{LocalStall, LocalState, Placing, Quorum, Reaches};
pub use slots::MAX_STEPS;
pub use terms::{Command, Intent, Member, Plan, StepInput};

#[derive(Clone, Debug)]
pub struct Cluster {
    local: NodeId,
    timing: Timing,
    auto_failback: bool,
    peers: IndexVec<PeerIndex, Peer>,
    membership: Membership,
    groups: ByGroup<Group>,
    own: LocalState,
    stall: LocalStall,
    quorum: Quorum,
    placing: Placing,
    reach: Reaches,
    /// The round at which the claims of new groups begin.
    round: u64,
    /// Commands of one group, for reuse.
    scratch: Vec<GroupEvent>,
}

/// Nanoseconds of wall-clock time to a ballot round, as a power of two. A round is a little more
/// than a millisecond, so the clock stays ahead of the rounds that contests use up.
const ROUND_SHIFT: u32 = 20;

impl Cluster {
    pub fn new(plan: Plan) -> Self {
        let Plan {
            local,
            timing,
            peers,
            links,
            membership,
            layout,
            auto_failback,
            incarnation,
        } = plan;
        let mut cluster = Self {
            local,
            timing,
            auto_failback,
            peers: members::peers(peers, links),
            membership,
            groups: ByGroup::default(),
            own: LocalState::new(),
            stall: LocalStall::default(),
            quorum: Quorum::default(),
            placing: Placing::default(),
            reach: Reaches {
                links: vec![reach::Port::default(); links].into(),
                ..Reaches::default()
            },
            round: incarnation.0 >> ROUND_SHIFT,
            scratch: Vec::new(),
        };
        cluster.count_voting_nodes();
        cluster.replan(layout);
        // No other node learns of the groups of the first plan from a reload, as far as this node
        // can know.
        cluster.groups.iter_mut().for_each(Group::end_introduction);
        cluster
    }

    /// Sets whether groups go back to better nodes from now on.
    pub fn set_auto_failback(&mut self, auto_failback: bool) {
        self.auto_failback = auto_failback;
    }

    /// Sets the failing checks of this node, which its heartbeats carry too.
    pub fn set_health(&mut self, health: Health) {
        self.own.health = health;
    }

    /// Sets the load of this node, per mille, which its heartbeats carry too.
    pub fn set_load(&mut self, load: u16) {
        self.own.load = load;
    }

    /// Replaces the layout, with its groups in this order. A group that existed before, by its id,
    /// keeps its state. A group that the new layout lacks must have stopped here, and must hold no
    /// lease.
    pub fn replan(&mut self, layout: Layout) {
        self.placing.burdens = layout.burdens();
        let everybody = self.peers.iter().map(|peer| peer.node);
        let everybody = everybody.chain([self.local]);
        let view = |node| NodeView::new(node, layout.capacity(node));
        self.placing.nodes = everybody.map(view).collect();
        self.placing.nodes.sort_by_key(|view| view.node);
        let Layout {
            groups: plans,
            constraints,
            policy,
            capacities: _,
        } = layout;
        self.reach.networks = network::networks(&plans, &constraints);
        self.reach.distances = vec![Distance::default(); plans.len()].into();
        let mut old = std::mem::take(&mut self.groups).into_vec();
        let rounds = old.iter().flat_map(Group::proposers).map(Proposer::round);
        // A group that goes and comes back must not use a ballot again.
        self.round = rounds.fold(self.round, u64::max);
        let majority_config = self.majority_config();
        let term = self.timing.term(self.timing.lease);
        let idle = Proposer::new(self.local, majority_config, self.round, term);
        let group = |plan: GroupPlan| match old.iter().position(|old| old.plan.id == plan.id) {
            Some(at) => old.swap_remove(at).replanned(plan, &idle),
            None => Group::new(plan, idle.clone()).introduced(),
        };
        self.groups = plans.into_iter().map(group).collect();
        self.placing.seen = vec![GroupSnapshot::default(); self.groups.len()].into();
        (self.placing.constraints, self.placing.policy) = (constraints, policy);
        self.placing.rebalancer.forget();
        self.placing.checked_at = Boottime::default();
    }

    /// Adopts the group with this index, which an earlier agent of this node serves until `until`.
    pub fn inherit(&mut self, group: GroupIndex, until: Boottime) {
        self.groups[group].inherit(until);
    }

    /// Prepares a graceful restart: asks for a last lease of this length for every served group, so
    /// that the next agent may go on within it. This agent takes no other group from now on.
    pub fn prepare_restart(&mut self, lease: Duration) {
        self.own.restarts = true;
        let term = self.timing.term(lease);
        self.groups
            .iter_mut()
            .for_each(|group| group.prepare_restart(term));
    }

    /// Whether every served group has a lease that is longer than usual, and no group is being
    /// stopped.
    pub fn is_ready_for_restart(&self, now: Boottime) -> bool {
        let usual = now.after(self.timing.term(self.timing.lease).counted);
        self.groups.iter().all(|group| match group.serving() {
            Serving::Started => group.lease_end() > usual,
            Serving::Stopping => false,
            Serving::Stopped => true,
        })
    }

    /// Whether a group is being stopped. Its lease must be renewed until it has stopped.
    pub fn is_stopping(&self) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.serving() == Serving::Stopping)
    }

    /// Decides from the rows and slots that the caller read.
    pub fn step(&mut self, input: &StepInput<'_>, out: &mut Vec<Command>) {
        let StepInput {
            now, late, rows, ..
        } = *input;
        if late > self.timing.slack() {
            self.begin_grace(now);
            self.stall.stalled_until = now;
        }
        self.own.hangs = now.since(input.control_tick_at) > self.timing.agent_stall;
        self.read_rows(now, rows, out);
        self.judge_links(now, out);
        self.settle(now, out);
        self.end_local_stall(now, out);
        self.count_quorum(now, out);
        self.advance_state(now, out);
        self.note_fitness(now);
        self.view_nodes(now);
        self.step_groups(input, out);
    }

    /// The latest time of the next [`Cluster::step`], apart from the ticks.
    pub fn next_deadline(&self) -> Option<Boottime> {
        let silences = self
            .peers
            .iter()
            .flat_map(|peer| &peer.links)
            .filter_map(LinkDetector::deadline);
        let groups = self.groups.iter().filter_map(Group::next_check);
        silences.chain(groups).min()
    }

    /// Reads the rows of all peers.
    fn read_rows(&mut self, now: Boottime, rows: &[PeerRow], out: &mut Vec<Command>) {
        let mut stalled = false;
        for index in self.peers.indices() {
            stalled |= self.read_peer(index, now, rows, out);
        }
        if stalled {
            self.begin_grace(now);
            self.stall.stalled_until = now;
        }
    }

    /// Reads the row of each link of a peer. Returns whether a stall of this node explains a
    /// silence of the peer.
    fn read_peer(
        &mut self,
        index: PeerIndex,
        now: Boottime,
        rows: &[PeerRow],
        out: &mut Vec<Command>,
    ) -> bool {
        let mut stalled = false;
        let mut silence: Option<Silence> = None;
        let health = self.peers[index].last_reply.health;
        for link in self.peers[index].links.indices() {
            let row = &rows[self.peers[index].first_row.on(link).0];
            match self.read_link(index, link, row, now, out) {
                Finding::Silent(found) => {
                    silence = silence
                        .filter(|other| other.deadline > found.deadline)
                        .or(Some(found));
                }
                Finding::Stalled { .. } => stalled = true,
                Finding::Answered | Finding::Waiting | Finding::Overdue => {}
            }
            self.peers[index].listen(row);
        }
        let peer = &mut self.peers[index];
        if peer.last_reply.health != health {
            out.push(Command::PeerHealth {
                node: peer.node,
                health: peer.last_reply.health,
            });
        }
        let (from, to) = (peer.state, peer.judge(&self.timing));
        if from != to {
            peer.state = to;
            let silence = silence.filter(|_| to == PeerState::Down);
            out.push(Command::PeerChanged {
                node: peer.node,
                from,
                to,
                silence,
            });
        }
        stalled
    }

    /// Reads one row of a peer with the detector of its link.
    fn read_link(
        &mut self,
        index: PeerIndex,
        link: LinkId,
        row: &PeerRow,
        now: Boottime,
        out: &mut Vec<Command>,
    ) -> Finding {
        let peer = &mut self.peers[index];
        let from = peer.links[link].state();
        let finding = peer.links[link].observe(row, now, &self.timing);
        if let Finding::Stalled { late } = finding
            && self.stall.local_stall_since.replace(now).is_none()
        {
            self.stall.local_stalls += 1;
            out.push(Command::LocalStallBegan { late });
        }
        let to = peer.links[link].state();
        if from != to {
            out.push(Command::LinkChanged {
                node: peer.node,
                link,
                from,
                to,
            });
        }
        let replied_at = last_reply(row);
        let port = &mut self.reach.links[link];
        port.last_reply_at = replied_at.max(port.last_reply_at);
        self.stall.record_reply(replied_at);
        finding
    }

    /// Begins the grace period after a stall. A stall explains missing replies, so an existing
    /// majority counts for one more timeout. The grace period must not restore a majority that was
    /// lost.
    fn begin_grace(&mut self, now: Boottime) {
        if self.quorum.quorate {
            self.stall.grace_since.get_or_insert(now);
        }
    }

    /// Ends the local stall with the first reply after it, or two timeouts after the last stall
    /// that explained a silence: a silence that began anew has been counted by then.
    fn end_local_stall(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let Some(since) = self.stall.local_stall_since else {
            return;
        };
        let answered = self.stall.last_reply_at > Some(since);
        if answered || now.since(since) > self.timing.timeout * 2 {
            self.stall.local_stall_since = None;
            out.push(Command::LocalStallEnded);
        }
    }

    fn count_quorum(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let alive = self.alive(now);
        let quorate = self.membership.claiming().is_some() && alive >= self.needed();
        if quorate != self.quorum.quorate {
            self.quorum.quorate = quorate;
            self.quorum.since = quorate.then_some(now);
            out.push(Command::QuorumChanged { quorate, alive });
        }
    }

    /// The number of nodes that count for a majority: this node, and peers that are not down and
    /// replied lately.
    ///
    /// A node that cannot send declares no peer down, but it must not count the peers either. After
    /// a stall it gets one more timeout, once, to receive their replies again.
    pub fn alive(&self, now: Boottime) -> usize {
        let patience = self.timing.timeout * 2;
        let answers = |peer: &Peer| {
            peer.state.is_alive()
                && peer
                    .last_reply
                    .at
                    .max(self.stall.grace_since)
                    .is_some_and(|at| now.since(at) <= patience)
        };
        let lives = std::iter::once(true).chain(self.peers.iter().map(answers));
        let here = lives.zip(&self.quorum.voting);
        here.filter(|(lives, votes)| *lives && **votes).count()
    }

    /// The number of nodes that make a majority.
    pub fn needed(&self) -> usize {
        self.voters().majority()
    }

    fn advance_state(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let left_alone = !self.groups.is_empty() && self.groups.iter().all(Group::is_maintained);
        let settled = self
            .quorum
            .since
            .is_some_and(|since| now.since(since) >= self.timing.timeout);
        let state = match (self.own.intent, self.own.state) {
            (Intent::Drain, _) => NodeState::Draining,
            // Other nodes may still receive this node's heartbeats. They must not wait for this
            // node to serve. When it has its majority back, they must see it as starting first.
            _ if !self.quorum.quorate => NodeState::Starting,
            (Intent::Standby, _) => NodeState::Standby,
            (Intent::Empty, _) => NodeState::Draining,
            (Intent::Serve, NodeState::Starting) if !settled => NodeState::Starting,
            (Intent::Serve, _) if left_alone => NodeState::Maintenance,
            (Intent::Serve, _) => NodeState::Active,
        };
        if state != self.own.state {
            self.own.state = state;
            out.push(Command::Announce(state));
        }
    }

    fn note_fitness(&mut self, now: Boottime) {
        for peer in &mut self.peers {
            if peer.eligibility(now, &self.timing) == Eligibility::Eligible {
                peer.fit_since.get_or_insert(now);
            } else {
                peer.fit_since = None;
            }
        }
    }

    /// Counts the votes of the acceptor of peer `acceptor`, or of this node's own acceptor
    /// (`None`). [`Cluster::step`] must follow.
    pub fn count(&mut self, acceptor: Option<PeerIndex>, votes: &VoteEvent, now: Boottime) {
        // docs/design/leases.md#rule-3: this node's own vote is the answer of its own kernel,
        // counted like all other votes.
        let acceptor = acceptor.map_or(AcceptorIndex::OWN, AcceptorIndex::of_peer);
        let left = Boottime::from_nanos(votes.t1);
        for vote in votes.entries.iter().take(votes.count as usize) {
            let group = GroupId(vote.group);
            let timing = &self.timing;
            if let Some(group) = self.groups.iter_mut().find(|own| own.plan.id == group) {
                group.count(acceptor, vote, left, now, timing);
            } else {
                let groups = self.groups.iter_mut();
                groups.for_each(|own| own.count_address(acceptor, vote, left, now, timing));
            }
        }
    }

    /// Records that this node's own acceptor received the release of the lease of this group, or of
    /// an address. [`Cluster::step`] must follow.
    pub fn freed(&mut self, group: GroupId) {
        if let Some(group) = self.groups.iter_mut().find(|own| own.plan.id == group) {
            group.freed();
        }
    }

    /// Records that all resources of the group with this index have stopped on this node.
    pub fn stopped(&mut self, group: GroupIndex, now: Boottime) {
        self.groups[group].stopped(now);
    }

    /// Moves the group with this index to `to`, by an operator's command. Its owner hands it over
    /// at the next step.
    pub fn move_to(&mut self, group: GroupIndex, to: NodeId) {
        self.groups[group].move_to(to, self.local);
    }

    /// Records a fact about the group with this index.
    pub fn note(&mut self, group: GroupIndex, note: Note) {
        self.groups[group].note(note);
    }

    /// Records a peer's report, with `groups` in the order of this node's groups. Returns the
    /// outdated report, for a caller that must not free memory.
    pub fn reported(&mut self, node: NodeId, report: GroupReports) -> GroupReports {
        match self.peers.iter_mut().find(|peer| peer.node == node) {
            Some(peer) => std::mem::replace(&mut peer.report, report),
            None => report,
        }
    }

    /// Sets the intent of this node from now on.
    pub fn intend(&mut self, intent: Intent) {
        // A draining node is about to stop, and no other intent of an operator changes that.
        if self.own.intent != Intent::Drain {
            self.own.intent = intent;
        }
    }

    /// The lease entries that the probes carry, as many as fit into each.
    pub fn requests(&self) -> impl Iterator<Item = LeaseEntry> {
        self.groups.iter().flat_map(Group::requests)
    }

    /// Whether a new request must be sent now and not at the next tick. Returns true once for each
    /// such request.
    pub fn take_urgency(&mut self) -> bool {
        let urgent = |any, group: &mut Group| group.take_urgency() | any;
        self.groups.iter_mut().fold(false, urgent)
    }

    pub fn local(&self) -> NodeId {
        self.local
    }

    pub fn peers(&self) -> &IndexVec<PeerIndex, Peer> {
        &self.peers
    }

    /// The state that this node's heartbeats carry.
    pub fn state(&self) -> NodeState {
        self.own.state
    }

    pub fn quorate(&self) -> bool {
        self.quorum.quorate
    }

    pub fn is_locally_stalled(&self) -> bool {
        self.stall.local_stall_since.is_some()
    }

    pub fn local_stalls(&self) -> u64 {
        self.stall.local_stalls
    }

    pub fn groups(&self) -> &ByGroup<Group> {
        &self.groups
    }

    /// The ranking of the nodes for the group with this index, with reasons, as this node last saw
    /// them.
    pub fn ranking(&self, group: GroupIndex) -> Vec<Ranked> {
        let distance = &self.reach.distances[group];
        let reported = |node| match self.peers.iter().find(|peer| peer.node == node) {
            Some(peer) => peer.reported_with(group, &self.reach.networks[group], distance),
            None => Reported {
                cut_off: distance.is_beyond(distance.own),
                ..Reported::default()
            },
        };
        self.view().rank(&self.groups[group].plan, group, reported)
    }

    fn view(&self) -> View<'_> {
        View {
            policy: &self.placing.policy,
            constraints: &self.placing.constraints,
            nodes: &self.placing.nodes,
            seen: &self.placing.seen,
            burdens: &self.placing.burdens,
            local: self.local,
        }
    }
}
