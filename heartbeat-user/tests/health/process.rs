//! Checks of processes, which the tests kill.

use std::{fs, os::unix::process::CommandExt as _, process::Command, time::Duration};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, Meaning, ProcessName},
    health::State,
};

use crate::support::{NEVER, Node, Scratch, Victim, check, eventually};

fn pidfile(scratch: &Scratch) -> HealthCheck {
    check(HealthKind::Process(ProcessName::PidFile(
        scratch.path("pid"),
    )))
}

fn note(scratch: &Scratch, process: &Victim) {
    // The rename is atomic, so a reader never finds half of the content.
    fs::write(scratch.path("new"), format!("{}\n", process.pid())).unwrap();
    fs::rename(scratch.path("new"), scratch.path("pid")).unwrap();
}

#[tokio::test]
async fn process_end_fails_the_check_at_once_for_any_fall_and_interval() {
    let scratch = Scratch::new();
    let victim = Victim::start();
    note(&scratch, &victim);
    let mut node = Node::new(&[HealthCheck {
        fall: 1_000,
        interval: NEVER,
        ..pidfile(&scratch)
    }]);
    node.is(State::Well).await;
    assert!(node.status().message.contains(&victim.pid().to_string()));
    let sum = node.checks.sum();
    assert_eq!(
        (sum.health, sum.watched),
        (Health::default(), Health::of(0, true))
    );
    let ended = format!("process {} has ended", victim.pid());
    victim.kill();
    let turn = node.turns(false).await;
    assert_eq!(turn.message, ended);
    let sum = node.checks.sum();
    assert_eq!(
        (sum.health, sum.watched),
        (Health::of(0, true), Health::default())
    );
}

#[tokio::test]
async fn successor_process_is_found_and_watched() {
    let scratch = Scratch::new();
    let first = Victim::start();
    note(&scratch, &first);
    let mut node = Node::new(&[HealthCheck {
        rise: 3,
        ..pidfile(&scratch)
    }]);
    node.is(State::Well).await;
    first.kill();
    node.turns(false).await;
    eventually("it is looked for", || {
        node.status().message.contains("is gone").then_some(())
    })
    .await;
    let second = Victim::start();
    note(&scratch, &second);
    node.turns(true).await;
    assert_eq!(node.checks.sum().watched, Health::of(0, true));
    second.kill();
    node.turns(false).await;
}

#[tokio::test]
async fn changed_pidfile_is_followed_and_the_earlier_process_no_longer_counts() {
    let scratch = Scratch::new();
    let (first, second) = (Victim::start(), Victim::start());
    note(&scratch, &first);
    let mut node = Node::new(&[pidfile(&scratch)]);
    node.is(State::Well).await;
    note(&scratch, &second);
    let found = format!("process {}", second.pid());
    eventually("it is followed", || {
        (node.status().message == found).then_some(())
    })
    .await;
    first.kill();
    fs::remove_file(scratch.path("pid")).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(node.status().state, State::Well);
    second.kill();
    let turn = node.turns(false).await;
    assert!(turn.message.contains("has ended"), "{turn:?}");
}

#[tokio::test]
async fn missing_pidfile_fails_with_a_message() {
    let scratch = Scratch::new();
    let mut node = Node::new(&[pidfile(&scratch)]);
    let turn = node.turns(false).await;
    assert!(
        turn.message.contains("could not read") && turn.message.contains("pid"),
        "{turn:?}"
    );
}

/// Starts a process with this name.
fn named(scratch: &Scratch, name: &str) -> Victim {
    let program = scratch.path(name);
    if !program.exists() {
        // Another process copies the program: a fork in another thread could hold a writing
        // descriptor of ours, and a file open for writing cannot be executed.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status();
        assert!(copied.unwrap().success());
    }
    Victim::of(Command::new(program).arg0(name).arg("600"))
}

#[tokio::test]
async fn last_of_several_processes_counts() {
    let scratch = Scratch::new();
    // The kernel keeps 15 bytes of the name.
    let name = format!("hb-several-{:08}", std::process::id());
    let kind = HealthKind::Process(ProcessName::Name(name.clone()));
    let mut node = Node::new(&[HealthCheck {
        meaning: Meaning::Degraded,
        ..check(kind)
    }]);
    let turn = node.turns(false).await;
    assert!(
        turn.message.contains("no process named hb-several-"),
        "{turn:?}"
    );
    assert_eq!(node.health(), Health::of(0, false));

    let (one, other) = (named(&scratch, &name), named(&scratch, &name));
    node.turns(true).await;
    eventually("both are found", || {
        (node.status().message == "2 processes").then_some(())
    })
    .await;
    assert_eq!(
        node.checks.sum().watched,
        Health::default(),
        "neither alone matters"
    );
    one.kill();
    eventually("one is left", || {
        (node.checks.sum().watched == Health::of(0, false)).then_some(())
    })
    .await;
    assert_eq!(node.status().state, State::Well);
    let ended = format!("process {} has ended", other.pid());
    other.kill();
    assert_eq!(node.turns(false).await.message, ended);
}

#[tokio::test]
async fn checks_of_the_same_process_fail_together() {
    let scratch = Scratch::new();
    let victim = Victim::start();
    note(&scratch, &victim);
    let rare = HealthCheck {
        interval: NEVER,
        ..pidfile(&scratch)
    };
    let other = HealthCheck {
        name: "other".to_owned(),
        meaning: Meaning::Degraded,
        ..rare.clone()
    };
    let both = Health::of(0, true).and(Health::of(1, false));
    let mut node = Node::new(&[rare, other]);
    eventually("both are watched", || {
        (node.checks.sum().watched == both).then_some(())
    })
    .await;
    victim.kill();
    node.turns(false).await;
    node.turns(false).await;
    assert_eq!(node.health(), both);
}
