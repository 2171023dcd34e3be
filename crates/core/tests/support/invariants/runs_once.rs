//! (e) A planned move never starts a group beside itself: while nobody crashes, stands still or is cut off,
//! what a group consists of is on one machine at most, however long it takes to stop there.
//!
//! The guard is no help here: it silences an address, and neither a database nor a mount.

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
