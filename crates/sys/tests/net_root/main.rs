//! `net` against a real kernel: two network namespaces joined by a veth pair.
//!
//! A namespace belongs to a thread of the test and ends with it, so nothing is left behind even
//! when a test panics. The tests need root and `ip` of iproute2; without, each test prints SKIP and
//! passes.

mod address;
mod announce;
mod probe;
mod rig;
mod watch;
