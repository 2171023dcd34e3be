//! The state of a peer, from its links and from its heartbeats.

use std::time::Duration;

use heartbeat_common::{
    maps::PeerRow,
    time::Boottime,
    wire::{Health, LinkId, LinkSet, NodeId, NodeState, VoterSet},
};
use serde::{Deserialize, Serialize};

use crate::{
    index::{GroupIndex, RowNumber},
    index_vec::IndexVec,
    link::{LinkDetector, LinkState, last_reply},
    report::{GroupReport, GroupReports, Reported},
    timing::Timing,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerState {
    #[default]
    Unknown,
    Up,
    /// On every link that was up, a probe is overdue.
    Suspect,
    /// The peer's kernel answers, but its agent does not tick or is not there.
    AgentStalled,
    /// The peer is alive, but one of its checks forbids it to serve.
    Unhealthy,
    /// The peer is alive, and releases its groups on purpose.
    Draining,
    Down,
}

impl PeerState {
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Up,
        Self::Suspect,
        Self::Unhealthy,
        Self::Draining,
        Self::AgentStalled,
        Self::Down,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::AgentStalled => "agent-stalled",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }

    /// Whether the peer's kernel answers: then the peer counts for a majority.
    pub const fn is_alive(self) -> bool {
        match self {
            Self::Up | Self::Suspect | Self::AgentStalled | Self::Unhealthy | Self::Draining => {
                true
            }
            Self::Unknown | Self::Down => false,
        }
    }
}

/// The liveness data of a peer's last reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReply {
    pub at: Option<Boottime>,
    pub state: NodeState,
    /// The peer's checks that fail.
    pub health: Health,
    /// Per mille.
    pub load: u16,
    /// The number of groups that the peer serves by its own account.
    pub groups_owned: u16,
    /// The links on which the peer reports that it is cut off.
    pub cut_off: LinkSet,
    /// The number of its latest report; 0 means none.
    pub report: u32,
    /// The incarnation of its agent.
    pub incarnation: u64,
    /// Its accepting and its claiming version.
    pub voter_set: VoterSet,
    /// The last tick of its agent, or a time a little before it.
    pub(crate) ticked_at: Boottime,
    pulse_age: Duration,
    control_age: Duration,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub node: NodeId,
    /// The peer's first row. There is one row for each link.
    pub first_row: RowNumber,
    pub links: IndexVec<LinkId, LinkDetector>,
    pub state: PeerState,
    pub last_reply: LastReply,
    /// The time since which the peer could own a group, without interruption.
    pub fit_since: Option<Boottime>,
    /// The peer's last report.
    pub report: GroupReports,
    /// The peer only votes, and needs no agent.
    witness: bool,
}

impl Peer {
    pub fn new(node: NodeId, witness: bool, first_row: RowNumber, links: usize) -> Self {
        Self {
            node,
            witness,
            fit_since: None,
            first_row,
            links: vec![LinkDetector::default(); links].into(),
            state: PeerState::default(),
            last_reply: LastReply::default(),
            report: GroupReports::default(),
        }
    }

    /// Whether the peer only votes.
    pub fn is_witness(&self) -> bool {
        self.witness
    }

    /// The peer's report about the group with this index.
    pub(crate) fn reported(&self, group: GroupIndex) -> Reported {
        let Self {
            last_reply, report, ..
        } = self;
        if last_reply.report == 0 {
            // The peer has no report.
            return Reported {
                current: true,
                ..Reported::default()
            };
        }
        Reported {
            current: (report.number, report.incarnation)
                == (last_reply.report, last_reply.incarnation),
            report: report.groups.get(group).copied().unwrap_or_default(),
            ..Reported::default()
        }
    }

    /// Whether the peer's agent runs without a current report that it is ready for the group with
    /// this index. A ready agent has the group in its configuration, and has determined which of
    /// its resources run there.
    pub(crate) fn lacks(&self, group: GroupIndex) -> bool {
        use PeerState::{Draining, Suspect, Unhealthy, Up};
        let Self {
            last_reply, report, ..
        } = self;
        let runs = matches!(self.state, Up | Suspect | Unhealthy | Draining) && !self.witness;
        let of_group = report.groups.get(group);
        let ready = |group: &GroupReport| !group.unknown && !group.settling;
        let has = match last_reply.report {
            // The peer has no report.
            0 => of_group.is_none_or(ready),
            number => {
                (report.number, report.incarnation) == (number, last_reply.incarnation)
                    && of_group.is_some_and(ready)
            }
        };
        runs && !has
    }

    /// Records the liveness data of a new reply.
    pub fn listen(&mut self, row: &PeerRow) {
        let at = last_reply(row);
        if at > self.last_reply.at {
            let pulse_age = Duration::from_micros(row.pulse_age_us.into());
            // The age is from the time of the peer's answer, which was after the probe had left.
            let ago = Duration::from_nanos(row.rtt_ns) + pulse_age;
            self.last_reply = LastReply {
                at,
                state: u8::try_from(row.state).map_or(NodeState::Responder, NodeState::from_wire),
                health: Health(row.health),
                load: row.load,
                groups_owned: row.owned().groups(),
                cut_off: row.owned().cut_off(),
                report: row.report,
                incarnation: row.incarnation,
                voter_set: row.voter_set(),
                ticked_at: at.unwrap_or_default().before(ago),
                pulse_age,
                control_age: Duration::from_micros(row.control_age_us.into()),
            };
        }
    }

    /// The state that follows from the links and from the last reply.
    pub fn judge(&self, timing: &Timing) -> PeerState {
        let any = |state| self.links.iter().any(|link| link.state() == state);
        if any(LinkState::Up) || any(LinkState::Suspect) {
            if self.agent_is_stalled(timing) {
                PeerState::AgentStalled
            } else if !any(LinkState::Up) {
                PeerState::Suspect
            } else if self.last_reply.health.is_fatal() {
                PeerState::Unhealthy
            } else if self.last_reply.state == NodeState::Draining {
                PeerState::Draining
            } else {
                PeerState::Up
            }
        } else if any(LinkState::Unknown) {
            // A link without any reply says nothing about a peer whose other links fell silent.
            if any(LinkState::Down) && self.last_reply.at.is_some() {
                PeerState::Down
            } else {
                PeerState::Unknown
            }
        } else {
            PeerState::Down
        }
    }

    fn agent_is_stalled(&self, timing: &Timing) -> bool {
        if self.last_reply.state == NodeState::Responder {
            return !self.witness;
        }
        self.last_reply.pulse_age > timing.agent_stall
            || self.last_reply.control_age > timing.agent_stall
    }
}
