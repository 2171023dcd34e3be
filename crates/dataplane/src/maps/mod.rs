//! The kernel's maps: their content before the programs run, and views of them afterwards.

pub(crate) mod acceptor;
pub(crate) mod access;
pub(crate) mod fill;
pub(crate) mod guard_place;
pub(crate) mod row_allocator;
pub(crate) mod senders;
pub(crate) mod view;
