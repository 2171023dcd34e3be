//! The state of a peer, from its links and from its kernel's data about its agent.

use std::time::Duration;

use heartbeat_common::{
    index::RowNumber,
    maps::PeerRow,
    time::Boottime,
    wire::{Health, LinkId, NodeId, NodeState},
};
use heartbeat_core::{
    eligibility::Eligibility,
    peer::{Peer, PeerState},
};

use crate::support::{MS, START, timing};

/// A row with a fresh reply of a node with this state and these ages.
fn answered(state: NodeState, pulse_age_us: u32, control_age_us: u32) -> PeerRow {
    PeerRow {
        last_probe_at: START,
        last_probe_seq: 1,
        last_reply_at: START + MS,
        last_reply_seq: 1,
        state: state as u16,
        pulse_age_us,
        control_age_us,
        ..PeerRow::default()
    }
}

/// The state of a peer with these rows, one for each link, a moment after the reply.
fn judge(rows: &[PeerRow]) -> PeerState {
    let timing = timing(10, 30);
    let mut peer = Peer::new(NodeId(2), false, RowNumber(0), rows.len());
    for (link, row) in peer.links.iter_mut().zip(rows) {
        link.observe(row, Boottime::from_nanos(START + 2 * MS), &timing);
    }
    rows.iter().for_each(|row| peer.listen(row));
    peer.judge(&timing)
}

#[test]
fn agent_that_does_not_tick_is_stalled_though_its_kernel_answers() {
    use PeerState::{AgentStalled, Draining, Up};
    let limit = timing(10, 30).agent_stall.as_micros() as u32;
    #[rustfmt::skip]
    let cases = [
        ("both threads tick", NodeState::Active, 100, 100, Up),
        ("at the limit", NodeState::Active, limit, limit, Up),
        ("the pulse hangs", NodeState::Active, limit + 1, 0, AgentStalled),
        ("the control task hangs", NodeState::Active, 0, limit + 1, AgentStalled),
        ("never ticked", NodeState::Active, u32::MAX, u32::MAX, AgentStalled),
        ("no agent", NodeState::Responder, 0, 0, AgentStalled),
        ("starting", NodeState::Starting, 100, 100, Up),
        ("draining", NodeState::Draining, 100, 100, Draining),
        ("draining, but hangs", NodeState::Draining, 0, limit + 1, AgentStalled),
    ];
    for (name, state, pulse_age_us, control_age_us, expected) in cases {
        let row = answered(state, pulse_age_us, control_age_us);
        assert_eq!(judge(&[row]), expected, "{name}");
    }
}

#[test]
fn how_a_node_is_shows_unless_its_agent_stalls() {
    use PeerState::{AgentStalled, Draining, Suspect, Unhealthy, Up};
    let limit = timing(10, 30).agent_stall.as_micros() as u32;
    let (ill, fatal) = (Health::of(4, false), Health::of(4, true));
    for (state, health, age, expected) in [
        (NodeState::Active, ill, 0, Up),
        (NodeState::Active, fatal, 0, Unhealthy),
        (NodeState::Draining, ill, 0, Draining),
        (NodeState::Draining, fatal, 0, Unhealthy),
        (NodeState::Standby, fatal, 0, Unhealthy),
        (NodeState::Active, fatal, limit + 1, AgentStalled),
        (NodeState::Responder, fatal, 0, AgentStalled),
    ] {
        let row = PeerRow {
            health: health.0,
            ..answered(state, age, age)
        };
        assert_eq!(judge(&[row]), expected, "{state:?} {health:?} {age}");
    }
    let alive = [Up, Suspect, AgentStalled, Unhealthy, Draining];
    assert!(alive.into_iter().all(PeerState::is_alive));
    assert!(!PeerState::Down.is_alive() && !PeerState::Unknown.is_alive());
    assert_eq!(
        [Unhealthy, Draining].map(PeerState::name),
        ["unhealthy", "draining"]
    );
}

#[test]
fn reply_tells_health_load_and_groups() {
    let row = PeerRow {
        health: Health::of(1, false).0,
        load: 430,
        groups_owned: 7,
        ..answered(NodeState::Active, 0, 0)
    };
    let mut peer = Peer::new(NodeId(2), false, RowNumber(0), 1);
    peer.listen(&row);
    assert!(peer.last_reply.health.fails(1) && !peer.last_reply.health.is_fatal());
    assert_eq!(
        (peer.last_reply.load, peer.last_reply.groups_owned),
        (430, 7)
    );
}

#[test]
fn whose_agent_has_not_ticked_for_a_lease_owns_nothing_though_it_is_up() {
    let timing = timing(10, 30);
    let lease = timing.lease.as_nanos() as u64;
    let eligibility = |pulse_age_us, rtt_ns, later| {
        let row = PeerRow {
            rtt_ns,
            ..answered(NodeState::Active, pulse_age_us, 0)
        };
        let mut peer = Peer::new(NodeId(2), false, RowNumber(0), 1);
        peer.links[LinkId(0)].observe(&row, Boottime::from_nanos(START + 2 * MS), &timing);
        peer.listen(&row);
        peer.state = peer.judge(&timing);
        assert_eq!(peer.state, PeerState::Up);
        peer.eligibility(Boottime::from_nanos(row.last_reply_at + later), &timing)
    };
    let half = lease / 2;
    let age = (half / 1_000) as u32;
    assert_eq!(eligibility(0, 0, 0), Eligibility::Eligible);
    assert_eq!(eligibility(age, 0, half - 1), Eligibility::Eligible);
    assert_eq!(eligibility(age, 0, half), Eligibility::Ineligible);
    // The age was the same when the probe came, however long the answer took.
    assert_eq!(eligibility(age, MS, half - MS), Eligibility::Ineligible);
}

#[test]
fn witness_does_without_an_agent() {
    let mut witness = Peer::new(NodeId(2), true, RowNumber(0), 1);
    let row = answered(NodeState::Responder, u32::MAX, u32::MAX);
    let timing = timing(10, 30);
    witness.links[LinkId(0)].observe(&row, Boottime::from_nanos(START + 2 * MS), &timing);
    witness.listen(&row);
    assert_eq!(witness.judge(&timing), PeerState::Up);
}

#[test]
fn state_that_this_version_does_not_know_is_trusted_with_nothing() {
    for state in [6, 255, 256, u16::MAX] {
        let row = PeerRow {
            state,
            ..answered(NodeState::Active, 0, 0)
        };
        assert_eq!(judge(&[row]), PeerState::AgentStalled, "state {state}");
    }
}

#[test]
fn one_link_that_answers_is_enough() {
    let good = answered(NodeState::Active, 0, 0);
    assert_eq!(judge(&[PeerRow::default(); 2]), PeerState::Unknown);
    assert_eq!(judge(&[PeerRow::default(), good]), PeerState::Up);
    assert_eq!(judge(&[good, PeerRow::default()]), PeerState::Up);
}

#[test]
fn newest_reply_is_what_a_peer_said() {
    let old = answered(NodeState::Active, 0, 0);
    let newer = PeerRow {
        last_reply_at: START + 2 * MS,
        ..answered(NodeState::Draining, 5, 0)
    };
    for rows in [[old, newer], [newer, old]] {
        let mut peer = Peer::new(NodeId(2), false, RowNumber(0), 2);
        rows.iter().for_each(|row| peer.listen(row));
        assert_eq!(peer.last_reply.state, NodeState::Draining);
        assert_eq!(
            peer.last_reply
                .at
                .map(|at| at.since(Boottime::from_nanos(START))),
            Some(Duration::from_millis(2))
        );
    }
}
