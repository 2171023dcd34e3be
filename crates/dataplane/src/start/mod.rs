//! How the programs get there: `observe` looks at what is there, `plan` decides what to do about it,
//! and `execute` does that. Nothing changes before the plan is made.

pub(crate) mod adopted;
pub(crate) mod discovery;
pub(crate) mod execute;
pub(crate) mod observe;
pub(crate) mod plan;
