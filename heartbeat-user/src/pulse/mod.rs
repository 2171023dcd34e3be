//! The pulse: one real-time thread that sends probes, reads the kernel's rows and votes, runs the
//! core and keeps the guard.
//!
//! The pulse must never wait for another thread. The commands of the core leave through channels
//! that do not block, and a tick allocates nothing in the steady state.

mod directive;
mod driver;
mod event_loop;
pub mod mailbox;
mod plan;
pub mod realtime;
mod replan;
mod sender;
mod stats;

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use heartbeat_common::{
    time::Boottime,
    wire::{Incarnation, LinkId},
};
use heartbeat_core::{Command, index_vec::IndexVec, membership::Membership, report};

use crate::{
    config::{Config, key::Keys},
    dataplane::Dataplane,
    messages::Directive,
    record::Tap,
};
pub use directive::{Directives, Inbox};
use event_loop::EventLoop;
pub use plan::whole_layout;
use realtime::Granter;
pub use replan::{Reform, Replan};
pub use stats::{GroupStats, PulseStats};

/// The receiver of the core's commands. The pulse thread calls it, so it must not block, nor take a
/// lock that another thread may hold.
pub trait Sink: Send + 'static {
    /// Sends the pending messages that can be sent without waiting. Returns whether all were sent.
    fn deliver(&mut self) -> bool;
    /// Passes on a command of the core, which was decided at `at`.
    fn command(&mut self, at: Boottime, command: Command);
    /// Takes a peer's report that is no longer used. Another thread must free it, because freeing
    /// memory of another thread may take a lock.
    fn spent(&mut self, report: report::GroupReports);
    /// Reports that a round of probes had `errors`, and the round before had none.
    fn send_failed(&mut self, error: Option<nix::Error>, errors: u64);
    /// Reports that this node's own acceptor did not answer, and had answered the time before.
    fn own_vote_failed(&mut self, error: anyhow::Error);
}

/// The identity of this agent.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub incarnation: Incarnation,
    pub nonce: u64,
}

/// The initial state of an agent's pulse.
#[derive(Debug)]
pub struct StartState<'a> {
    pub identity: Identity,
    /// The voting nodes.
    pub membership: Membership,
    /// By group: the end of the lease under which an earlier agent of this node left the group
    /// served, if it did.
    pub inherited: &'a [Option<Boottime>],
    /// The recorder of the run, if there is one.
    pub tap: Option<Tap>,
    /// The thread that grants real-time scheduling.
    pub granter: Granter,
}

/// A running pulse thread.
#[derive(Debug)]
pub struct Pulse {
    directives: Directives,
    thread: JoinHandle<()>,
    pub stats: Arc<PulseStats>,
    /// By link: the index of the interface to which its socket was bound at the start, if there was
    /// one.
    pub bound: IndexVec<LinkId, Option<u32>>,
}

impl Pulse {
    /// Writes this agent's identity into the map `local`, and starts the thread.
    pub fn start(
        config: &Config,
        keys: &Keys,
        dataplane: &mut Dataplane,
        state: StartState<'_>,
        (directives, inbox): (Directives, Inbox),
        sink: impl Sink,
    ) -> Result<Self> {
        let granter = state.granter.clone();
        let (mut event_loop, bound) = EventLoop::open(config, keys, dataplane, state, inbox, sink)?;
        let stats = event_loop.stats();
        let wanted = config
            .realtime_priority
            .map(|priority| (realtime::of_pulse(config.interval), priority));
        let (done_sender, done) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || {
                if let Some((reservation, priority)) = wanted {
                    event_loop.request_realtime(&granter, reservation, priority);
                }
                drop((done_sender, granter));
                event_loop.run();
            })
            .context("could not start the pulse thread")?;
        // The wait ends when the thread's scheduling is settled: the status can show it from then
        // on.
        let _ = done.recv();
        Ok(Self {
            directives,
            thread,
            stats,
            bound,
        })
    }

    /// Ends the thread and waits for that. All guards are closed then, except after a graceful
    /// restart.
    pub fn stop(self) {
        self.directives.send(Directive::Stop);
        if self.thread.join().is_err() {
            log::error!("the pulse thread had panicked");
        }
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The sender of directives to the pulse.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }
}
