//! A contender that runs in a world of its own, and the faults of its nodes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_common::time::Boottime;
use nix::sys::signal::Signal;

use super::{Contender, Daemons, World, processes};
use crate::{Fault, interrupt::Interrupted, sys::boottime, wait::slowness, wait_until};

/// The longest time until all nodes see each other, at the start or after a fault. Pacemaker waits
/// 20 s for a coordinator at its start.
const WHOLE: Duration = Duration::from_secs(90);
/// The pause between two looks, some of which start programs.
const LOOK: Duration = Duration::from_millis(100);
/// The time for which the owner must have served.
const SERVED: Duration = Duration::from_millis(300);
/// The number of times that the processes of a node are listed, to kill those that were started
/// meanwhile.
const KILLS: usize = 5;

/// A running contender. The drop order of the fields matters: the daemons first.
#[derive(Debug)]
pub struct Running {
    daemons: Box<dyn Daemons>,
    serves: bool,
    pub world: World,
}

impl Running {
    /// Builds a world, starts `contender` in it, and waits until it is whole.
    pub fn start(contender: &dyn Contender) -> Result<Self> {
        let mut world = World::new(contender.options())?;
        let daemons = contender.start(&mut world)?;
        let mut running = Self {
            daemons,
            serves: contender.serves(),
            world,
        };
        running.wait_whole()?;
        Ok(running)
    }

    /// Waits until every node sees every node, and one node alone serves the client. Returns the
    /// owner; for a contender without an owner, the first node.
    pub fn wait_whole(&mut self) -> Result<String> {
        let mut owner = None;
        let waited = wait_until(WHOLE * slowness(), "the contender is whole", || {
            std::thread::sleep(LOOK);
            let Self { daemons, world, .. } = self;
            let served = world.client().steady(SERVED).map(|node| node.to_string());
            if self.serves && served.is_none() {
                return Ok(false);
            }
            let whole = daemons.is_whole(world, served.as_deref())?;
            owner = whole.then(|| served.or_else(|| world.names().into_iter().next()));
            Ok(whole)
        });
        waited.map_err(|error| {
            if error.is::<Interrupted>() {
                return error;
            }
            error.context(self.daemons.logs(&self.world))
        })?;
        owner.flatten().context("the world has no nodes")
    }

    /// The node that alone served the client throughout the last `span`.
    pub fn owner(&self, span: Duration) -> Option<String> {
        let served = self.world.client().steady(span);
        served.map(|node| node.to_string())
    }

    /// Injects `fault` at `node`. Returns the instant before it.
    ///
    /// [`Fault::Kill`] and [`Fault::Stop`] concern all daemons of the contender on the node.
    pub fn inject(&mut self, node: &str, fault: Fault) -> Result<Boottime> {
        let Self { daemons, world, .. } = self;
        match fault {
            Fault::Kill => {
                let pids = daemons.pids(world, node)?;
                let at = boottime();
                processes::signal_all(&pids, Signal::SIGKILL)?;
                for _ in 0..KILLS {
                    let pids = daemons.pids(world, node)?;
                    processes::signal_all(&pids, Signal::SIGKILL)?;
                }
                Ok(at)
            }
            Fault::Stop => {
                let pids = daemons.pids(world, node)?;
                let at = boottime();
                processes::signal_all(&pids, Signal::SIGSTOP)?;
                Ok(at)
            }
            fault => {
                let at = boottime();
                world.cluster.inject(node, fault)?;
                Ok(at)
            }
        }
    }

    /// Undoes what [`Running::inject`] did. Killed daemons are started again.
    pub fn heal(&mut self, node: &str, fault: Fault) -> Result<()> {
        let Self { daemons, world, .. } = self;
        match fault {
            Fault::Kill => daemons.restart(world, node),
            Fault::Stop => {
                let pids = daemons.pids(world, node)?;
                processes::signal_all(&pids, Signal::SIGCONT)
            }
            fault => world.cluster.heal(node, fault),
        }
    }

    /// The number of times since the start that any node called another one dead; see
    /// [`Daemons::downs`].
    pub fn downs(&mut self) -> Result<u64> {
        self.daemons.downs(&self.world)
    }

    /// The instant at which `by` called `node` dead; see [`Daemons::called_dead`].
    pub fn called_dead(
        &mut self,
        by: &str,
        node: &str,
        since: Boottime,
    ) -> Result<Option<Boottime>> {
        self.daemons.called_dead(&self.world, by, node, since)
    }

    /// The CPU time that the daemons of all nodes have used. The kernel's own work for packets is
    /// not in it.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        let mut pids = Vec::new();
        for node in self.world.names() {
            pids.extend(self.daemons.pids(&mut self.world, &node)?);
        }
        processes::cpu_time(&pids)
    }

    /// The longest delay of a daemon's own timer since its start, where it is told.
    pub fn lateness(&mut self) -> Result<Option<Duration>> {
        self.daemons.lateness(&self.world)
    }

    /// The last lines of each node's log.
    pub fn logs(&mut self) -> String {
        self.daemons.logs(&self.world)
    }
}
