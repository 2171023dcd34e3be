//! The decisions of one node of a cluster: which nodes are alive, whether this node itself runs too
//! late to judge them, and which leases this node requests, holds and releases.
//!
//! The crate is sans-IO: time, rows (what the kernel recorded about each peer and link), slots (the
//! memory of this node's own acceptor) and votes come in as values, and commands go out as data.
//! Nothing here may read a clock, a file, a socket or a map. A run can therefore be recorded
//! and replayed: see [`record`].
//!
//! The caller drives the core with this loop. The pulse in `heartbeat-user` does the same, and also
//! sends urgent requests right after a step. `votes_from` is the end of the own acceptor's
//! abstention.
//!
//! ```text
//! let mut cluster = Cluster::new(plan);
//! loop {
//!     let deadline = cluster.next_deadline().unwrap_or(kernel.next_tick());
//!     let wake_at = deadline.min(kernel.next_tick());
//!     let is_tick = kernel.wait_until(wake_at); // also woken by an overdue reply and by votes
//!     while let Some(input) = kernel.input() {
//!         cluster.apply(input); // requests and facts from the agent
//!     }
//!     while let Some((acceptor, votes)) = kernel.vote() {
//!         cluster.count(acceptor, &votes, kernel.now());
//!     }
//!     if is_tick || cluster.take_urgency() {
//!         kernel.send(cluster.requests().collect()); // to all acceptors
//!     }
//!     let (now, votes_from) = (kernel.now(), kernel.votes_from());
//!     let leases = cluster.slots_to_read(now, votes_from);
//!     let read = |lease| ReadSlot {
//!         lease,
//!         slot: kernel.slot(lease),
//!     };
//!     let slots: Vec<_> = leases.map(read).collect();
//!     let (late, control_tick_at) = (now.since(wake_at), kernel.control_tick_at());
//!     let (rows, slots, mut commands) = (&kernel.rows(), &slots, Vec::new());
//!     let input = StepInput {
//!         now,
//!         late,
//!         control_tick_at,
//!         rows,
//!         slots,
//!         votes_from,
//!     };
//!     cluster.step(&input, &mut commands); // once more where `cluster.lacks_slots()`
//!     for (index, group) in cluster.groups().iter_enumerated() {
//!         kernel.guard(index, group.open_until()); // before the event leaves this thread
//!     }
//!     for command in commands.drain(..) {
//!         kernel.execute(command);
//!     }
//! }
//! ```

#![forbid(unsafe_code)]

pub mod cluster;
pub mod eligibility;
pub mod group;
pub mod index;
pub mod index_vec;
pub mod link;
pub mod membership;
mod network;
mod observation;
pub mod peer;
pub mod placement;
pub mod proposer;
pub mod reach;
pub mod record;
pub mod report;
pub mod resource;
pub mod timing;

pub use cluster::{Cluster, Command, StepInput};
pub use observation::ReadSlot;
pub use timing::Timing;
