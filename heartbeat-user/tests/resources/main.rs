//! `resources` against real programs: agents that a test writes, and those of the distribution.
//!
//! Every test has a directory of its own, and ends remaining processes by their ids.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

mod exec;
mod ocf;
mod process;
mod real_agents;
mod support;
mod systemd;
