//! The failure detector of one link to one peer.
//!
//! ```text
//!             fresh reply       a probe is overdue
//!  unknown ───────────────▶ up ────────────────────▶ suspect
//!     │                     ▲ ▲                       │  │
//!     │                     │ └───── fresh reply ─────┘  │ silence
//!     │                     │                            ▼
//!     │                     └─────── fresh reply ─────── down
//!     │ silence                                          ▲
//!     └──────────────────────────────────────────────────┘
//! ```
//!
//! Two rules decide what counts. **Only a fresh reply is evidence of life**: the kernel has already
//! checked that the reply answers a probe of this incarnation, for the first time, within the
//! timeout. **A node that was itself paused does not declare its peers dead**: a silence counts
//! only if enough probes left, and if the detector decides on time. Let *R* be the time of the last
//! fresh reply, *F* the departure of the first unanswered probe, and *K* the departure of the last
//! probe that the count needs. The deadline is the latest of
//!
//! - *R* + timeout,
//! - *F* + timeout − interval: if the probes left late, the deadline is late by the same time. If
//!   the peer never replied, *F* + timeout takes the place of both,
//! - *K* + the timeout less one interval for each needed probe, or *K* + half an interval if that
//!   is later: the last needed probe must also have had time to be answered.
//!
//! If a long pause lies between two probes, the count begins anew after the pause. Answers that
//! waited in the network card during the pause may have become too old to be fresh.
//!
//! A decision later than [`Timing::slack`] after the deadline may follow a pause of this machine,
//! and answers may still wait in its network card. If the kernel's own timer fired on time, the
//! decision stands. Otherwise this node stalled, and the count begins anew: three times at most
//! until the next reply, because a node that is always late must also find dead peers. The first
//! such finding on any link begins a *local stall* of the node.
//! [`Cluster`](crate::cluster::Cluster) ends it with the next reply of any peer, or two timeouts
//! after the last such finding.

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

/// The times of a silence after which the detector declared the link down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The time of the last reply. `None` if the peer never replied.
    pub last_reply: Option<Boottime>,
    pub deadline: Boottime,
    /// The time at which the kernel's timer fired for this silence. `None` if the timer did not
    /// fire.
    pub fired: Option<Boottime>,
    pub decided: Boottime,
}

/// The result of one check of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No probe is overdue, and the last reply is not older than the timeout.
    Answered,
    /// No probe is overdue, but the last reply is older than the timeout, or there is none.
    Waiting,
    /// A probe has no reply after an interval, or after two round trips if these take longer. The
    /// deadline has not passed, or too few probes have left for one.
    Overdue,
    /// The deadline has passed: the link is down.
    Silent(Silence),
    /// A stall of this node may explain the silence: this check came later than [`Timing::slack`]
    /// after the deadline, and the kernel's timer did not confirm the silence in time.
    Stalled { late: Duration },
}

/// The greatest number of stalls of this node that restart the count of one silence on a link.
const MAX_RESTARTS: u32 = 3;

/// The unanswered probes that count towards a silence.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    /// The sequence of the last reply when this count began.
    reply_seq: u64,
    first_left: Boottime,
    /// The newest probe that was counted.
    last_seq: u64,
    last_left: Boottime,
    /// The number of counted probes. Probes that leave together may be lost together. Such a burst
    /// counts as one probe, which left with the first of them.
    counted: u64,
    counted_left: Boottime,
    /// The departure of the last probe that the count needs. `None` while fewer have left.
    enough_left: Option<Boottime>,
}

impl Unanswered {
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
        // A pause of this length between two probes explains all answers that were missing before
        // the pause.
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

/// The failure detector of one link to one peer: its state, and the count of unanswered probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkDetector {
    state: LinkState,
    unanswered: Option<Unanswered>,
    /// The time at which a stall last restarted the count on this link. Probes that left before it
    /// do not count.
    barrier: Boottime,
    deadline: Option<Boottime>,
    /// The number of stalls since the last reply.
    restarts: u32,
    restarts_seq: u64,
}

impl LinkDetector {
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// The time of the next check of this link, even if nothing arrives.
    pub fn deadline(&self) -> Option<Boottime> {
        self.deadline.filter(|_| self.state != LinkState::Down)
    }

