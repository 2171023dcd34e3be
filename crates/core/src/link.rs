//! The failure detector of one link to one peer.
//!
//! ```text
//!              fresh reply                 a probe overdue
//!  unknown ─────────────────▶ up ◀───────────────────────▶ suspect
//!     │                        ▲   fresh reply                │
//!     │ silence                └───────────── down ◀──────────┘
//!     └─────────────────────────────────────▶        silence
//! ```
//!
//! Two rules make it strict. **Only a fresh reply is evidence of life**: the kernel has already checked
//! that it answers a probe of this incarnation, for the first time, within the timeout. **Silence
//! counts only if I spoke**: it takes probes that really left, and a decision made on time. With *R*
//! the last fresh reply, *F* the departure of the first unanswered probe and *K* that of the last
//! one needed, the deadline is the latest of
//!
//! - *R* + timeout,
//! - *F* + timeout − interval: where my probes came late, so does the deadline,
//! - *K* + what the timeout holds beyond that many intervals, or half an interval if that is more:
//!   the last of them has had its chance too.
//!
//! Where this node paused between two of the probes for so long that answers which waited meanwhile
//! may have come too late to count, the count begins anew behind the pause.
//!
//! A decision that comes later than it should may follow a pause of this machine, whose answers
//! still wait in its network card: unless the kernel's own timer fired on time, the silence starts
//! anew. This is a *local stall*. It restarts the count for one silence three times at most: a node
//! that is always late must also find dead peers.

use std::time::Duration;

use heartbeat_common::{
    maps::{PeerRow, SENT_RING, sent_slot},
    time::Boottime,
};
use serde::{Deserialize, Serialize};

use crate::timing::Timing;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinkState {
    /// Neither a reply nor a counted silence yet.
    #[default]
    Unknown,
    Up,
    /// A probe is overdue.
    Suspect,
    Down,
}

impl LinkState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// How a silence became a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// `None` if the peer was never heard.
    pub last_reply: Option<Boottime>,
    pub deadline: Boottime,
    /// When the kernel's timer fired for this silence, if it did.
    pub fired: Option<Boottime>,
    pub decided: Boottime,
}

/// What one look at the row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Heard,
    /// Nothing is overdue, or nothing can be said.
    Waiting,
    Overdue,
    Silent(Silence),
    /// The silence is explained by a stall of this node: it was looked at this much too late.
    Stalled {
        late: Duration,
    },
}

/// How often a stall of this node may start one silence anew.
const MAX_EXCUSES: u32 = 3;

/// Unanswered probes that count.
#[derive(Clone, Copy, Debug)]
struct Spoken {
    /// The last reply's sequence when this began.
    reply_seq: u64,
    first_left: Boottime,
    /// The newest probe that was looked at.
    last_seq: u64,
    last_left: Boottime,
    /// Probes that leave at once may all be lost at once: they count as one, from the first of them.
    counted: u64,
    counted_left: Boottime,
    /// When the last of the needed probes left.
    enough_left: Option<Boottime>,
}

impl Spoken {
    fn begin(reply_seq: u64, sequence: u64, left: Boottime, timing: &Timing) -> Self {
        Self {
            reply_seq,
            first_left: left,
            last_seq: sequence,
            last_left: left,
            counted: 1,
            counted_left: left,
            enough_left: (timing.probes_needed() <= 1).then_some(left),
        }
    }

