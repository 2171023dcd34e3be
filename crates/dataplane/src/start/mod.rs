//! The start of the programs: `observe` reads the present state, `plan` decides about it, and
//! `execute` carries the plan out. Nothing changes before the plan is made.

pub(crate) mod adopted;
pub(crate) mod discovery;
pub(crate) mod execute;
pub(crate) mod observe;
pub(crate) mod plan;