    /// Checks the kernel's row at `now`, and changes the state accordingly.
    pub fn observe(&mut self, row: &PeerRow, now: Boottime, timing: &Timing) -> Finding {
        let finding = self.find(row, now, timing);
        match finding {
            Finding::Answered => self.state = LinkState::Up,
            Finding::Overdue if self.state == LinkState::Up => self.state = LinkState::Suspect,
            Finding::Silent(_) => self.state = LinkState::Down,
            Finding::Waiting | Finding::Overdue | Finding::Stalled { .. } => {}
        }
        finding
    }

    fn find(&mut self, row: &PeerRow, now: Boottime, timing: &Timing) -> Finding {
        let last_reply = last_reply(row);
        self.count_unanswered(row, timing);
        self.deadline = self
            .unanswered
            .and_then(|unanswered| deadline(&unanswered, last_reply, timing));
        let Some(unanswered) = self.unanswered else {
            return match last_reply {
                Some(at) if now.since(at) <= timing.timeout => Finding::Answered,
                _ => Finding::Waiting,
            };
        };
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else {
            return self.not_yet(row, &unanswered, now, timing);
        };
        let late = now.since(deadline);
        let fired = fired(row, last_reply);
        // The timer is set from the last reply alone. If probes left a little late, this deadline
        // is a little after the timer's.
        let timer_was_on_time = fired.is_some_and(|at| {
            at.after(timing.slack() / 4) >= deadline && at.since(deadline) <= timing.slack()
        });
        let may_restart = self.state != LinkState::Down && self.restarts(row) < MAX_RESTARTS;
        if late > timing.slack() && !timer_was_on_time && may_restart {
            self.restarts += 1;
            self.barrier = now;
            self.unanswered = None;
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

    /// The number of stalls that have already restarted this silence.
    fn restarts(&mut self, row: &PeerRow) -> u32 {
        if self.restarts_seq != row.last_reply_seq {
            self.restarts_seq = row.last_reply_seq;
            self.restarts = 0;
        }
        self.restarts
    }

    /// Returns the finding before the deadline, from the newest reply and the unanswered probes.
    fn not_yet(
        &self,
        row: &PeerRow,
        unanswered: &Unanswered,
        now: Boottime,
        timing: &Timing,
    ) -> Finding {
        let patience = timing.interval.max(Duration::from_nanos(row.rtt_ns) * 2);
        if now.since(unanswered.first_left) >= patience {
            return Finding::Overdue;
        }
        match last_reply(row) {
            Some(at) if now.since(at) <= timing.timeout => Finding::Answered,
            _ => Finding::Waiting,
        }
    }

    /// Counts the unanswered probes that left after the barrier.
    fn count_unanswered(&mut self, row: &PeerRow, timing: &Timing) {
        let reply_seq = row.last_reply_seq;
        self.unanswered = self.unanswered.filter(|unanswered| {
            unanswered.reply_seq == reply_seq && row.last_probe_seq > reply_seq
        });
        let counted_to = self
            .unanswered
            .map_or(reply_seq, |unanswered| unanswered.last_seq);
        // The ring holds only the newest departures. Older departures that were not counted yet
        // have been overwritten, so the count skips them.
        let oldest_known = row.last_probe_seq.saturating_sub(SENT_RING as u64 - 1);
        // Probes that left together with the answered one do not begin a silence.
        let answered = (reply_seq >= oldest_known).then(|| left_at(row, reply_seq));
        let from = answered.map_or(self.barrier, |left| {
            left.after(timing.interval / 2).max(self.barrier)
        });
        for sequence in (counted_to + 1).max(oldest_known)..=row.last_probe_seq {
            let left = left_at(row, sequence);
            match &mut self.unanswered {
                Some(unanswered) if unanswered.enough_left.is_some() => break,
                Some(unanswered) => unanswered.add(sequence, left, timing),
                None if left > from => {
                    self.unanswered = Some(Unanswered::begin(reply_seq, sequence, left, timing));
                }
                None => {}
            }
        }
    }
}

/// The arrival of the last fresh reply, if there was one.
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

fn deadline(
    unanswered: &Unanswered,
    last_reply: Option<Boottime>,
    timing: &Timing,
) -> Option<Boottime> {
    let by_probes = unanswered.enough_left?.after(timing.grace());
    let by_silence = match last_reply {
        Some(at) => {
            let probed_for = timing.timeout.saturating_sub(timing.interval);
            at.after(timing.timeout)
                .max(unanswered.first_left.after(probed_for))
        }
        None => unanswered.first_left.after(timing.timeout),
    };
    Some(by_silence.max(by_probes))
}
