//! (e) A planned move never starts a group beside itself. While no node crashes, pauses or is cut
//! off, the resources of a group run on one machine at most, however long they take to stop there.
//!
//! The guard does not help here: it silences an address, but neither a database nor a mount.

use crate::support::{truth::Violation, world::World};

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    let mut runs = vec![None; world.groups.len()];
    for (index, machine) in world.machines.iter().enumerate() {
        let Some(kernel) = &machine.kernel else {
            continue;
        };
        for group in &kernel.addresses {
            if let Some(other) = runs[*group].replace(index) {
                return Err(format!(
                    "twice: group {group} runs on machines {other} and {index} at {}",
                    world.now
                ));
            }
        }
    }
    Ok(())
}
