//! The costs that are measured: which program, under which frames, and what it must say to them.

use heartbeat_common::{
    guard::Direction::{In, Out},
    lease::Vote::{Granted, Refused},
    verdict::Verdict,
};
use serde::Serialize;

use super::{
    guarded::Subject::{NoVip, Other, Vip},
    ordinary::Way,
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
    /// With one lease entry, which is granted.
    ProbeToReplyRenew1,
    ProbeToReplyRenew8,
    /// With one lease entry, which is refused since another node holds the lease.
    ProbeToReplyRefused1,
    ProbeToReplyRefused8,
    ReplyToRecord,
    ReplyToRecordVotes8,
    Stamp,
    StampRenew8,
    JunkBadMagic,
    JunkUnknownPeer,
    JunkBadTag,
    PassOtherTraffic,
    StampOtherTraffic,
    /// While a guarded address is on that link.
    PassOtherTrafficGuarded,
    PassVipTraffic,
    GuardInNoVip,
    GuardInOther,
    GuardInVip,
    GuardOutNoVip,
    GuardOutOther,
    GuardOutVip,
    BaselinePaced,
    ProbeToReplyPaced,
    ProbeToReplyRenew8Paced,
    ReplyToRecordPaced,
    StampPaced,
}

/// The source of a figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) frames: Frames,
    pub(super) pace: Pace,
    pub(super) watched: Watched,
    /// The verdict that the program must have counted. The baseline counts nothing, and the stamp
    /// and the guard do not count packets that they pass unchanged.
    pub(super) verdict: Option<Verdict>,
}

impl Figure {
    pub(super) const ALL: [Self; 28] = [
        Self::Baseline,
        Self::ProbeToReply,
        Self::ProbeToReplyRenew1,
        Self::ProbeToReplyRenew8,
        Self::ProbeToReplyRefused1,
        Self::ProbeToReplyRefused8,
        Self::ReplyToRecord,
        Self::ReplyToRecordVotes8,
        Self::Stamp,
        Self::StampRenew8,
        Self::JunkBadMagic,
        Self::JunkUnknownPeer,
        Self::JunkBadTag,
        Self::PassOtherTraffic,
        Self::StampOtherTraffic,
        Self::PassOtherTrafficGuarded,
        Self::PassVipTraffic,
        Self::GuardInNoVip,
        Self::GuardInOther,
        Self::GuardInVip,
        Self::GuardOutNoVip,
        Self::GuardOutOther,
        Self::GuardOutVip,
        Self::BaselinePaced,
        Self::ProbeToReplyPaced,
        Self::ProbeToReplyRenew8Paced,
        Self::ReplyToRecordPaced,
        Self::StampPaced,
    ];

