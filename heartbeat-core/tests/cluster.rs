//! What a cluster decides, as stories of three nodes with the exact commands that each gives: interval
//! 10 ms, timeout 30 ms, an address that node 1 serves best, then node 2, then node 3.

mod support;

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, NodeId, NodeState},
};
use heartbeat_core::{
    Command::{self, Acquire, Announce, Hears, QuorumChanged, Release},
    link::{LinkState, Silence},
    peer::PeerState,
};
use support::{
    MS, START,
    net::Path,
    story::{
        LATENCY, NO_OWNER, back, down, link, owner, peer, said_since, settled, suspect,
        three_nodes, told, up,
    },
    timing,
    world::World,
};

#[test]
fn three_nodes_start_and_the_first_serves() {
    let mut world = three_nodes(1);
    world.run_for(500 * MS);
    let quorate = QuorumChanged {
        quorate: true,
        alive: 3,
    };
    let active = Announce(NodeState::Active);
    assert_eq!(
        said_since(&world, 1, START),
        told([
            (10_000, [&up(2)[..], &up(3), &[quorate]].concat()),
            (40_000, vec![active, owner(1)]),
            (70_000, vec![Acquire { vip: 0 }]),
        ])
    );
    assert_eq!(
        said_since(&world, 2, START),
        told([
            (10_000, [&up(1)[..], &up(3), &[quorate]].concat()),
            (40_000, vec![active, owner(2)]),
            (50_000, vec![owner(1)]),
        ])
    );
}

#[test]
fn the_owner_dies_and_the_next_acquires_in_the_step_that_finds_it_down() {
    let mut world = settled(1);
    let last_reply = START + 200 * MS + 2 * LATENCY;
    world.crash(0);
    world.run_for(200 * MS);
    let since = START + 200 * MS;
    assert_eq!(
        said_since(&world, 2, since),
        told([
            (20_000, suspect(1).to_vec()),
            (
                30_100,
                [&down(1, last_reply)[..], &[owner(2), Acquire { vip: 0 }]].concat()
            ),
        ])
    );
    assert_eq!(
        said_since(&world, 3, since),
        told([
            (20_000, suspect(1).to_vec()),
            (30_100, [&down(1, last_reply)[..], &[owner(2)]].concat()),
        ])
    );
}

#[test]
fn the_first_returns_and_acquires_only_when_the_other_has_let_go() {
    let mut world = settled(1);
    world.crash(0);
    world.run_for(100 * MS);
    world.take_log();
    let since = world.now;
    world.boot(0);
    world.run_for(200 * MS);
    assert_eq!(
        said_since(&world, 1, since),
        told([
            (
                10_000,
                [
                    &up(2)[..],
                    &up(3),
                    &[
                        QuorumChanged {
                            quorate: true,
                            alive: 3
                        },
                        owner(2)
                    ]
                ]
                .concat()
            ),
            (40_000, vec![Announce(NodeState::Active), owner(1)]),
            (70_000, vec![Acquire { vip: 0 }]),
        ])
    );
    assert_eq!(
        said_since(&world, 2, since),
        told([
            (15_000, back(1).to_vec()),
            (55_000, vec![owner(1), Release { vip: 0 }]),
        ])
    );
}

