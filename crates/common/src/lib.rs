//! The contract between kernel and userspace: the wire format, the layouts of the maps, and the
//! per-packet functions that decide about a heartbeat.
//!
//! This crate is `no_std`, without allocation and without I/O. The functions in [`receive`],
//! [`stamp`] and [`guard`] are compiled into the BPF programs and into every test, so the treatment
//! of a packet has one definition. Nothing here may depend on its caller.

#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

// The text of an error that only userspace creates.
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
pub mod renewal;
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
