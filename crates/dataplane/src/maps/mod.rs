//! The kernel's maps: what is written into them before the programs run, and views of them after.

pub(crate) mod acceptor;
pub(crate) mod access;
pub(crate) mod fill;
pub(crate) mod guard_place;
pub(crate) mod row_allocator;
pub(crate) mod senders;
pub(crate) mod view;
