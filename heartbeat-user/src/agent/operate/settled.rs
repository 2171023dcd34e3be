//! The result of an operator's cleanup for a group, as a pure function of the group's known state.

use std::{collections::HashSet, time::Duration};

use crate::control::protocol::{self, FailedAction};

/// The longest time that an answer waits for groups to settle.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The identity of a failed action: node, resource and time.
pub(super) type Mark = (String, String, u64);

/// The result for a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The group runs, and no action failed on the way.
    Runs(String),
    Well(String),
    Wrong(String),
}

pub(super) fn mark(failure: &FailedAction) -> Mark {
    let FailedAction { node, resource, .. } = failure;
    (node.clone(), resource.clone(), failure.at_unix_ns)
}

/// Returns the failures of a group that were not known `before`.
pub(super) fn fresh(
    group: &protocol::Group,
    failures: &[FailedAction],
    before: &HashSet<Mark>,
) -> Vec<FailedAction> {
    let is_its = |failure: &&FailedAction| {
        let mut resources = group.resources.iter();
        resources.any(|resource| resource.name == failure.resource)
    };
    let fresh = failures.iter().filter(is_its);
    let fresh = fresh.filter(|failure| !before.contains(&mark(failure)));
    fresh.cloned().collect()
}

/// Returns the result for a group, if it is known.
///
/// `fresh` are the group's failures since the cleanup. `is_quiet` means that nothing has changed
/// for a while, `late` that the wait is over.
pub(super) fn judge(
    group: &protocol::Group,
    fresh: &[FailedAction],
    is_quiet: bool,
    late: bool,
) -> Option<Settled> {
    let name = &group.name;
    let again = |on: Option<&str>| {
        let of = |failure: &&FailedAction| on.is_none_or(|node| failure.node == node);
        fresh.iter().rfind(of).map(failed_again)
    };
    if group.maintenance {
        return Some(Settled::Well(format!("{name} is in maintenance mode")));
    }
    let is_busy = |resource: &protocol::Resource| {
        matches!(resource.state.as_str(), "starting" | "stopping" | "failed")
    };
    let busy = group.resources.iter().find(|resource| is_busy(resource));
    if let Some(node) = &group.blocked {
        // A new failure shows that the stop was tried again.
        let again = again(Some(node));
        let is_looked_at = |one: &protocol::Resource| one.state == "unknown";
        let goes_on = busy.is_some() || group.resources.iter().any(is_looked_at);
        let known = again.is_some() || is_quiet && !goes_on || late;
        return known.then(|| {
            let why = again.map_or_else(String::new, |words| format!(": {words}"));
            Settled::Wrong(format!(
                "{name} is still blocked on {node}{why}; stop by hand what runs of it there, then \
                 clean up again"
            ))
        });
    }
    if let (true, Some(owner)) = (group.running, &group.owner) {
        return Some(match again(None) {
            None => Settled::Runs(format!("{name} runs on {owner}")),
            Some(words) => Settled::Well(format!("{name} runs on {owner}; but {words}")),
        });
    }
    if group.stopped && group.owner.is_none() {
        let text = format!("{name} is stopped by an operator: `heartbeat resource start {name}`");
        return Some(Settled::Well(text));
    }
    match (busy, again(None)) {
        (Some(resource), _) if late => Some(Settled::Wrong(format!(
            "{name} has not settled within {} s: {} is {}",
            PATIENCE.as_secs(),
            resource.name,
            resource.state
        ))),
        (Some(_), _) => None,
        (None, Some(words)) if is_quiet || late => {
            Some(Settled::Wrong(format!("{name} does not run: {words}")))
        }
        (None, None) if is_quiet || late => Some(Settled::Well(format!(
            "{name} does not run now: `heartbeat explain {name}` says why"
        ))),
        _ => None,
    }
}

