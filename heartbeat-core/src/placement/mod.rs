//! Where a group should be: points for each node.

pub mod score;

pub use score::Score;
