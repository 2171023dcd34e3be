//! The resources of a group on one node: what runs, what is to run, and the next step between the
//! two.
//!
//! Like all of the core it does nothing itself: actions go out as data, what became of them comes
//! in.

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
