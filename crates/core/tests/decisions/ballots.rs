//! No ballot is used twice: neither by a later incarnation of a node, nor for a group that was
//! removed and added again.

use heartbeat_common::{lease::Ballot, wire::NodeId};
use heartbeat_core::{
    group::{Note, Serving},
    index::GroupIndex,
    placement::Layout,
};

use crate::support::{MS, story::settled, world::World};

/// Nanoseconds of wall-clock time to a round: see `docs/design/leases.md`.
const ROUND: u64 = 1 << 20;

/// The ballot of the owner's requests.
fn ballot(world: &World, machine: usize) -> Ballot {
    let asks = world.machines[machine].asks();
    Ballot(asks.first().expect("it asks").ballot)
}

fn incarnation(world: &mut World, machine: usize) -> u64 {
    let kernel = world.machines[machine].kernel.as_mut();
    kernel.expect("it is on").local().incarnation
}

#[test]
fn ballots_of_a_life_begin_behind_its_incarnation_and_those_of_the_last() {
    let mut world = settled(1);
    let mut last = Ballot::default();
    for _ in 0..3 {
        let first = ballot(&world, 0);
        assert_eq!(first.node(), NodeId(1));
        assert!(
            first.round() > incarnation(&mut world, 0) / ROUND,
            "{first:?}"
        );
        assert!(first > last);
        last = first;
        // An empty acceptor does not know the ballots of before.
        world.crash(0);
        world.run_for(10 * MS);
        world.boot(0);
        world.run_for(500 * MS);
        assert_eq!(world.servers(0), [0]);
    }
}

#[test]
fn group_that_goes_and_comes_back_uses_no_ballot_again() {
    let mut world = settled(1);
    for _ in 0..3 {
        let last = ballot(&world, 0);
        let agent = world.machines[0].agent.as_mut();
        let cluster = &mut agent.expect("its agent lives").cluster;
        cluster.note(GroupIndex(0), Note::Disabled(true));
        world.run_for(30 * MS);
        let agent = world.machines[0].agent.as_mut();
        let cluster = &mut agent.expect("its agent lives").cluster;
        let group = &cluster.groups()[GroupIndex(0)];
        assert_eq!(group.serving(), Serving::Stopped);
        assert!(group.proposer().is_idle());
        let layout = Layout {
            groups: [group.plan.clone()].into(),
            ..Layout::default()
        };
        cluster.replan(Layout::default());
        assert!(cluster.groups().is_empty());
        cluster.replan(layout);
        let round = cluster.groups()[GroupIndex(0)].proposer().round();
        assert!(round >= last.round(), "{round}, {last:?}");
        world.run_for(300 * MS);
        let [server] = world.servers(0)[..] else {
            panic!("{:?}", world.servers(0));
        };
        if server != 0 {
            world.move_to(server, 0, NodeId(1));
            world.run_for(100 * MS);
        }
        assert!(ballot(&world, 0) > last);
    }
}
