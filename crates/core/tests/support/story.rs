//! The building blocks of the stories: three nodes, interval 10 ms, timeout 30 ms, lease 60 ms, and
//! the commands that follow from one event.

use heartbeat_common::{
    time::Boottime,
    wire::{LinkId, NodeId},
};
use heartbeat_core::{
    Command::{self, LinkChanged, PeerChanged},
    group::{AcquisitionTimeline, GroupEvent, Reason},
    index::GroupIndex,
    link::{LinkState, Silence},
    peer::PeerState,
};

use super::{MS, US, timing, world::World};

/// The latency of a frame from one node to another.
pub(crate) const LATENCY: u64 = 50 * US;

pub(crate) fn three_nodes(links: u8) -> World {
    let mut world = three_nodes_off(links);
    (0..3).for_each(|node| world.boot(node));
    world
}

fn three_nodes_off(links: u8) -> World {
    let mut world = World::new(3, links, timing(10, 30), &[&[1, 2, 3]], 1);
    world.net.latency = LATENCY;
    world.max_lease = 60 * MS;
    world
}

/// Three nodes with one link, settled, whose agents are recorded from their start.
pub(crate) fn recorded_cluster() -> World {
    let mut world = three_nodes_off(1);
    world.records = true;
    (0..3).for_each(|node| world.boot(node));
    world.run_for(205 * MS);
    world
}

/// A settled cluster, in which node 1 serves. Its last probes left 5 ms ago.
pub(crate) fn settled(links: u8) -> World {
    let mut world = three_nodes(links);
    world.run_for(205 * MS);
    assert_eq!(world.servers(0), [0]);
    world.take_log();
    world
}

/// The commands of `node`, each with its time in microseconds since `since`.
pub(crate) fn said_since(world: &World, node: u16, since: u64) -> Vec<(u64, Command)> {
    let log = world
        .log
        .iter()
        .filter(|entry| entry.machine + 1 == usize::from(node));
    log.map(|entry| ((entry.at - since) / US, entry.command))
        .collect()
}

/// The commands of `node` about groups, in the same form.
pub(crate) fn groups_since(world: &World, node: u16, since: u64) -> Vec<(u64, Command)> {
    let mut said = said_since(world, node, since);
    said.retain(|(_, command)| matches!(command, Command::Group { .. }));
    said
}

pub(crate) fn link(node: u16, from: LinkState, to: LinkState) -> Command {
    LinkChanged {
        node: NodeId(node),
        link: LinkId(0),
        from,
        to,
    }
}

pub(crate) fn peer(node: u16, from: PeerState, to: PeerState) -> Command {
    PeerChanged {
        node: NodeId(node),
        from,
        to,
        silence: None,
    }
}

/// Both commands for a peer with one link.
pub(crate) fn up(node: u16) -> [Command; 2] {
    [
        link(node, LinkState::Unknown, LinkState::Up),
        peer(node, PeerState::Unknown, PeerState::Up),
    ]
}

pub(crate) fn suspect(node: u16) -> [Command; 2] {
    [
        link(node, LinkState::Up, LinkState::Suspect),
        peer(node, PeerState::Up, PeerState::Suspect),
    ]
}

/// Both commands for a silence that began at `last_reply`, which the kernel's timer and the core
/// found on time.
pub(crate) fn down(node: u16, last_reply: u64) -> [Command; 2] {
    let deadline = Boottime::from_nanos(last_reply + 30 * MS);
    let silence = Silence {
        last_reply: Some(Boottime::from_nanos(last_reply)),
        deadline,
        fired: Some(deadline),
        decided: deadline,
    };
    [
        link(node, LinkState::Suspect, LinkState::Down),
        PeerChanged {
            node: NodeId(node),
            from: PeerState::Suspect,
            to: PeerState::Down,
            silence: Some(silence),
        },
    ]
}

/// The start of a group: its lease was free, and a majority had granted it, at these microseconds
/// after `since`.
pub(crate) fn start(since: u64, free: u64, majority: u64) -> Command {
    let at = |micros| Boottime::from_nanos(since + micros * US);
    Command::Group {
        group: GroupIndex(0),
        event: GroupEvent::LeaseAcquired {
            timeline: AcquisitionTimeline {
                free: at(free),
                majority: at(majority),
            },
            regained: false,
        },
    }
}

pub(crate) fn stop(reason: Reason) -> Command {
    Command::Group {
        group: GroupIndex(0),
        event: GroupEvent::LeaseGivenUp(reason),
    }
}

/// A list of commands with their times, from groups with the same time.
pub(crate) fn told<const N: usize>(groups: [(u64, Vec<Command>); N]) -> Vec<(u64, Command)> {
    let flat = |(at, commands): (u64, Vec<Command>)| {
        commands.into_iter().map(move |command| (at, command))
    };
    groups.into_iter().flat_map(flat).collect()
}
