//! What must hold of the leases in a simulated cluster, in the simulation's one true time.

pub(crate) mod guard_closes_first;
pub(crate) mod majority_has_owner;
pub(crate) mod no_renewal_storm;
pub(crate) mod one_owner;

use super::{truth::Violation, world::World};
use majority_has_owner::MajorityHasOwner;
use no_renewal_storm::NoRenewalStorm;

pub(crate) struct Invariants {
    majority: MajorityHasOwner,
    storm: NoRenewalStorm,
}

impl Invariants {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            majority: MajorityHasOwner::new(world),
            storm: NoRenewalStorm::default(),
        }
    }

    /// To be called after each event: what may not be for an instant.
    pub(crate) fn after_event(&mut self, world: &World) -> Result<(), Violation> {
        one_owner::check(world)?;
        guard_closes_first::check(world)
    }

    /// To be called after each fault and each small step of time.
    pub(crate) fn after_step(&mut self, world: &World) -> Result<(), Violation> {
        self.majority.check(world)?;
        self.storm.check(world)
    }

    /// How close it came.
    pub(crate) fn print(&self) {
        println!(
            "longest without an owner: {} ns of {}; most rounds out of turn in a lease: {}",
            self.majority.longest, self.majority.bound, self.storm.most_urgent
        );
    }
}
