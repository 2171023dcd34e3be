//! The resources of a group on one node: their states, the wanted states, and the next step between
//! the two.
//!
//! Like all of the core, this module executes nothing itself: actions go out as data, and their
//! outcomes come in.

pub mod effect;
mod failures;
pub mod outcome;
mod plan;
pub mod run;
pub mod state;

pub use effect::{Effect, Failure, GroupState};
pub use outcome::{Action, ExitCode, Finding, Outcome};
pub use plan::ResourcePlan;
pub use run::GroupRun;
pub use state::ResourceState;
