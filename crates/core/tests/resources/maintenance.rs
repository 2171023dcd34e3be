//! Maintenance: all resources are left alone, and probed afterwards.

use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{Monitor, Probe, Start, Stop},
        Outcome, ResourceState,
    },
};

use crate::story::{
    ERROR, FIT, INCOMPLETE, NOT_RUNNING, OK, READY, STARTED, STOPPED, Story, UNBLOCKED, monitor,
    probe, says_barred, says_blocked, start, stop,
};

#[test]
fn nothing_is_begun_and_what_still_runs_goes_on_without_a_word() {
    let mut story = Story::started();
    assert_eq!(story.maintain(true), []);
    assert_eq!(story.run.next_deadline(), None);
    assert_eq!(story.wake(), []);
    // The operator restarts it by hand.
    assert_eq!(story.died(2), []);
    assert_eq!(story.maintain(false), [probe(0), probe(1), probe(2)]);
    assert_eq!(story.probed([OK, OK, OK]), []);
    assert_eq!(story.due_in(10), [monitor(0), monitor(1), monitor(2)]);
}

#[test]
fn command_given_in_maintenance_is_done_afterwards() {
    let mut story = Story::started();
    story.maintain(true);
    assert_eq!(story.restart(2), []);
    assert_eq!(story.enable(1, false), []);
    story.maintain(false);
    assert_eq!(story.probed([OK, OK, OK]), [stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), []);
}

#[test]
fn resource_stopped_by_hand_is_started_afterwards_and_is_no_failure() {
    let mut story = Story::started();
    story.maintain(true);
    story.maintain(false);
    assert_eq!(story.probed([OK, OK, NOT_RUNNING]), [INCOMPLETE, start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
    assert_eq!(story.run.failures(ResourceIndex(2)), 0);
}

#[test]
fn resource_started_by_hand_without_the_lease_is_stopped_afterwards() {
    let mut story = Story::ready();
    story.maintain(true);
    assert_eq!(story.maintain(false), [probe(0), probe(1), probe(2)]);
    assert_eq!(story.probed([OK, NOT_RUNNING, NOT_RUNNING]), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), []);
}

#[test]
fn lease_lost_meanwhile_stops_the_group_afterwards() {
    let mut story = Story::started();
    story.maintain(true);
    assert_eq!(story.stop(), []);
    story.maintain(false);
    assert_eq!(story.probed([OK, OK, OK]), [stop(2)]);
    story.finished(2, Stop, OK);
    story.finished(1, Stop, OK);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
}

#[test]
fn group_told_to_stop_and_to_start_meanwhile_does_both_afterwards() {
    let mut story = Story::started();
    story.maintain(true);
    assert_eq!(story.stop(), []);
    assert_eq!(story.start(), []);
    story.maintain(false);
    assert_eq!(story.probed([OK, NOT_RUNNING, NOT_RUNNING]), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED, start(0)]);
    let mut story = Story::started();
    story.maintain(true);
    story.stop();
    story.start();
    story.maintain(false);
    let nothing = [NOT_RUNNING; 3];
    assert_eq!(story.probed(nothing), [STOPPED, start(0)]);
}

#[test]
fn start_that_fails_meanwhile_counts_for_nothing() {
    let mut story = Story::ready();
    story.start();
    story.maintain(true);
    assert_eq!(story.finished(0, Start, ERROR), []);
    assert_eq!(story.states()[0], ResourceState::Failed);
    story.maintain(false);
    assert_eq!(
        story.probed([NOT_RUNNING, NOT_RUNNING, NOT_RUNNING]),
        [start(0)]
    );
}

#[test]
fn stop_that_fails_meanwhile_is_tried_again_if_it_must() {
    let mut story = Story::started();
    story.stop();
    story.maintain(true);
    assert_eq!(story.finished(2, Stop, ERROR), []);
    story.maintain(false);
    assert_eq!(story.probed([OK, OK, OK]), [stop(2)]);
}

#[test]
fn start_that_outlasts_the_maintenance_tells_by_itself() {
    let mut story = Story::ready();
    story.start();
    story.maintain(true);
    assert_eq!(story.maintain(false), [probe(1), probe(2)]);
    assert_eq!(story.finished(1, Probe, NOT_RUNNING), []);
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), []);
    let failed = story.failed(0, Start, ERROR);
    assert_eq!(
        story.finished(0, Start, ERROR),
        [failed, says_barred(0), stop(0)]
    );
}

#[test]
fn probe_that_outlasts_the_maintenance_may_be_outdated() {
    let mut story = Story::started();
    story.due_in(10);
    story.finished(1, Monitor, OK);
    story.finished(2, Monitor, OK);
    story.maintain(true);
    assert_eq!(story.maintain(false), [probe(1), probe(2)]);
    assert_eq!(story.finished(0, Monitor, Outcome::TimedOut), [probe(0)]);
    story.maintain(true);
    assert_eq!(story.maintain(false), []);
    for resource in 0..2 {
        assert_eq!(story.finished(resource, Probe, OK), [probe(resource)]);
        assert_eq!(story.finished(resource, Probe, OK), []);
    }
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), [probe(2)]);
    assert_eq!(story.finished(2, Probe, OK), []);
}

#[test]
fn agent_that_begins_in_maintenance_probes_nothing_before_its_end() {
    for inherited in [false, true] {
        let mut story = Story::new();
        assert_eq!(story.maintain(true), []);
        assert_eq!(story.begin(inherited), []);
        assert!(!story.run.is_ready());
        assert_eq!(story.maintain(false), [probe(0), probe(1), probe(2)]);
        let expected = match inherited {
            false => vec![stop(2)],
            true => vec![READY, STARTED],
        };
        assert_eq!(story.probed([OK, OK, OK]), expected);
    }
}

#[test]
fn blocked_resource_stays_blocked_until_the_cleanup() {
    let mut story = Story::started();
    story.stop();
    let failed = story.failed(2, Stop, ERROR);
    let blocked = says_blocked(2);
    assert_eq!(story.finished(2, Stop, ERROR), [failed, blocked]);
    story.maintain(true);
    assert_eq!(story.maintain(false), [probe(0), probe(1)]);
    assert_eq!(story.finished(0, Probe, OK), []);
    assert_eq!(story.finished(1, Probe, OK), []);
    story.maintain(true);
    assert_eq!(story.cleanup(None), []);
    story.maintain(false);
    assert_eq!(story.probed([OK, OK, NOT_RUNNING]), [UNBLOCKED, stop(1)]);
}

#[test]
fn bar_that_ends_meanwhile_is_reported_afterwards() {
    let mut story = Story::ready();
    story.start();
    story.finished(0, Start, ERROR);
    story.stop();
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    story.maintain(true);
    assert_eq!(story.cleanup(None), []);
    assert_eq!(story.maintain(false), [probe(0), probe(1), probe(2), FIT]);
}
