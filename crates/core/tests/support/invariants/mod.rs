//! The properties of the leases in a simulated cluster, in the simulation's one true time.

pub(crate) mod guard_closes_first;
pub(crate) mod majority_has_owner;
pub(crate) mod no_renewal_storm;
pub(crate) mod one_owner;
pub(crate) mod runs_once;
