//! The costs that are measured: which program, under which frames, and what it must say to them.

use heartbeat_common::verdict::Verdict;
use serde::Serialize;

use super::{
    pair::Watched,
    traffic::{Frames, Pace},
};

/// A cost by its name. The JSON's keys are these; names are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The program that only passes: what it costs to measure.
    Baseline,
    ProbeToReply,
    ReplyToRecord,
    Stamp,
    JunkBadMagic,
    JunkUnknownPeer,
    JunkBadMac,
    PassOtherTraffic,
    StampOtherTraffic,
    BaselinePaced,
    ProbeToReplyPaced,
    ReplyToRecordPaced,
    StampPaced,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) frames: Frames,
    pub(super) pace: Pace,
    pub(super) watched: Watched,
    /// What the program must have said. Nothing counts what the baseline sees, nor what the stamp
    /// leaves alone.
    pub(super) verdict: Option<Verdict>,
}

impl Figure {
    pub(super) const ALL: [Self; 13] = [
        Self::Baseline,
        Self::ProbeToReply,
        Self::ReplyToRecord,
        Self::Stamp,
        Self::JunkBadMagic,
        Self::JunkUnknownPeer,
        Self::JunkBadMac,
        Self::PassOtherTraffic,
        Self::StampOtherTraffic,
        Self::BaselinePaced,
        Self::ProbeToReplyPaced,
        Self::ReplyToRecordPaced,
        Self::StampPaced,
    ];

    pub(super) fn source(self) -> Source {
        use Pace::{Flood, Heartbeat};
        use Watched::{Baseline, FarResponder, NearResponder, NearStamp};
        let (frames, pace, watched, verdict) = match self {
            Self::Baseline => (Frames::Baseline, Flood, Baseline, None),
            Self::ProbeToReply => (Frames::Probes, Flood, FarResponder, Some(Verdict::Answered)),
            Self::ReplyToRecord => (
                Frames::Probes,
                Flood,
                NearResponder,
                Some(Verdict::Recorded),
            ),
            Self::Stamp => (Frames::Probes, Flood, NearStamp, Some(Verdict::Stamped)),
            Self::JunkBadMagic => (
                Frames::BadMagic,
                Flood,
                FarResponder,
                Some(Verdict::BadMagic),
            ),
            Self::JunkUnknownPeer => (
                Frames::UnknownPeer,
                Flood,
                FarResponder,
                Some(Verdict::UnknownPeer),
            ),
            Self::JunkBadMac => (Frames::BadMac, Flood, FarResponder, Some(Verdict::BadMac)),
            Self::PassOtherTraffic => {
                (Frames::Other, Flood, FarResponder, Some(Verdict::OtherPort))
            }
            Self::StampOtherTraffic => (Frames::Other, Flood, NearStamp, None),
            Self::BaselinePaced => (Frames::Baseline, Heartbeat, Baseline, None),
            Self::ProbeToReplyPaced => (
                Frames::Probes,
                Heartbeat,
                FarResponder,
                Some(Verdict::Answered),
            ),
            Self::ReplyToRecordPaced => (
                Frames::Probes,
                Heartbeat,
                NearResponder,
                Some(Verdict::Recorded),
            ),
            Self::StampPaced => (Frames::Probes, Heartbeat, NearStamp, Some(Verdict::Stamped)),
        };
        Source {
            frames,
            pace,
            watched,
            verdict,
        }
    }

    /// What is to be taken off: measured of frames that follow each other as densely.
    pub(super) fn baseline(self) -> Self {
        match self.source().pace {
            Pace::Flood => Self::Baseline,
            Pace::Heartbeat => Self::BaselinePaced,
        }
    }

    /// For the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Baseline => "program that only passes",
            Self::ProbeToReply => "probe -> reply",
            Self::ReplyToRecord => "reply -> record",
            Self::Stamp => "probe stamped on its way out",
            Self::JunkBadMagic => "junk: bad magic",
            Self::JunkUnknownPeer => "junk: unknown peer",
            Self::JunkBadMac => "junk: known peer, bad MAC",
            Self::PassOtherTraffic => "other traffic coming in",
            Self::StampOtherTraffic => "other traffic going out",
            Self::BaselinePaced => "program that only passes, 1/ms",
            Self::ProbeToReplyPaced => "probe -> reply, 1/ms",
            Self::ReplyToRecordPaced => "reply -> record, 1/ms",
            Self::StampPaced => "probe stamped on its way out, 1/ms",
        }
    }
}
