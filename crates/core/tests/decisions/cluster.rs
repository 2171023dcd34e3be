//! The views of a cluster, as stories of three nodes with the exact commands of each. Interval 10
//! ms, timeout 30 ms, lease 60 ms, a group that node 1 serves best, then node 2, then node 3. The
//! moves of the group are in `leases.rs`.

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, NodeId, NodeState},
};
use heartbeat_core::{
    Command::{self, Announce, LocalStallEnded, QuorumChanged},
    group::Reason,
    link::{LinkState, Silence},
    peer::PeerState,
};

use crate::support::{
    MS, START,
    net::Path,
    story::{
        LATENCY, down, groups_since, link, peer, said_since, settled, start, stop, suspect,
        three_nodes, told, up,
    },
    timing,
    world::World,
};

#[test]
fn three_nodes_start_and_the_first_serves_once_the_acceptors_vote() {
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
            (40_000, vec![active]),
            // The acceptors abstain for 60 ms.
            (60_200, vec![start(START, 40_000, 60_200)]),
        ])
    );
    assert_eq!(
        said_since(&world, 2, START),
        told([
            (10_000, [&up(1)[..], &up(3), &[quorate]].concat()),
            (40_000, vec![active]),
        ])
    );
}

#[test]
fn owner_dies_and_the_next_serves_when_the_lease_has_run_out() {
    let mut world = settled(1);
    let since = START + 200 * MS;
    let last_reply = since + 2 * LATENCY;
    world.crash(0);
    world.run_for(200 * MS);
    // The last renewal came 50 us after 200 ms, and a claim takes two round trips.
    let takes_over = (60_250, vec![start(since, 60_050, 60_250)]);
    let silence = [
        (20_000, suspect(1).to_vec()),
        (30_100, down(1, last_reply).to_vec()),
    ];
    let [suspected, down] = silence.clone();
    assert_eq!(
        said_since(&world, 2, since),
        told([suspected, down, takes_over])
    );
    assert_eq!(said_since(&world, 3, since), told(silence));
}

#[test]
fn minority_lets_go_before_the_majority_takes_over() {
    let mut world = settled(1);
    let since = START + 200 * MS;
    let last_reply = since + 2 * LATENCY;
    world.cut(&[0], &[1, 2]);
    world.run_for(55 * MS - 121_000);
    // 59.88 ms after the departure of the last renewal: a lease less the drift of two clocks in it.
    assert_eq!(world.servers(0), [0]);
    world.run_for(1_000);
    assert_eq!(world.servers(0), []);
    world.run_for(145 * MS);
    let lost = [
        QuorumChanged {
            quorate: false,
            alive: 1,
        },
        Announce(NodeState::Starting),
    ];
    assert_eq!(
        said_since(&world, 1, since),
        told([
            (20_000, [suspect(2), suspect(3)].concat()),
            (
                30_100,
                [&down(2, last_reply)[..], &down(3, last_reply), &lost].concat()
            ),
            // Two intervals for a last renewal, which could have been under way.
            (80_000, vec![stop(Reason::LeaseLost)]),
        ])
    );
    assert_eq!(
        groups_since(&world, 2, since),
        [(60_250, start(since, 60_050, 60_250))]
    );
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn node_that_cannot_speak_blames_nobody_but_loses_its_lease() {
    let mut world = settled(1);
    let since = START + 200 * MS;
    world.machines[0].mute = true;
    world.run_for(200 * MS);
    assert_eq!(
        said_since(&world, 1, since),
        told([
            // The first tick that is more than two timeouts after the last replies.
            (
                70_000,
                vec![
                    QuorumChanged {
                        quorate: false,
                        alive: 1
                    },
                    Announce(NodeState::Starting),
                ]
            ),
            (80_000, vec![stop(Reason::LeaseLost)]),
        ])
    );
    // The other nodes receive its heartbeats.
    assert_eq!(
        said_since(&world, 2, since),
        [(60_250, start(since, 60_050, 60_250))]
    );
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn node_without_replies_takes_nothing_over_before_the_next_reply() {
    let mut world = settled(1);
    world.crash(0);
    world.run_for(23 * MS);
    // Two of node 2's probes to the dead owner went unanswered. Now node 2 is paused past the
    // deadline and the end of the lease.
    let stood_from = world.now;
    world.take_log();
    world.pause(1, 50 * MS);
    world.run_for(300 * MS);
    let late = Boottime::from_nanos(stood_from + 50 * MS)
        .since(Boottime::from_nanos(START + 230 * MS + 2 * LATENCY));
    let log = said_since(&world, 2, stood_from);
    let of_links = |command: &Command| {
        matches!(
            command,
            Command::LinkChanged { .. } | Command::PeerChanged { .. }
        )
    };
    let decisions: Vec<_> = log
        .iter()
        .filter(|(_, command)| !of_links(command))
        .collect();
    let expected = [
        (50_000, Command::LocalStallBegan { late }),
        (52_000, LocalStallEnded),
        // The lease ended at 32 ms, and an interval after the pause has to pass.
        (60_200, start(START + 228 * MS, 32_050, 60_200)),
    ];
    assert_eq!(decisions, expected.iter().collect::<Vec<_>>(), "{log:?}");
    assert_eq!(world.servers(0), [1]);
}

#[test]
fn kernel_that_answers_for_a_dead_agent_is_found_out() {
    let mut world = settled(1);
    world.kill_agent(0);
    world.run_for(200 * MS);
    let since = START + 200 * MS;
    assert_eq!(
        said_since(&world, 2, since),
        told([
            // The last tick was at 200 ms. At 240 ms a reply of 230 ms carries the age of 30 ms.
            (
                40_000,
                vec![peer(1, PeerState::Up, PeerState::AgentStalled)]
            ),
            (60_250, vec![start(since, 60_050, 60_250)]),
        ])
    );
}

#[test]
fn host_that_only_votes_makes_a_majority_but_serves_nothing() {
    for witness in [false, true] {
        let mut world = World::new(3, 1, timing(10, 30), &[&[1, 2, 3]], 1);
        world.net.latency = LATENCY;
        world.max_lease = 60 * MS;
        world.machines[0].witness = witness;
        world.switch_on(0);
        world.boot(1);
        world.run_for(200 * MS);
        let down_at = Boottime::from_nanos(START + 30 * MS);
        // Only a witness is complete without an agent.
        let is = match witness {
            true => PeerState::Up,
            false => PeerState::AgentStalled,
        };
        assert_eq!(
            said_since(&world, 2, START),
            told([
                (
                    10_000,
                    vec![
                        link(1, LinkState::Unknown, LinkState::Up),
                        peer(1, PeerState::Unknown, is),
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
                                deadline: down_at,
                                fired: None,
                                decided: down_at,
                            }),
                        },
                    ]
                ),
                (40_000, vec![Announce(NodeState::Active)]),
                (60_200, vec![start(START, 40_000, 60_200)]),
            ])
        );
        assert_eq!(world.servers(0), [1]);
    }
}

#[test]
fn peer_is_up_while_one_of_its_links_is() {
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
    assert_eq!(
        world.servers(0),
        [0],
        "two of three still vote for its owner"
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
