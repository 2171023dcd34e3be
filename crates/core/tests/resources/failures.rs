//! The consequences of a failure: recovery in place, leaving the node, a blocked group.

use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{Monitor, Probe, Start, Stop},
        Effect::{self, Cancel},
        Outcome, ResourceState,
    },
};

use crate::story::{
    ERROR, FIT, INCOMPLETE, NOT_CONFIGURED, NOT_INSTALLED, NOT_RUNNING, OK, READY, STARTED,
    STOPPED, Story, UNBLOCKED, monitor, plan, probe, says_barred, says_blocked, start, stop,
};

/// Resource 1 fails and is recovered, with the one behind it.
fn recover(story: &mut Story) {
    let failed = story.failed(1, Monitor, Outcome::Died);
    assert_eq!(story.died(1), [failed, INCOMPLETE, stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), [start(1)]);
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
}

#[test]
fn failed_monitor_is_recovered_in_place() {
    for outcome in [ERROR, NOT_RUNNING, Outcome::TimedOut, Outcome::Killed(11)] {
        let mut story = Story::started();
        assert_eq!(story.due_in(10), [monitor(0), monitor(1), monitor(2)]);
        assert_eq!(story.finished(0, Monitor, OK), []);
        let failed = story.failed(1, Monitor, outcome);
        // The last resource must stop first, whatever its monitor does.
        assert_eq!(
            story.finished(1, Monitor, outcome),
            [
                failed,
                INCOMPLETE,
                Cancel {
                    resource: ResourceIndex(2)
                },
                stop(2)
            ]
        );
        assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
        assert_eq!(story.finished(1, Stop, OK), [start(1)]);
        assert_eq!(story.finished(1, Start, OK), [start(2)]);
        assert_eq!(story.finished(2, Start, OK), [STARTED]);
        assert_eq!(story.run.failures(ResourceIndex(1)), 1);
        assert!(story.run.is_fit());
    }
}

#[test]
fn too_many_failures_make_the_group_leave() {
    let mut story = Story::started();
    recover(&mut story);
    let failed = story.failed(1, Monitor, Outcome::Died);
    let leave = says_barred(1);
    assert_eq!(story.died(1), [failed, INCOMPLETE, leave, stop(2)]);
    assert!(story.run.is_barred(ResourceIndex(1)));
    assert_eq!(story.stop(), []);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    assert_eq!(story.due_in(600), [FIT]);
    assert_eq!(story.run.failures(ResourceIndex(1)), 0);
    assert_eq!(story.start(), [start(0)]);
}

#[test]
fn where_no_node_takes_it_what_did_not_fail_goes_on() {
    let mut story = Story::started();
    recover(&mut story);
    story.died(1);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), []);
    assert_eq!(story.due_in(10), [monitor(0)]);
    assert_eq!(story.finished(0, Monitor, OK), []);
    // No further resource is started while the group should leave.
    let failed = story.failed(0, Monitor, Outcome::Died);
    assert_eq!(story.died(0), [failed, stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), []);
    assert_eq!(story.cleanup(None), [FIT, start(0)]);
}

#[test]
fn failed_start_is_stopped_and_the_group_leaves_at_once() {
    for outcome in [
        ERROR,
        Outcome::TimedOut,
        Outcome::NotStarted,
        NOT_CONFIGURED,
    ] {
        let mut story = Story::ready();
        story.start();
        story.finished(0, Start, OK);
        let failed = story.failed(1, Start, outcome);
        let leave = says_barred(1);
        let expected = [failed, leave, stop(1)];
        assert_eq!(story.finished(1, Start, outcome), expected);
        assert_eq!(story.states()[1], ResourceState::Stopping);
        assert_eq!(story.stop(), []);
        assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
        assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
        // A further `start` repeats the report.
        assert_eq!(story.start(), [leave]);
        assert_eq!(story.stop(), [STOPPED]);
        assert_eq!(story.cleanup(Some(0)), []);
        assert_eq!(story.cleanup(Some(1)), [FIT]);
    }
}

