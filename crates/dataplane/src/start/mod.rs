//! How the programs get there: `observe` looks at what an earlier run left, `plan` decides what to
//! do about it, and `execute` does that.

pub(crate) mod adopted;
pub(crate) mod discovery;
pub(crate) mod execute;
pub(crate) mod observe;
pub(crate) mod plan;
