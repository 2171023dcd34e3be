//! (a) At no instant do two machines serve a group or an address, with the address on the interface
//! and the guard open.
//!
//! Between two events guards only close, so a check after each event covers every instant.

use std::collections::HashMap;

use crate::support::{truth::Violation, world::World};

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    let mut serves = vec![None; world.groups.len()];
    let mut answers = HashMap::new();
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
            for address in &world.groups[*group].addresses {
                if let Some(other) = answers.insert(address.0, index) {
                    return Err(format!(
                        "two owners: address {} is served by machines {other} and {index} at {}",
                        address.0, world.now
                    ));
                }
            }
        }
    }
    Ok(())
}
