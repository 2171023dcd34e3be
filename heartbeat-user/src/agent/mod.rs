//! The agent: starts the planes in order, lets the slow side run, takes everything down again.

mod journal;
mod lock;
mod ping;
mod reason;
mod view;

use std::{
    fs,
    sync::{Arc, mpsc::Sender},
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use heartbeat_core::Command;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    config::{Config, key::Keys},
    control::server,
    dataplane::{Dataplane, Setup},
    incarnation,
    pulse::{Pulse, Sink},
    vip::{Mover, Order, Outcome},
};
pub use lock::InstanceLock;

/// What the real-time threads tell the slow side.
#[derive(Debug)]
enum Report {
    Command(Boottime, Command),
    SendFailed {
        at: Boottime,
        errors: u64,
        error: Option<nix::Error>,
    },
    Vip(Outcome),
}

/// Runs the agent until it is told to stop.
pub fn run(config: Config) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the agent loads kernel programs and moves addresses: run it as root");
    }
    let keys = Keys::load(&config.key)?;
    let lock = InstanceLock::take(&config.lock(), &config.instance)?;
    let result = run_locked(Arc::new(config.clone()), &keys);
    // Only then, so that nobody starts while we still take down.
    let _ = fs::remove_file(config.socket());
    drop(lock);
    result
}

fn run_locked(config: Arc<Config>, keys: &Keys) -> Result<()> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let incarnation = incarnation::next(&config.state_dir())?;
    let nonce = getrandom::u64().context("could not get a random number from the kernel")?;
    let mut dataplane = Dataplane::load(&Setup::new(&config, keys))?;
    let local = Arc::new(dataplane.local()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("reason")
        .enable_all()
        .build()
        .context("could not start the tokio runtime")?;
    let listener = {
        let _inside = runtime.enter();
        server::bind(&config.socket())?
    };
    let (reports, inbox) = tokio::sync::mpsc::unbounded_channel();
    let outcomes = reports.clone();
    let mover = Mover::start(&config, move |outcome| {
        let _ = outcomes.send(Report::Vip(outcome));
    })?;
    let sink = Wires {
        orders: mover.orders(),
        reports,
    };
    let started = Pulse::start(
        &config,
        &mut dataplane,
        Arc::clone(&local),
        incarnation,
        nonce,
        keys.active.0,
        sink,
    );
    let pulse = match started {
        Ok(pulse) => pulse,
        Err(error) => {
            mover.stop();
            return Err(error);
        }
    };
    let reason = reason::Reason::new(config, &mut dataplane, local, &pulse, mover.orders());
    let result = match reason {
        Ok(reason) => {
            let threads = Threads { pulse, mover };
            runtime.block_on(reason.run(listener, inbox, threads))
        }
        Err(error) => {
            Threads { pulse, mover }.stop();
            Err(error)
        }
    };
    drop(dataplane);
    log::info!("stopped");
    result
}

/// The threads beside tokio's.
struct Threads {
    pulse: Pulse,
    mover: Mover,
}

impl Threads {
    /// Releases all addresses. The pulse ends first: without it nobody orders them any more.
    fn stop(self) {
        self.pulse.stop();
        self.mover.stop();
    }
}

/// Takes the core's commands to those who carry them out.
struct Wires {
    orders: Sender<Order>,
    reports: UnboundedSender<Report>,
}

impl Sink for Wires {
    fn command(&mut self, at: Boottime, command: Command) {
        // Neither channel fails before its thread ends, and that is noticed elsewhere.
        match command {
            Command::Acquire { vip } => drop(self.orders.send(Order::Acquire { vip, decided: at })),
            Command::Release { vip } => drop(self.orders.send(Order::Release { vip, decided: at })),
            _ => {}
        }
        let _ = self.reports.send(Report::Command(at, command));
    }

    fn send_failed(&mut self, at: Boottime, error: Option<nix::Error>, errors: u64) {
        let _ = self.reports.send(Report::SendFailed { at, errors, error });
    }
}