#[test]
fn a_minority_lets_go_and_the_majority_takes_over() {
    let mut world = settled(1);
    let last_reply = START + 200 * MS + 2 * LATENCY;
    world.cut(&[0], &[1, 2]);
    world.run_for(200 * MS);
    let since = START + 200 * MS;
    let lost = [
        QuorumChanged {
            quorate: false,
            alive: 1,
        },
        Announce(NodeState::Starting),
        NO_OWNER,
        Release { vip: 0 },
    ];
    assert_eq!(
        said_since(&world, 1, since),
        told([
            (20_000, [suspect(2), suspect(3)].concat()),
            (
                30_100,
                [&down(2, last_reply)[..], &down(3, last_reply), &lost].concat()
            ),
        ])
    );
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn a_minority_that_comes_back_acquires_only_when_the_other_has_let_go() {
    let mut world = settled(1);
    world.cut(&[0], &[1, 2]);
    world.run_for(200 * MS);
    world.take_log();
    let since = world.now - 5 * MS;
    world.net.heal();
    world.run_for(200 * MS);
    assert_eq!(
        said_since(&world, 1, since),
        told([
            (
                20_000,
                [
                    &back(2)[..],
                    &back(3),
                    &[
                        QuorumChanged {
                            quorate: true,
                            alive: 3
                        },
                        owner(2)
                    ]
                ]
                .concat()
            ),
            (50_000, vec![Announce(NodeState::Active), owner(1)]),
            (80_000, vec![Acquire { vip: 0 }]),
        ])
    );
    assert_eq!(
        said_since(&world, 2, since),
        told([
            (20_000, back(1).to_vec()),
            (60_000, vec![owner(1), Release { vip: 0 }])
        ])
    );
}

#[test]
fn a_node_that_cannot_speak_blames_nobody_but_loses_its_majority_after_two_timeouts() {
    let mut world = settled(1);
    world.machines[0].mute = true;
    world.run_for(200 * MS);
    let since = START + 200 * MS;
    assert_eq!(
        said_since(&world, 1, since),
        // The first tick that is more than 60 ms after the last replies.
        told([(
            70_000,
            vec![
                QuorumChanged {
                    quorate: false,
                    alive: 1
                },
                Announce(NodeState::Starting),
                NO_OWNER,
                Release { vip: 0 },
            ]
        )])
    );
    // The others hear it well, and that it serves nothing.
    assert_eq!(
        said_since(&world, 2, since),
        told([(80_000, vec![owner(2), Acquire { vip: 0 }])])
    );
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn a_deaf_node_takes_nothing_over_until_silence_was_counted_anew() {
    let mut world = settled(1);
    world.crash(0);
    world.run_for(23 * MS);
    // Two of node 2's probes to the dead owner went unanswered; now it stands still past the deadline.
    let stood_from = world.now;
    world.take_log();
    world.pause(1, 50 * MS);
    world.run_for(300 * MS);
    let late = Boottime::from_nanos(stood_from + 50 * MS)
        .since(Boottime::from_nanos(START + 230 * MS + 2 * LATENCY));
    let log = said_since(&world, 2, stood_from);
    let decisions: Vec<_> = log
        .iter()
        .filter(|(_, command)| {
            !matches!(
                command,
                Command::LinkChanged {
                    node: NodeId(3),
                    ..
                } | Command::PeerChanged {
                    node: NodeId(3),
                    ..
                }
            )
        })
        .collect();
    let became_deaf = (50_000, Command::BecameDeaf { late });
    assert_eq!(*decisions[0], became_deaf, "{log:?}");
    let acquired = decisions.last().map(|(at, command)| (*at, *command));
    // Back at 50 ms, a first probe that counts at 52 ms, and from there a timeout less one interval.
    assert_eq!(acquired, Some((72_000, Acquire { vip: 0 })), "{log:?}");
    assert!(
        log.iter()
            .any(|(at, command)| *at < 72_000 && *command == Hears),
        "{log:?}"
    );
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn a_kernel_that_answers_for_a_dead_agent_is_found_out() {
    let mut world = settled(1);
    world.kill_agent(0);
    world.run_for(200 * MS);
    // Last tick at 200 ms; at 240 ms a reply of 230 ms says "30 ms and the way here ago".
    assert_eq!(
        said_since(&world, 2, START + 200 * MS),
        told([(
            40_000,
            vec![
                peer(1, PeerState::Up, PeerState::AgentStalled),
                owner(2),
                Acquire { vip: 0 },
            ]
        )])
    );
}

#[test]
fn a_host_that_only_answers_counts_for_the_majority_but_serves_nothing() {
    let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3]], 1);
    world.net.latency = LATENCY;
    world.switch_on(0);
    world.boot(1);
    world.run_for(200 * MS);
    let down_at = START + 30 * MS;
    assert_eq!(
        said_since(&world, 2, START),
        told([
            (
                10_000,
                vec![
                    link(1, LinkState::Unknown, LinkState::Up),
                    peer(1, PeerState::Unknown, PeerState::AgentStalled),
                    QuorumChanged {
                        quorate: true,
                        alive: 2
                    },
                ]
            ),
            (
                30_000,
                vec![
                    link(3, LinkState::Unknown, LinkState::Down),
                    Command::PeerChanged {
                        node: NodeId(3),
                        from: PeerState::Unknown,
                        to: PeerState::Down,
                        silence: Some(Silence {
                            last_reply: None,
                            deadline: Boottime::from_nanos(down_at),
                            fired: None,
                            decided: Boottime::from_nanos(down_at),
                        }),
                    },
                ]
            ),
            (40_000, vec![Announce(NodeState::Active), owner(2)]),
            (70_000, vec![Acquire { vip: 0 }]),
        ])
    );
}

#[test]
fn a_peer_is_up_while_one_of_its_links_is() {
    let mut world = settled(2);
    let path = |link| Path {
        from: 0,
        to: 1,
        link: LinkId(link),
    };
    for way in [path(0), path(0).back()] {
        world.net.block(way);
    }
    world.run_for(100 * MS);
    let [on_link, _] = suspect(1);
    let gone = link(1, LinkState::Suspect, LinkState::Down);
    assert_eq!(
        said_since(&world, 2, START + 200 * MS),
        told([(20_000, vec![on_link]), (30_100, vec![gone])]),
        "one link fell silent: the peer stays up"
    );
    world.take_log();
    let since = world.now - 5 * MS;
    world.net.block(path(1));
    world.run_for(100 * MS);
    let log = said_since(&world, 2, since);
    let changes: Vec<_> = log
        .iter()
        .filter_map(|(at, command)| match command {
            Command::PeerChanged {
                node: NodeId(1),
                to,
                silence,
                ..
            } => Some((*at, *to, silence.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            (20_000, PeerState::Suspect, false),
            (30_100, PeerState::Down, true)
        ],
        "{log:?}"
    );
    world.take_log();
    let since = world.now - 5 * MS;
    world.net.heal();
    world.run_for(100 * MS);
    let log = said_since(&world, 2, since);
    assert_eq!(
        log.iter()
            .filter(|(_, command)| *command == peer(1, PeerState::Down, PeerState::Up))
            .count(),
        1,
        "{log:?}"
    );
}
