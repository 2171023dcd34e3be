//! The placement of a group: its best node, and its constraints with other groups.

pub mod constraint;
pub mod ineligibility;
pub mod layout;
pub mod policy;
pub mod predict;
pub mod rank;
pub mod rebalance;
pub mod score;
pub mod view;
pub mod why;

pub use constraint::{Colocation, Constraints, GroupSnapshot, Order, Running};
pub use ineligibility::Ineligibility;
pub use layout::Layout;
pub use policy::{Policy, Rebalance, Strategy};
pub use rank::{Key, Ranked};
pub use score::Score;
pub(crate) use view::keep_room;
pub use view::{NodeView, View};
pub use why::Why;