#[test]
fn hard_failure_makes_the_group_leave_at_once() {
    let mut story = Story::started();
    story.due_in(10);
    story.finished(0, Monitor, OK);
    story.finished(1, Monitor, OK);
    let failed = story.failed(2, Monitor, NOT_CONFIGURED);
    assert_eq!(
        story.finished(2, Monitor, NOT_CONFIGURED),
        [failed, INCOMPLETE, says_barred(2), stop(2)]
    );
}

#[test]
fn failures_are_forgotten_when_none_was_added_for_long_enough() {
    let mut plan = plan();
    plan.monitor_interval = None;
    let mut story = Story::with(vec![plan]);
    story.begin(true);
    story.finished(0, Probe, OK);
    for _ in 0..3 {
        story.died(0);
        story.finished(0, Stop, OK);
        assert_eq!(story.finished(0, Start, OK), [STARTED]);
        assert_eq!(story.run.failures(ResourceIndex(0)), 1);
        assert_eq!(story.due_in(600), []);
        assert_eq!(story.run.failures(ResourceIndex(0)), 0);
    }
}

#[test]
fn without_a_threshold_or_a_timeout_failures_are_only_counted() {
    let mut plan = plan();
    plan.monitor_interval = None;
    plan.migration_threshold = None;
    plan.failure_timeout = None;
    let mut story = Story::with(vec![plan]);
    story.begin(true);
    story.finished(0, Probe, OK);
    for count in 1..10 {
        let failed = story.failed(0, Monitor, Outcome::Died);
        assert_eq!(story.died(0), [failed, INCOMPLETE, stop(0)]);
        assert_eq!(story.finished(0, Stop, OK), [start(0)]);
        assert_eq!(story.finished(0, Start, OK), [STARTED]);
        assert_eq!(story.run.failures(ResourceIndex(0)), count);
        assert_eq!(story.run.next_deadline(), None);
    }
    assert_eq!(story.cleanup(None), []);
    assert_eq!(story.run.failures(ResourceIndex(0)), 0);
}

/// The stop of resource 1 failed on the way down.
fn blocked() -> Story {
    let mut story = Story::started();
    story.stop();
    story.finished(2, Stop, OK);
    let failed = story.failed(1, Stop, Outcome::TimedOut);
    assert_eq!(
        story.finished(1, Stop, Outcome::TimedOut),
        [failed, says_blocked(1)]
    );
    assert_eq!(story.states()[1], ResourceState::Blocked);
    story
}

