//! One node's view of its cluster, and what follows from it.
//!
//! Driven by [`Cluster::step`]: at each tick, at each deadline event of the kernel, and at
//! [`Cluster::next_deadline`]. What is to be done comes out as [`Command`]s.

use std::time::Duration;

use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{LinkId, NodeId, NodeState},
};

use crate::{
    link::{Finding, LinkDetector, LinkState, Silence, last_reply},
    ownership::{self, Decision, Standing},
    peer::{Peer, PeerState},
    timing::Timing,
};

/// The kernel's rows, by index.
pub trait Rows {
    fn row(&self, index: usize) -> PeerRow;
}

impl Rows for [PeerRow] {
    fn row(&self, index: usize) -> PeerRow {
        self[index]
    }
}

/// An address to be served by one node, as the rule needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// All nodes that may serve it, the best first.
    pub ranked: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    LinkChanged {
        node: NodeId,
        link: LinkId,
        from: LinkState,
        to: LinkState,
    },
    /// `silence` comes with `to: Down`: the one of the link that was the last to fall silent.
    PeerChanged {
        node: NodeId,
        from: PeerState,
        to: PeerState,
        silence: Option<Silence>,
    },
    /// This node stalled: for now it trusts no silence.
    BecameDeaf {
        late: Duration,
    },
    Hears,
    QuorumChanged {
        quorate: bool,
        alive: usize,
    },
    /// What this node says of itself from now on.
    Announce(NodeState),
    /// Who is to serve the address with this index, as this node sees it.
    OwnerChanged {
        vip: usize,
        owner: Option<NodeId>,
    },
    /// Serve the address with this index.
    Acquire {
        vip: usize,
    },
    /// Stop serving it.
    Release {
        vip: usize,
    },
}

#[derive(Clone, Debug)]
pub struct Cluster {
    local: NodeId,
    timing: Timing,
    peers: Vec<Peer>,
    vips: Vec<Vip>,
    /// Which addresses this node has decided to serve.
    serving: Vec<bool>,
    /// Who was last decided to own each address.
    owners: Vec<Option<NodeId>>,
    quorate: bool,
    /// Since when without interruption.
    quorate_since: Option<Boottime>,
    state: NodeState,
    active_since: Option<Boottime>,
    deaf_since: Option<Boottime>,
    deaf_count: u64,
    /// When the first stall since the last reply from anybody ended.
    excused_at: Option<Boottime>,
    heard_at: Option<Boottime>,
}

impl Cluster {
    /// `peers` in the order of their rows: peer *i* has rows *i* · `links` to (*i* + 1) · `links` − 1.
    pub fn new(
        local: NodeId,
        timing: Timing,
        peers: impl IntoIterator<Item = NodeId>,
        links: usize,
        vips: Vec<Vip>,
    ) -> Self {
        let peers: Vec<Peer> = peers
            .into_iter()
            .enumerate()
            .map(|(i, node)| Peer::new(node, i * links, links))
            .collect();
        Self {
            local,
            timing,
            peers,
            serving: vec![false; vips.len()],
            owners: vec![None; vips.len()],
            vips,
            quorate: false,
            quorate_since: None,
            state: NodeState::Starting,
            active_since: None,
            deaf_since: None,
            deaf_count: 0,
            excused_at: None,
            heard_at: None,
        }
    }

    /// Looks at all rows at `now`. `late` is by how much this call missed the time it was meant for.
    pub fn step(
        &mut self,
        now: Boottime,
        late: Duration,
        rows: &(impl Rows + ?Sized),
        out: &mut Vec<Command>,
    ) {
        if late > self.timing.slack() {
            self.excuse(now);
        }
        self.look(now, rows, out);
        self.hear_again(now, out);
        self.count_quorum(now, out);
        self.advance_state(now, out);
        self.assign(now, out);
    }

    /// When [`Cluster::step`] should be called at the latest, beside the ticks.
    pub fn next_deadline(&self) -> Option<Boottime> {
        self.peers
            .iter()
            .flat_map(|peer| &peer.links)
            .filter_map(LinkDetector::deadline)
            .min()
    }

