//! Counts and histograms of events, since the start of the agent.

use std::{collections::BTreeMap, time::Duration};

use heartbeat_common::time::Boottime;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::control::protocol::{DownTrace, EventKind, GroupEvent, Reason, VipEvent};

/// The first bound of the histograms, in seconds.
const FIRST: f64 = 0.000_1;
/// The number of bounds, each twice the one before: the last is 13 s.
const BOUNDS: u16 = 18;

/// The steps of a takeover, from the free lease to the last announcement.
pub(super) const STEPS: [&str; 4] = ["lease", "guard", "address", "announcement"];

/// The reasons for which a lease is given up, as in events and in labels.
pub(super) const REASONS: [&str; 12] = [
    "lease-lost",
    "moved",
    "fail-back",
    "node-unfit",
    "unhealthy",
    "drained",
    "rebalanced",
    "failed",
    "stopped",
    "removed",
    "constraint",
    "cut-off",
];

/// Counts and histograms of events. A clone shares the histograms.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// By address: takeovers.
    pub(super) takeovers: BTreeMap<String, u64>,
    /// By group and by whether the lease was only regained.
    pub(super) acquisitions: BTreeMap<(String, bool), u64>,
    /// By group and reason.
    pub(super) losses: BTreeMap<(String, &'static str), u64>,
    /// By node: how often its state became `down`.
    pub(super) peers_down: BTreeMap<String, u64>,
    /// By resource and action.
    pub(super) failures: BTreeMap<(String, String), u64>,
    /// From the free lease to the last announcement.
    pub(super) takeover: Histogram,
    /// The steps of this, in the order of [`STEPS`].
    pub(super) steps: [Histogram; STEPS.len()],
    /// From the last reply of a node to the decision that it is down.
    pub(super) detection: Histogram,
    /// From the deadline of a reply to the same decision.
    pub(super) detection_delay: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            takeovers: BTreeMap::new(),
            acquisitions: BTreeMap::new(),
            losses: BTreeMap::new(),
            peers_down: BTreeMap::new(),
            failures: BTreeMap::new(),
            takeover: histogram(),
            steps: [(); STEPS.len()].map(|()| histogram()),
            detection: histogram(),
            detection_delay: histogram(),
        }
    }
}

fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(FIRST, 2.0, BOUNDS))
}

impl Tally {
    /// Counts an event of this node.
    pub(crate) fn note(&mut self, what: &EventKind) {
        match what {
            // A node that has not answered yet is no loss.
            EventKind::Peer {
                node,
                from,
                to,
                trace,
            } if to == "down" && from != "unknown" => {
                *self.peers_down.entry(node.clone()).or_default() += 1;
                if let Some(trace) = trace {
                    self.detected(trace);
                }
            }
            EventKind::ResourceFailed {
                resource, action, ..
            } => {
                let failure = (resource.clone(), action.clone());
                *self.failures.entry(failure).or_default() += 1;
            }
            EventKind::Group { group, event } => self.group(group, event),
            EventKind::Vip { vip, event } => self.vip(vip, event),
            _ => {}
        }
    }

    fn detected(&self, trace: &DownTrace) {
        let until_decided = |from| between(from, trace.awake_ns);
        // A node that never answered has no last reply.
        if trace.last_reply_ns != 0 {
            self.detection.observe(until_decided(trace.last_reply_ns));
        }
        self.detection_delay
            .observe(until_decided(trace.deadline_ns));
    }

    fn group(&mut self, group: &str, event: &GroupEvent<String, String>) {
        match event {
            GroupEvent::LeaseAcquired { regained, .. } => {
                let acquisition = (group.to_owned(), *regained);
                *self.acquisitions.entry(acquisition).or_default() += 1;
            }
            GroupEvent::LeaseGivenUp(reason) => {
                let loss = (group.to_owned(), name(reason));
                *self.losses.entry(loss).or_default() += 1;
            }
            _ => {}
        }
    }

    fn vip(&mut self, vip: &str, event: &VipEvent) {
        let VipEvent::Takeover {
            timeline,
            decided_ns,
            address_ns,
            announced_ns,
        } = event
        else {
            return;
        };
        *self.takeovers.entry(vip.to_owned()).or_default() += 1;
        let [free, majority] = [timeline.free, timeline.majority].map(Boottime::as_nanos);
        self.takeover.observe(between(free, *announced_ns));
        let instants = [free, majority, *decided_ns, *address_ns, *announced_ns];
        for (step, pair) in self.steps.iter().zip(instants.windows(2)) {
            step.observe(between(pair[0], pair[1]));
        }
    }
}

/// Returns the seconds from one instant to another, in nanoseconds of boot time.
fn between(from: u64, to: u64) -> f64 {
    Duration::from_nanos(to.saturating_sub(from)).as_secs_f64()
}

/// The reason as in events and in labels.
const fn name(reason: &Reason<String>) -> &'static str {
    match reason {
        Reason::LeaseLost => "lease-lost",
        Reason::Moved { .. } => "moved",
        Reason::FailBack { .. } => "fail-back",
        Reason::NodeUnfit => "node-unfit",
        Reason::Unhealthy => "unhealthy",
        Reason::Drained { .. } => "drained",
        Reason::Rebalanced { .. } => "rebalanced",
        Reason::Failed => "failed",
        Reason::Disabled => "stopped",
        Reason::Removed => "removed",
        Reason::Constrained => "constraint",
        Reason::CutOff => "cut-off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_of_each_loss_has_its_label() {
        let to = String::new;
        let all = [
            Reason::LeaseLost,
            Reason::Moved { to: to() },
            Reason::FailBack { to: to() },
            Reason::NodeUnfit,
            Reason::Unhealthy,
            Reason::Drained { to: to() },
            Reason::Rebalanced { to: to() },
            Reason::Failed,
            Reason::Disabled,
            Reason::Removed,
            Reason::Constrained,
            Reason::CutOff,
        ];
        assert_eq!(all.each_ref().map(name), REASONS);
    }

    #[test]
    fn node_that_never_answered_is_no_loss() {
        let mut tally = Tally::default();
        tally.note(&EventKind::Peer {
            node: "b".to_owned(),
            from: "unknown".to_owned(),
            to: "down".to_owned(),
            trace: None,
        });
        assert!(tally.peers_down.is_empty());
    }
}
