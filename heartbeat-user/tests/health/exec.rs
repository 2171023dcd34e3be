//! Checks by programs.

use std::{
    fs,
    time::{Duration, Instant},
};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, Meaning},
    health::State,
};

use crate::support::{NEVER, Node, PATIENCE, Scratch, check, eventually};

/// Returns a check by a line of shell.
fn shell(script: &str) -> HealthCheck {
    let line = ["/bin/sh", "-c", script].map(str::to_owned);
    check(HealthKind::Exec(line.to_vec()))
}

#[tokio::test]
async fn exit_code_is_the_result_and_last_output_the_message() {
    let scratch = Scratch::new();
    let flag = scratch.path("bad");
    let script = format!(
        "[ ! -e {} ] || {{ echo is there >&2; exit 7; }}",
        flag.display()
    );
    let mut node = Node::new(&[shell(&script)]);
    assert_eq!(node.health(), Health::of(0, true), "until the first look");
    node.is(State::Well).await;
    assert_eq!(node.health(), Health::default());
    fs::write(&flag, "").unwrap();
    let turn = node.turns(false).await;
    assert!(
        turn.message.contains('7') && turn.message.contains("is there"),
        "{turn:?}"
    );
    assert_eq!((turn.name.as_str(), turn.number), ("check", 0));
    assert_eq!(node.health(), Health::of(0, true));
    fs::remove_file(&flag).unwrap();
    node.turns(true).await;
    assert_eq!(node.health(), Health::default());
}

#[tokio::test]
async fn check_program_runs_without_a_shell_or_the_agents_environment() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let script = format!("printf %s \"$1\" > {0}; env >> {0}", out.display());
    let line = ["/bin/sh", "-c", &script, "sh", "$(id); *"].map(str::to_owned);
    let node = Node::new(&[check(HealthKind::Exec(line.to_vec()))]);
    node.is(State::Well).await;
    drop(node);
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("$(id); *"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
}

#[tokio::test]
async fn hanging_check_program_fails_and_is_killed_with_its_children() {
    let scratch = Scratch::new();
    let noted = scratch.path("children");
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! >> {}; wait; wait",
        noted.display()
    );
    let hangs = HealthCheck {
        timeout: Duration::from_millis(200),
        interval: NEVER,
        ..shell(&script)
    };
    let other = HealthCheck {
        name: "other".to_owned(),
        meaning: Meaning::Degraded,
        ..shell("exit 1")
    };
    let began = Instant::now();
    let mut node = Node::new(&[hangs, other]);
    let first = node.turns(false).await;
    assert_eq!(first.name, "other", "one that hangs holds up nobody");
    let turn = node.turns(false).await;
    assert!(turn.message.contains("longer than 200ms"), "{turn:?}");
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(node.health(), Health::of(0, true).and(Health::of(1, false)));
    let child = fs::read_to_string(&noted).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    eventually("the child is gone", || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn missing_check_program_fails_with_a_message() {
    let line = vec!["/nonexistent/check".to_owned()];
    let mut node = Node::new(&[check(HealthKind::Exec(line))]);
    let turn = node.turns(false).await;
    assert!(
        turn.message.contains("could not run /nonexistent/check"),
        "{turn:?}"
    );
}

#[tokio::test]
async fn state_changes_after_rise_and_fall_results() {
    let scratch = Scratch::new();
    let (bad, looks) = (scratch.path("bad"), scratch.path("looks"));
    let script = format!("echo >> {}; [ ! -e {} ]", looks.display(), bad.display());
    let mut node = Node::new(&[HealthCheck {
        rise: 3,
        fall: 4,
        ..shell(&script)
    }]);
    node.is(State::Well).await;
    let count = || fs::read_to_string(&looks).unwrap().len();
    let before = count();
    fs::write(&bad, "").unwrap();
    node.turns(false).await;
    let failed = count();
    fs::remove_file(&bad).unwrap();
    node.turns(true).await;
    // The check under way may have had either result.
    assert!(failed - before >= 4, "{before} {failed}");
    assert!(count() - failed >= 3, "{failed} {}", count());
}
