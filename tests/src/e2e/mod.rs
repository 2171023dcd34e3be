//! What the end-to-end tests share: programs run in a namespace, what agents told, what clients saw.
//!
//! Nothing here waits for an amount of time to pass where a condition can be waited for, and nothing
//! outlives the value that started it.

pub mod attack;
pub mod books;
pub mod calls;
pub mod cgroup;
pub mod chronicle;
pub mod disk;
pub mod flood;
pub mod groups;
pub mod guards;
pub mod kernel;
pub mod lines;
pub mod load;
pub mod manager;
pub mod ownership;
pub mod program;
pub mod python;
pub mod reach;
pub mod rights;
pub mod scene;
pub mod silent;
pub mod stage;
pub mod standstill;
pub mod traces;
pub mod trial;
pub mod variant;
pub mod web;
pub mod worker;

use std::time::Duration;

pub use chronicle::Chronicle;
pub use program::{Ended, Program};
pub use scene::heartbeat;
pub use stage::Stage;
pub use trial::Trial;

/// How long a cluster may take until all is well, and anything that has no bound of its own.
pub const SOON: Duration = Duration::from_secs(20);
/// What a loaded machine may add to a time that the configuration promises.
pub const GRACE: Duration = Duration::from_millis(500);
pub const MILLISECOND: Duration = Duration::from_millis(1);
