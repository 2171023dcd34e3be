//! (b) The guard closes before the lease ends elsewhere: while it is open on a machine, no majority
//! of acceptors could grant the group to another.
//!
//! Without further events, only the clock of an acceptor can make it grant another node. The
//! instant from which a majority could do so is therefore known in advance, and the guard must
//! close before.

use heartbeat_common::wire::GroupId;

use crate::support::{machine::Machine, truth::Violation, world::World};

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    for (index, machine) in world.machines.iter().enumerate() {
        let Some(kernel) = &machine.kernel else {
            continue;
        };
        let now = machine.clock.reads(world.now);
        for (group, until) in kernel.guard.iter().enumerate() {
            if *until <= now {
                continue;
            }
            let closes = machine.clock.when(*until);
            let plan = &world.groups[group];
            for lease in plan.addresses.iter().chain([&plan.id]) {
                let mut free: Vec<u64> = world
                    .machines
                    .iter()
                    .map(|acceptor| could_grant_another(world, acceptor, *lease, machine.id))
                    .collect();
                free.sort_unstable();
                let majority_free = free[free.len() / 2];
                if majority_free < closes {
                    return Err(format!(
                        "the guard of group {group} on machine {index} is open until {closes}, but \
                         from {majority_free} on a majority could grant lease {} to another (it is \
                         {} now)",
                        lease.0, world.now
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The time from which `acceptor` could grant `lease` to a node other than `owner`.
fn could_grant_another(world: &World, acceptor: &Machine, lease: GroupId, owner: u16) -> u64 {
    let Some(kernel) = &acceptor.kernel else {
        // The acceptor comes back empty, and that is another event.
        return u64::MAX;
    };
    let slot = kernel.slot(lease);
    let bound = if slot.owner == u32::from(owner) {
        slot.expires
    } else {
        0
    };
    acceptor
        .clock
        .when(bound.max(kernel.abstains_until()))
        .max(world.now)
}
