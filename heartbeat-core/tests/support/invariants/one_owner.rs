//! (a) At no instant is a group served by two machines: its address on the interface and the guard open.
//!
//! Between two events guards only close, so that a look after each event sees every instant.

use crate::support::{truth::Violation, world::World};

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    let mut serves = vec![None; world.groups.len()];
    for (index, machine) in world.machines.iter().enumerate() {
        let Some(kernel) = &machine.kernel else {
            continue;
        };
        let now = machine.clock.reads(world.now);
        for group in &kernel.addresses {
            if kernel.guard[*group] <= now {
                continue;
            }
            if let Some(other) = serves[*group].replace(index) {
                return Err(format!(
                    "two owners: group {group} is served by machines {other} and {index} at {}",
                    world.now
                ));
            }
        }
    }
    Ok(())
}