#[test]
fn failed_stop_blocks_the_group_until_an_operator_cleans_up() {
    let mut story = blocked();
    // The dependencies of the resource must not be stopped.
    let nothing: [Effect; 0] = [];
    assert_eq!(story.died(0), nothing);
    assert_eq!(story.died(1), nothing);
    assert_eq!(story.cleanup(Some(0)), nothing);
    assert_eq!(story.wake(), nothing);
    assert_eq!(story.run.next_deadline(), None);
    assert_eq!(story.cleanup(Some(1)), [probe(1)]);
    assert!(story.run.is_blocked());
    assert_eq!(story.finished(1, Probe, NOT_RUNNING), [UNBLOCKED, stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
}

#[test]
fn resource_still_running_after_the_cleanup_is_stopped_once_more() {
    for (found, shown) in [(OK, false), (ERROR, true)] {
        let mut story = blocked();
        story.start();
        assert_eq!(story.cleanup(None), [probe(1)]);
        let failed = story.failed(1, Probe, ERROR);
        let shown = shown.then_some(failed);
        let expected: Vec<_> = shown.into_iter().chain([stop(1)]).collect();
        assert_eq!(story.finished(1, Probe, found), expected);
        let failed = story.failed(1, Stop, ERROR);
        // The resource is still blocked, which was reported before.
        assert_eq!(story.finished(1, Stop, ERROR), [failed]);
        assert_eq!(story.cleanup(None), [probe(1)]);
        assert_eq!(story.finished(1, Probe, OK), [stop(1)]);
        assert_eq!(story.finished(1, Stop, OK), [UNBLOCKED, stop(0)]);
        assert_eq!(story.finished(0, Stop, OK), [STOPPED, start(0)]);
    }
}

#[test]
fn node_that_cannot_stop_what_it_finds_is_not_ready() {
    let mut story = Story::new();
    story.begin(false);
    assert_eq!(story.probed([OK, OK, NOT_RUNNING]), [stop(1)]);
    let failed = story.failed(1, Stop, ERROR);
    let blocked = says_blocked(1);
    assert_eq!(story.finished(1, Stop, ERROR), [failed, blocked]);
    assert!(!story.run.is_ready());
    story.cleanup(None);
    assert_eq!(story.finished(1, Probe, NOT_RUNNING), [UNBLOCKED, stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [READY]);
}

#[test]
fn stop_that_fails_during_recovery_blocks_until_the_cleanup_and_then_recovery_goes_on() {
    let mut story = Story::started();
    story.died(1);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    let failed = story.failed(1, Stop, ERROR);
    let blocked = says_blocked(1);
    assert_eq!(story.finished(1, Stop, ERROR), [failed, blocked]);
    assert_eq!(story.cleanup(None), [probe(1)]);
    assert_eq!(story.finished(1, Probe, NOT_RUNNING), [UNBLOCKED, start(1)]);
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
}

#[test]
fn start_that_cannot_be_killed_blocks_until_it_has_ended() {
    let mut story = Story::ready();
    story.start();
    let failed = story.failed(0, Start, Outcome::Lingers);
    let (leave, blocked) = (says_barred(0), says_blocked(0));
    assert_eq!(
        story.finished(0, Start, Outcome::Lingers),
        [failed, blocked, leave]
    );
    assert_eq!(story.states()[0], ResourceState::Blocked);
    // No command has an effect: the action may still take effect.
    assert_eq!(story.stop(), []);
    assert_eq!(story.cleanup(None), [FIT]);
    assert_eq!(story.run.next_deadline(), None);
    assert_eq!(story.wake(), []);
    assert!(story.run.is_blocked() && story.run.is_stopping());
    assert_eq!(story.finished(0, Start, Outcome::TimedOut), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [UNBLOCKED, STOPPED]);
}

#[test]
fn stop_that_cannot_be_killed_blocks_until_it_has_ended_and_somebody_cleaned_up() {
    for early in [false, true] {
        let mut story = Story::started();
        story.stop();
        let failed = story.failed(2, Stop, Outcome::Lingers);
        let blocked = says_blocked(2);
        assert_eq!(story.finished(2, Stop, Outcome::Lingers), [failed, blocked]);
        if early {
            assert_eq!(story.cleanup(None), []);
            assert_eq!(story.finished(2, Stop, Outcome::TimedOut), [probe(2)]);
        } else {
            assert_eq!(story.finished(2, Stop, Outcome::TimedOut), []);
            assert_eq!(story.states()[2], ResourceState::Blocked);
            assert_eq!(story.cleanup(None), [probe(2)]);
        }
        assert_eq!(story.finished(2, Probe, NOT_RUNNING), [UNBLOCKED, stop(1)]);
    }
}

#[test]
fn blocked_resource_whose_agent_was_removed_is_not_released_by_a_cleanup() {
    let mut story = Story::started();
    story.stop();
    let failed = story.failed(2, Stop, NOT_INSTALLED);
    let blocked = says_blocked(2);
    assert_eq!(story.finished(2, Stop, NOT_INSTALLED), [failed, blocked]);
    assert_eq!(story.cleanup(None), [probe(2)]);
    let missing = story.failed(2, Probe, NOT_INSTALLED);
    assert_eq!(story.finished(2, Probe, NOT_INSTALLED), [missing]);
    assert!(story.run.is_blocked() && story.run.is_stopping());
    // The probe is repeated after a pause.
    assert_eq!(story.due_in(10), [probe(2)]);
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), [UNBLOCKED, stop(1)]);
}

#[test]
fn resource_of_an_inherited_group_whose_agent_was_removed_may_still_run() {
    let mut story = Story::new();
    story.begin(true);
    story.finished(0, Probe, OK);
    story.finished(1, Probe, OK);
    let missing = story.failed(2, Probe, NOT_INSTALLED);
    assert_eq!(story.finished(2, Probe, NOT_INSTALLED), [missing]);
    assert_eq!(story.stop(), [says_blocked(2)]);
    assert_eq!(story.due_in(10), [probe(2)]);
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), [UNBLOCKED, stop(1)]);
}
