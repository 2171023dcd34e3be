//! The contract between kernel and userspace: what is on the wire, what is in the maps, and the
//! per-packet functions that decide about a heartbeat.
//!
//! Everything here is `no_std`, free of allocation and of I/O. The functions in [`receive`], [`stamp`]
//! and [`guard`] are compiled into the BPF programs and into every test, so there is one definition of
//! what happens to a packet. Nothing here may depend on who calls it.

#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

// The words of an error that only userspace makes.
#[cfg(not(target_arch = "bpf"))]
extern crate alloc;

pub mod checksum;
pub mod exits;
pub mod guard;
#[cfg(not(target_arch = "bpf"))]
pub mod index;
pub mod lease;
pub mod maps;
pub mod packet;
#[cfg(not(target_arch = "bpf"))]
pub mod prefix;
pub mod receive;
pub mod replay;
pub mod siphash;
pub mod stamp;
pub mod tables;
pub mod time;
pub mod units;
pub mod verdict;
pub mod wire;
#[cfg(not(target_arch = "bpf"))]
pub mod xdp_mode;

mod frame;
mod liveness;
mod votes;
