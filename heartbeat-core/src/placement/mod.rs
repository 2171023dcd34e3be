//! Where a group should be, and what it has to do with other groups.

pub mod constraint;
pub mod policy;
pub mod predict;
pub mod score;

pub use constraint::{Colocation, Constraints, Glance, Order, Running};
pub use policy::{Policy, Rebalance, Strategy};
pub use score::Score;
