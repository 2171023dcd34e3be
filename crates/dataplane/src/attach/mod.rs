//! The programs on interfaces and on the root of the control groups: how they are attached and
//! replaced, and how a missing program is noticed.

pub(crate) mod errors;
pub(crate) mod existing_program;
pub(crate) mod filter;
pub(crate) mod interface;
pub(crate) mod links;
pub(crate) mod lookup;
pub(crate) mod sockets;
pub(crate) mod tc;
pub(crate) mod upper_devices;
pub(crate) mod watched;
pub(crate) mod xdp;
