//! Whether a group should leave for a node whose interfaces reach the network of its addresses.
//!
//! The group stays where no other node reaches further: a move would help nobody.

use std::time::Duration;

use heartbeat_common::wire::NodeId;

use super::{Group, GroupContext};
use crate::{
    Timing,
    eligibility::Eligibility,
    reach::{Distance, Reach},
};

/// How long a fault has lasted before a group leaves for a node whose heartbeats do not vouch for
/// its interface. The carriers at the ports of one switch do not go at the same moment.
const UNVOUCHED: Duration = Duration::from_millis(250);

/// The same where a node says by heartbeats that it hears others on the link of the addresses: by
/// then that node would have noticed that nobody is there. A fault that is shorter than a lease
/// moves nothing, as where heartbeats have only one link. A silence is noticed when it has lasted
/// for a timeout already, by all nodes behind the same switch.
fn vouched(own: Reach, timing: &Timing) -> Duration {
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
    /// Whether this node reaches less far than another that could have it.
    pub(super) fn is_cut_off(&self, context: &GroupContext<'_>) -> bool {
        let distance = context.distance();
        distance.is_beyond(distance.own)
    }

    /// Whether it is served here, and should be by a node that reaches further.
    pub(super) fn is_better_reached_elsewhere(&self, context: &GroupContext<'_>) -> bool {
        self.is_cut_off(context)
            && context.now >= self.failback_hold.reach_until
            && self
                .plan
                .ranked
                .iter()
                .any(|node| *node != context.view.local && self.is_reached_at(*node, context))
    }

    /// Whether a peer reaches further, for sure, and would take it at once.
    fn is_reached_at(&self, node: NodeId, context: &GroupContext<'_>) -> bool {
        let GroupContext { now, timing, .. } = *context;
        let Distance {
            own,
            faulty_since,
            heard_on,
            ..
        } = *context.distance();
        let Some(since) = faulty_since else {
            return false;
        };
        let said = context.sight.reported(context.index, node);
        let lasted = now.since(since);
        let sure = match heard_on && said.reach == Reach::Whole {
            true => lasted >= vouched(own, timing),
            false => said.current && lasted >= UNVOUCHED.max(vouched(own, timing)),
        };
        sure && said.reach < own
            && self.eligibility(node, context) == Eligibility::Eligible
            && self.hears_of_release(node, context)
    }
}
