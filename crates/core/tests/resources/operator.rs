//! The operator's commands for single resources.

use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{Start, Stop},
        ResourceState,
    },
};

use crate::story::{
    ERROR, INCOMPLETE, OK, STARTED, STOPPED, Story, monitor, says_barred, start, stop,
};

#[test]
fn resource_that_is_disabled_stops_with_those_behind_it() {
    let mut story = Story::started();
    assert_eq!(story.enable(1, false), [stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), []);
    assert!(!story.run.is_whole());
    assert_eq!(story.due_in(10), [monitor(0)]);
    assert_eq!(story.enable(1, true), [INCOMPLETE, start(1)]);
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
    assert!(story.run.is_whole());
}

#[test]
fn disabled_resource_is_not_started_and_the_rest_counts_as_all() {
    let mut story = Story::ready();
    assert_eq!(story.enable(1, false), []);
    assert_eq!(story.start(), [start(0)]);
    assert_eq!(story.finished(0, Start, OK), [STARTED]);
    assert_eq!(story.enable(0, false), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), []);
    assert_eq!(story.stop(), [STOPPED]);
}

#[test]
fn resource_disabled_while_it_starts_is_stopped_after_that() {
    let mut story = Story::ready();
    story.start();
    story.finished(0, Start, OK);
    assert_eq!(story.enable(1, false), [STARTED]);
    let failed = story.failed(1, Start, ERROR);
    assert_eq!(story.finished(1, Start, ERROR), [failed, stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), []);
    assert!(story.run.is_fit());
}

#[test]
fn resource_enabled_again_while_it_stops_is_started_after_that() {
    let mut story = Story::started();
    assert_eq!(story.enable(2, false), [stop(2)]);
    assert_eq!(story.enable(2, true), [INCOMPLETE]);
    assert_eq!(story.finished(2, Stop, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
}

#[test]
fn restart_takes_those_behind_along_and_counts_no_failure() {
    let mut story = Story::started();
    assert_eq!(story.restart(1), [INCOMPLETE, stop(2)]);
    assert_eq!(story.restart(1), []);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), [start(1)]);
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
    assert_eq!(
        [0, 1, 2].map(|resource| story.run.failures(ResourceIndex(resource))),
        [0; 3]
    );
}

#[test]
fn stopped_resource_is_not_restarted() {
    let mut story = Story::ready();
    assert_eq!(story.restart(0), []);
    assert_eq!(story.start(), [start(0)]);
    // A starting resource is restarted after its start.
    assert_eq!(story.restart(0), []);
    assert_eq!(story.finished(0, Start, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [start(0)]);
    assert_eq!(story.finished(0, Start, OK), [start(1)]);
}

#[test]
fn restart_does_not_outlast_a_stop() {
    let mut story = Story::started();
    story.restart(0);
    story.stop();
    story.finished(2, Stop, OK);
    story.finished(1, Stop, OK);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    story.start();
    assert_eq!(story.finished(0, Start, OK), [start(1)]);
}

#[test]
fn restart_whose_start_fails_makes_the_group_leave() {
    let mut story = Story::started();
    story.restart(2);
    assert_eq!(story.finished(2, Stop, OK), [start(2)]);
    let failed = story.failed(2, Start, ERROR);
    assert_eq!(
        story.finished(2, Start, ERROR),
        [failed, says_barred(2), stop(2)]
    );
    assert_eq!(story.finished(2, Stop, OK), []);
    assert_eq!(
        story.states(),
        [
            ResourceState::Started,
            ResourceState::Started,
            ResourceState::Stopped
        ]
    );
}
