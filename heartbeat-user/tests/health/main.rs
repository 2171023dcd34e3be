//! `health` against real programs, servers, processes, disks and interfaces.
//!
//! Each test ends what it starts. A test that needs root or a missing program prints SKIP and
//! passes.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

mod disk;
mod exec;
mod interface;
mod process;
mod reload;
mod server;
mod support;
mod unit;
