//! Checks that are replaced while they run.

use std::fs;

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, Meaning, ProcessName},
    health::State,
};

use crate::support::{NEVER, Node, PATIENCE, Scratch, Victim, check, eventually};

fn exec(name: &str, line: &[&str]) -> HealthCheck {
    HealthCheck {
        name: name.to_owned(),
        ..check(HealthKind::Exec(
            line.iter().map(|word| (*word).to_owned()).collect(),
        ))
    }
}

fn states(node: &Node) -> Vec<(String, State)> {
    let statuses = node.checks.snapshot().into_iter();
    statuses.map(|status| (status.name, status.state)).collect()
}

#[tokio::test]
async fn reload_keeps_unchanged_checks_and_trusts_new_ones() {
    let good = exec("good", &["/bin/true"]);
    let bad = exec("bad", &["/bin/false"]);
    let slow = exec("slow", &["/bin/sleep", "600"]);
    let mut node = Node::new(&[good.clone(), bad.clone()]);
    assert_eq!(node.health(), Health::of(0, true).and(Health::of(1, true)));
    node.turns(false).await;
    node.is(State::Well).await;
    let since = node.status().since;

    // The list gains a check whose first result takes a while, and loses one.
    node.checks.replace(&[good.clone(), slow.clone()]);
    let expected = [("good", State::Well), ("slow", State::Unknown)];
    assert_eq!(
        states(&node),
        expected.map(|(name, state)| (name.to_owned(), state))
    );
    assert_eq!(
        node.health(),
        Health::default(),
        "a new question is no doubt"
    );
    assert_eq!(node.status().since, since);

    // A failed check does not pass because it was changed or moved.
    node.checks.replace(std::slice::from_ref(&bad));
    node.turns(false).await;
    let changed = HealthCheck {
        timeout: PATIENCE / 2,
        interval: NEVER,
        ..exec("bad", &["/bin/sleep", "600"])
    };
    node.checks.replace(&[good, changed]);
    assert_eq!(node.health(), Health::of(1, true));
    node.checks.replace(&[]);
    assert_eq!(
        (node.health(), node.checks.snapshot()),
        (Health::default(), vec![])
    );
}

#[tokio::test]
async fn moved_check_watches_under_its_new_number() {
    let scratch = Scratch::new();
    let victim = Victim::start();
    fs::write(scratch.path("pid"), victim.pid().to_string()).unwrap();
    let process = HealthCheck {
        interval: NEVER,
        meaning: Meaning::Degraded,
        ..check(HealthKind::Process(ProcessName::PidFile(
            scratch.path("pid"),
        )))
    };
    let mut node = Node::new(std::slice::from_ref(&process));
    node.is(State::Well).await;
    node.checks
        .replace(&[exec("good", &["/bin/true"]), process]);
    assert_eq!(node.checks.sum().watched, Health::default());
    eventually("it is watched again", || {
        (node.checks.sum().watched == Health::of(1, false)).then_some(())
    })
    .await;
    victim.kill();
    let turn = node.turns(false).await;
    assert_eq!(turn.number, 1);
}

#[tokio::test]
async fn ended_checks_send_no_notice() {
    let scratch = Scratch::new();
    let noted = scratch.path("pid");
    let script = format!("echo $$ > {}; exec sleep 600", noted.display());
    let node = Node::new(&[exec("slow", &["/bin/sh", "-c", &script])]);
    let read = || {
        fs::read_to_string(&noted)
            .ok()
            .filter(|text| text.ends_with('\n'))
    };
    let pid = eventually("it runs", read).await;
    drop(node);
    let stat = format!("/proc/{}/stat", pid.trim());
    eventually("the program went with them", || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}