    pub(super) fn source(self) -> Source {
        use Frames::{BadMagic, BadTag, Leases, Ordinary, Probes, UnknownPeer};
        use Verdict::{Answered, OtherPort, Recorded, Stamped};
        use Watched::{
            Baseline, FarResponder, GuardEgress, GuardIngress, GuardedLink, NearResponder,
            NearStamp,
        };
        let (frames, watched, verdict) = match self {
            Self::Baseline | Self::BaselinePaced => (Ordinary(Way::PassOnly), Baseline, None),
            Self::ProbeToReply | Self::ProbeToReplyPaced => (Probes, FarResponder, Some(Answered)),
            Self::ProbeToReplyRenew1 => (Leases(Granted, 1), FarResponder, Some(Answered)),
            Self::ProbeToReplyRenew8 | Self::ProbeToReplyRenew8Paced => {
                (Leases(Granted, 8), FarResponder, Some(Answered))
            }
            Self::ProbeToReplyRefused1 => (Leases(Refused, 1), FarResponder, Some(Answered)),
            Self::ProbeToReplyRefused8 => (Leases(Refused, 8), FarResponder, Some(Answered)),
            Self::ReplyToRecord | Self::ReplyToRecordPaced => {
                (Probes, NearResponder, Some(Recorded))
            }
            Self::ReplyToRecordVotes8 => (Leases(Granted, 8), NearResponder, Some(Recorded)),
            Self::Stamp | Self::StampPaced => (Probes, NearStamp, Some(Stamped)),
            Self::StampRenew8 => (Leases(Granted, 8), NearStamp, Some(Stamped)),
            Self::JunkBadMagic => (BadMagic, FarResponder, Some(Verdict::BadMagic)),
            Self::JunkUnknownPeer => (UnknownPeer, FarResponder, Some(Verdict::UnknownPeer)),
            Self::JunkBadTag => (BadTag, FarResponder, Some(Verdict::BadTag)),
            Self::PassOtherTraffic => (Ordinary(Way::Link), FarResponder, Some(OtherPort)),
            Self::StampOtherTraffic => (Ordinary(Way::Link), NearStamp, None),
            Self::PassOtherTrafficGuarded => (
                Ordinary(Way::GuardedLink(Other)),
                GuardedLink,
                Some(OtherPort),
            ),
            Self::PassVipTraffic => (
                Ordinary(Way::GuardedLink(Vip)),
                GuardedLink,
                Some(OtherPort),
            ),
            Self::GuardInNoVip => (Ordinary(Way::Guard(In, NoVip)), GuardIngress, None),
            Self::GuardInOther => (Ordinary(Way::Guard(In, Other)), GuardIngress, None),
            Self::GuardInVip => (Ordinary(Way::Guard(In, Vip)), GuardIngress, None),
            Self::GuardOutNoVip => (Ordinary(Way::Guard(Out, NoVip)), GuardEgress, None),
            Self::GuardOutOther => (Ordinary(Way::Guard(Out, Other)), GuardEgress, None),
            Self::GuardOutVip => (Ordinary(Way::Guard(Out, Vip)), GuardEgress, None),
        };
        Source {
            frames,
            pace: self.pace(),
            watched,
            verdict,
        }
    }

    fn pace(self) -> Pace {
        match self {
            Self::BaselinePaced
            | Self::ProbeToReplyPaced
            | Self::ProbeToReplyRenew8Paced
            | Self::ReplyToRecordPaced
            | Self::StampPaced => Pace::Heartbeat,
            _ => Pace::Flood,
        }
    }

    /// The time to subtract, measured with frames at the same pace.
    pub(super) fn baseline(self) -> Self {
        match self.pace() {
            Pace::Flood => Self::Baseline,
            Pace::Heartbeat => Self::BaselinePaced,
        }
    }

    /// For the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Baseline => "program that only passes",
            Self::ProbeToReply => "probe -> reply",
            Self::ProbeToReplyRenew1 => "probe -> reply, 1 lease renewed",
            Self::ProbeToReplyRenew8 => "probe -> reply, 8 leases renewed",
            Self::ProbeToReplyRefused1 => "probe -> reply, 1 lease refused",
            Self::ProbeToReplyRefused8 => "probe -> reply, 8 leases refused",
            Self::ReplyToRecord => "reply -> record",
            Self::ReplyToRecordVotes8 => "reply -> record, 8 votes",
            Self::Stamp => "probe stamped on its way out",
            Self::StampRenew8 => "probe stamped, 8 lease entries",
            Self::JunkBadMagic => "junk: bad magic",
            Self::JunkUnknownPeer => "junk: unknown peer",
            Self::JunkBadTag => "junk: known peer, bad tag",
            Self::PassOtherTraffic => "other traffic coming in",
            Self::StampOtherTraffic => "other traffic going out",
            Self::PassOtherTrafficGuarded => "other traffic coming in, link with a VIP",
            Self::PassVipTraffic => "VIP's traffic coming in, link with a VIP",
            Self::GuardInNoVip => "guard in: no VIP at all",
            Self::GuardInOther => "guard in: to another address",
            Self::GuardInVip => "guard in: to the VIP, open",
            Self::GuardOutNoVip => "guard out: no VIP at all",
            Self::GuardOutOther => "guard out: from another address",
            Self::GuardOutVip => "guard out: from the VIP, open",
            Self::BaselinePaced => "program that only passes, 1/ms",
            Self::ProbeToReplyPaced => "probe -> reply, 1/ms",
            Self::ProbeToReplyRenew8Paced => "probe -> reply, 8 leases renewed, 1/ms",
            Self::ReplyToRecordPaced => "reply -> record, 1/ms",
            Self::StampPaced => "probe stamped on its way out, 1/ms",
        }
    }
}
