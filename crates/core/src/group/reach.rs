//! Whether a group should leave for a node whose interfaces reach the network of its addresses.
//!
//! The group stays where it is if no other node reaches further: a move would help no client.

use std::time::Duration;

use heartbeat_common::wire::NodeId;

use super::{Group, GroupContext};
use crate::{
    Timing,
    eligibility::Eligibility,
    reach::{Distance, Reach},
};

/// The least duration of a fault before a group leaves for a node whose heartbeats do not confirm
/// its interface. The carriers at the ports of one switch do not fail at the same moment.
const UNCONFIRMED: Duration = Duration::from_millis(250);

/// The same duration if the other node's heartbeats confirm replies on the link of the addresses.
/// By then that node would have noticed a lack of replies. A fault that is shorter than a lease
/// moves no group, as with heartbeats on only one link. A silence is noticed only after a timeout,
/// by all nodes behind the same switch.
fn confirmed_after(own: Reach, timing: &Timing) -> Duration {
    let Timing {
        lease,
        timeout,
        interval,
        ..
    } = *timing;
    match own {
        Reach::Silent => lease.saturating_sub(timeout / 2).max(interval * 2),
        Reach::Whole | Reach::Broken => lease.max(timeout + interval * 2),
    }
}

impl Group {
    /// Whether this node reaches less far than another node that could have the group.
    pub(super) fn is_cut_off(&self, context: &GroupContext<'_>) -> bool {
        let distance = context.distance();
        distance.is_beyond(distance.own)
    }

    /// Whether the group is served here, and should move to a node that reaches further.
    pub(super) fn is_better_reached_elsewhere(&self, context: &GroupContext<'_>) -> bool {
        self.is_cut_off(context)
            && context.now >= self.failback_hold.reach_until
            && self
                .plan
                .ranked
                .iter()
                .any(|node| *node != context.view.local && self.is_reached_at(*node, context))
    }

    /// Whether a peer surely reaches further, and would take the group at once.
    fn is_reached_at(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        let GroupContext { now, timing, .. } = *context;
        let Distance {
            own,
            faulty_since,
            carries_probes,
            ..
        } = *context.distance();
        let Some(since) = faulty_since else {
            return false;
        };
        let reported = context.observation.reported(context.index, node);
        let lasted = now.since(since);
        let sure = match carries_probes && reported.reach == Reach::Whole {
            true => lasted >= confirmed_after(own, timing),
            false => reported.current && lasted >= UNCONFIRMED.max(confirmed_after(own, timing)),
        };
        sure && reported.reach < own
            && self.eligibility(node, context) == Eligibility::Eligible
            && self.receives_release(node, context)
    }
}