    /// Counts one more probe.
    fn add(&mut self, sequence: u64, left: Boottime, timing: &Timing) {
        // So long a pause between two probes explains what went unanswered before it.
        if left.since(self.last_left) > timing.pause() {
            *self = Self::begin(self.reply_seq, sequence, left, timing);
            return;
        }
        (self.last_seq, self.last_left) = (sequence, left);
        if left.since(self.counted_left) >= timing.interval / 2 {
            self.counted += 1;
            self.counted_left = left;
        }
        if self.counted >= timing.probes_needed() {
            self.enough_left = Some(left);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LinkDetector {
    state: LinkState,
    spoken: Option<Spoken>,
    /// Probes that left before this do not count.
    barrier: Boottime,
    deadline: Option<Boottime>,
    /// Stalls since the last reply, whose sequence this is.
    excuses: u32,
    excused_seq: u64,
}

impl LinkDetector {
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// When this link must be looked at again even if nothing arrives.
    pub fn deadline(&self) -> Option<Boottime> {
        self.deadline.filter(|_| self.state != LinkState::Down)
    }

    /// Looks at the kernel's row at `now`, changes state accordingly.
    pub fn observe(&mut self, row: &PeerRow, now: Boottime, timing: &Timing) -> Finding {
        let finding = self.find(row, now, timing);
        match finding {
            Finding::Heard => self.state = LinkState::Up,
            Finding::Overdue if self.state == LinkState::Up => self.state = LinkState::Suspect,
            Finding::Silent(_) => self.state = LinkState::Down,
            Finding::Waiting | Finding::Overdue | Finding::Stalled { .. } => {}
        }
        finding
    }

    fn find(&mut self, row: &PeerRow, now: Boottime, timing: &Timing) -> Finding {
        let last_reply = last_reply(row);
        self.count_spoken(row, timing);
        self.deadline = self
            .spoken
            .and_then(|spoken| deadline(&spoken, last_reply, timing));
        let Some(spoken) = self.spoken else {
            return match last_reply {
                Some(at) if now.since(at) <= timing.timeout => Finding::Heard,
                _ => Finding::Waiting,
            };
        };
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else {
            return self.not_yet(row, &spoken, now, timing);
        };
        let late = now.since(deadline);
        let fired = fired(row, last_reply);
        // The timer knows only the last reply; where probes came a little late, our deadline is a
        // little after its own.
        let kernel_was_there = fired.is_some_and(|at| {
            at.after(timing.slack() / 4) >= deadline && at.since(deadline) <= timing.slack()
        });
        let excusable = self.state != LinkState::Down && self.excuses(row) < MAX_EXCUSES;
        if late > timing.slack() && !kernel_was_there && excusable {
            self.excuses += 1;
            self.barrier = now;
            self.spoken = None;
            self.deadline = None;
            return Finding::Stalled { late };
        }
        Finding::Silent(Silence {
            last_reply,
            deadline,
            fired,
            decided: now,
        })
    }

    /// How often this silence was excused already.
    fn excuses(&mut self, row: &PeerRow) -> u32 {
        if self.excused_seq != row.last_reply_seq {
            self.excused_seq = row.last_reply_seq;
            self.excuses = 0;
        }
        self.excuses
    }

    /// Before the deadline: is the newest news good?
    fn not_yet(&self, row: &PeerRow, spoken: &Spoken, now: Boottime, timing: &Timing) -> Finding {
        let patience = timing.interval.max(Duration::from_nanos(row.rtt_ns) * 2);
        if now.since(spoken.first_left) >= patience {
            return Finding::Overdue;
        }
        match last_reply(row) {
            Some(at) if now.since(at) <= timing.timeout => Finding::Heard,
            _ => Finding::Waiting,
        }
    }

    /// Keeps account of the unanswered probes that left after the barrier.
    fn count_spoken(&mut self, row: &PeerRow, timing: &Timing) {
        let reply_seq = row.last_reply_seq;
        self.spoken = self
            .spoken
            .filter(|spoken| spoken.reply_seq == reply_seq && row.last_probe_seq > reply_seq);
        let looked_at = self.spoken.map_or(reply_seq, |spoken| spoken.last_seq);
        // What the ring has forgotten left between the last look and the oldest that it knows.
        let oldest_known = row.last_probe_seq.saturating_sub(SENT_RING as u64 - 1);
        // What left with the probe that was answered does not begin a silence.
        let answered = (reply_seq >= oldest_known).then(|| left_at(row, reply_seq));
        let from = answered.map_or(self.barrier, |left| {
            left.after(timing.interval / 2).max(self.barrier)
        });
        for sequence in (looked_at + 1).max(oldest_known)..=row.last_probe_seq {
            let left = left_at(row, sequence);
            match &mut self.spoken {
                Some(spoken) if spoken.enough_left.is_some() => break,
                Some(spoken) => spoken.add(sequence, left, timing),
                None if left > from => {
                    self.spoken = Some(Spoken::begin(reply_seq, sequence, left, timing));
                }
                None => {}
            }
        }
    }
}

/// When the last fresh reply came, if one ever did.
pub fn last_reply(row: &PeerRow) -> Option<Boottime> {
    (row.last_reply_at != 0).then(|| Boottime::from_nanos(row.last_reply_at))
}

fn left_at(row: &PeerRow, sequence: u64) -> Boottime {
    Boottime::from_nanos(row.sent_at[sent_slot(sequence)])
}

fn fired(row: &PeerRow, last_reply: Option<Boottime>) -> Option<Boottime> {
    let fired = Boottime::from_nanos(row.deadline_fired_at);
    last_reply.filter(|reply| fired > *reply).map(|_| fired)
}

fn deadline(spoken: &Spoken, last_reply: Option<Boottime>, timing: &Timing) -> Option<Boottime> {
    let by_probes = spoken.enough_left?.after(timing.grace());
    let by_silence = match last_reply {
        Some(at) => {
            let spoken_for = timing.timeout.saturating_sub(timing.interval);
            at.after(timing.timeout)
                .max(spoken.first_left.after(spoken_for))
        }
        None => spoken.first_left.after(timing.timeout),
    };
    Some(by_silence.max(by_probes))
}
