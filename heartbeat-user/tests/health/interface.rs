//! Checks of interfaces, in a network namespace of the test's own.

use std::{process::Command, thread};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind},
    health::State,
};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

use crate::support::{NEVER, Node, check, skip};

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Runs `story` on a thread with a network namespace, where wire0 and wire1 are a veth pair.
fn wired(test: &str, story: impl AsyncFnOnce() + Send + 'static) {
    if !Uid::effective().is_root() {
        return skip(test, "needs root");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return skip(test, "needs `ip` of iproute2");
    }
    let played = thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            return Some(format!("cannot make a network namespace: {errno}"));
        }
        ip("link add wire0 type veth peer name wire1");
        ip("link set wire0 up");
        ip("link set wire1 up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(story());
        None
    });
    if let Some(reason) = played.join().unwrap() {
        skip(test, &reason);
    }
}

fn wire0() -> HealthCheck {
    check(HealthKind::Interface("wire0".to_owned()))
}

#[test]
fn lost_carrier_fails_at_once() {
    wired("lost_carrier_fails_at_once", async || {
        let mut node = Node::new(&[HealthCheck {
            interval: NEVER,
            ..wire0()
        }]);
        node.is(State::Well).await;
        ip("link set wire1 down");
        let turn = node.turns(false).await;
        assert_eq!(turn.message, "wire0 has no carrier");
        assert_eq!(node.health(), Health::of(0, true));
        ip("link set wire1 up");
        node.turns(true).await;
        ip("link set wire0 down");
        let turn = node.turns(false).await;
        assert_eq!(turn.message, "wire0 is switched off");
        ip("link delete wire0");
        ip("link add wire0 type veth peer name wire1");
        ip("link set wire1 up");
        ip("link set wire0 up");
        node.turns(true).await;
    });
}

#[test]
fn changes_of_other_interfaces_are_no_result() {
    wired("changes_of_other_interfaces_are_no_result", async || {
        ip("link set wire1 down");
        let mut node = Node::new(&[HealthCheck {
            interval: NEVER,
            fall: 2,
            ..wire0()
        }]);
        crate::support::eventually("the first look", || {
            (!node.status().message.is_empty()).then_some(())
        })
        .await;
        for _ in 0..5 {
            ip("link set lo up");
            ip("link set lo down");
            tokio::task::yield_now().await;
        }
        // A later announcement causes a later check.
        ip("link set wire1 up");
        node.is(State::Well).await;
        node.has_not_turned();
    });
}

#[test]
fn missing_interface_fails_and_the_message_names_others() {
    let test = "missing_interface_fails_and_the_message_names_others";
    wired(test, async || {
        let kind = HealthKind::Interface("wire7".to_owned());
        let mut node = Node::new(&[check(kind)]);
        let turn = node.turns(false).await;
        assert!(
            turn.message.contains("wire7") && turn.message.contains("wire0"),
            "{turn:?}"
        );
    });
}
