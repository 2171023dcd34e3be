//! Starts that are refused before any action.

use super::*;

#[test]
fn directory_that_is_refused_ends_the_start_before_anything_is_done() {
    let seen = Observation {
        directory: Directory::Refused("another agent is using it: stop it first".to_owned()),
        ..nothing()
    };
    let message = Plan::new(&setup(), &seen).unwrap_err().to_string();
    assert_eq!(message, "another agent is using it: stop it first");
    // Nothing in the directory was read, so nothing else may be reported about it.
    let mut older = setup();
    older.voter_set.version = 0;
    assert_eq!(Plan::new(&older, &seen).unwrap_err().to_string(), message);
}

#[test]
fn start_that_would_break_a_promise_is_refused() {
    let refusal = |setup: &Setup, seen: &Observation| {
        let refused = Plan::new(setup, seen).unwrap_err();
        refused.to_string()
    };
    let mut older = setup();
    older.voter_set.version = 4;
    let message = refusal(&older, &earlier_run(true));
    assert!(
        message.contains("votes by config_version 5 already, and must not go back to 4"),
        "{message}"
    );
    let seen = Observation {
        longest_grant: Boottime::from_nanos(2_500_000_000),
        ..nothing()
    };
    let message = refusal(&setup(), &seen);
    assert!(
        message.contains("longer than max_lease (1000 ms)") && message.contains("again in 1500 ms"),
        "{message}"
    );
}
