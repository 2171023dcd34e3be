//! Beginning, starting and stopping, without failures.

use heartbeat_core::{
    index::ResourceIndex,
    resource::{
        Action::{Monitor, Probe, Start, Stop},
        Effect::Cancel,
        ResourceState,
    },
};

use crate::story::{
    ERROR, FIT, INCOMPLETE, NOT_CONFIGURED, NOT_INSTALLED, NOT_RUNNING, NOT_STARTED, OK, READY,
    STARTED, STOPPED, Story, UNBLOCKED, monitor, plan, probe, says_barred, says_blocked, start,
    stop,
};

#[test]
fn resources_found_running_are_stopped_in_reverse_before_the_node_is_ready() {
    let mut story = Story::new();
    assert_eq!(story.begin(false), [probe(0), probe(1), probe(2)]);
    assert_eq!(story.probed([OK, NOT_RUNNING, OK]), [stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(0)]);
    assert!(!story.run.is_ready());
    assert_eq!(story.finished(0, Stop, OK), [READY]);
}

#[test]
fn resource_with_a_failed_probe_is_stopped_and_one_not_installed_does_not_run() {
    let mut story = Story::new();
    story.begin(false);
    let failed = story.failed(1, Probe, ERROR);
    let missing = story.failed(0, Probe, NOT_INSTALLED);
    // A node without the program must not have the group.
    assert_eq!(
        story.finished(0, Probe, NOT_INSTALLED),
        [missing, says_barred(0)]
    );
    assert_eq!(story.finished(1, Probe, ERROR), [failed]);
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), [stop(1)]);
    // The finding is shown, but is no failure of a resource that should run.
    assert_eq!(story.run.failures(ResourceIndex(1)), 0);
    assert_eq!(story.finished(1, Stop, OK), [READY]);
}

#[test]
fn node_without_the_agent_is_fit_once_it_is_installed_and_cleaned_up() {
    let mut story = Story::new();
    story.begin(false);
    story.finished(0, Probe, NOT_INSTALLED);
    story.finished(1, Probe, NOT_RUNNING);
    assert_eq!(story.finished(2, Probe, NOT_RUNNING), [READY]);
    assert!(!story.run.is_fit());
    assert_eq!(story.cleanup(None), [probe(0), FIT]);
    assert_eq!(story.finished(0, Probe, NOT_RUNNING), []);
    assert!(story.run.is_fit());
    assert_eq!(story.start(), [start(0)]);
}

#[test]
fn resource_not_installed_counts_as_stopped_unless_it_was_seen_to_run() {
    let mut story = Story::ready();
    story.start();
    let failed = story.failed(0, Start, NOT_INSTALLED);
    assert_eq!(
        story.finished(0, Start, NOT_INSTALLED),
        [failed, says_barred(0), stop(0)]
    );
    assert_eq!(story.finished(0, Stop, NOT_INSTALLED), []);
    assert_eq!(story.stop(), [STOPPED]);

    // The program was removed while the resource ran: its state is unknown.
    let mut story = Story::started();
    story.stop();
    let failed = story.failed(2, Stop, NOT_INSTALLED);
    assert_eq!(
        story.finished(2, Stop, NOT_INSTALLED),
        [failed, says_blocked(2)]
    );
}

/// No D-Bus, or an agent that may not be run: no resource was ever started, and none must be
/// stopped.
#[test]
fn failed_probe_is_no_failed_stop_and_is_tried_again() {
    for outcome in [NOT_STARTED, NOT_CONFIGURED] {
        let mut story = Story::new();
        story.begin(false);
        let failed = story.failed(1, Probe, outcome);
        assert_eq!(story.finished(0, Probe, NOT_RUNNING), []);
        assert_eq!(story.finished(1, Probe, outcome), [failed, says_barred(1)]);
        assert_eq!(story.finished(2, Probe, NOT_RUNNING), []);
        assert!(!story.run.is_ready() && !story.run.is_blocked());
        assert_eq!(story.due_in(10), [probe(1)]);
        // The failure was reported once.
        assert_eq!(story.finished(1, Probe, outcome), []);
        assert_eq!(story.due_in(10), [probe(1)]);
        assert_eq!(story.finished(1, Probe, NOT_RUNNING), [FIT, READY]);
        assert_eq!(story.run.failures(ResourceIndex(1)), 0);
    }
}

