//! Ownership of an address: who acquired it when, by the events, and which nodes answered
//! nevertheless.
//!
//! All namespaces share one clock, and a node stamps an answer before its kernel's guard judges it.
//! An answer that was given after another node had acquired the lease, and left, proves two owners.
//! This module judges observations, and must never estimate.

use heartbeat_common::time::Boottime;
use heartbeat_user::control::protocol::{Event, EventKind, GroupEvent};

use crate::client::Answer;

/// A grant of an address's lease to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquisition {
    pub node: String,
    pub group: String,
    /// The instant at which a majority had granted it.
    pub majority: Boottime,
}

/// All acquisitions in events, each with its reporter. The events must come from every node, and be
/// collected from a node before it is killed: a missing acquisition makes answers look wrong, or
/// right.
pub fn acquisitions<'a>(told: impl IntoIterator<Item = (&'a str, &'a Event)>) -> Vec<Acquisition> {
    let acquisition = |(author, event): (&str, &Event)| match &event.what {
        EventKind::Group {
            group,
            event: GroupEvent::LeaseAcquired { timeline, .. },
        } => Some(Acquisition {
            node: author.to_owned(),
            group: group.clone(),
            majority: timeline.majority,
        }),
        _ => None,
    };
    told.into_iter().filter_map(acquisition).collect()
}

/// The answers that a node gave after another node had acquired the lease, and before it acquired
/// the lease again itself. `acquisitions` are those of the address that was asked, in any order.
pub fn overlaps<'a>(
    answers: impl IntoIterator<Item = &'a Answer>,
    acquisitions: &[Acquisition],
) -> Vec<&'a Answer> {
    let latest = |answer: &Answer, own: bool| {
        acquisitions
            .iter()
            .filter(|other| (*other.node == *answer.node) == own && other.majority <= answer.given)
            .map(|acquisition| acquisition.majority)
            .max()
    };
    // A node without an acquisition in the list owned the address before, so any other's is later.
    let wrong = |answer: &&Answer| {
        latest(answer, false).is_some_and(|other| Some(other) >= latest(answer, true))
    };
    answers.into_iter().filter(wrong).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heartbeat_user::control::protocol::{AcquisitionTimeline, VipEvent};

    use super::*;

    fn acquired(list: &[(&str, u64)]) -> Vec<Acquisition> {
        let acquisition = |(node, majority): &(&str, u64)| Acquisition {
            node: (*node).to_owned(),
            group: "service".to_owned(),
            majority: Boottime::from_nanos(*majority),
        };
        list.iter().map(acquisition).collect()
    }

    /// The node and the instant of the answers in `given` that overlap.
    fn wrong<'a>(given: &[(&'a str, u64)], list: &[(&str, u64)]) -> Vec<(&'a str, u64)> {
        let answers: Vec<Answer> = given
            .iter()
            .map(|(node, at)| Answer {
                given: Boottime::from_nanos(*at),
                // The arrival does not count, only the instant at which the answer was given.
                at: Boottime::from_nanos(at + 1_000),
                node: Arc::from(*node),
            })
            .collect();
        let found = overlaps(&answers, &acquired(list));
        let of = |answer: &Answer| {
            let same = |(node, at): &&(&str, u64)| {
                **node == *answer.node && Boottime::from_nanos(*at) == answer.given
            };
            given.iter().find(same).copied()
        };
        found.into_iter().filter_map(of).collect()
    }

    #[test]
    fn move_is_no_overlap() {
        let answers = [("a", 10), ("a", 99), ("b", 101), ("b", 500)];
        assert_eq!(wrong(&answers, &[("b", 100)]), []);
        assert_eq!(wrong(&answers, &[("a", 5), ("b", 100)]), []);
        assert_eq!(wrong(&answers, &[]), []);
    }

    #[test]
    fn old_owner_must_not_answer_from_the_instant_of_the_majority_on() {
        let answers = [("a", 99), ("a", 100), ("b", 100), ("b", 101), ("a", 102)];
        let expected = [("a", 100), ("a", 102)];
        assert_eq!(wrong(&answers, &[("b", 100)]), expected);
        assert_eq!(wrong(&answers, &[("b", 100), ("a", 5)]), expected);
    }

    #[test]
    fn node_that_acquires_a_group_again_may_answer_again() {
        let list = [("b", 100), ("a", 200), ("c", 300), ("a", 300)];
        assert_eq!(wrong(&[("a", 150)], &list), [("a", 150)]);
        assert_eq!(wrong(&[("a", 200), ("a", 299)], &list), []);
        assert_eq!(wrong(&[("b", 250)], &list), [("b", 250)]);
        // Two at the same instant are two owners.
        assert_eq!(
            wrong(&[("a", 310), ("c", 310)], &list),
            [("a", 310), ("c", 310)]
        );
    }

    #[test]
    fn node_that_never_acquired_it_overlaps_with_everybody() {
        assert_eq!(wrong(&[("c", 50), ("c", 150)], &[("b", 100)]), [("c", 150)]);
    }

    #[test]
    fn acquisitions_are_taken_from_events() {
        let event = |what| Event {
            schema_version: 1,
            number: 1,
            at_ns: 130,
            at_unix_ns: None,
            what,
        };
        let timeline = AcquisitionTimeline {
            free: Boottime::from_nanos(90),
            majority: Boottime::from_nanos(100),
        };
        let lease = event(EventKind::Group {
            group: "service".to_owned(),
            event: GroupEvent::LeaseAcquired {
                timeline,
                regained: false,
            },
        });
        let takeover = event(EventKind::Vip {
            vip: "service".to_owned(),
            event: VipEvent::Takeover {
                timeline,
                decided_ns: 101,
                address_ns: 110,
                announced_ns: 120,
            },
        });
        let told = [("b", &lease), ("b", &takeover)];
        assert_eq!(acquisitions(told), acquired(&[("b", 100)]));
    }
}
