//! How the programs get there: what an earlier run left, and what is made of it.

pub(crate) mod adopted;
pub(crate) mod discovery;
