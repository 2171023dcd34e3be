//! The decisions of the core: tables of single functions, and stories of a few nodes with simulated
//! kernels and a simulated network. What explores or draws many lives has a program of its own.

mod addresses;
mod ballots;
mod cluster;
mod constraints;
mod detector;
mod driving_loop;
mod facts;
mod handovers;
mod introduction;
mod known_bugs;
mod lateness;
mod leases;
mod lists;
mod maintenance;
mod peer;
mod placement;
mod proposer;
mod ranking;
mod reach;
mod record_format;
mod shorter_votes;
mod stalls;
mod stopped_groups;
#[path = "../support/mod.rs"]
mod support;
mod timing;
mod traces;
mod voters;
