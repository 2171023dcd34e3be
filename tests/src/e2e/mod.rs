//! The common parts of the end-to-end tests: programs in namespaces, events of agents, records of
//! clients.
//!
//! A wait is for a condition wherever there is one, and nothing outlives the value that started it.

pub mod actors;
pub mod attack;
pub mod availability;
pub mod calls;
pub mod cgroup;
pub mod disk;
pub mod event_log;
pub mod flood;
pub mod groups;
pub mod guards;
pub mod hung_file;
pub mod kernel;
pub mod leftovers;
pub mod lines;
pub mod load;
pub mod machine_stalls;
pub mod manager;
pub mod ownership;
pub mod program;
pub mod python;
pub mod reach;
pub mod rights;
pub mod scrape;
pub mod shortcuts;
pub mod trial;
pub mod variant;
pub mod web;
pub mod worker;

use std::time::Duration;

pub use actors::Actors;
pub use event_log::EventLog;
pub use program::{Ended, Program};
pub use shortcuts::heartbeat;
pub use trial::Trial;

/// The longest wait for a cluster to be well, and for anything without a bound of its own.
pub const SOON: Duration = Duration::from_secs(20);
/// The delay that a loaded machine may add to a configured time.
pub const GRACE: Duration = Duration::from_millis(500);
pub const MILLISECOND: Duration = Duration::from_millis(1);