fn failed_again(failure: &FailedAction) -> String {
    let FailedAction {
        node,
        resource,
        action,
        outcome,
        message,
        ..
    } = failure;
    let said = message.lines().next();
    let said = said.map_or_else(String::new, |said| format!(": {said}"));
    format!("{action} of {resource} on {node} failed again: {outcome}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(owner: Option<&str>, running: bool, state: &str) -> protocol::Group {
        protocol::Group {
            lacking: Vec::new(),
            name: "web".to_owned(),
            id: 1,
            owner: owner.map(str::to_owned),
            lease: None,
            votes: None,
            running,
            maintenance: false,
            stopped: false,
            barred: Vec::new(),
            cut_off: Vec::new(),
            blocked: None,
            unreported: false,
            remains: Vec::new(),
            resources: vec![protocol::Resource {
                name: "db".to_owned(),
                kind: "exec".to_owned(),
                state: state.to_owned(),
                node: None,
                failures: 0,
                stopped: false,
            }],
        }
    }

    fn failure(node: &str, action: &str, at_unix_ns: u64) -> FailedAction {
        FailedAction {
            node: node.to_owned(),
            resource: "db".to_owned(),
            action: action.to_owned(),
            outcome: "error (1)".to_owned(),
            code: Some(1),
            at_unix_ns,
            at: String::new(),
            message: "not permitted\nask somebody".to_owned(),
        }
    }

    fn well(text: &str) -> Option<Settled> {
        Some(Settled::Well(text.to_owned()))
    }

    fn wrong_with(result: Option<Settled>, part: &str) {
        match result {
            Some(Settled::Wrong(text)) => assert!(text.contains(part), "no `{part}` in {text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn group_that_runs_has_settled() {
        let runs = group(Some("a"), true, "started");
        let plain = Some(Settled::Runs("web runs on a".to_owned()));
        assert_eq!(judge(&runs, &[], false, false), plain);
        let failed = [failure("b", "start", 9)];
        let said = "web runs on a; but start of db on b failed again: error (1): not permitted";
        assert_eq!(judge(&runs, &failed, false, false), well(said));
    }

    #[test]
    fn blocked_group_is_waited_for_until_its_stop_failed_again() {
        let blocked = protocol::Group {
            blocked: Some("a".to_owned()),
            ..group(Some("a"), false, "stopping")
        };
        assert_eq!(judge(&blocked, &[], false, false), None);
        // A failure on another node is no evidence about the stop on this one.
        assert_eq!(
            judge(&blocked, &[failure("b", "start", 9)], false, false),
            None
        );
        let again = judge(&blocked, &[failure("a", "stop", 9)], false, false);
        wrong_with(
            again,
            "web is still blocked on a: stop of db on a failed again: error (1)",
        );
        // A stop needs time. A process that cannot be killed may need for ever.
        assert_eq!(judge(&blocked, &[], true, false), None);
        let by_hand = "still blocked on a; stop by hand";
        wrong_with(judge(&blocked, &[], true, true), by_hand);
        let lingers = protocol::Group {
            blocked: Some("a".to_owned()),
            ..group(Some("a"), false, "blocked")
        };
        assert_eq!(judge(&lingers, &[], false, false), None);
        wrong_with(judge(&lingers, &[], true, false), by_hand);
    }

    #[test]
    fn group_that_starts_is_waited_for_but_not_for_ever() {
        let starts = group(Some("a"), false, "starting");
        assert_eq!(judge(&starts, &[], true, false), None);
        wrong_with(
            judge(&starts, &[], true, true),
            "not settled within 60 s: db is starting",
        );
    }

    #[test]
    fn group_that_failed_everywhere_again_is_reported_with_the_reason() {
        let stopped = group(None, false, "stopped");
        let failed = [failure("a", "start", 8), failure("b", "start", 9)];
        assert_eq!(judge(&stopped, &failed, false, false), None);
        wrong_with(
            judge(&stopped, &failed, true, false),
            "web does not run: start of db on b failed again",
        );
    }

    #[test]
    fn group_that_is_not_to_run_is_no_failure() {
        let stopped = group(None, false, "stopped");
        let decided = protocol::Group {
            stopped: true,
            ..stopped.clone()
        };
        let text = "web is stopped by an operator: `heartbeat resource start web`";
        assert_eq!(judge(&decided, &[], false, false), well(text));
        let left = protocol::Group {
            maintenance: true,
            ..stopped.clone()
        };
        let text = "web is in maintenance mode";
        assert_eq!(judge(&left, &[], false, false), well(text));
        let text = "web does not run now: `heartbeat explain web` says why";
        assert_eq!(judge(&stopped, &[], true, false), well(text));
    }

    #[test]
    fn failures_that_were_known_before_are_not_fresh() {
        let group = group(None, false, "stopped");
        let (old, new) = (failure("a", "stop", 1), failure("a", "stop", 2));
        let before = HashSet::from([mark(&old)]);
        assert_eq!(fresh(&group, &[old, new.clone()], &before), [new]);
    }
}
