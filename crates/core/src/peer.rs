//! What a peer is, from its links and from what it says of itself.

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
    report::{GroupReport, Report, Reported},
    timing::Timing,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerState {
    #[default]
    Unknown,
    Up,
    /// On every link that was up, a probe is overdue.
    Suspect,
    /// Its kernel answers, but its agent does not tick or is not there.
    AgentStalled,
    /// It lives, but one of its checks says that it must serve nothing.
    Unhealthy,
    /// It lives, and gives its groups up on purpose.
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

    /// Whether its kernel answers: then it counts for a majority.
    pub const fn is_alive(self) -> bool {
        match self {
            Self::Up | Self::Suspect | Self::AgentStalled | Self::Unhealthy | Self::Draining => {
                true
            }
            Self::Unknown | Self::Down => false,
        }
    }
}

/// What a peer's kernel last said of its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub at: Option<Boottime>,
    pub state: NodeState,
    /// Which of its checks fail.
    pub health: Health,
    /// Per mille.
    pub load: u16,
    /// How many groups it says that it serves.
    pub groups_owned: u16,
    /// The links on which it says that it is cut off.
    pub cut_off: LinkSet,
    /// Its latest report's number; 0 is none.
    pub report: u32,
    /// Its agent's.
    pub incarnation: u64,
    /// Whose votes it goes by.
    pub voter_set: VoterSet,
    /// When its agent last ticked, or a little before that.
    pub(crate) ticked_at: Boottime,
    pulse_age: Duration,
    control_age: Duration,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub node: NodeId,
    /// The peer's first row; one row a link.
    pub first_row: RowNumber,
    pub links: IndexVec<LinkId, LinkDetector>,
    pub state: PeerState,
    pub said: Said,
    /// Since when it could own a group, without interruption.
    pub fit_since: Option<Boottime>,
    /// What it last reported.
    pub report: Report,
    /// It only votes, and may do without an agent.
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
            said: Said::default(),
            report: Report::default(),
        }
    }

    /// Whether it only votes.
    pub fn is_witness(&self) -> bool {
        self.witness
    }

    /// What it says of the group with this index.
    pub(crate) fn reported(&self, group: GroupIndex) -> Reported {
        let Self { said, report, .. } = self;
        if said.report == 0 {
            // It has nothing to say.
            return Reported {
                current: true,
                ..Reported::default()
            };
        }
        Reported {
            current: (report.number, report.incarnation) == (said.report, said.incarnation),
            said: report.groups.get(group).copied().unwrap_or_default(),
            ..Reported::default()
        }
    }

    /// Whether its agent runs, and is not known to have the group with this index in its
    /// configuration and to know what of it runs there.
    pub(crate) fn lacks(&self, group: GroupIndex) -> bool {
        use PeerState::{Draining, Suspect, Unhealthy, Up};
        let Self { said, report, .. } = self;
        let runs = matches!(self.state, Up | Suspect | Unhealthy | Draining) && !self.witness;
        let of_group = report.groups.get(group);
        let ready = |said: &GroupReport| !said.unknown && !said.settling;
        let has = match said.report {
            // It has nothing to say.
            0 => of_group.is_none_or(ready),
            number => {
                (report.number, report.incarnation) == (number, said.incarnation)
                    && of_group.is_some_and(ready)
            }
        };
        runs && !has
    }

    /// Takes note of what the newest reply said.
    pub fn listen(&mut self, row: &PeerRow) {
        let at = last_reply(row);
        if at > self.said.at {
            let pulse_age = Duration::from_micros(row.pulse_age_us.into());
            // It was that old when the probe was answered, which was after the probe had left.
            let ago = Duration::from_nanos(row.rtt_ns) + pulse_age;
            self.said = Said {
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

    /// The state that follows from the links and from what the peer said.
    pub fn judge(&self, timing: &Timing) -> PeerState {
        let any = |state| self.links.iter().any(|link| link.state() == state);
        if any(LinkState::Up) || any(LinkState::Suspect) {
            if self.agent_is_stalled(timing) {
                PeerState::AgentStalled
            } else if !any(LinkState::Up) {
                PeerState::Suspect
            } else if self.said.health.is_fatal() {
                PeerState::Unhealthy
            } else if self.said.state == NodeState::Draining {
                PeerState::Draining
            } else {
                PeerState::Up
            }
        } else if any(LinkState::Unknown) {
            // A link that was never heard tells nothing about a peer whose other links fell silent.
            if any(LinkState::Down) && self.said.at.is_some() {
                PeerState::Down
            } else {
                PeerState::Unknown
            }
        } else {
            PeerState::Down
        }
    }

    fn agent_is_stalled(&self, timing: &Timing) -> bool {
        if self.said.state == NodeState::Responder {
            return !self.witness;
        }
        self.said.pulse_age > timing.agent_stall || self.said.control_age > timing.agent_stall
    }
}