    fn look(&mut self, now: Boottime, rows: &(impl Rows + ?Sized), out: &mut Vec<Command>) {
        let mut stalled = false;
        for peer in &mut self.peers {
            let mut silence: Option<Silence> = None;
            for index in 0..peer.links.len() {
                let row = rows.row(peer.first_row + index);
                let from = peer.links[index].state();
                match peer.links[index].observe(&row, now, &self.timing) {
                    Finding::Silent(found) => {
                        silence = silence
                            .filter(|other| other.deadline > found.deadline)
                            .or(Some(found));
                    }
                    Finding::Stalled { late } => {
                        stalled = true;
                        if self.deaf_since.replace(now).is_none() {
                            self.deaf_count += 1;
                            out.push(Command::BecameDeaf { late });
                        }
                    }
                    Finding::Heard | Finding::Waiting | Finding::Overdue => {}
                }
                let to = peer.links[index].state();
                if from != to {
                    let link = LinkId(index as u8);
                    out.push(Command::LinkChanged {
                        node: peer.node,
                        link,
                        from,
                        to,
                    });
                }
                let heard = last_reply(&row);
                if heard > self.heard_at {
                    self.heard_at = heard;
                    self.excused_at = self.excused_at.filter(|excused| heard < Some(*excused));
                }
                peer.listen(&row);
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
        }
        if stalled {
            self.excuse(now);
        }
    }

    /// A stall explains why nobody was heard: a majority that there was counts for one more timeout.
    /// It must not bring back one that was lost.
    fn excuse(&mut self, now: Boottime) {
        if self.quorate {
            self.excused_at.get_or_insert(now);
        }
    }

    /// Deafness ends with the first reply, or when silence has been counted anew.
    fn hear_again(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let Some(since) = self.deaf_since else { return };
        let answered = self.heard_at > Some(since);
        if answered || now.since(since) > self.timing.timeout * 2 {
            self.deaf_since = None;
            out.push(Command::Hears);
        }
    }

    fn count_quorum(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let alive = self.alive(now);
        let quorate = alive >= self.needed();
        if quorate != self.quorate {
            self.quorate = quorate;
            self.quorate_since = quorate.then_some(now);
            out.push(Command::QuorumChanged { quorate, alive });
        }
    }

    /// Nodes that count for a majority: this one, and peers that are not down and were heard lately.
    ///
    /// A node that cannot speak declares nobody down, but it must not count the others either. It
    /// gets one more timeout after a stall, once, to hear from them again.
    pub fn alive(&self, now: Boottime) -> usize {
        let patience = self.timing.timeout * 2;
        let heard = |peer: &&Peer| {
            let counts = matches!(
                peer.state,
                PeerState::Up | PeerState::Suspect | PeerState::AgentStalled
            );
            counts
                && peer
                    .said
                    .at
                    .max(self.excused_at)
                    .is_some_and(|at| now.since(at) <= patience)
        };
        1 + self.peers.iter().filter(heard).count()
    }

    /// Nodes that make a majority.
    pub fn needed(&self) -> usize {
        self.configured() / 2 + 1
    }

    pub fn configured(&self) -> usize {
        self.peers.len() + 1
    }

    fn advance_state(&mut self, now: Boottime, out: &mut Vec<Command>) {
        let settled = self
            .quorate_since
            .is_some_and(|since| now.since(since) >= self.timing.timeout);
        if self.state == NodeState::Starting && settled {
            self.state = NodeState::Active;
            self.active_since = Some(now);
            out.push(Command::Announce(NodeState::Active));
        } else if self.state == NodeState::Active && !self.quorate {
            // The others may hear it all the same: they must not wait for it to serve, and when it
            // has its majority back they are to see it first.
            self.state = NodeState::Starting;
            self.active_since = None;
            out.push(Command::Announce(NodeState::Starting));
        }
    }

    fn assign(&mut self, now: Boottime, out: &mut Vec<Command>) {
        for index in 0..self.vips.len() {
            let decision = self.decide(index);
            self.note_owner(index, decision, out);
            let mine = decision == Decision::Owner(self.local);
            if self.serving[index] && !mine && decision != Decision::Undecided {
                self.serving[index] = false;
                out.push(Command::Release { vip: index });
            } else if !self.serving[index] && mine && self.may_acquire(now) {
                self.serving[index] = true;
                out.push(Command::Acquire { vip: index });
            }
        }
    }

    fn note_owner(&mut self, vip: usize, decision: Decision, out: &mut Vec<Command>) {
        let owner = match decision {
            Decision::Owner(node) => Some(node),
            Decision::Nobody => None,
            Decision::Undecided => return,
        };
        if self.owners[vip] != owner {
            self.owners[vip] = owner;
            out.push(Command::OwnerChanged { vip, owner });
        }
    }

    fn decide(&self, vip: usize) -> Decision {
        let ranked = self.vips[vip]
            .ranked
            .iter()
            .map(|node| (*node, self.standing(*node)));
        ownership::decide(self.quorate, ranked)
    }

    fn standing(&self, node: NodeId) -> Standing {
        if node == self.local {
            return if self.state == NodeState::Active {
                Standing::Fit
            } else {
                Standing::Out
            };
        }
        let peer = self.peers.iter().find(|peer| peer.node == node);
        peer.map_or(Standing::Out, |peer| {
            Standing::of_peer(peer.state, peer.said.state)
        })
    }

    /// A node that just became active lets the others see it first, so that one of them that serves
    /// has let go. A deaf node takes nothing over.
    fn may_acquire(&self, now: Boottime) -> bool {
        self.deaf_since.is_none()
            && self
                .active_since
                .is_some_and(|since| now.since(since) >= self.timing.timeout)
    }

    pub fn local(&self) -> NodeId {
        self.local
    }

    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// What this node says of itself.
    pub fn state(&self) -> NodeState {
        self.state
    }

    pub fn quorate(&self) -> bool {
        self.quorate
    }

    pub fn deaf(&self) -> bool {
        self.deaf_since.is_some()
    }

    pub fn deaf_count(&self) -> u64 {
        self.deaf_count
    }

    pub fn serving(&self, vip: usize) -> bool {
        self.serving[vip]
    }
}