#[test]
fn resource_with_a_failed_probe_is_not_reported_as_stopped() {
    let mut story = Story::new();
    story.begin(true);
    story.finished(0, Probe, OK);
    story.finished(1, Probe, NOT_STARTED);
    assert_eq!(story.finished(2, Probe, OK), []);
    assert!(story.run.is_fit(), "it keeps what it inherited");
    assert_eq!(story.stop(), [says_blocked(1)]);
    assert_eq!(story.due_in(10), [probe(1)]);
    assert_eq!(story.finished(1, Probe, NOT_RUNNING), [UNBLOCKED, stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [READY, STOPPED]);
}

/// The agent, or its executor, hangs.
#[test]
fn stop_that_does_not_end_blocks_until_it_does() {
    let mut story = Story::started();
    assert_eq!(story.stop(), [stop(2)]);
    assert_eq!(story.due_in(70), [says_blocked(2)]);
    assert_eq!(story.run.next_deadline(), None);
    assert!(story.run.is_blocked());
    assert_eq!(story.finished(2, Stop, OK), [UNBLOCKED, stop(1)]);
    story.finished(1, Stop, OK);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
}

#[test]
fn start_that_does_not_end_blocks_a_stop_of_the_group() {
    let mut story = Story::ready();
    story.start();
    assert_eq!(story.stop(), []);
    assert_eq!(story.due_in(50), [says_blocked(0)]);
    assert_eq!(story.finished(0, Start, OK), [stop(0)]);
    assert!(story.run.is_blocked(), "it was not seen to have stopped");
    assert_eq!(story.finished(0, Stop, OK), [UNBLOCKED, STOPPED]);
}

#[test]
fn under_an_inherited_lease_what_runs_goes_on() {
    let mut story = Story::new();
    story.begin(true);
    assert_eq!(story.probed([OK, OK, OK]), [READY, STARTED]);
    assert!(story.run.is_whole());
    assert_eq!(story.due_in(10), [monitor(0), monitor(1), monitor(2)]);
}

#[test]
fn under_an_inherited_lease_what_does_not_run_is_started() {
    let mut story = Story::new();
    story.begin(true);
    assert_eq!(
        story.probed([OK, NOT_RUNNING, NOT_RUNNING]),
        [READY, start(1)]
    );
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
}

#[test]
fn nothing_is_done_before_all_is_known() {
    let mut story = Story::new();
    story.begin(true);
    assert_eq!(story.finished(2, Probe, OK), []);
    assert_eq!(story.finished(0, Probe, OK), []);
    assert_eq!(story.run.next_deadline(), None);
    assert_eq!(story.finished(1, Probe, OK), [READY, STARTED]);
}

/// The resource may have lost its dependencies.
#[test]
fn resource_behind_a_stopped_one_is_restarted() {
    let mut story = Story::new();
    story.begin(true);
    assert_eq!(story.probed([OK, NOT_RUNNING, OK]), [READY, stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [start(1)]);
    assert_eq!(story.finished(1, Start, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
}

#[test]
fn inherited_lease_lost_during_the_probes_stops_running_resources() {
    let mut story = Story::new();
    story.begin(true);
    assert_eq!(story.stop(), []);
    assert_eq!(story.probed([OK, NOT_RUNNING, NOT_RUNNING]), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [READY, STOPPED]);
}

#[test]
fn start_before_the_node_is_ready_is_remembered() {
    let mut story = Story::new();
    story.begin(false);
    assert_eq!(story.start(), []);
    assert_eq!(story.probed([OK, NOT_RUNNING, NOT_RUNNING]), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [READY, start(0)]);
}

#[test]
fn resources_stop_in_reverse() {
    let mut story = Story::started();
    assert_eq!(story.stop(), [stop(2)]);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    // Some agents answer so instead of "ok".
    assert_eq!(story.finished(1, Stop, NOT_RUNNING), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    assert_eq!(story.run.next_deadline(), None);
}

#[test]
fn stop_where_nothing_runs_is_answered_at_once() {
    let mut story = Story::ready();
    assert_eq!(story.stop(), [STOPPED]);
    assert_eq!(story.stop(), [STOPPED]);
}

#[test]
fn stop_during_a_start_waits_for_its_end_and_stops_that_too() {
    for outcome in [OK, ERROR] {
        let mut story = Story::ready();
        story.start();
        story.finished(0, Start, OK);
        assert_eq!(story.stop(), []);
        let failed = story.failed(1, Start, ERROR);
        let shown = (outcome == ERROR).then_some(failed);
        let expected: Vec<_> = shown.into_iter().chain([stop(1)]).collect();
        assert_eq!(story.finished(1, Start, outcome), expected);
        // The resource should no longer run, so the node stays fit.
        assert_eq!(story.run.failures(ResourceIndex(1)), 0);
        assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
        assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    }
}

#[test]
fn start_during_a_stop_waits_until_all_has_stopped_and_that_was_said() {
    let mut story = Story::started();
    assert_eq!(story.stop(), [stop(2)]);
    assert_eq!(story.start(), []);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED, start(0)]);
}

#[test]
fn last_of_start_and_stop_counts_and_stops_are_answered_once() {
    let mut story = Story::started();
    story.stop();
    story.start();
    assert_eq!(story.stop(), []);
    story.finished(2, Stop, OK);
    story.finished(1, Stop, OK);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    assert!(!story.run.is_wanted());
}

#[test]
fn monitor_is_due_an_interval_after_the_last_one_ended() {
    let mut story = Story::started();
    assert_eq!(story.due_in(10), [monitor(0), monitor(1), monitor(2)]);
    assert_eq!(story.run.in_flight(ResourceIndex(1)), Some(Monitor));
    assert_eq!(story.run.next_deadline(), None);
    assert_eq!(story.finished(1, Monitor, OK), []);
    assert_eq!(story.run.in_flight(ResourceIndex(1)), None);
    assert_eq!(story.due_in(10), [monitor(1)]);
    assert_eq!(story.finished(0, Monitor, OK), []);
    assert_eq!(story.due_in(10), [monitor(0)]);
}

#[test]
fn monitor_of_what_is_to_be_stopped_is_cancelled_and_says_nothing() {
    let mut story = Story::started();
    story.due_in(10);
    assert_eq!(
        story.stop(),
        [
            Cancel {
                resource: ResourceIndex(2)
            },
            stop(2)
        ]
    );
    assert_eq!(story.finished(2, Monitor, ERROR), []);
    assert_eq!(story.finished(0, Monitor, ERROR), []);
    assert_eq!(
        story.finished(2, Stop, OK),
        [
            Cancel {
                resource: ResourceIndex(1)
            },
            stop(1)
        ]
    );
    assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [STOPPED]);
    assert_eq!(
        [0, 1, 2].map(|resource| story.run.failures(ResourceIndex(resource))),
        [0; 3]
    );
}

#[test]
fn resource_without_a_monitor_needs_no_waking() {
    let mut plan = plan();
    plan.monitor_interval = None;
    let mut story = Story::with(vec![plan]);
    story.begin(true);
    assert_eq!(story.finished(0, Probe, OK), [READY, STARTED]);
    assert_eq!(story.run.next_deadline(), None);
}

#[test]
fn process_that_ends_during_the_start_makes_a_monitor_due_at_once() {
    let mut story = Story::ready();
    story.start();
    assert_eq!(story.died(0), []);
    assert_eq!(story.finished(0, Start, OK), [start(1), monitor(0)]);
    let failed = story.failed(0, Monitor, NOT_RUNNING);
    assert_eq!(story.finished(0, Monitor, NOT_RUNNING), [failed]);
    assert_eq!(story.finished(1, Start, OK), [stop(1)]);
    assert_eq!(story.finished(1, Stop, OK), [stop(0)]);
    assert_eq!(story.finished(0, Stop, OK), [start(0)]);
}

#[test]
fn late_or_repeated_result_is_ignored() {
    let mut story = Story::started();
    assert_eq!(story.finished(2, Start, ERROR), []);
    assert_eq!(story.finished(1, Monitor, ERROR), []);
    assert_eq!(story.finished(7, Start, OK), []);
    assert_eq!(story.died(7), []);
    story.stop();
    assert_eq!(story.died(2), []);
    assert_eq!(story.finished(2, Stop, OK), [stop(1)]);
    assert_eq!(story.finished(2, Stop, ERROR), []);
    assert_eq!(story.died(2), []);
    assert_eq!(
        story.states(),
        [
            ResourceState::Started,
            ResourceState::Stopping,
            ResourceState::Stopped
        ]
    );
}

#[test]
fn empty_group_starts_and_stops() {
    let mut story = Story::with(Vec::new());
    assert_eq!(story.begin(false), [READY]);
    assert_eq!(story.start(), [STARTED]);
    assert_eq!(story.stop(), [STOPPED]);
}

#[test]
fn new_times_count_from_now_on_and_touch_nothing() {
    let mut story = Story::started();
    let mut plan = plan();
    plan.monitor_interval = Some(std::time::Duration::from_secs(3));
    plan.stop_timeout = std::time::Duration::from_secs(5);
    assert_eq!(
        story.tell(|run, now, out| run.replan(ResourceIndex(2), plan, now, out)),
        []
    );
    assert_eq!(story.due_in(3), [monitor(2)]);
    story.finished(2, Monitor, OK);
    let patient = story.stop();
    let [heartbeat_core::resource::Effect::Act { timeout, .. }] = patient[..] else {
        panic!("{patient:?}");
    };
    assert_eq!(timeout, plan.stop_timeout);
}

#[test]
fn resource_lost_while_serving_is_reported_and_so_is_its_return() {
    let mut story = Story::started();
    let failed = story.failed(2, Monitor, heartbeat_core::resource::Outcome::Died);
    assert_eq!(story.died(2), [failed, INCOMPLETE, stop(2)]);
    assert!(!story.run.is_started() && !story.run.is_whole());
    assert_eq!(story.died(2), []);
    assert_eq!(story.finished(2, Stop, OK), [start(2)]);
    assert_eq!(story.finished(2, Start, OK), [STARTED]);
    assert_eq!(story.run.failures(ResourceIndex(2)), 1);
}
